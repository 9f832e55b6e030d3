"""The version of a performer: equal versions draw equal performances of equal speech.

It is a hash of all that decides what is drawn: the parameters, the rig's geometry, and the code of the modules that
draw, without comments, docstrings and layout, so that nobody has to remember to raise a number.
"""

import functools
import hashlib
import importlib
import io
import tokenize
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.corpus.performer.parameters import Parameters
from deeptalk.face import LinearRig

_PACKAGE = "deeptalk.corpus.performer"
MODULES: tuple[str, ...] = (
    *(f"{_PACKAGE}.{name}" for name in ("affect", "distribution", "readings", "style", "emotion", "facs")),
    *(f"{_PACKAGE}.{name}" for name in ("visemes", "mouth", "lips", "life", "frames", "performer")),
    "deeptalk.face.idle",
    "deeptalk.face.lids",
)
"""Modules whose code decides what is drawn; `parameters` is hashed by its values."""

_RIG_ARRAYS = ("neutral", "deltas", "lip_gap_neutral", "lip_gap_deltas")
_LAYOUT = {
    tokenize.NEWLINE: "\n",
    tokenize.INDENT: "{",
    tokenize.DEDENT: "}",
}
_SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)


def version_of(parameters: Parameters, rig: LinearRig) -> str:
    """Name of the variant and eight digits of the hash."""
    digest = hashlib.sha256()
    for module in MODULES:
        digest.update(code_text(read_source(module)).encode())
    digest.update(repr(plain(parameters)).encode())
    for name in _RIG_ARRAYS:
        digest.update(np.ascontiguousarray(getattr(rig, name), dtype="<f8").tobytes())
    return f"{parameters.name}-{digest.hexdigest()[:8]}"


def read_source(module: str) -> str:
    """Source text of a module."""
    path = importlib.import_module(module).__file__
    assert path is not None
    return Path(path).read_text(encoding="utf-8")


@functools.cache
def code_text(source: str) -> str:
    """The tokens of a module without comments, docstrings, line breaks inside statements and spacing."""
    kept: list[str] = []
    starts_statement = True
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]]):
        if token.type in _SKIPPED:
            continue
        if token.type == tokenize.STRING and starts_statement and following.type == tokenize.NEWLINE:
            continue  # a string that is a statement is documentation
        text = _LAYOUT.get(token.type, token.string)
        starts_statement = token.type in _LAYOUT
        if text != "\n" or (kept and kept[-1] not in _LAYOUT.values()):
            kept.append(text)
    return " ".join(kept)


def plain(value: Any) -> Any:
    """Dataclasses, arrays and mappings as nested lists, so that `repr` says all and always the same."""
    if is_dataclass(value) and not isinstance(value, type):
        return [(entry.name, plain(getattr(value, entry.name))) for entry in fields(value)]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return [(key, plain(entry)) for key, entry in value.items()]
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
