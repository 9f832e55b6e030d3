"""The affect and the voice put into the sound of an engine that has no control of its own over them."""

import numpy as np
import soxr

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE
from deeptalk.corpus.synthesis.colour import with_breath, with_tilt
from deeptalk.corpus.synthesis.movement import dynamics_gain, edited_log_f0, irregularity
from deeptalk.corpus.synthesis.pitch import with_pitch
from deeptalk.corpus.synthesis.voices import Voice

FRAME_SAMPLES = 200
"""12.5 ms."""
LEVEL_SAMPLES = 1400
"""Window of the level whose excursions dynamics change, 90 ms."""
_AUDIBLE_BELOW_PEAK = np.log(10.0) * 30.0 / 20.0


def formant_warp(affect: AffectCode, voice: Voice) -> float:
    """Factor on formants in all: an engine speaks slower by it, and is then played faster by it (`changed`)."""
    return voice.spectral_warp * affect.formant_factor


def changed(samples: np.ndarray, sample_rate: int, affect: AffectCode, voice: Voice, seed: int) -> np.ndarray:
    """The sound (sample,) at 16 kHz with formants, pitch, dynamics, tilt and breath put in.

    Formants move by playing it faster: times are divided by `formant_warp`; nothing else changes them.
    """
    warp = formant_warp(affect, voice)
    if sample_rate * warp != SAMPLE_RATE:
        samples = soxr.resample(samples, sample_rate * warp, SAMPLE_RATE)
    samples = np.asarray(samples, np.float32)

    def edit(log_f0: np.ndarray, voiced: np.ndarray) -> np.ndarray:
        moved = edited_log_f0(log_f0, voiced, affect, voice, voice.pitch_factor / warp)
        return moved + irregularity(len(log_f0), affect.irregularity_semitones, seed).log_f0

    pitched = with_pitch(samples, edit)
    moved = with_dynamics(pitched, affect.dynamics_factor, affect.irregularity_semitones, seed)
    tilted = with_tilt(moved, affect.tilt_decibels_per_octave + voice.tilt_decibels_per_octave)
    return with_breath(tilted, affect.breath_decibels + voice.breath_decibels, seed)


def with_dynamics(samples: np.ndarray, factor: float, irregularity_semitones: float, seed: int) -> np.ndarray:
    """The samples (sample,) with the excursions of their level multiplied, and the level part of irregularity."""
    if factor == 1.0 and irregularity_semitones == 0.0:
        return samples
    power = np.convolve(np.square(samples, dtype=np.float64), np.ones(LEVEL_SAMPLES) / LEVEL_SAMPLES, mode="same")
    nepers = 0.5 * np.log(power[FRAME_SAMPLES // 2 :: FRAME_SAMPLES] + 1e-12)
    audible = nepers > nepers.max() - _AUDIBLE_BELOW_PEAK
    gain = dynamics_gain(nepers, audible, factor)
    shimmer = irregularity(len(nepers), irregularity_semitones, seed).level_decibels
    gain = gain + shimmer * audible * np.log(10.0) / 20.0
    places = np.arange(len(nepers)) * FRAME_SAMPLES + FRAME_SAMPLES // 2
    return (samples * np.exp(np.interp(np.arange(len(samples)), places, gain))).astype(np.float32)
