"""The mouth from phone times: dominance functions after Cohen and Massaro 1993.

"Modeling coarticulation in synthetic visual speech", section 3: every phone has a target for every channel and a
dominance that falls off exponentially with the distance in time; a channel is the mean of all targets weighted by
dominance. Time constants are absolute, so fast speech blends its targets. On top of that, vowels open less

- the shorter they are: undershoot that decays exponentially with duration, Lindblom 1963 ("Spectrographic study of
  vowel reduction", J. Acoust. Soc. Am. 35, equation 4), found in the lips and the jaw by Gay 1978 and Flege 1988;
- without stress: de Jong 1995, "The supraglottal articulation of prominence in English", J. Acoust. Soc. Am. 97;
- when soft: Schulman 1989, "Articulatory dynamics of loud and normal speech", J. Acoust. Soc. Am. 85.

The sizes are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, VOWELS, Phone, SpeechEvent
from deeptalk.corpus.performer.visemes import (
    DIPHTHONG_ENDS,
    JAW_WEIGHT,
    LIP_WEIGHT,
    ROUNDING_CHANNELS,
    TARGETS,
    TONGUE_WEIGHT,
    channel_indices,
)
from deeptalk.face import CHANNELS

CONTROL_RATE = 100
"""Hertz of the curves from which the frames are taken; control point i lies at i / 100 s."""

_JAW, _TONGUE = [CHANNELS.index("jawOpen")], [CHANNELS.index("tongueOut")]
_OPENING = [*_JAW, *channel_indices("mouthLowerDown")]
_ROUNDING = [index for name in ROUNDING_CHANNELS for index in channel_indices(name)]


@dataclass(frozen=True)
class MouthParameters:
    """Constants of the articulation."""

    jaw_seconds: float = 0.034
    """Time constant of the dominance of jaw and tongue beyond the edges of a phone."""
    lip_seconds: float = 0.026
    """The same of the lips, which are faster."""
    diphthong_part: float = 0.55
    """Share of a diphthong that its first vowel takes."""
    reference_level_decibels: float = -33.0
    """Level of a vowel, relative to full scale, at which the jaw opens as in the table."""
    opening_per_decibel: float = 0.018
    """How much wider it opens for each decibel more."""
    level_gain_range: tuple[float, float] = (0.65, 1.45)
    """Least and greatest effect of the level."""
    undershoot: float = 0.8
    """Share of the opening that a vowel of no length would lose."""
    undershoot_seconds: float = 0.06
    """Length over which that loss falls by e."""
    full_vowel_seconds: float = 0.10
    """Length of the vowel that opens as in the table."""
    stress_gains: tuple[float, float, float] = (0.88, 1.08, 1.0)
    """Opening of vowels without stress, of primary and of secondary stress."""
    rest_seconds: float = 0.12
    """Time from the last sound before a pause to the mouth at rest, and from there to the next sound."""


@dataclass(frozen=True)
class MouthCurves:
    """What the mouth does for a piece of speech, on the 100 Hz control points."""

    pose: np.ndarray
    """(control, channel) articulation without contacts; zero at rest."""
    rounding: np.ndarray
    """(control,) 0..1, how rounded the lips are."""
    speaking: np.ndarray
    """(control,) 0..1, smooth: 1 inside words, 0 in pauses."""
    loudness: np.ndarray
    """(control,) decibels relative to full scale, smoothed over 50 ms."""


def control_points(event: SpeechEvent) -> np.ndarray:
    """Times (control,) in seconds; they cover the clip and the last frame's instant."""
    return np.arange(int(np.ceil(event.seconds * CONTROL_RATE)) + 4) / CONTROL_RATE


def mouth_curves(event: SpeechEvent, parameters: MouthParameters) -> MouthCurves:
    """Articulate the phones of a clip."""
    times = control_points(event)
    loudness = loudness_decibels(event.samples, len(times))
    parts = split_diphthongs(event.phones, parameters.diphthong_part)
    targets = np.stack([TARGETS[part.symbol] for part in parts])
    pose = _blend(parts, targets, LIP_WEIGHT, times, parameters.lip_seconds)
    for columns, weights in ((_JAW, JAW_WEIGHT), (_TONGUE, TONGUE_WEIGHT)):
        pose[:, columns] = _blend(parts, targets[:, columns], weights, times, parameters.jaw_seconds)
    pose[:, _OPENING] *= opening_gain(event.phones, loudness, times, parameters)[:, None]
    rest = rest_curve(event.phones, times, parameters.rest_seconds)
    pose *= 1.0 - rest[:, None]
    rounding = np.clip(pose[:, _ROUNDING].sum(1) / 0.9, 0.0, 1.0)
    return MouthCurves(pose=pose, rounding=rounding, speaking=1.0 - rest, loudness=loudness)


def split_diphthongs(phones: Sequence[Phone], first_part: float) -> list[Phone]:
    """Phones with every diphthong as two monophthongs, the first of which takes `first_part` of the time."""
    parts: list[Phone] = []
    for phone in phones:
        if phone.symbol in DIPHTHONG_ENDS:
            turn = phone.start_seconds + first_part * (phone.end_seconds - phone.start_seconds)
            parts.append(Phone(phone.symbol, phone.start_seconds, turn, phone.stress))
            parts.append(Phone(DIPHTHONG_ENDS[phone.symbol], turn, phone.end_seconds, phone.stress))
        else:
            parts.append(phone)
    return parts


def _blend(
    parts: Sequence[Phone], targets: np.ndarray, weights: dict[str, float], times: np.ndarray, seconds: float
) -> np.ndarray:
    """Mean (control, channel) of the targets (part, channel), weighted by dominance.

    Dominance is the phone's weight at the middle of a part, and falls by e at a distance of a third of its length plus
    `seconds`.
    """
    middles = np.array([part.middle_seconds for part in parts])
    lengths = np.array([part.end_seconds - part.start_seconds for part in parts])
    spread = seconds + np.minimum(lengths, 0.5) / 3.0
    distance = np.abs(times[:, None] - middles)
    dominance = np.exp(-((distance / spread) ** 1.5)) * np.array([weights[part.symbol] for part in parts])
    dominance += 1e-9 / (0.01 + distance)  # in long silences, where all have vanished, the nearest decides
    return (dominance @ targets) / dominance.sum(1, keepdims=True)


def rest_curve(phones: Sequence[Phone], times: np.ndarray, seconds: float) -> np.ndarray:
    """How far the mouth rests (control,): 1 in the middle of long silences, 0 in speech, along half cosines."""
    rest = np.zeros(len(times))
    start: float | None = None
    for index, phone in enumerate(phones):
        if phone.symbol != SILENCE:
            start = None
            continue
        if start is None:
            start = phone.start_seconds if index else -np.inf
        if index + 1 < len(phones) and phones[index + 1].symbol == SILENCE:
            continue
        end = phone.end_seconds if index + 1 < len(phones) else np.inf
        share = np.clip(np.minimum(times - start, end - times) / seconds, 0.0, 1.0)
        rest = np.maximum(rest, 0.5 - 0.5 * np.cos(np.pi * share))
    return rest


def loudness_decibels(samples: np.ndarray, control_count: int) -> np.ndarray:
    """RMS level (control,) in dB of full scale in a Hann window of 50 ms around every control point; at least -70."""
    hop = SAMPLE_RATE // CONTROL_RATE
    power = np.zeros(control_count * hop)
    power[: min(len(samples), len(power))] = samples[: len(power)].astype(np.float64) ** 2
    blocks = power.reshape(control_count, hop).mean(1)
    window = np.hanning(7)[1:-1]
    smooth = np.convolve(np.pad(blocks, 2, mode="edge"), window / window.sum(), mode="valid")
    return 10.0 * np.log10(smooth + 1e-7)


def opening_gain(
    phones: Sequence[Phone], loudness: np.ndarray, times: np.ndarray, parameters: MouthParameters
) -> np.ndarray:
    """Factor (control,) on the opening: each vowel by its level, length and stress, others between their vowels'."""
    vowels = [phone for phone in phones if phone.symbol in VOWELS]
    if not vowels:
        return np.ones(len(times))
    levels = np.array([loudness[vowel_slice(vowel)].mean() for vowel in vowels])
    louder = parameters.opening_per_decibel * (levels - parameters.reference_level_decibels)
    gains = np.clip(1.0 + louder, *parameters.level_gain_range)
    gains *= undershoot_gain(np.array([vowel.end_seconds - vowel.start_seconds for vowel in vowels]), parameters)
    gains *= np.array(parameters.stress_gains)[[vowel.stress for vowel in vowels]]
    return np.interp(times, [vowel.middle_seconds for vowel in vowels], gains)


def undershoot_gain(seconds: np.ndarray, parameters: MouthParameters) -> np.ndarray:
    """Factor on the opening of vowels of these lengths; 1 at `full_vowel_seconds`."""
    lengths = np.append(seconds, parameters.full_vowel_seconds)
    reached = 1.0 - parameters.undershoot * np.exp(-lengths / parameters.undershoot_seconds)
    return reached[:-1] / reached[-1]


def vowel_slice(phone: Phone) -> slice:
    """Control points of a phone, at least one."""
    first = int(np.ceil(phone.start_seconds * CONTROL_RATE))
    return slice(first, max(first + 1, int(np.floor(phone.end_seconds * CONTROL_RATE)) + 1))


def plateau(times: np.ndarray, start: float, end: float, ramp_seconds: float) -> np.ndarray:
    """1 from start to end, falling to 0 over `ramp_seconds` on both sides along a half cosine."""
    outside = np.maximum(start - times, times - end)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(outside / ramp_seconds, 0.0, 1.0))
