"""What no speech determines: the actor's style and the timing of one performance."""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Style:
    """How an actor acts, the same for all performances of the actor."""

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


def draw_style(generator: np.random.Generator) -> Style:
    """Draw an actor."""
    upper, lower, articulation = np.exp(generator.normal(0.0, [0.13, 0.11, 0.10]))
    return Style(
        upper_gain=float(upper),
        lower_gain=float(lower),
        articulation_gain=float(articulation),
        emphasis=float(generator.uniform(0.08, 0.35)),
        asymmetry=float(np.clip(generator.normal(0.0, 0.07), -0.25, 0.25)),
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


def draw_timing(generator: np.random.Generator, unit_count: int) -> Timing:
    """Draw the timing of one performance."""
    return Timing(
        onset_seconds=float(generator.uniform(-0.20, 0.15)),
        rise_seconds=float(generator.uniform(0.20, 0.55)),
        offset_seconds=float(generator.uniform(-0.30, 0.15)),
        fall_seconds=float(generator.uniform(0.30, 0.80)),
        anticipation=float(generator.uniform(0.30, 0.60)),
        residue=float(generator.uniform(0.50, 0.85)),
        mouth_delay_seconds=float(generator.uniform(0.0, 0.10)),
        unit_gains=np.exp(generator.normal(0.0, 0.10, unit_count)),
        wander_phase=generator.uniform(0.0, 2.0 * np.pi, (2, 3)),
    )
