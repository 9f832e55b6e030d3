"""The emotion on the face: a reading's action units in onset, apex and offset, tied to stress and loudness."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deeptalk.corpus.performer.distribution import NEUTRAL, Choice
from deeptalk.corpus.performer.event import SILENCE, VOWELS, Phone, SpeechEvent
from deeptalk.corpus.performer.facs import ACTION_UNITS, UNITS, UPPER_FACE, unit_matrix
from deeptalk.corpus.performer.mouth import MouthCurves, control_points, vowel_slice
from deeptalk.corpus.performer.style import Style, Timing
from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.face import CHANNELS

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


@dataclass(frozen=True, eq=False)
class ActingParameters:
    """Constants of the acting."""

    action_units: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: ACTION_UNITS)
    """Channels of each unit at 1."""
    least_amplitude: float = 0.62
    """Share of a reading's units at intensity 0: even a faint emotion can be told."""
    stress_seconds: float = 0.09
    """Standard deviation of the swell of a stressed syllable."""
    brow_beat: float = 0.22
    """Raise of the brows (units 1 and 2) at the loudest stressed syllable, times the style's emphasis."""
    loudness_stress_decibels: float = 15.0
    """Level below the loudest stressed vowel at which a swell would vanish."""
    least_stress: float = 0.2
    """Least height of a swell."""
    strong_side_share: float = 0.35
    """How much the strong side gains where the weak side loses 1."""
    wander_hertz: tuple[float, float, float] = (0.31, 0.53, 0.87)
    wander_size: float = 0.035
    """Amplitude of each of the three waves of a slow change of strength."""
    speaking_share: float = 0.72
    """What speech leaves of the emotion in the mouth, so that words stay readable."""
    speaking_jaw_share: float = 0.42
    """What speech leaves of the emotion's jaw drop."""
    rounded_share: float = 0.55
    """What fully rounded lips leave of smile, stretch and dimple."""

    @functools.cached_property
    def unit_matrix(self) -> np.ndarray:
        """(unit, channel): what each unit of `UNITS` adds to the channels at 1."""
        return unit_matrix(self.action_units)


def amplitude(choice: Choice, parameters: ActingParameters) -> float:
    """Share of a reading's units at an intensity; neutral readings are acted as they stand."""
    least = parameters.least_amplitude
    return 1.0 if choice.emotion == NEUTRAL else least + (1.0 - least) * choice.intensity


def emotion_pose(
    choice: Choice, style: Style, timing: Timing, event: SpeechEvent, mouth: MouthCurves, parameters: ActingParameters
) -> np.ndarray:
    """The emotion's part (control, channel) of the pose, to be added to the articulation."""
    times, pace = control_points(event), choice.reading.pace
    stress = stress_curve(event.phones, mouth.loudness, times, parameters)
    delays = (0.0, timing.mouth_delay_seconds)
    upper, lower = (
        envelope(times, event.phones, timing, pace, delay) + wander(times, phases, parameters)
        for delay, phases in zip(delays, timing.wander_phase)
    )
    swell = 1.0 + style.emphasis * stress
    curves = np.where(_UPPER, (upper * swell * style.upper_gain)[:, None], (lower * swell * style.lower_gain)[:, None])
    units = curves * (amplitude(choice, parameters) * choice.reading.unit_vector() * timing.unit_gains)
    units[:, _BROW_UNITS] += (parameters.brow_beat * style.emphasis * stress)[:, None]
    pose = np.maximum(units, 0.0) @ parameters.unit_matrix
    _lean(pose, choice.reading.one_sided, style.asymmetry, parameters.strong_side_share)
    _beside_speech(pose, mouth, parameters)
    return pose


def envelope(
    times: np.ndarray, phones: Sequence[Phone], timing: Timing, pace: float, delay_seconds: float
) -> np.ndarray:
    """Onset, apex and offset (control,): anticipation before, 1 at the apex, residue after.

    `pace` is the reading's: how many times as fast it rises and falls.
    """
    spoken = [phone for phone in phones if phone.symbol != SILENCE] or list(phones)
    rise_seconds = timing.rise_seconds / pace
    onset = spoken[0].start_seconds + timing.onset_seconds + delay_seconds
    offset = max(spoken[-1].end_seconds + timing.offset_seconds + delay_seconds, onset + rise_seconds)
    rise = _smooth_step((times - onset) / rise_seconds)
    fall = _smooth_step((times - offset) * pace / timing.fall_seconds)
    return timing.anticipation + (1.0 - timing.anticipation) * rise - (1.0 - timing.residue) * fall


def _smooth_step(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, a half cosine between."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0.0, 1.0))


def wander(times: np.ndarray, phases: np.ndarray, parameters: ActingParameters) -> np.ndarray:
    """A slow change of strength (control,), so that an apex is never frozen."""
    turns = times[:, None] * np.array(parameters.wander_hertz)
    return parameters.wander_size * np.sin(2.0 * np.pi * turns + phases).sum(1)


def stress_curve(
    phones: Sequence[Phone], loudness: np.ndarray, times: np.ndarray, parameters: ActingParameters
) -> np.ndarray:
    """0..1 (control,): a swell at every vowel of primary stress, the higher the louder it is within the clip."""
    stressed = [phone for phone in phones if phone.stress == 1 and phone.symbol in VOWELS]
    if not stressed:
        return np.zeros(len(times))
    levels = np.array([loudness[vowel_slice(phone)].mean() for phone in stressed])
    softer = (levels.max() - levels) / parameters.loudness_stress_decibels
    heights = np.clip(1.0 - softer, parameters.least_stress, 1.0)
    middles = np.array([phone.middle_seconds for phone in stressed])
    swells = heights * np.exp(-0.5 * ((times[:, None] - middles) / parameters.stress_seconds) ** 2)
    return np.max(swells, axis=1)


def _lean(pose: np.ndarray, one_sided: float, asymmetry: float, strong_side_share: float) -> None:
    """Strengthen one side and weaken the other in place; a one-sided reading leans where the style does."""
    # A lean beyond 1 would turn the weak side's pose upside down.
    lean = np.clip(asymmetry + one_sided * (1.0 if asymmetry >= 0.0 else -1.0), -1.0, 1.0)
    pose[:, _LEFT] *= 1.0 + lean if lean < 0.0 else 1.0 + strong_side_share * lean
    pose[:, _RIGHT] *= 1.0 - lean if lean > 0.0 else 1.0 - strong_side_share * lean


def _beside_speech(pose: np.ndarray, mouth: MouthCurves, parameters: ActingParameters) -> None:
    """Hold the mouth back in place where it speaks."""
    jaw = pose[:, _JAW_OPEN] * (1.0 - (1.0 - parameters.speaking_jaw_share) * mouth.speaking)
    pose[:, _MOUTH] *= (1.0 - (1.0 - parameters.speaking_share) * mouth.speaking)[:, None]
    pose[:, _JAW_OPEN] = jaw
    pose[:, _ROUNDING_OPPOSED] *= (1.0 - (1.0 - parameters.rounded_share) * mouth.rounding)[:, None]
