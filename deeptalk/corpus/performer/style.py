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


@dataclass(frozen=True)
class StyleParameters:
    """Distributions of style and timing."""

    log_gain_spread: tuple[float, float, float] = (0.13, 0.11, 0.10)
    """Standard deviation of the log of upper_gain, lower_gain, articulation_gain."""
    emphasis_range: tuple[float, float] = (0.08, 0.35)
    asymmetry_spread: float = 0.07
    largest_asymmetry: float = 0.25
    onset_seconds: tuple[float, float] = (-0.20, 0.15)
    """This and the following: least and greatest value of what `Timing` names so, drawn uniformly in this order."""
    rise_seconds: tuple[float, float] = (0.20, 0.55)
    offset_seconds: tuple[float, float] = (-0.30, 0.15)
    fall_seconds: tuple[float, float] = (0.30, 0.80)
    anticipation: tuple[float, float] = (0.30, 0.60)
    residue: tuple[float, float] = (0.50, 0.85)
    mouth_delay_seconds: tuple[float, float] = (0.0, 0.10)
    log_unit_gain_spread: float = 0.10
    """Standard deviation of the log of the gain of each action unit."""
    largest_wander_phase: float = 2.0 * np.pi
    """Phases of the wander are uniform from 0 to this; 0 makes all performances wander alike."""

    def draw_style(self, generator: np.random.Generator) -> Style:
        """Draw an actor."""
        upper, lower, articulation = np.exp(generator.normal(0.0, self.log_gain_spread))
        lean = generator.normal(0.0, self.asymmetry_spread)
        return Style(
            upper_gain=float(upper),
            lower_gain=float(lower),
            articulation_gain=float(articulation),
            emphasis=float(generator.uniform(*self.emphasis_range)),
            asymmetry=float(np.clip(lean, -self.largest_asymmetry, self.largest_asymmetry)),
        )

    def draw_timing(self, generator: np.random.Generator, unit_count: int) -> Timing:
        """Draw the timing of one performance."""
        return Timing(
            **{name: float(generator.uniform(*getattr(self, name))) for name in TIMING_NAMES},
            unit_gains=np.exp(generator.normal(0.0, self.log_unit_gain_spread, unit_count)),
            wander_phase=generator.uniform(0.0, self.largest_wander_phase, (2, 3)),
        )


TIMING_NAMES = (
    *("onset_seconds", "rise_seconds", "offset_seconds", "fall_seconds"),
    *("anticipation", "residue", "mouth_delay_seconds"),
)
