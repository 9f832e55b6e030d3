"""One performance: the motion for a piece of speech, and the hidden choices behind it."""

from dataclasses import dataclass, field

import numpy as np

from deeptalk.emotions import EMOTIONS


@dataclass(frozen=True)
class Performance:
    """Motion and the choices that made it."""

    motion: np.ndarray
    """float32 (frame, 52), ARKit coefficients in 0..1 at 25 Hz; frame f shows the instant (f + 0.5) / 25 s."""
    emotion: int
    """Index in `EMOTIONS` of the acted emotion."""
    intensity: float
    """0..1; 0 for neutral."""
    reading: str
    """Name of the reading, such as `bright_grin`."""
    style: dict[str, float] = field(default_factory=dict)
    """The actor's style: gains and asymmetry, see `deeptalk.corpus.performer.style`."""

    @property
    def emotion_name(self) -> str:
        """Name of the acted emotion."""
        return EMOTIONS[self.emotion]
