"""The emotion on the face: a reading's action units in onset, apex and offset, tied to stress and loudness."""

from collections.abc import Sequence

import numpy as np

from deeptalk.corpus.performer.distribution import NEUTRAL, Choice
from deeptalk.corpus.performer.event import SILENCE, VOWELS, Phone
from deeptalk.corpus.performer.facs import ACTION_UNITS, UNITS, UPPER_FACE, unit_matrix
from deeptalk.corpus.performer.mouth import MouthCurves, vowel_slice
from deeptalk.corpus.performer.style import Style, Timing
from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.face import CHANNELS

LEAST_AMPLITUDE = 0.45
"""Share of a reading's units at intensity 0: even a faint emotion can be told."""
STRESS_SECONDS = 0.09
"""Standard deviation of the swell of a stressed syllable."""
BROW_BEAT = 0.22
"""Raise of the brows (units 1 and 2) at the loudest stressed syllable, times the style's emphasis."""
STRONG_SIDE_SHARE = 0.35
"""How much the strong side gains where the weak side loses 1."""
LOUDNESS_STRESS_DECIBELS, LEAST_STRESS = 15.0, 0.2
"""Level below the loudest stressed vowel at which a swell would vanish, and the least height it keeps."""
WANDER_HERTZ = np.array([0.31, 0.53, 0.87])
WANDER_SIZE = 0.035

_UNIT_MATRIX = unit_matrix()
_UPPER = np.array([unit in UPPER_FACE for unit in UNITS])
_BROW_UNITS = np.array([unit in ("AU1", "AU2") for unit in UNITS])
_LEFT = np.array([name.endswith("Left") for name in CHANNELS])
_RIGHT = np.array([name.endswith("Right") for name in CHANNELS])
_ROUNDING_OPPOSED = [index for name in ("mouthSmile", "mouthStretch", "mouthDimple") for index in channel_indices(name)]
_MOUTH = sorted(
    {
        index
        for unit, channels in ACTION_UNITS.items()
        if unit not in UPPER_FACE
        for name in channels
        if name.startswith(("mouth", "jaw", "cheekPuff"))
        for index in channel_indices(name)
    }
)
_JAW_OPEN = CHANNELS.index("jawOpen")

SPEAKING_SHARE, SPEAKING_JAW_SHARE = 0.72, 0.30
"""What speech leaves of the emotion in the mouth, and of its jaw drop, so that words stay readable."""
ROUNDED_SHARE = 0.55
"""What fully rounded lips leave of smile, stretch and dimple."""


def amplitude(choice: Choice) -> float:
    """Share of a reading's units at an intensity; neutral readings are acted as they stand."""
    return 1.0 if choice.emotion == NEUTRAL else LEAST_AMPLITUDE + (1.0 - LEAST_AMPLITUDE) * choice.intensity


def emotion_pose(
    choice: Choice, style: Style, timing: Timing, phones: Sequence[Phone], mouth: MouthCurves, times: np.ndarray
) -> np.ndarray:
    """The emotion's part (control, channel) of the pose, to be added to the articulation."""
    stress = stress_curve(phones, mouth.loudness, times)
    upper = envelope(times, phones, timing, 0.0) + wander(times, timing.wander_phase[0])
    lower = envelope(times, phones, timing, timing.mouth_delay_seconds) + wander(times, timing.wander_phase[1])
    swell = 1.0 + style.emphasis * stress
    curves = np.where(_UPPER, (upper * swell * style.upper_gain)[:, None], (lower * swell * style.lower_gain)[:, None])
    units = curves * (amplitude(choice) * choice.reading.unit_vector() * timing.unit_gains)
    units[:, _BROW_UNITS] += (BROW_BEAT * style.emphasis * stress)[:, None]
    pose = np.maximum(units, 0.0) @ _UNIT_MATRIX
    _lean(pose, choice.reading.one_sided, style.asymmetry)
    return _beside_speech(pose, mouth)


def envelope(times: np.ndarray, phones: Sequence[Phone], timing: Timing, delay_seconds: float) -> np.ndarray:
    """Onset, apex and offset (control,): anticipation before, 1 at the apex, residue after."""
    spoken = [phone for phone in phones if phone.symbol != SILENCE] or list(phones)
    onset = spoken[0].start_seconds + timing.onset_seconds + delay_seconds
    offset = max(spoken[-1].end_seconds + timing.offset_seconds + delay_seconds, onset + timing.rise_seconds)
    rise = _smooth_step((times - onset) / timing.rise_seconds)
    fall = _smooth_step((times - offset) / timing.fall_seconds)
    return timing.anticipation + (1.0 - timing.anticipation) * rise - (1.0 - timing.residue) * fall


def _smooth_step(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a half cosine between."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0.0, 1.0))


def wander(times: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """A slow change of strength (control,), so that an apex is never frozen."""
    return WANDER_SIZE * np.sin(2.0 * np.pi * times[:, None] * WANDER_HERTZ + phases).sum(1)


def stress_curve(phones: Sequence[Phone], loudness: np.ndarray, times: np.ndarray) -> np.ndarray:
    """0..1 (control,): a swell at every vowel of primary stress, the higher the louder it is within the clip."""
    stressed = [phone for phone in phones if phone.stress == 1 and phone.symbol in VOWELS]
    if not stressed:
        return np.zeros(len(times))
    levels = np.array([loudness[vowel_slice(phone)].mean() for phone in stressed])
    heights = np.clip(1.0 + (levels - levels.max()) / LOUDNESS_STRESS_DECIBELS, LEAST_STRESS, 1.0)
    middles = np.array([phone.middle_seconds for phone in stressed])
    swells = heights * np.exp(-0.5 * ((times[:, None] - middles) / STRESS_SECONDS) ** 2)
    return np.max(swells, axis=1)


def _lean(pose: np.ndarray, one_sided: float, asymmetry: float) -> None:
    """Strengthen one side and weaken the other in place; a one-sided reading leans where the style does."""
    # A lean beyond 1 would turn the weak side's pose upside down.
    lean = np.clip(asymmetry + one_sided * (1.0 if asymmetry >= 0.0 else -1.0), -1.0, 1.0)
    pose[:, _LEFT] *= 1.0 + lean if lean < 0.0 else 1.0 + STRONG_SIDE_SHARE * lean
    pose[:, _RIGHT] *= 1.0 - lean if lean > 0.0 else 1.0 - STRONG_SIDE_SHARE * lean


def _beside_speech(pose: np.ndarray, mouth: MouthCurves) -> np.ndarray:
    """The pose with its mouth held back where the mouth speaks."""
    share = 1.0 - (1.0 - SPEAKING_SHARE) * mouth.speaking
    jaw_share = 1.0 - (1.0 - SPEAKING_JAW_SHARE) * mouth.speaking
    held = pose.copy()
    held[:, _MOUTH] *= share[:, None]
    held[:, _JAW_OPEN] = pose[:, _JAW_OPEN] * jaw_share
    held[:, _ROUNDING_OPPOSED] *= (1.0 - (1.0 - ROUNDED_SHARE) * mouth.rounding)[:, None]
    return held
