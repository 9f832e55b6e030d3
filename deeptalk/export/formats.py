"""What an exporter is given, and what it may rely on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from deeptalk.errors import UserError


@runtime_checkable
class Exportable(Protocol):
    """One performed motion, as exporters see it; `deeptalk.take.Take` is one."""

    @property
    def motion(self) -> np.ndarray:
        """(frame, channel) float32, finite."""

    @property
    def rig(self) -> str:
        """Name of the rig whose channels the motion has."""

    @property
    def frame_rate(self) -> float:
        """Frames per second."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Seed and settings, enough to make the motion again; JSON values."""

    @property
    def samples(self) -> np.ndarray | None:
        """(sample,) float32 mono speech at 16 kHz, or None."""


@runtime_checkable
class Exporter(Protocol):
    """Writes one motion to one file, atomically."""

    def __call__(self, take: Exportable, path: Path) -> None:
        """Write `take` to `path`; raises UserError where the format cannot hold it."""


def check_motion(motion: np.ndarray, what: str) -> None:
    """Raise UserError unless `motion` is a (frame, channel) array of finite numbers with at least one frame."""
    if motion.ndim != 2 or motion.shape[0] < 1 or motion.shape[1] < 1:
        raise UserError(f"{what} has shape {motion.shape}; expected (frame, channel) with at least one frame.")
    if not np.isfinite(motion).all():
        frame, channel = np.argwhere(~np.isfinite(motion))[0]
        raise UserError(
            f"{what} holds {motion[frame, channel]} at frame {frame}, channel {channel}; every value must be finite. "
            "Perform the take again, or check the checkpoint it came from."
        )
