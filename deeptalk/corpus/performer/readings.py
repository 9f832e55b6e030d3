"""Readings: the different ways in which an emotion is acted.

Each is a set of action units. The prototypes and variants of happiness, sadness, anger, fear, disgust and surprise
follow Ekman and Friesen 1978 and 1983 (EMFACS) and Matsumoto and Ekman 2008 (table 1); calm and neutral, which those
lack, and the split into readings are ours. A reading's probability moves linearly with intensity between two ends.
"""

from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.facs import UNITS
from deeptalk.emotions import EMOTIONS


@dataclass(frozen=True)
class Reading:
    """One way to act an emotion."""

    name: str
    emotion: str
    weak: float
    """Probability at intensity 0."""
    strong: float
    """Probability at intensity 1."""
    units: dict[str, float]
    """Action units at full intensity."""
    one_sided: float = 0.0
    """0..1, how much stronger one side of the face is, whichever the actor's style favours."""
    pace: float = 1.0
    """How many times as fast as others it rises and falls: a startle is sudden, sadness slow."""

    def unit_vector(self) -> np.ndarray:
        """Units (unit,) in the order of `facs.UNITS`."""
        return np.array([self.units.get(unit, 0.0) for unit in UNITS])


READINGS: tuple[Reading, ...] = (
    Reading("at_rest", "neutral", 0.80, 0.80, dict(AU2=0.10, AU12=0.08)),
    Reading("attentive", "neutral", 0.13, 0.13, dict(AU1=0.32, AU2=0.44, AU5=0.25)),
    Reading("composed", "neutral", 0.07, 0.07, dict(AU24=0.40, AU17=0.15, AU14=0.15)),
    Reading("soft_smile", "calm", 0.60, 0.65, dict(AU12=0.50, AU6=0.30, AU43=0.30), pace=0.7),
    Reading("heavy_lids", "calm", 0.20, 0.15, dict(AU7=0.65, AU12=0.26, AU14=0.50, AU43=0.50), pace=0.6),
    Reading("gentle", "calm", 0.20, 0.20, dict(AU1=0.65, AU2=0.20, AU12=0.40, AU43=0.30), pace=0.7),
    Reading("warm_smile", "happy", 0.55, 0.15, dict(AU6=0.65, AU12=0.66, AU14=0.35, AU24=0.15)),
    Reading("bright_grin", "happy", 0.30, 0.45, dict(AU6=1.00, AU12=1.00, AU10=0.80, AU16=0.75, AU26=0.50)),
    Reading("laughing_brows", "happy", 0.15, 0.40, dict(AU1=0.70, AU2=0.85, AU6=0.75, AU12=1.00, AU16=0.25, AU26=0.75)),
    Reading("grief", "sad", 0.25, 0.40, dict(AU1=1.00, AU4=0.85, AU15=1.00, AU17=0.60, AU64=0.25), pace=0.7),
    Reading(
        "downcast", "sad", 0.50, 0.25, dict(AU1=0.45, AU7=0.55, AU15=0.75, AU14=0.10, AU43=0.45, AU64=0.70), pace=0.6
    ),
    Reading(
        "tearful", "sad", 0.25, 0.35, dict(AU1=1.00, AU4=0.70, AU6=0.60, AU15=0.60, AU20=0.55, AU16=0.25), pace=0.8
    ),
    Reading("glare", "angry", 0.40, 0.25, dict(AU4=1.00, AU5=0.75, AU7=0.35, AU24=0.65, AU29=0.30), pace=1.3),
    Reading(
        "snarl", "angry", 0.15, 0.60, dict(AU4=1.00, AU7=0.55, AU9=0.50, AU10=0.70, AU16=0.85, AU26=0.15), pace=1.5
    ),
    Reading("contained", "angry", 0.45, 0.15, dict(AU4=1.00, AU7=1.00, AU24=1.00, AU17=0.50)),
    Reading(
        "wide_eyed",
        "fearful",
        0.50,
        0.60,
        dict(AU1=1.00, AU2=0.80, AU4=0.35, AU5=1.00, AU20=0.80, AU16=0.30, AU26=0.40),
        pace=1.6,
    ),
    Reading("shrinking", "fearful", 0.35, 0.10, dict(AU1=1.00, AU4=0.80, AU5=0.55, AU20=0.60, AU24=0.35, AU61=0.45)),
    Reading(
        "terror", "fearful", 0.15, 0.30, dict(AU1=1.00, AU2=0.40, AU4=0.80, AU5=1.00, AU20=1.00, AU16=0.75), pace=1.8
    ),
    Reading(
        "nose_wrinkle", "disgusted", 0.70, 0.75, dict(AU9=1.00, AU4=0.05, AU6=0.60, AU10=0.95, AU7=0.60, AU15=0.25)
    ),
    Reading(
        "lip_curl",
        "disgusted",
        0.20,
        0.10,
        dict(AU10=1.00, AU9=0.40, AU14=0.30, AU15=0.20, AU17=0.70, AU7=0.45),
        one_sided=0.60,
    ),
    Reading(
        "revolted",
        "disgusted",
        0.10,
        0.15,
        dict(AU9=0.85, AU10=0.70, AU15=0.85, AU16=1.00, AU20=0.25, AU26=0.45, AU7=0.85, AU61=0.40),
    ),
    Reading("open", "surprised", 0.30, 0.55, dict(AU1=1.00, AU2=1.00, AU5=1.00, AU26=1.00), pace=2.0),
    Reading("delighted", "surprised", 0.30, 0.20, dict(AU1=0.90, AU2=1.00, AU5=0.80, AU12=0.75, AU26=0.65), pace=1.6),
    Reading("oh", "surprised", 0.25, 0.20, dict(AU1=0.85, AU2=0.95, AU5=0.60, AU22=0.90, AU26=0.45), pace=1.6),
    Reading("incredulous", "surprised", 0.15, 0.05, dict(AU1=0.50, AU2=1.00, AU5=0.50, AU14=0.30), one_sided=0.70),
)
"""The repertoire. Of each emotion, the probabilities sum to 1 at both ends."""


def readings_of(emotion: int, readings: tuple[Reading, ...] = READINGS) -> tuple[Reading, ...]:
    """Readings of an emotion by its index."""
    return tuple(reading for reading in readings if reading.emotion == EMOTIONS[emotion])


def reading_probabilities(readings: tuple[Reading, ...], intensity: float) -> np.ndarray:
    """P(r | e, intensity), (reading,), of the readings of one emotion; linear in the intensity."""
    weak = np.array([reading.weak for reading in readings])
    strong = np.array([reading.strong for reading in readings])
    return (1.0 - intensity) * weak + intensity * strong
