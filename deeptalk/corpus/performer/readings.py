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

    def unit_vector(self) -> np.ndarray:
        """Units (unit,) in the order of `facs.UNITS`."""
        return np.array([self.units.get(unit, 0.0) for unit in UNITS])


READINGS: tuple[Reading, ...] = (
    Reading("at_rest", "neutral", 0.65, 0.65, dict(AU7=0.05)),
    Reading("attentive", "neutral", 0.35, 0.35, dict(AU1=0.35, AU2=0.40, AU5=0.22)),
    Reading("soft_smile", "calm", 0.80, 0.90, dict(AU12=0.50, AU6=0.40)),
    Reading("heavy_lids", "calm", 0.20, 0.10, dict(AU7=0.60, AU1=0.20, AU14=0.20)),
    Reading("warm_smile", "happy", 0.60, 0.15, dict(AU6=0.55, AU12=0.65, AU14=0.35, AU24=0.30)),
    Reading("bright_grin", "happy", 0.25, 0.50, dict(AU6=1.00, AU12=1.00, AU10=0.50, AU16=0.50, AU26=0.35)),
    Reading("laughing_brows", "happy", 0.15, 0.35, dict(AU1=0.85, AU2=0.95, AU5=0.35, AU12=0.90, AU26=0.55)),
    Reading("grief", "sad", 0.25, 0.45, dict(AU1=1.00, AU4=0.55, AU15=0.95, AU17=0.60)),
    Reading("downcast", "sad", 0.45, 0.25, dict(AU4=0.25, AU7=0.80, AU15=0.60, AU14=0.15)),
    Reading("brave_smile", "sad", 0.30, 0.30, dict(AU1=0.95, AU12=0.40, AU17=0.55, AU24=0.45)),
    Reading("glare", "angry", 0.45, 0.30, dict(AU4=1.00, AU5=0.85, AU24=0.45, AU29=0.30)),
    Reading("snarl", "angry", 0.10, 0.60, dict(AU4=0.85, AU9=0.95, AU10=0.85, AU16=0.55, AU7=0.30)),
    Reading("contained", "angry", 0.45, 0.10, dict(AU4=0.55, AU7=0.90, AU24=0.95, AU17=0.35)),
    Reading("wide_eyed", "fearful", 0.45, 0.70, dict(AU1=1.00, AU2=0.75, AU4=0.35, AU5=1.00, AU20=0.45, AU26=0.35)),
    Reading("shrinking", "fearful", 0.55, 0.30, dict(AU1=0.75, AU4=0.70, AU7=0.65, AU20=0.85, AU15=0.25)),
    Reading("nose_wrinkle", "disgusted", 0.45, 0.60, dict(AU9=1.00, AU4=0.50, AU6=0.45, AU10=0.55, AU7=0.35)),
    Reading("lip_curl", "disgusted", 0.55, 0.40, dict(AU10=0.85, AU15=0.65, AU17=0.50, AU7=0.30), one_sided=0.60),
    Reading("open", "surprised", 0.30, 0.70, dict(AU1=0.95, AU2=1.00, AU5=1.00, AU26=1.00)),
    Reading("delighted", "surprised", 0.30, 0.20, dict(AU1=0.80, AU2=0.85, AU5=0.60, AU12=0.75, AU6=0.35, AU26=0.30)),
    Reading("doubtful", "surprised", 0.40, 0.10, dict(AU2=0.85, AU4=0.35, AU7=0.35, AU14=0.40), one_sided=0.80),
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
