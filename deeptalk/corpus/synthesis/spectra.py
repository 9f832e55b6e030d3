"""Edits on the spectra that hibari's network hands to its vocoder: pitch, breath, tilt, dynamics and formants.

Only `stretched` changes timing. Arrays are (bin, frame): 601 bins of 20 Hz, frames of 12.5 ms.
"""

from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.synthesis.colour import tilt_decibels
from deeptalk.corpus.synthesis.movement import (
    HIGHEST_F0_HERTZ,
    LOWEST_F0_HERTZ,
    dynamics_gain,
    edited_log_f0,
    irregularity,
)
from deeptalk.corpus.synthesis.voices import Voice

BIN_HERTZ = 20.0
VOICED_HERTZ = 40.0
"""Frames whose F0 is below this are unvoiced, as in hibari's vocoder."""
_NEPER_PER_DECIBEL = np.log(10.0) / 20.0


@dataclass
class Spectra:
    """Outputs of the network: log magnitudes and phases of three branches, and F0."""

    harmonic_log: np.ndarray
    harmonic_phase: np.ndarray
    noise_log: np.ndarray
    free_log: np.ndarray
    free_phase: np.ndarray
    f0_hertz: np.ndarray


def stretched(spectra: Spectra, frames: int) -> Spectra:
    """The spectra with another number of frames, evenly; F0 is only interpolated where it is voiced all around."""
    old = len(spectra.f0_hertz)
    places = np.clip((np.arange(frames) + 0.5) * old / frames - 0.5, 0, old - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, old - 1)
    share = (places - low).astype(np.float32)
    nearest = np.where(share < 0.5, low, high)

    def between(values: np.ndarray) -> np.ndarray:
        return values[..., low] * (1.0 - share) + values[..., high] * share

    f0 = spectra.f0_hertz
    voiced = (f0[low] > VOICED_HERTZ) & (f0[high] > VOICED_HERTZ)
    return Spectra(
        harmonic_log=between(spectra.harmonic_log),
        harmonic_phase=between(spectra.harmonic_phase),
        noise_log=between(spectra.noise_log),
        free_log=between(spectra.free_log),
        free_phase=spectra.free_phase[:, nearest],
        f0_hertz=np.where(voiced, between(f0), f0[nearest]),
    )


def edited(spectra: Spectra, affect: AffectCode, voice: Voice, seed: int) -> Spectra:
    """The spectra with the affect and the voice put in; the seed is that of irregularity."""
    bins = np.arange(len(spectra.harmonic_log))
    voiced = spectra.f0_hertz > VOICED_HERTZ
    decibels_per_octave = affect.tilt_decibels_per_octave + voice.tilt_decibels_per_octave
    tilt = (tilt_decibels(bins * BIN_HERTZ, decibels_per_octave) * _NEPER_PER_DECIBEL).astype(np.float32)[:, None]
    breath = (affect.breath_decibels + voice.breath_decibels) * _NEPER_PER_DECIBEL * voiced.astype(np.float32)
    source = np.clip(np.round(bins / (voice.spectral_warp * affect.formant_factor)).astype(int), 0, len(bins) - 1)
    noise = irregularity(len(voiced), affect.irregularity_semitones, seed)
    gain = tilt + dynamics_gain(_energy(spectra), voiced, affect.dynamics_factor)
    gain = gain + (noise.level_decibels * _NEPER_PER_DECIBEL * voiced).astype(np.float32)
    return Spectra(
        harmonic_log=spectra.harmonic_log[source] + gain,
        harmonic_phase=spectra.harmonic_phase[source],
        noise_log=spectra.noise_log[source] + gain + breath,
        free_log=spectra.free_log[source] + gain + breath,
        free_phase=spectra.free_phase[source],
        f0_hertz=edited_f0(spectra.f0_hertz, voiced, affect, voice, noise.log_f0),
    )


def _energy(spectra: Spectra) -> np.ndarray:
    """Level of the harmonics (frame,) in nepers, smoothed over 90 ms."""
    nepers = 0.5 * np.log(np.exp(2.0 * np.maximum(spectra.harmonic_log, -20.0)).sum(0) + 1e-6)
    return np.convolve(np.pad(nepers, 3, mode="edge"), np.ones(7) / 7.0, mode="valid")


def edited_f0(
    f0_hertz: np.ndarray, voiced: np.ndarray, affect: AffectCode, voice: Voice, movements: np.ndarray | float = 0.0
) -> np.ndarray:
    """F0 (frame,) with affect and voice put in, held within 55..760 Hz; unvoiced frames stay as they are."""
    if not voiced.any():
        return f0_hertz
    log_f0 = np.log(np.maximum(f0_hertz, VOICED_HERTZ))
    moved = np.exp(edited_log_f0(log_f0, voiced, affect, voice, voice.pitch_factor) + movements)
    return np.where(voiced, np.clip(moved, LOWEST_F0_HERTZ, HIGHEST_F0_HERTZ), f0_hertz).astype(np.float32)
