"""What an engine gives, and how it is finished: ends cut alike, phones that tile the clip, a stated level."""

from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, Phone
from deeptalk.errors import UserError

NEUTRAL_LEVEL_DECIBELS = -28.0
"""RMS over the spoken part, relative to full scale, of speech at affect level 0."""
PEAK_LIMIT = 0.95
LEADING_SECONDS, TRAILING_SECONDS = 0.12, 0.16
"""Silence kept before and after the words."""
LEAST_PHONE_SECONDS = 0.025


@dataclass(frozen=True)
class Sound:
    """Speech as it leaves an engine."""

    samples: np.ndarray
    """float32 (sample,), mono at 16 kHz, at any level."""
    phones: list[Phone]
    """They tile the samples and begin and end with silence."""


def finished(sound: Sound, level_decibels: float) -> Sound:
    """The sound with its ends trimmed and at a level relative to that of neutral speech."""
    samples, phones = trim(sound.samples, end_with_sound(sound.samples, sound.phones))
    return Sound(at_level(samples, phones, NEUTRAL_LEVEL_DECIBELS + level_decibels), phones)


def end_with_sound(samples: np.ndarray, phones: list[Phone]) -> list[Phone]:
    """End the last spoken phone where the sound ends: engines give it some of the silence that follows.

    The end is the last 10 ms whose level is within 40 dB of the loudest.
    """
    spoken = [place for place, phone in enumerate(phones) if phone.symbol != SILENCE]
    if not spoken:
        raise UserError("The text has no spoken sounds; give words.")
    last = spoken[-1]
    block = SAMPLE_RATE // 100
    power = (samples[: len(samples) // block * block].reshape(-1, block) ** 2).mean(1)
    audible_end = (np.flatnonzero(power > power.max() * 1e-4)[-1] + 1) * block / SAMPLE_RATE
    latest = len(samples) / SAMPLE_RATE - LEAST_PHONE_SECONDS
    end = min(max(audible_end, phones[last].start_seconds + LEAST_PHONE_SECONDS), latest)
    ended = Phone(phones[last].symbol, phones[last].start_seconds, end, phones[last].stress)
    return [*phones[:last], ended, Phone(SILENCE, end, len(samples) / SAMPLE_RATE)]


def trim(samples: np.ndarray, phones: list[Phone]) -> tuple[np.ndarray, list[Phone]]:
    """Cut silence at both ends to what is kept; phone times move with it."""
    first, last = phones[0], phones[-1]
    begin = max(first.end_seconds - LEADING_SECONDS, 0.0) if first.symbol == SILENCE else 0.0
    begin_sample = round(begin * SAMPLE_RATE)
    end_sample = min(round((last.start_seconds + TRAILING_SECONDS) * SAMPLE_RATE), len(samples))
    begin, seconds = begin_sample / SAMPLE_RATE, (end_sample - begin_sample) / SAMPLE_RATE
    moved = [
        Phone(
            phone.symbol,
            max(phone.start_seconds - begin, 0.0),
            seconds if phone is last else phone.end_seconds - begin,
            phone.stress,
        )
        for phone in phones
    ]
    return samples[begin_sample:end_sample], moved


def at_level(samples: np.ndarray, phones: list[Phone], level_decibels: float) -> np.ndarray:
    """Scale so that the spoken part has this RMS; peaks are held at 0.95 by scaling the whole clip down."""
    spoken = slice(round(phones[0].end_seconds * SAMPLE_RATE), round(phones[-1].start_seconds * SAMPLE_RATE))
    rms = float(np.sqrt(np.mean(samples[spoken].astype(np.float64) ** 2)))
    gain = 10.0 ** (level_decibels / 20.0) / max(rms, 1e-6)
    gain = min(gain, PEAK_LIMIT / max(float(np.abs(samples).max()), 1e-6))
    return (samples * gain).astype(np.float32)
