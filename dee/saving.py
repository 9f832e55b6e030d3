"""A model as a folder: config.json and model.safetensors, never half written."""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

Config = TypeVar("Config")
Model = TypeVar("Model", bound=nn.Module)


def save_folder(folder: str | Path, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Write both files to a new folder beside `folder`, then put it in the place of `folder`.

    A saved model or an empty folder there is replaced as a whole; ValueError for a file, or a folder of anything else.
    A process killed between the two renames leaves nothing at `folder`; what was there is then in
    `.NAME-old-*/NAME` beside it, what was to replace it in `.NAME-*`. An error between them puts the old folder back.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(f"{folder} is a file; a model is saved as a folder. Give another name.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"{folder} holds something that is no saved model ({CONFIG_FILE} is missing); it is kept.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (temporary / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, temporary / WEIGHTS_FILE)
        os.chmod(temporary / WEIGHTS_FILE, 0o644)  # safetensors writes for the owner alone
        os.chmod(temporary, 0o755)
        if folder.exists():
            _replace(folder, temporary)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        os.replace(folder, old / folder.name)
        os.replace(new, folder)
    except BaseException:
        if os.path.lexists(old / folder.name):
            os.replace(old / folder.name, folder)
        old.rmdir()
        raise
    shutil.rmtree(old)


def read_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of a saved folder. Raises ValueError where a file is missing, broken or no config."""
    folder = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not a saved DEE: {name} is missing.")
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        state = load_file(folder / WEIGHTS_FILE)
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise ValueError(f"{folder} cannot be read ({error}); restore it or train again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise ValueError(f"{folder / CONFIG_FILE} lacks the object 'config'; restore it or train again.")
    return content, state


def check_config(config_class: type, given: Any, where: str) -> None:
    """Raise ValueError, naming file and dotted key, where `given` has a key or a type that the dataclass has not.

    `where` is the file and, inside it, the key of `given`. Whole numbers are allowed for floats.
    """
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {given!r}, expected an object with the fields of {config_class.__name__}.")
    expected = get_type_hints(config_class)
    for key, value in given.items():
        if key not in expected:
            raise ValueError(f"{where} has an unknown key: {key}; was it written by another version?")
        kind = expected[key]
        if get_origin(kind) is UnionType:  # a part that may be left out: T | None
            if value is None:
                continue
            kind = next(option for option in get_args(kind) if option is not NoneType)
        if dataclasses.is_dataclass(kind):
            check_config(cast(type, kind), value, f"{where}.{key}")
        elif not _fits(value, kind):
            raise ValueError(f"{where}.{key} is {value!r}, expected {getattr(kind, '__name__', kind)}.")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(entry, get_args(kind)[0]) for entry in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


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


def read_pretrained(
    folder: str | Path, kind: str, config_class: type[Config], build: Callable[[Config], Model]
) -> Model:
    """The model of a folder that `save_folder` wrote, in evaluation mode.

    `kind` is what its config.json names the model; a config class with `from_dict` reads its own. Raises ValueError
    where files are missing or broken, the model is of another kind, or keys are missing, unknown or of another shape.
    """
    content, state = read_folder(folder)
    if content.get("model") != kind:
        raise ValueError(f"{folder} holds a {content.get('model', 'model of unknown kind')}, expected {kind}.")
    where = f"{Path(folder) / CONFIG_FILE}: config"
    check_config(config_class, content["config"], where)
    try:
        model = build(getattr(config_class, "from_dict", lambda given: config_class(**given))(content["config"]))
    except (ValueError, RuntimeError, ArithmeticError, AssertionError) as error:  # sizes that torch cannot build
        raise ValueError(f"{where} cannot be built: {error}") from error
    load_weights(model, state, folder)
    return model.eval()
