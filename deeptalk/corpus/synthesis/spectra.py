"""Edits on the spectra that hibari's network hands to its vocoder: pitch, breath, tilt and vocal-tract length.

None of them changes timing. Arrays are (bin, frame): 601 bins of 20 Hz, frames of 12.5 ms.
"""

from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.synthesis.pitch import HIGHEST_F0_HERTZ, LOWEST_F0_HERTZ
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


def edited(spectra: Spectra, affect: AffectCode, voice: Voice) -> Spectra:
    """The spectra with the affect and the voice put in."""
    bins = np.arange(len(spectra.harmonic_log))
    voiced = spectra.f0_hertz > VOICED_HERTZ
    octaves = np.log2(np.clip(bins * BIN_HERTZ, 200.0, 6000.0) / 1000.0)
    decibels_per_octave = affect.tilt_decibels_per_octave + voice.tilt_decibels_per_octave
    tilt = (octaves * decibels_per_octave * _NEPER_PER_DECIBEL).astype(np.float32)[:, None]
    breath = (affect.breath_decibels + voice.breath_decibels) * _NEPER_PER_DECIBEL * voiced.astype(np.float32)
    source = np.clip(np.round(bins / voice.spectral_warp).astype(int), 0, len(bins) - 1)
    return Spectra(
        harmonic_log=spectra.harmonic_log[source] + tilt,
        harmonic_phase=spectra.harmonic_phase[source],
        noise_log=spectra.noise_log[source] + tilt + breath,
        free_log=spectra.free_log[source] + tilt + breath,
        free_phase=spectra.free_phase[source],
        f0_hertz=edited_f0(spectra.f0_hertz, voiced, affect, voice),
    )


def edited_f0(f0_hertz: np.ndarray, voiced: np.ndarray, affect: AffectCode, voice: Voice) -> np.ndarray:
    """F0 (frame,) with mean, range and voice put in, held within 55..700 Hz; unvoiced frames stay as they are."""
    if not voiced.any():
        return f0_hertz
    log_f0 = np.log(np.maximum(f0_hertz, VOICED_HERTZ))
    moved = np.exp(edited_log_f0(log_f0, voiced, affect, voice, voice.pitch_factor))
    return np.where(voiced, np.clip(moved, LOWEST_F0_HERTZ, HIGHEST_F0_HERTZ), f0_hertz).astype(np.float32)


def edited_log_f0(
    log_f0: np.ndarray, voiced: np.ndarray, affect: AffectCode, voice: Voice, pitch_factor: float
) -> np.ndarray:
    """Natural log of F0 (frame,), moved by a factor and by the affect's pitch, its excursions widened."""
    mean = log_f0[voiced].mean()
    target = mean + np.log(pitch_factor) + affect.pitch_semitones / 12.0 * np.log(2.0)
    return target + affect.pitch_range_factor * voice.pitch_range_factor * (log_f0 - mean)
