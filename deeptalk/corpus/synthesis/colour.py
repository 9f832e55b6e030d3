"""Spectral tilt and breath of a waveform, for engines that have no control of their own over them."""

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import istft, stft

from deeptalk.corpus.performer.event import SAMPLE_RATE

WINDOW_SAMPLES, HOP_SAMPLES = 512, 128
TILT_LOW_HERTZ, TILT_CENTRE_HERTZ, TILT_HIGH_HERTZ = 100.0, 1000.0, 6000.0
"""Tilt turns around 1 kHz and ends at these bounds."""
BREATH_BELOW_DECIBELS = 12.0
"""Level of the noise in a voiced sound at breath 0, below the spectral envelope."""
BREATH_FROM_HERTZ, BREATH_FULL_HERTZ = 500.0, 2000.0
"""Breath noise rises between these."""
_ENVELOPE_BINS = 13
"""Width of the smoothing that leaves formants and removes harmonics, 400 Hz."""


def tilt_decibels(hertz: np.ndarray, decibels_per_octave: float) -> np.ndarray:
    """Gain (bin,) in dB of a tilt."""
    return np.log2(np.clip(hertz, TILT_LOW_HERTZ, TILT_HIGH_HERTZ) / TILT_CENTRE_HERTZ) * decibels_per_octave


def with_tilt(samples: np.ndarray, decibels_per_octave: float) -> np.ndarray:
    """The samples (sample,) with a tilted spectrum; nothing else changes."""
    if decibels_per_octave == 0.0:
        return samples
    hertz, _, spectrum = _analysis(samples)
    return _synthesis(spectrum * 10.0 ** (tilt_decibels(hertz, decibels_per_octave) / 20.0)[:, None], len(samples))


def with_breath(samples: np.ndarray, decibels: float, seed: int) -> np.ndarray:
    """The samples (sample,) with more noise in them, coloured by their own spectral envelope.

    Noise that is there cannot be taken away: breath of 0 dB and less changes nothing.
    """
    if decibels <= 0.0:
        return samples
    hertz, _, spectrum = _analysis(samples)
    envelope = np.sqrt(uniform_filter1d(np.abs(spectrum) ** 2, _ENVELOPE_BINS, axis=0))
    generator = np.random.default_rng([seed, 1])
    noise = generator.standard_normal(spectrum.shape) + 1j * generator.standard_normal(spectrum.shape)
    high = np.clip((hertz - BREATH_FROM_HERTZ) / (BREATH_FULL_HERTZ - BREATH_FROM_HERTZ), 0.0, 1.0)
    power = (10.0 ** (decibels / 10.0) - 1.0) * 10.0 ** (-BREATH_BELOW_DECIBELS / 10.0)
    return _synthesis(spectrum + envelope * noise * np.sqrt(0.5 * power) * high[:, None], len(samples))


def _analysis(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return stft(samples, SAMPLE_RATE, nperseg=WINDOW_SAMPLES, noverlap=WINDOW_SAMPLES - HOP_SAMPLES)


def _synthesis(spectrum: np.ndarray, length: int) -> np.ndarray:
    _, samples = istft(spectrum, SAMPLE_RATE, nperseg=WINDOW_SAMPLES, noverlap=WINDOW_SAMPLES - HOP_SAMPLES)
    return samples[:length].astype(np.float32)
