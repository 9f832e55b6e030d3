"""The version of the performer: equal versions draw equal performances."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from deeptalk.corpus.performer import affect, distribution, emotion, facs, frames, lips, mouth, style, visemes
from deeptalk.corpus.performer.readings import Reading
from deeptalk.face import LinearRig

CODE_VERSION = 2
"""Raised whenever a formula changes what is drawn; tables and constants count by themselves."""

_MODULES = (affect, distribution, style, emotion, facs, visemes, mouth, lips, frames)
_RIG_ARRAYS = ("neutral", "deltas", "lip_gap_neutral", "lip_gap_deltas")


def version_of(rig: LinearRig, readings: Sequence[Reading], limits: Sequence[float]) -> str:
    """CODE_VERSION and a hash of every public constant of the modules that draw, the readings, limits and rig."""
    digest = hashlib.sha256()
    for module in _MODULES:
        constants = [(name, _plain(vars(module)[name])) for name in sorted(vars(module)) if _is_constant(name)]
        digest.update(repr((module.__name__, constants)).encode())
    digest.update(repr(([asdict(reading) for reading in readings], tuple(limits))).encode())
    for name in _RIG_ARRAYS:
        digest.update(np.ascontiguousarray(getattr(rig, name), dtype="<f8").tobytes())
    return f"{CODE_VERSION}-{digest.hexdigest()[:8]}"


def _is_constant(name: str) -> bool:
    """Whether a module's name is a constant; the default repertoire is not, the one in use is hashed by itself."""
    return name.isupper() and not name.startswith("_") and name != "READINGS"


def _plain(value: Any) -> Any:
    """Arrays as lists, sets in order, so that `repr` says all and always the same."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return sorted(value) if isinstance(value, set | frozenset) else value
