"""Reading weights from files of strangers: tensors only, nothing in the file is ever run."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from deeptalk.errors import UserError

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
"""Of files that may hold weights."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which trainers keep the weights beside other things."""


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU: a safetensors file, or one that torch saved.

    Torch files are read with `weights_only`, which refuses anything but tensors and plain values. Weights inside a
    wrapper (`state_dict`, ...) and names behind `module.` are found. Raises UserError for a file that cannot be read
    this way, or that holds no tensors.
    """
    path = Path(path)
    content = _read(path)
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds {type(content).__name__}; expected weights by name.")
    tensors = {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no tensors; expected the weights of a model.")
    return tensors


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a checkpoint file.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; download it again.")
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise UserError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors and plain values, or is no checkpoint; it was not opened further, because "
            "such a file can run code. Save its state_dict alone where you trust it."
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as a checkpoint ({_first_line(error)}); download it again.") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
