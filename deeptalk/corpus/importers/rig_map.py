"""Name maps from the weights of another rig to ARKit's channels: a table that a person has reviewed."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from deeptalk.corpus.importers.importer import Note, Refusal
from deeptalk.corpus.importers.motion import ROUNDING
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS

FACEGOOD_MAP = Path(__file__).parent / "assets" / "facegood_arkit.csv"
HEADER = ("column", "weight", "arkit", "why")
LEAST_ACTIVE = 0.01
"""A weight that never goes further than this is not used by its take."""


@dataclass(frozen=True)
class RigMap:
    """What every weight of a rig does on ARKit's channels: factors, or a reason why nothing."""

    columns: tuple[str, ...]
    """Names of the weights in the order of a file that has none of its own."""
    factors: dict[str, dict[int, float]]
    """Of each weight, channel index to factor; empty for a weight that is dropped."""
    why: dict[str, str]

    def to_arkit(
        self, weights: Float32[np.ndarray, "frame weight"], names: Sequence[str], notes: list[Note]
    ) -> Float32[np.ndarray, "frame 52"]:
        """Motion of ARKit's channels; what is dropped while it moves, and sums over 1, are noted.

        Raises Refusal for a weight that moves and is not in the map.
        """
        active = [name for name, peak in zip(names, np.abs(np.nan_to_num(weights)).max(axis=0)) if peak > LEAST_ACTIVE]
        unknown = [name for name in active if name not in self.factors]
        if unknown:
            raise Refusal(
                "weights not in the map", f"the map does not have {', '.join(unknown[:5])}; give one with map=."
            )
        dropped = [name for name in active if not self.factors[name]]
        if dropped:
            notes.append(Note("moving weights dropped by the map", ", ".join(f"{n} ({self.why[n]})" for n in dropped)))
        matrix = np.zeros((len(names), len(CHANNELS)), np.float32)
        for row, name in enumerate(names):
            for channel, factor in self.factors.get(name, {}).items():
                matrix[row, channel] = factor
        motion = weights @ matrix
        over = motion > 1.0 + ROUNDING
        if over.any():
            frame, worst = divmod(int(np.nanargmax(motion)), motion.shape[1])
            text = f"{np.count_nonzero(over)} values, at most {CHANNELS[worst]} {motion[frame, worst]:.3f}"
            notes.append(Note("mapped sums over 1 set to 1", text))
        return np.minimum(motion, 1.0)


def read_rig_map(path: str | Path) -> RigMap:
    """Read a CSV with the columns column, weight, arkit, why; `arkit` is like `mouthFunnel 0.6 + jawOpen 0.12`.

    Raises UserError for a missing file or column, a row of another length, an unknown channel or factor, a weight or
    channel named twice, or a weight that is neither mapped nor dropped with a reason.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"Cannot read the map {path} ({error}); give a CSV with {', '.join(HEADER)}.") from error
    if tuple(header) != HEADER:
        raise UserError(f"The map {path} has the columns {', '.join(header) or 'none'}; expected {', '.join(HEADER)}.")
    rows: list[dict[str, str]] = []
    factors: dict[str, dict[int, float]] = {}
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        if len(line) != len(HEADER) or not line[0].isdecimal():
            raise UserError(
                f"The map {path} has {','.join(line)!r} in row {number}; expected {', '.join(HEADER)}, the first a "
                "whole number from 0 on, and quotes around text with a comma."
            )
        row = dict(zip(HEADER, line))
        name = row["weight"]
        if not name or name in factors:
            raise UserError(f"The map {path} has the weight {name!r} twice or without a name; each has one line.")
        rows.append(row)
        factors[name] = _factors(path, row)
    order = sorted(rows, key=lambda row: int(row["column"]))
    return RigMap(tuple(row["weight"] for row in order), factors, {row["weight"]: row["why"] for row in rows})


def _factors(path: str | Path, row: dict[str, str]) -> dict[int, float]:
    if not row["arkit"].strip():
        if not row["why"].strip():
            raise UserError(f"The map {path} drops {row['weight']!r} without saying why; fill `why`, or map it.")
        return {}
    found: dict[int, float] = {}
    for part in row["arkit"].split("+"):
        try:
            name, factor = part.split()
            channel, value = CHANNELS.index(name), float(factor)
            is_new = math.isfinite(value) and channel not in found
        except ValueError:
            is_new = False
        if not is_new:
            raise UserError(
                f"The map {path} has {part.strip()!r} for {row['weight']!r}; expected an ARKit channel, once, and a "
                "factor, such as jawOpen 1."
            )
        found[channel] = value
    return found


def name_shift(weights: Float32[np.ndarray, "frame weight"], names: Sequence[str]) -> int:
    """1 where each column belongs to the name before its own, as in FACEGOOD's name files, else 0.

    Told from the left-right twins: of a face that speaks, both move, and much alike, or neither does.
    """
    return int(_twin_score(weights, names, 1) > _twin_score(weights, names, 0))


def _twin_score(weights: np.ndarray, names: Sequence[str], shift: int) -> int:
    """Pairs of twins that move alike, less those of which one moves."""
    places = {name: index + shift for index, name in enumerate(names) if index + shift < weights.shape[1]}
    score = 0
    for left, column in places.items():
        right = left.removesuffix("l") + "r"
        if not left.endswith(("_l", "_dl", "_ul")) or right not in places:
            continue
        own, twin = (np.nan_to_num(weights[:, place]) for place in (column, places[right]))
        moves = [np.abs(values).max() > LEAST_ACTIVE for values in (own, twin)]
        if all(moves):
            score += 1 if np.abs(own - twin).mean() < 0.5 * np.abs(own).mean() else -1
        elif any(moves):
            score -= 1
    return score
