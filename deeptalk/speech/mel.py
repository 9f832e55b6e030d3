"""Whisper's mel spectrogram: 25 ms Hann windows every 10 ms, Slaney's mel scale, 0 to 8 kHz."""

import functools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from deeptalk.speech.frames import SAMPLE_RATE

MEL_RATE = 100.0
HOP_SAMPLES = 160
WINDOW_SAMPLES = 400


def mel_lengths(sample_lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Return the mel frames of each recording: one every 10 ms, at least 1."""
    return (sample_lengths // HOP_SAMPLES).clamp_min(1)


def mel_power(waveforms: Float[Tensor, "batch sample"], mel_bins: int = 80) -> Float[Tensor, "batch mel frame"]:
    """Return the power in mel bands; frame k is centred on sample 160 k.

    As in Whisper, the start is mirrored and after its end a recording goes on in silence, so zero padding leaves the
    frames of a recording as they are. Frames: samples // 160, at least 1.
    """
    half = WINDOW_SAMPLES // 2
    frames = max(1, waveforms.shape[1] // HOP_SAMPLES)
    waveforms = F.pad(waveforms, (0, WINDOW_SAMPLES))
    waveforms = torch.cat([waveforms[:, 1 : half + 1].flip(1), waveforms], dim=1)
    window = torch.hann_window(WINDOW_SAMPLES, device=waveforms.device)
    spectrum = torch.stft(waveforms, WINDOW_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True)
    power = spectrum[..., :frames].abs().square()
    return torch.from_numpy(mel_filters(mel_bins)).to(power) @ power


@functools.cache
def mel_filters(mel_bins: int) -> Float[np.ndarray, "mel bin"]:
    """Return triangles of equal area on Slaney's mel scale (linear to 1 kHz, logarithmic above), float32."""
    top_mel = 15 + np.log(SAMPLE_RATE / 2 / 1000) / (np.log(6.4) / 27)
    mels = np.linspace(0, top_mel, mel_bins + 2)
    corners_hz = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    bins_hz = np.linspace(0, SAMPLE_RATE / 2, WINDOW_SAMPLES // 2 + 1)
    left, centre, right = corners_hz[:-2, None], corners_hz[1:-1, None], corners_hz[2:, None]
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    return triangles.astype(np.float32)
