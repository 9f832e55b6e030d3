"""Frozen dataclass configs, composed by OmegaConf from presets (YAML) and `key=value` words."""

import dataclasses
import difflib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException

from deeptalk.errors import UserError
from deeptalk.files import write_text

T = TypeVar("T")


def presets_folder() -> Path:
    """The folder of shipped presets: inside an installed package, or `configs/` of a checkout."""
    packaged = Path(__file__).parent / "configs"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "configs"


def find_preset(stage: str, name: str) -> Path:
    """Path of a preset given by word (`tiny`) or by file name.

    Raises UserError naming the presets there are.
    """
    if Path(name).suffix in {".yaml", ".yml"}:
        if Path(name).is_file():
            return Path(name)
        raise UserError(f"Config file {name} does not exist; give a YAML file or a preset's name.")
    folder = presets_folder() / stage
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise UserError(f"No preset {name!r} for {stage}; there are: {known}.")
    return path


def _unknown_key(schema: Any, given: Any, prefix: str = "") -> tuple[str, list[str]] | None:
    """First dotted key of `given` that the dataclass `schema` lacks, with the names it has there."""
    names = {field.name: field for field in dataclasses.fields(schema)}
    for key, value in given.items():
        if key not in names:
            return f"{prefix}{key}", [f"{prefix}{name}" for name in names]
        child = getattr(schema, str(key), None)
        if dataclasses.is_dataclass(child) and isinstance(value, dict):
            found = _unknown_key(child, value, f"{prefix}{key}.")
            if found:
                return found
    return None


def _check_keys(defaults: Any, layer: Any, origin: str) -> None:
    plain = OmegaConf.to_container(layer, resolve=False)
    if not isinstance(plain, dict):
        raise UserError(f"{origin} must hold keys and values, not a {type(plain).__name__}.")
    found = _unknown_key(defaults, plain)
    if found:
        key, names = found
        near = difflib.get_close_matches(key, names, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys there: {', '.join(names)}."
        raise UserError(f"Unknown config key {key!r} in {origin}. {hint}")
    for name, value in plain.items():
        child = getattr(defaults, str(name))
        if dataclasses.is_dataclass(child) and not isinstance(value, dict):
            inner = ", ".join(field.name for field in dataclasses.fields(child))
            raise UserError(f"{origin} sets {name!s} to {value!r}; it holds keys of its own: {inner}.")


def _verbatim(defaults: Any, word: str) -> str:
    """A word whose value is text as it stands: YAML would read a file named 1114_2_04 as a number."""
    key, _, value = word.partition("=")
    default = defaults
    for name in key.split("."):
        default = getattr(default, name, None)
    return f"{key}={json.dumps(value, ensure_ascii=False)}" if isinstance(default, str) and value else word


def compose(schema: type[T], presets: Sequence[str | Path] = (), words: Sequence[str] = ()) -> T:
    """Build the config `schema` from its defaults, then YAML files, then `key=value` words.

    Every field of `schema` needs a default. Raises UserError for an unknown key (suggesting the right one), a value of
    the wrong type, what is not YAML, or a combination that the dataclass's own check refuses.
    """
    defaults = schema()
    merged = OmegaConf.structured(schema)
    layers: list[tuple[str, Callable[[], Any]]] = []
    for path in presets:
        layers.append((str(path), partial(OmegaConf.load, path)))
    for word in words:
        if "=" not in word:
            raise UserError(f"Config word {word!r} is not of the form key=value.")
        layers.append((repr(word), partial(OmegaConf.from_dotlist, [_verbatim(defaults, word)])))
    origin = ""
    try:
        for origin, read in layers:
            layer = read()
            _check_keys(defaults, layer, origin)
            merged = OmegaConf.merge(merged, layer)
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except (yaml.YAMLError, UnicodeDecodeError, GrammarParseError) as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{origin} cannot be read as YAML: {problem}.") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        first_line = str(error).splitlines()[0].removeprefix("Merge error: ")
        raise UserError(f"Config key {key!r}: {first_line}" if key else f"{origin}: {first_line}") from error
    except UserError:
        raise
    except ValueError as error:  # a dataclass's own check, in a package that does not know UserError
        raise UserError(f"{schema.__name__}: {error}") from error


def save_config(config: Any, path: str | Path) -> None:
    """Write the resolved config as YAML beside a result."""
    write_text(path, OmegaConf.to_yaml(OmegaConf.structured(config)))


def config_dict(config: Any) -> dict[str, Any]:
    """Plain nested dict of a config dataclass, for manifests."""
    return dataclasses.asdict(config)
