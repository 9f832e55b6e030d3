"""What the motion of a corpus does: the range of every channel, and whether lips close where they should."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from deeptalk.corpus.format import Corpus
from deeptalk.corpus.performer import Phone
from deeptalk.face import BLINK_AND_GAZE, LinearRig, load_rig

ACTIVE = 0.01
"""A channel above this moves something that can be seen."""
DEAD_RANGE = 1e-3
SATURATED = 0.999
CLOSURE_PHONES = ("P", "B", "M")
CLOSED_MILLIMETRES = (-1.0, 0.5)
"""Signed gap of lips that touch and do not pass through each other."""
WITHIN_FRAMES = 1
"""A closure may show one frame beside the middle of its phone."""


class ChannelStatistics:
    """Range, mean, spread and use of every channel, gathered motion by motion."""

    def __init__(self, channels: Sequence[str]):
        self.channels = tuple(channels)
        size = len(self.channels)
        self.frames = 0
        self.least, self.most = np.full(size, np.inf), np.full(size, -np.inf)
        self.total, self.squares = np.zeros(size), np.zeros(size)
        self.active, self.saturated = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def add(self, motion: Float[np.ndarray, "frame channel"]) -> None:
        """Count one motion, blinks and gaze included."""
        values = motion.astype(np.float64)
        self.frames += len(values)
        self.least = np.minimum(self.least, values.min(axis=0))
        self.most = np.maximum(self.most, values.max(axis=0))
        self.total += values.sum(axis=0)
        self.squares += (values**2).sum(axis=0)
        self.active += (np.abs(values) > ACTIVE).sum(axis=0)
        self.saturated += (values >= SATURATED).sum(axis=0)

    def as_dict(self) -> dict[str, Any]:
        """By channel: least, most, mean, std, share of frames it is active and at its limit, and whether it is dead."""
        if not self.frames:
            return {}
        mean = self.total / self.frames
        deviation = np.sqrt(np.maximum(self.squares / self.frames - mean**2, 0.0))
        return {
            name: {
                "least": float(self.least[place]),
                "most": float(self.most[place]),
                "mean": float(mean[place]),
                "std": float(deviation[place]),
                "active": float(self.active[place] / self.frames),
                "saturated": float(self.saturated[place] / self.frames),
                "dead": bool(self.most[place] - self.least[place] < DEAD_RANGE),
                "idle_group": name in BLINK_AND_GAZE,
            }
            for place, name in enumerate(self.channels)
        }


class Closures:
    """Signed lip gaps at /p b m/, gathered motion by motion; for the channels of ARKit."""

    def __init__(self, corpus: Corpus):
        self.rig: LinearRig | None = load_rig("arkit") if corpus.rig == "arkit" else None
        self.frame_rate = corpus.frame_rate
        self.gaps: list[tuple[float, str, str]] = []
        """(gap in millimetres, phone, performance) of every closure: the gap nearest to closed that it shows."""

    def add(self, name: str, motion: Float[np.ndarray, "frame channel"], phones: Sequence[Phone]) -> None:
        """Measure the closures of one motion with the phones of its speech."""
        if self.rig is None:
            return
        wanted = [phone for phone in phones if phone.symbol in CLOSURE_PHONES]
        if not wanted:
            return
        gaps = 1000.0 * (self.rig.lip_gap_neutral + motion.astype(np.float64) @ self.rig.lip_gap_deltas)
        widest, deepest = gaps.max(axis=1), gaps.min(axis=1)
        low, high = CLOSED_MILLIMETRES
        for phone in wanted:
            middle = min(int(phone.middle_seconds * self.frame_rate), len(motion) - 1)
            around = slice(max(0, middle - WITHIN_FRAMES), middle + WITHIN_FRAMES + 1)
            # What misses by least: an opening counts by its widest pair, lips through each other by the deepest.
            misses = np.maximum(widest[around] - high, low - deepest[around])
            best = int(misses.argmin())
            open_most = widest[around][best] - high >= low - deepest[around][best]
            gap = widest[around][best] if open_most else deepest[around][best]
            self.gaps.append((float(gap), phone.symbol, name))

    def as_dict(self) -> dict[str, Any]:
        """Share that closes, percentiles of the gap, by phone, and the worst; empty where none was measured."""
        if not self.gaps:
            return {}
        low, high = CLOSED_MILLIMETRES
        values = np.array([gap for gap, _, _ in self.gaps])
        symbols = np.array([symbol for _, symbol, _ in self.gaps])
        closed = (values >= low) & (values <= high)
        worst = sorted(self.gaps, key=lambda one: -max(one[0] - high, low - one[0]))
        return {
            "count": len(values),
            "closed_share": float(closed.mean()),
            "bounds_millimetres": [low, high],
            "by_phone": {p: float(closed[symbols == p].mean()) for p in CLOSURE_PHONES if (symbols == p).any()},
            "gap_millimetres": {str(p): float(np.percentile(values, p)) for p in (1, 5, 25, 50, 75, 95, 99)},
            "worst": [
                {"performance": name, "phone": symbol, "gap_millimetres": gap}
                for gap, symbol, name in worst[:8]
                if not low <= gap <= high
            ],
        }
