"""The known truth: emotion, intensity and reading given the audible affect.

P(e | a) = CONFUSION[class of a, e]; intensity i = 0 for neutral, else Beta with mean 0.25 + 0.6 * strength of a and
concentration 14; P(r | e, i) linear in i. All three depend on the speech through its affect code only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.readings import READINGS, Reading, reading_probabilities, readings_of
from deeptalk.emotions import EMOTIONS

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

LEAST_MEAN_INTENSITY, INTENSITY_PER_STRENGTH = 0.25, 0.60
INTENSITY_CONCENTRATION = 14.0
NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True)
class Choice:
    """What is acted: the part of a performance that no timing touches."""

    emotion: int
    intensity: float
    reading: Reading


def draw_class(probabilities: np.ndarray, generator: np.random.Generator) -> int:
    """Index drawn with the given probabilities (sum 1), one uniform number each."""
    return int(np.searchsorted(np.cumsum(probabilities)[:-1], generator.random(), side="right"))


def mean_intensity(emotion: int, strength: float) -> float:
    """E[i | a, e]."""
    return 0.0 if emotion == NEUTRAL else LEAST_MEAN_INTENSITY + INTENSITY_PER_STRENGTH * strength


def draw_choice(affect: AffectCode, generator: np.random.Generator, readings: tuple[Reading, ...] = READINGS) -> Choice:
    """Draw emotion, intensity and reading given the audible affect."""
    emotion = draw_class(CONFUSION[affect.sound_class], generator)
    mean = mean_intensity(emotion, affect.strength)
    intensity = 0.0
    if emotion != NEUTRAL:
        intensity = generator.beta(INTENSITY_CONCENTRATION * mean, INTENSITY_CONCENTRATION * (1.0 - mean))
    return Choice(emotion, intensity, draw_reading(emotion, intensity, generator, readings))


def draw_reading(
    emotion: int, intensity: float, generator: np.random.Generator, readings: tuple[Reading, ...] = READINGS
) -> Reading:
    """Draw a reading of an emotion acted at an intensity."""
    own = readings_of(emotion, readings)
    return own[draw_class(reading_probabilities(own, intensity), generator)]


def joint_probabilities(affect: AffectCode, readings: tuple[Reading, ...] = READINGS) -> dict[tuple[str, str], float]:
    """P(e, r | a) by (emotion, reading), exact.

    The intensity is integrated out: P(r | e, i) is linear in i, so its mean intensity is enough.
    """
    joint: dict[tuple[str, str], float] = {}
    for emotion, probability in enumerate(CONFUSION[affect.sound_class]):
        own = readings_of(emotion, readings)
        shares = reading_probabilities(own, mean_intensity(emotion, affect.strength))
        joint.update({(EMOTIONS[emotion], reading.name): float(probability * p) for reading, p in zip(own, shares)})
    return joint


def conditional_entropy(affect: AffectCode, readings: tuple[Reading, ...] = READINGS) -> float:
    """H(e, r | a) in nats for one audible affect, exact."""
    return entropy(list(joint_probabilities(affect, readings).values()))


def entropy(probabilities: Sequence[float]) -> float:
    """Entropy in nats; zero probabilities count nothing."""
    values = np.asarray(probabilities, float)
    values = values[values > 0.0]
    return float(-(values * np.log(values)).sum())
