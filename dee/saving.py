"""A model as a folder: config.json and model.safetensors, never half written."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def save_folder(folder: str | Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write both files to a new folder beside `folder`, then put it in the place of `folder`."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (temporary / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, temporary / WEIGHTS_FILE)
        os.chmod(temporary / WEIGHTS_FILE, 0o644)  # safetensors writes for the owner alone
        os.chmod(temporary, 0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
            os.replace(folder, old / folder.name)
            os.replace(temporary, folder)
            shutil.rmtree(old)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of a saved folder. Raises ValueError where a file is missing or cannot be read."""
    folder = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not a saved DEE: {name} is missing.")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        return config, load_file(folder / WEIGHTS_FILE)
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise ValueError(f"{folder} cannot be read ({error}); restore it or train again.") from error


@torch.no_grad()
def load_weights(module: nn.Module, state: dict[str, Tensor], origin: str | Path) -> None:
    """Copy weights into a module. Raises ValueError naming keys that are missing, unknown or of another shape."""
    own = module.state_dict()
    problems = []
    for words, keys in (("missing", own.keys() - state.keys()), ("unknown", state.keys() - own.keys())):
        if keys:
            problems.append(f"{words}: {', '.join(sorted(keys))}")
    problems += [
        f"{key} has shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    if problems:
        raise ValueError(f"Weights in {origin} do not fit the model. {'; '.join(problems)}.")
    module.load_state_dict(state)
