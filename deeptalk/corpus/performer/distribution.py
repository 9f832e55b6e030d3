"""The known truth: emotion, intensity and reading given the audible affect.

P(e | a) = CONFUSION[class of a, e]; intensity i = 0 for neutral, else Beta with mean 0.25 + 0.6 * strength of a and
concentration 14; P(r | e, i) linear in i. All three depend on the speech through its affect code only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.readings import READINGS, Reading, reading_probabilities, readings_of
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError

CONFUSION = np.array(
    [  # neutral calm  happy   sad  angry fearful disgusted surprised
        [0.80, 0.11, 0.01, 0.04, 0.02, 0.00, 0.02, 0.00],  # sounds neutral
        [0.14, 0.50, 0.03, 0.29, 0.00, 0.02, 0.02, 0.00],  # sounds calm
        [0.03, 0.02, 0.68, 0.00, 0.05, 0.04, 0.02, 0.16],  # sounds happy
        [0.06, 0.30, 0.00, 0.54, 0.00, 0.07, 0.03, 0.00],  # sounds sad
        [0.02, 0.00, 0.03, 0.00, 0.86, 0.03, 0.06, 0.00],  # sounds angry
        [0.02, 0.01, 0.05, 0.10, 0.04, 0.64, 0.02, 0.12],  # sounds fearful
        [0.08, 0.02, 0.02, 0.05, 0.16, 0.02, 0.62, 0.03],  # sounds disgusted
        [0.02, 0.00, 0.18, 0.00, 0.03, 0.12, 0.02, 0.63],  # sounds surprised
    ]
)
"""P(acted emotion | audible class), (class, emotion): sad and calm sound alike, as do surprised, happy and fearful.

The shape follows the confusions of listeners in Banse and Scherer 1996 (table 4), the numbers are ours.
"""

NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True)
class Choice:
    """What is acted: the part of a performance that no timing touches."""

    emotion: int
    intensity: float
    reading: Reading


@dataclass(frozen=True, eq=False)
class Truth:
    """Tables of p(emotion, intensity, reading | affect).

    Raises UserError where the probabilities of a row of `confusion`, or of the readings of an emotion, do not sum to 1.
    """

    confusion: np.ndarray = field(default_factory=lambda: CONFUSION)
    """P(acted emotion | audible class), (class, emotion)."""
    least_mean_intensity: float = 0.25
    """Mean intensity at strength 0."""
    intensity_per_strength: float = 0.60
    intensity_concentration: float = 14.0
    """Of the Beta distribution of the intensity; infinite makes the intensity its mean."""
    readings: tuple[Reading, ...] = READINGS

    def __post_init__(self) -> None:
        if np.shape(self.confusion) != (len(EMOTIONS), len(EMOTIONS)) or abs(self.confusion.sum(1) - 1).max() > 1e-9:
            raise UserError("confusion must have 8 rows of 8 probabilities that sum to 1.")
        for emotion, name in enumerate(EMOTIONS):
            for end in ("weak", "strong"):
                total = sum(getattr(reading, end) for reading in readings_of(emotion, self.readings))
                if abs(total - 1.0) > 1e-9:
                    raise UserError(
                        f"Readings of {name!r} have probabilities that sum to {total:g} at {end}; expected 1."
                    )

    def mean_intensity(self, emotion: int, strength: float) -> float:
        """E[i | a, e]."""
        return 0.0 if emotion == NEUTRAL else self.least_mean_intensity + self.intensity_per_strength * strength

    def draw_choice(self, affect: AffectCode, generator: np.random.Generator) -> Choice:
        """Draw emotion, intensity and reading given the audible affect."""
        emotion = draw_class(self.confusion[affect.sound_class], generator)
        intensity = self.mean_intensity(emotion, affect.strength)
        if emotion != NEUTRAL and math.isfinite(self.intensity_concentration):
            sum_of_shapes = self.intensity_concentration
            intensity = generator.beta(sum_of_shapes * intensity, sum_of_shapes * (1.0 - intensity))
        return Choice(emotion, intensity, self.draw_reading(emotion, intensity, generator))

    def draw_reading(self, emotion: int, intensity: float, generator: np.random.Generator) -> Reading:
        """Draw a reading of an emotion acted at an intensity."""
        own = readings_of(emotion, self.readings)
        return own[draw_class(reading_probabilities(own, intensity), generator)]

    def joint_probabilities(self, affect: AffectCode) -> dict[tuple[str, str], float]:
        """P(e, r | a) by (emotion, reading), exact.

        The intensity is integrated out: P(r | e, i) is linear in i, so its mean intensity is enough.
        """
        joint: dict[tuple[str, str], float] = {}
        for emotion, probability in enumerate(self.confusion[affect.sound_class]):
            own = readings_of(emotion, self.readings)
            shares = reading_probabilities(own, self.mean_intensity(emotion, affect.strength))
            joint.update({(EMOTIONS[emotion], reading.name): float(probability * p) for reading, p in zip(own, shares)})
        return joint

    def conditional_entropy(self, affect: AffectCode) -> float:
        """H(e, r | a) in nats for one audible affect, exact."""
        return entropy(list(self.joint_probabilities(affect).values()))

    def reading_entropy(self, emotion: int, intensity: float) -> float:
        """H(r | e, i) in nats: how much is open when emotion and intensity are told."""
        return entropy(reading_probabilities(readings_of(emotion, self.readings), intensity).tolist())


def draw_class(probabilities: np.ndarray, generator: np.random.Generator) -> int:
    """Index drawn with the given probabilities (sum 1), one uniform number each."""
    return int(np.searchsorted(np.cumsum(probabilities)[:-1], generator.random(), side="right"))


def entropy(probabilities: Sequence[float]) -> float:
    """Entropy in nats; zero probabilities count nothing."""
    values = np.asarray(probabilities, float)
    values = values[values > 0.0]
    return float(-(values * np.log(values)).sum())
