"""How pitch and level move: mean, range, contour, irregularity and dynamics of the affect code, for every engine."""

from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.synthesis.voices import Voice

LOWEST_F0_HERTZ, HIGHEST_F0_HERTZ = 55.0, 760.0
DECIBELS_PER_SEMITONE = 2.0
"""Level moves with the fast part of irregularity (shimmer goes with jitter)."""
FAST_PART, SLOW_PART = 0.6, 0.8
"""Of irregularity; their squares sum to 1."""
LEAST_EXCURSION, MOST_EXCURSION = -3.0, 1.5
"""Excursions of level, in nepers, beyond which dynamics widen no further."""
_SLOW_KERNEL = np.hanning(9)[1:-1] / np.sqrt((np.hanning(9)[1:-1] ** 2).sum())


@dataclass(frozen=True)
class Irregularity:
    """Random movements, (frame,) each."""

    log_f0: np.ndarray
    level_decibels: np.ndarray


def irregularity(frames: int, semitones: float, seed: int) -> Irregularity:
    """Movements of this standard deviation over frames of about 12 ms: part white, part smooth over a tenth second."""
    generator = np.random.default_rng([seed, 2])
    white = generator.standard_normal(frames)
    slow = np.convolve(generator.standard_normal(frames + len(_SLOW_KERNEL) - 1), _SLOW_KERNEL, mode="valid")
    moved = semitones / 12.0 * np.log(2.0) * (FAST_PART * white + SLOW_PART * slow)
    return Irregularity(moved, DECIBELS_PER_SEMITONE * semitones * white)


def edited_log_f0(
    log_f0: np.ndarray, voiced: np.ndarray, affect: AffectCode, voice: Voice, pitch_factor: float
) -> np.ndarray:
    """Natural log of F0 (frame,) with another mean, wider or narrower excursions, and a line added.

    The mean over the voiced frames moves by `pitch_factor` and the affect's pitch, whatever the other settings are.
    """
    mean = log_f0[voiced].mean()
    target = mean + np.log(pitch_factor) + affect.pitch_semitones / 12.0 * np.log(2.0)
    moved = target + affect.pitch_range_factor * voice.pitch_range_factor * (log_f0 - mean)
    first, last = np.flatnonzero(voiced)[[0, -1]]
    line = (np.arange(len(log_f0)) - first) / max(last - first, 1)
    return moved + affect.contour_semitones / 12.0 * np.log(2.0) * (line - line[voiced].mean())


def dynamics_gain(level_nepers: np.ndarray, voiced: np.ndarray, factor: float) -> np.ndarray:
    """Gain (frame,) in nepers that multiplies the excursions of a level around its voiced mean by a factor."""
    if not voiced.any():
        return np.zeros(len(level_nepers), np.float32)
    excursion = np.clip(level_nepers - level_nepers[voiced].mean(), LEAST_EXCURSION, MOST_EXCURSION)
    return ((factor - 1.0) * excursion).astype(np.float32)
