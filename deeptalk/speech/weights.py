"""Finding and reading an encoder's weights: a folder, what a run or a bundle keeps as `speech`, or the hub."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.files import atomic_folder, read_json, write_json

HUB_FILES = [
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
]
HUB_NAME = r"[\w.-]+/[\w.-]+"
TUNED = "speech"
"""Subfolder in which a run of DEE and a bundle keep the encoder that was trained with DEE."""


def weights_folder(kind: str, source: str | Path, alternatives: str) -> Path:
    """Return the folder with the weights of an encoder of this kind.

    `source` is that folder, a run or a bundle with one inside (`speech`), or a hub name, which is downloaded
    (safetensors and JSON only). `alternatives` ends the error where it is none of them. Raises UserError.
    """
    folder = Path(source)
    if folder.is_dir():
        inside = folder / TUNED
        return inside if (inside / "config.json").is_file() and not (folder / "config.json").is_file() else folder
    if re.fullmatch(HUB_NAME, str(source)) and not folder.exists():
        return _from_hub(kind, str(source))
    raise UserError(
        f"The source of {kind}'s weights, {source}, is neither a folder nor a hub name (owner/name); {alternatives}."
    )


def _from_hub(kind: str, name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except Exception as error:  # the hub raises errors of many kinds: no such name, no network, no access
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The weights of {kind} could not be fetched from the hub as '{name}' ({reason}). Check the name and the "
            "connection, or give a local folder."
        ) from error


def read_model_config(folder: Path, kind: str) -> dict[str, Any]:
    """Return the content of a folder's config.json in transformers' format; UserError where it is of another kind."""
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("model_type") != kind:
        found = config.get("model_type", config.get("model")) if isinstance(config, dict) else type(config).__name__
        raise UserError(f"{folder}/config.json describes '{found}'; expected model_type '{kind}'.")
    return config


def read_tensors(folder: Path, pattern: str) -> dict[str, Tensor]:
    """Read the tensors of a folder in transformers' format as float32, whose whole names match the pattern.

    They are named by the pattern's first group. Raises UserError where there is no safetensors file, or a broken one.
    """
    tensors: dict[str, Tensor] = {}
    for path in _safetensors_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    match = re.fullmatch(pattern, name)
                    if match:
                        tensors[match[1]] = file.get_tensor(name).float()
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a readable safetensors file ({error}); download it again.") from error
    return tensors


def _safetensors_files(folder: Path) -> list[Path]:
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if (folder / "model.safetensors.index.json").is_file():
        index = read_json(folder / "model.safetensors.index.json")
        return [folder / Path(name).name for name in sorted(set(index["weight_map"].values()))]
    raise UserError(
        f"{folder} holds no model.safetensors; expected a model in transformers' format, saved as safetensors "
        "(model.save_pretrained writes it; pickled .bin files are not read)."
    )


def save_transformers(folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors, an existing folder replaced as a whole."""
    with atomic_folder(folder, "config.json") as temporary:
        write_json(temporary / "config.json", dict(config))
        path = temporary / "model.safetensors"
        save_file({name: values.detach().cpu().contiguous() for name, values in tensors.items()}, path)
        path.chmod(0o644)  # safetensors writes for the owner alone


def fill(network: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Load all weights of a network; UserError naming what is missing, unknown or of another shape."""
    expected = network.state_dict()
    unfit = [
        name
        for name in sorted(expected.keys() | tensors.keys())
        if name not in expected or name not in tensors or expected[name].shape != tensors[name].shape
    ]
    if unfit:
        raise UserError(
            f"The weights in {where} do not fit what its config.json says: missing, unknown or of another shape: "
            f"{', '.join(unfit[:5])}{' and others' if len(unfit) > 5 else ''}."
        )
    network.load_state_dict(tensors)
