"""A model as a folder: `config.json` and `model.safetensors`, both written in one step each, checked when read."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

Model = TypeVar("Model", bound=nn.Module)


def _write_in_one_step(path: Path, write: Callable[[Path], Any]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_pretrained(model: nn.Module, config: Any, folder: Path) -> None:
    """Write a model's config dataclass and state_dict into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"class": type(model).__name__, "config": dataclasses.asdict(config)}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    _write_in_one_step(folder / WEIGHTS_FILE, lambda path: save_file(weights, path))
    _write_in_one_step(
        folder / CONFIG_FILE, lambda path: path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    )


def load_pretrained(model_class: type[Model], config_class: type, folder: Path) -> Model:
    """The model saved in `folder`, in evaluation mode; config fields that the file lacks take their defaults.

    Raises ValueError naming a missing or unreadable file, another class, config keys that are unknown or
    of the wrong type, sizes that cannot be built, and missing, unknown or
    wrongly shaped tensors.
    """
    content = _read_config(folder / CONFIG_FILE)
    if content.get("class") != model_class.__name__:
        raise ValueError(f"{folder} holds a {content.get('class')!r}, not a {model_class.__name__}.")
    given = content["config"]
    _check_config(config_class, given, folder / CONFIG_FILE)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected the weights of a {model_class.__name__} there.")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}); copy it again.") from error
    try:
        model = model_class(config_class(**given))
    except (ValueError, RuntimeError, ArithmeticError, AssertionError) as error:  # sizes that torch cannot build
        raise ValueError(f"{folder / CONFIG_FILE}: config cannot be built: {error}") from error
    load_weights(model, weights, str(path))
    return model.eval()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Load a whole state_dict; raises ValueError naming missing, unknown and wrongly shaped tensors of `origin`."""
    expected = model.state_dict()
    problems = []
    if missing := sorted(set(expected) - set(weights)):
        problems.append(f"misses {', '.join(missing)}")
    if unknown := sorted(set(weights) - set(expected)):
        problems.append(f"has unknown {', '.join(unknown)}")
    problems += [
        f"has {name} of shape {tuple(weights[name].shape)} where {tuple(expected[name].shape)} is expected"
        for name in expected
        if name in weights and weights[name].shape != expected[name].shape
    ]
    if problems:
        raise ValueError(f"{origin} does not fit a {type(model).__name__}: it {'; it '.join(problems)}.")
    with torch.no_grad():
        model.load_state_dict(dict(weights))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist; give a folder made by save_pretrained.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); copy it again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise ValueError(f"{path} lacks the objects 'class' and 'config'; give a folder made by save_pretrained.")
    return content


def _check_config(config_class: type, given: Mapping[str, Any], path: Path) -> None:
    expected = get_type_hints(config_class)
    if unknown := sorted(set(given) - set(expected)):
        raise ValueError(f"{path} has unknown keys: {', '.join(unknown)}; was it made by a newer version?")
    for key, value in given.items():
        kind = expected[key]
        if get_origin(kind) is Literal:
            fits = value in get_args(kind)
        elif kind is bool:
            fits = isinstance(value, bool)
        else:
            fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if not fits:
            raise ValueError(f"{path}: config.{key} is {value!r}, expected {getattr(kind, '__name__', kind)}.")
