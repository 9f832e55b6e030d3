"""Arguments of any type in their one form, or a sentence that says what was expected."""

import math
import operator
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.errors import UserError
from deeptalk.speech import Waveform, check_samples, load_waveform

Speech = str | Path | Waveform | tuple[np.ndarray, int]
"""One piece of speech: a file, a checked recording, or (samples, sample rate in Hz)."""


def as_waveform(speech: Any) -> Waveform:
    """`Speech` as a checked recording; raises UserError for anything else."""
    if isinstance(speech, Waveform):
        return speech
    if isinstance(speech, str | Path):
        return load_waveform(speech)
    if isinstance(speech, tuple) and len(speech) == 2:
        return check_samples(np.asarray(speech[0]), speech[1])
    raise UserError(
        f"Speech is given as {type(speech).__name__}; expected a file's path, a Waveform, (samples, sample rate), or a "
        "list of those."
    )


def whole(name: str, value: Any) -> int:
    """`value` as an int; raises UserError naming it."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UserError(f"{name} is {value!r}; expected a whole number.") from None


def number(name: str, value: Any, expected: str, highest: float = math.inf) -> float:
    """`value` as a finite float of 0 to `highest`; raises UserError saying what was expected."""
    try:
        given = float(value)
    except (TypeError, ValueError):
        given = math.nan
    if not (math.isfinite(given) and 0 <= given <= highest):
        raise UserError(f"{name} is {value!r}; expected {expected}.")
    return given
