"""What an engine gives, and how it is finished: ends cut alike, phones that tile the clip, a stated level."""

from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, Phone
from deeptalk.errors import UserError

NEUTRAL_LEVEL_DECIBELS = -36.0
"""RMS of the spoken phones, relative to full scale, at affect level 0; shouting lies 22 dB above."""
PEAK_LIMIT = 0.95
LEAST_REST_SECONDS, MOST_REST_SECONDS = 0.15, 0.60
"""Silence before and after the words, so that faces learn to rest."""
PAUSE_SHARE = 0.4
LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS = 0.30, 0.80
"""So many of the pauses at commas are made this long."""
LEAST_PHONE_SECONDS = 0.025
_FADE_SAMPLES = 80


@dataclass(frozen=True)
class Sound:
    """Speech as it leaves an engine."""

    samples: np.ndarray
    """float32 (sample,), mono at 16 kHz, at any level."""
    phones: list[Phone]
    """They tile the samples and begin and end with silence."""


def finished(sound: Sound, level_decibels: float, seed: int) -> Sound:
    """The sound with rests of random length around and, now and then, within it, at a level relative to neutral."""
    generator = np.random.default_rng([seed, 3])
    rested = with_rests(Sound(sound.samples, end_with_sound(sound.samples, sound.phones)), generator)
    return Sound(at_level(rested.samples, rested.phones, NEUTRAL_LEVEL_DECIBELS + level_decibels), rested.phones)


def with_rests(sound: Sound, generator: np.random.Generator) -> Sound:
    """The sound with silence of drawn length at both ends, and some pauses between words made longer."""
    wanted = {0: generator.uniform(LEAST_REST_SECONDS, MOST_REST_SECONDS)}
    wanted[len(sound.phones) - 1] = generator.uniform(LEAST_REST_SECONDS, MOST_REST_SECONDS)
    for place, phone in enumerate(sound.phones):
        if phone.symbol == SILENCE and place not in wanted:
            longer, seconds = generator.random(), generator.uniform(LEAST_PAUSE_SECONDS, MOST_PAUSE_SECONDS)
            if longer < PAUSE_SHARE:
                wanted[place] = max(seconds, phone.end_seconds - phone.start_seconds)
    samples: list[np.ndarray] = []
    phones: list[Phone] = []
    total = 0
    for place, phone in enumerate(sound.phones):
        edges = round(phone.start_seconds * SAMPLE_RATE), round(phone.end_seconds * SAMPLE_RATE)
        part = sound.samples[slice(*edges)]
        if place in wanted:
            part = _rest(
                part, round(wanted[place] * SAMPLE_RATE), first=place == 0, last=place == len(sound.phones) - 1
            )
        samples.append(part)
        start, total = total, total + len(part)
        phones.append(Phone(phone.symbol, start / SAMPLE_RATE, total / SAMPLE_RATE, phone.stress))
    return Sound(np.concatenate(samples), phones)


def _rest(silence: np.ndarray, length: int, *, first: bool, last: bool) -> np.ndarray:
    """A rest of so many samples: what is near the words stays, the far side is cut, or filled up with nothing.

    Between words, what is filled in stands at the quietest place. Where sound meets nothing it fades over 5 ms.
    """
    if first or last:
        near = silence[::-1] if first else silence
        rest = np.zeros(length, np.float32)
        rest[: len(near)] = _faded_out(near)[:length] if len(near) < length else _faded_out(near[:length])
        return rest[::-1] if first else rest
    if len(silence) >= length:
        return silence
    power = np.convolve(np.square(silence, dtype=np.float64), np.ones(_FADE_SAMPLES), mode="same")
    margin = min(_FADE_SAMPLES, len(silence) // 2)
    cut = margin + int(power[margin : len(silence) - margin + 1].argmin())
    gap = np.zeros(length - len(silence), np.float32)
    return np.concatenate([_faded_out(silence[:cut]), gap, _faded_out(silence[cut:][::-1])[::-1]])


def _faded_out(samples: np.ndarray) -> np.ndarray:
    length = min(_FADE_SAMPLES, len(samples))
    faded = samples.astype(np.float32, copy=True)
    faded[len(samples) - length :] *= np.linspace(1.0, 0.0, length, dtype=np.float32)
    return faded


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


def at_level(samples: np.ndarray, phones: list[Phone], level_decibels: float) -> np.ndarray:
    """Scale so that all but the silences has this RMS; peaks are held at 0.95 by scaling the whole clip down."""
    spoken = [
        samples[round(phone.start_seconds * SAMPLE_RATE) : round(phone.end_seconds * SAMPLE_RATE)]
        for phone in phones
        if phone.symbol != SILENCE
    ]
    rms = float(np.sqrt(np.mean(np.concatenate(spoken).astype(np.float64) ** 2)))
    gain = 10.0 ** (level_decibels / 20.0) / max(rms, 1e-6)
    gain = min(gain, PEAK_LIMIT / max(float(np.abs(samples).max()), 1e-6))
    return (samples * gain).astype(np.float32)
