"""What no speech determines: the actor's style and the timing of one performance.

A corpus' "speaker" is the voice only. The actor's style is drawn anew for every performance, so a voice says nothing
about acting, and a model's identity input can learn nothing about it here.
"""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Style:
    """How an actor acts. Performances share an actor only where they were drawn `like` one another."""

    upper_gain: float
    """Factor on the emotion in brows, eyes, cheeks and nose."""
    lower_gain: float
    """Factor on the emotion in the mouth."""
    articulation_gain: float
    """Factor on the opening and the rounding of speech."""
    emphasis: float
    """How much stressed syllables stand out, 0..0.5."""
    asymmetry: float
    """-0.25..0.25; positive acts stronger with the left side of the face."""

    def as_dict(self) -> dict[str, float]:
        """Values by name, as `Performance.style` holds them."""
        return asdict(self)


LOG_GAIN_SPREAD = (0.13, 0.11, 0.10)
"""Standard deviation of the log of upper_gain, lower_gain, articulation_gain."""
EMPHASIS_RANGE = (0.08, 0.35)
ASYMMETRY_SPREAD, LARGEST_ASYMMETRY = 0.07, 0.25


def draw_style(generator: np.random.Generator) -> Style:
    """Draw an actor."""
    upper, lower, articulation = np.exp(generator.normal(0.0, LOG_GAIN_SPREAD))
    return Style(
        upper_gain=float(upper),
        lower_gain=float(lower),
        articulation_gain=float(articulation),
        emphasis=float(generator.uniform(*EMPHASIS_RANGE)),
        asymmetry=float(np.clip(generator.normal(0.0, ASYMMETRY_SPREAD), -LARGEST_ASYMMETRY, LARGEST_ASYMMETRY)),
    )


@dataclass(frozen=True)
class Timing:
    """When and how evenly one performance acts."""

    onset_seconds: float
    """When the emotion begins to rise, relative to the first sound."""
    rise_seconds: float
    offset_seconds: float
    """When it begins to fall, relative to the last sound."""
    fall_seconds: float
    anticipation: float
    """0..1, share of the emotion that is there before the onset."""
    residue: float
    """0..1, share that stays after the offset."""
    mouth_delay_seconds: float
    """How much later the mouth's part follows the eyes' and brows'."""
    unit_gains: np.ndarray
    """(unit,) factors on the action units, around 1."""
    wander_phase: np.ndarray
    """(2, 3) phases of a slow wander of the strength, upper and lower face."""


TIMING_RANGES: dict[str, tuple[float, float]] = dict(
    onset_seconds=(-0.20, 0.15),
    rise_seconds=(0.20, 0.55),
    offset_seconds=(-0.30, 0.15),
    fall_seconds=(0.30, 0.80),
    anticipation=(0.30, 0.60),
    residue=(0.50, 0.85),
    mouth_delay_seconds=(0.0, 0.10),
)
"""Least and greatest value of each, drawn uniformly in this order."""
LOG_UNIT_GAIN_SPREAD = 0.10


def draw_timing(generator: np.random.Generator, unit_count: int) -> Timing:
    """Draw the timing of one performance."""
    return Timing(
        **{name: float(generator.uniform(*limits)) for name, limits in TIMING_RANGES.items()},
        unit_gains=np.exp(generator.normal(0.0, LOG_UNIT_GAIN_SPREAD, unit_count)),
        wander_phase=generator.uniform(0.0, 2.0 * np.pi, (2, 3)),
    )
