"""The mouth from phone times: dominance functions after Cohen and Massaro 1993.

"Modeling coarticulation in synthetic visual speech", section 3: every phone has a target for every channel and a
dominance that falls off exponentially with the distance in time; a channel is the mean of all targets weighted by
dominance. Time constants are absolute, so that fast speech blends its targets and moves less: the reduction with rate
is a consequence, not a rule.
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
    channel_indices,
)
from deeptalk.face import CHANNELS

CONTROL_RATE = 100
"""Hertz of the curves from which the frames are taken; control point i lies at i / 100 s."""
JAW_SECONDS, LIP_SECONDS = 0.034, 0.026
"""Time constants of the dominance beyond the edges of a phone: the jaw is slower than the lips."""
DIPHTHONG_PART = 0.55
REFERENCE_LEVEL_DECIBELS = -26.0
"""Level of a vowel at which the jaw opens as in the table."""
JAW_OPENING_PER_DECIBEL = 0.022
LEVEL_GAIN_RANGE = (0.65, 1.45)

_JAW = [CHANNELS.index("jawOpen"), CHANNELS.index("tongueOut")]
_OPENING = [CHANNELS.index("jawOpen"), *channel_indices("mouthLowerDown")]
_ROUNDING = [index for name in ROUNDING_CHANNELS for index in channel_indices(name)]


@dataclass(frozen=True)
class MouthCurves:
    """What the mouth does for a piece of speech, on the 100 Hz control points."""

    pose: np.ndarray
    """(control, channel) articulation without contacts."""
    rounding: np.ndarray
    """(control,) 0..1, how rounded the lips are."""
    speaking: np.ndarray
    """(control,) 0..1, smooth: 1 inside words, 0 in pauses."""
    loudness: np.ndarray
    """(control,) decibels relative to full scale, smoothed over 50 ms."""


def control_points(event: SpeechEvent) -> np.ndarray:
    """Times (control,) in seconds; they cover the clip and the last frame's instant."""
    return np.arange(int(np.ceil(event.seconds * CONTROL_RATE)) + 4) / CONTROL_RATE


def mouth_curves(event: SpeechEvent) -> MouthCurves:
    """Articulate the phones of a clip."""
    times = control_points(event)
    loudness = loudness_decibels(event.samples, len(times))
    parts = split_diphthongs(event.phones)
    targets = np.stack([TARGETS[part.symbol] for part in parts])
    pose = _blend(parts, targets, np.array([LIP_WEIGHT[part.symbol] for part in parts]), times, LIP_SECONDS)
    jaw_weights = np.array([JAW_WEIGHT[part.symbol] for part in parts])
    pose[:, _JAW] = _blend(parts, targets[:, _JAW], jaw_weights, times, JAW_SECONDS)
    pose[:, _OPENING] *= level_gain(event.phones, loudness, times)[:, None]
    speaking = np.zeros(len(times))
    for phone in event.phones:
        if phone.symbol != SILENCE:
            speaking = np.maximum(speaking, plateau(times, phone.start_seconds, phone.end_seconds, ramp_seconds=0.12))
    rounding = np.clip(pose[:, _ROUNDING].sum(1) / 0.9, 0.0, 1.0)
    return MouthCurves(pose=pose, rounding=rounding, speaking=speaking, loudness=loudness)


def split_diphthongs(phones: Sequence[Phone]) -> list[Phone]:
    """Phones with every diphthong as two monophthongs."""
    parts: list[Phone] = []
    for phone in phones:
        if phone.symbol in DIPHTHONG_ENDS:
            turn = phone.start_seconds + DIPHTHONG_PART * (phone.end_seconds - phone.start_seconds)
            parts.append(Phone(phone.symbol, phone.start_seconds, turn, phone.stress))
            parts.append(Phone(DIPHTHONG_ENDS[phone.symbol], turn, phone.end_seconds, phone.stress))
        else:
            parts.append(phone)
    return parts


def _blend(
    parts: Sequence[Phone], targets: np.ndarray, weights: np.ndarray, times: np.ndarray, seconds: float
) -> np.ndarray:
    """Mean (control, channel) of the targets (part, channel), weighted by dominance.

    Dominance is 1 at the middle of a part, e^-1 at a distance of a third of its length plus `seconds`.
    """
    middles = np.array([part.middle_seconds for part in parts])
    lengths = np.array([part.end_seconds - part.start_seconds for part in parts])
    spread = seconds + np.minimum(lengths, 0.5) / 3.0
    dominance = np.exp(-((np.abs(times[:, None] - middles) / spread) ** 1.5)) * weights + 1e-9 * (
        1.0 / (0.01 + np.abs(times[:, None] - middles))
    )
    return (dominance @ targets) / dominance.sum(1, keepdims=True)


def loudness_decibels(samples: np.ndarray, control_count: int) -> np.ndarray:
    """RMS level (control,) in dB of full scale in a Hann window of 50 ms around every control point; at least -70."""
    hop = SAMPLE_RATE // CONTROL_RATE
    power = np.zeros(control_count * hop)
    power[: min(len(samples), len(power))] = samples[: len(power)].astype(np.float64) ** 2
    blocks = power.reshape(control_count, hop).mean(1)
    window = np.hanning(7)[1:-1]
    smooth = np.convolve(np.pad(blocks, 2, mode="edge"), window / window.sum(), mode="valid")
    return 10.0 * np.log10(smooth + 1e-7)


def level_gain(phones: Sequence[Phone], loudness: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Factor (control,) on the opening: each vowel by its own level, other sounds between their vowels'."""
    vowels = [phone for phone in phones if phone.symbol in VOWELS]
    if not vowels:
        return np.ones(len(times))
    middles = np.array([vowel.middle_seconds for vowel in vowels])
    levels = np.array([loudness[vowel_slice(vowel)].mean() for vowel in vowels])
    gains = np.clip(1.0 + JAW_OPENING_PER_DECIBEL * (levels - REFERENCE_LEVEL_DECIBELS), *LEVEL_GAIN_RANGE)
    return np.interp(times, middles, gains)


def vowel_slice(phone: Phone) -> slice:
    """Control points of a phone, at least one."""
    first = int(np.ceil(phone.start_seconds * CONTROL_RATE))
    return slice(first, max(first + 1, int(np.floor(phone.end_seconds * CONTROL_RATE)) + 1))


def plateau(times: np.ndarray, start: float, end: float, ramp_seconds: float) -> np.ndarray:
    """1 from start to end, falling to 0 over `ramp_seconds` on both sides along a half cosine."""
    outside = np.maximum(start - times, times - end)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(outside / ramp_seconds, 0.0, 1.0))
