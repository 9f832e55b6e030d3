"""Prosody: pitch, voicing, level, the balance of the spectrum and the roughness of the voice, for every motion frame.

Why beside Whisper: its features carry emotion, but not from synthetic to real speech (a classifier trained on synthetic
speech finds 13 % of RAVDESS's emotions with them, chance being 12.5 %; with prosody far more: docs/transfer.md).
Why never normalised per clip: how high and loud a clip is as a whole is most of its emotion (per clip: 16 to 21 %).
"""

import functools
import importlib.metadata
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from deeptalk.speech.encoder import SpeechEncoder, pad_waveforms
from deeptalk.speech.frames import FRAME_RATE, SAMPLE_RATE, frame_counts, length_mask, pool_frames
from deeptalk.speech.statistics import population_statistics
from deeptalk.speech.waveform import Waveform

if TYPE_CHECKING:
    from swift_f0 import SwiftF0

CHANNELS = ("log_f0", "voicing", "level", "spectral_tilt", "low_band", "high_band", "irregularity")
LOG_F0, VOICING, LEVEL, TILT, LOW_BAND, HIGH_BAND, IRREGULARITY = range(7)
NORMALISED = (LOG_F0, LEVEL, TILT, LOW_BAND, HIGH_BAND, IRREGULARITY)

LOWEST_F0_HZ, HIGHEST_F0_HZ = 55.0, 800.0
VOICED = 0.5  # the detector's confidence is calibrated so
# Lower levels count as this one: how far below speech a pause lies is the recording, not the voice.
QUIETEST_DB = -60.0

SPECTRUM_RATE = 100.0
HOP_SAMPLES = 160
WINDOW_SAMPLES = 640
# The alpha ratio of eGeMAPS (Eyben et al. 2016): energy of 1 to 5 kHz over that of 50 Hz to 1 kHz.
ALPHA_LOW_HZ, ALPHA_HIGH_HZ = (50.0, 1000.0), (1000.0, 5000.0)
# The two ends of the spectrum, as shares of all of it: vocal effort empties the first and fills the second.
LOW_BAND_HZ, HIGH_BAND_HZ = (50.0, 500.0), (4000.0, 8000.0)

SEMITONES = 12.0 / math.log(2.0)
LARGEST_JUMP_SEMITONES = 4.0  # the detector's octave errors are not the voice's
LEAST_IRREGULARITY_SEMITONES = 0.02


class ProsodyEncoder(SpeechEncoder):
    """Seven channels: log-F0, voicing, level, spectral tilt, low band, high band, irregularity.

    log-F0 (natural, of Hz), level (dB of full scale), tilt (alpha ratio, dB), the share of the energy below 500 Hz and
    that above 4 kHz (dB) and irregularity are standardised with stored statistics of real speech; voicing is the pitch
    detector's confidence, 0 to 1. Irregularity is the natural logarithm of how much F0 bends from one 16 ms to the next
    (mean absolute second difference, semitones, plus 0.02): jitter and tremor, and steep contours. Where log-F0 or
    irregularity is not defined (unvoiced) or the spectrum is not (silence), it is interpolated in time between the
    frames where it is, and held at the ends; voicing and level say where that is. A clip without any voiced (audible)
    frame gets the mean, 0. How to hear speech relative to its speaker: `deeptalk.speech.reference`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, frame_rate: float = FRAME_RATE) -> None:
        super().__init__("prosody", len(CHANNELS), frame_rate)
        stored = population_statistics()["prosody"]
        mean, std = torch.zeros(len(CHANNELS)), torch.ones(len(CHANNELS))
        for channel in NORMALISED:
            mean[channel] = stored[CHANNELS[channel]]["mean"]
            std[channel] = stored[CHANNELS[channel]]["std"]
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, 7)."""
        raw = prosody(waveforms, sample_lengths, frame_lengths, self.frame_rate)
        features = (raw - self.mean) / self.std
        filled = [fill_gaps(clip[:length]) for clip, length in zip(features, frame_lengths.tolist())]
        return torch.nn.utils.rnn.pad_sequence(filled, batch_first=True)

    def identity(self) -> dict:
        """Return the name, the normalisation and the version of the pitch detector."""
        detector = importlib.metadata.version("swift-f0")
        return {"name": self.name, "mean": self.mean.tolist(), "std": self.std.tolist(), "swift-f0": detector}


def prosody(
    waveforms: Float[Tensor, "batch sample"],
    sample_lengths: Int[Tensor, " batch"],
    frame_lengths: Int[Tensor, " batch"],
    frame_rate: float,
) -> Float[Tensor, "batch frame 7"]:
    """Return the channels in the order and units of `ProsodyEncoder`, as they are; NaN where one is not defined."""
    log_f0, voicing, irregularity = _pitch(waveforms, sample_lengths, frame_lengths, frame_rate)
    level, tilt, low, high = _spectrum(waveforms, sample_lengths, frame_lengths, frame_rate)
    return torch.stack([log_f0, voicing, level, tilt, low, high, irregularity], dim=-1)


def voiced_frames(recording: Waveform | np.ndarray, frame_rate: float = FRAME_RATE) -> Float[Tensor, "frame 7"]:
    """Return the raw prosody of those frames of one recording in which all channels are defined."""
    waveforms, sample_lengths = pad_waveforms([recording])
    raw = prosody(waveforms, sample_lengths, frame_counts(sample_lengths, frame_rate), frame_rate)[0]
    return raw[(raw[:, VOICING] >= VOICED) & ~raw.isnan().any(dim=-1)]


def fill_gaps(features: Float[Tensor, "frame channel"]) -> Float[Tensor, "frame channel"]:
    """Interpolate NaN linearly in time within each channel, hold the ends; a channel of NaN alone becomes 0."""
    values = features.cpu().numpy().copy()
    times = np.arange(len(values))
    for column in values.T:
        known = np.isfinite(column)
        column[:] = np.interp(times, times[known], column[known]) if known.any() else 0.0
    return torch.from_numpy(values).to(features)


def _pitch(
    waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor, frame_rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-F0, voicing and irregularity, (batch, frame); the first and the last NaN where unvoiced."""
    tracks = [
        _pitch_track(samples[:length].cpu().numpy()) for samples, length in zip(waveforms, sample_lengths.tolist())
    ]
    lengths = torch.tensor([len(track) for track in tracks], device=waveforms.device)
    padded = torch.nn.utils.rnn.pad_sequence(tracks, batch_first=True).to(waveforms.device)
    pooled = pool_frames(padded, lengths, _pitch_rate(), frame_lengths, frame_rate)
    voiced_log_f0, voiced_share, confidence, bend, bend_share = pooled.unbind(dim=-1)
    log_f0 = torch.where(voiced_share > 0, voiced_log_f0 / voiced_share, torch.nan)
    mean_bend = torch.where(bend_share > 0, bend / bend_share, torch.nan)
    return log_f0, confidence, (mean_bend + LEAST_IRREGULARITY_SEMITONES).log()


def _pitch_track(samples: np.ndarray) -> Tensor:
    """Return (source frame, 5): log-F0 where voiced else 0, whether voiced, confidence, bend, whether it is known."""
    result = pitch_detector().detect(samples, SAMPLE_RATE, fmin=LOWEST_F0_HZ, fmax=HIGHEST_F0_HZ)
    voiced = result.confidence >= VOICED
    log_f0 = np.log(np.maximum(result.pitch_hz, 1.0))
    bend, known = np.zeros(len(voiced)), np.zeros(len(voiced), bool)
    if len(voiced) >= 3:
        steps = SEMITONES * np.diff(log_f0)
        smooth = voiced[1:] & voiced[:-1] & (np.abs(steps) < LARGEST_JUMP_SEMITONES)
        known[1:-1] = smooth[1:] & smooth[:-1]
        bend[1:-1] = np.where(known[1:-1], np.abs(np.diff(steps)), 0.0)
    track = [np.where(voiced, log_f0, 0.0), voiced, result.confidence, bend, known]
    return torch.from_numpy(np.stack(track, axis=-1).astype(np.float32))


def _pitch_rate() -> float:
    from swift_f0 import FRAME_PERIOD

    return 1.0 / FRAME_PERIOD


@functools.cache
def pitch_detector() -> "SwiftF0":
    """Return the one pitch detector of the process: a second thread would gain it little and cost others much."""
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)


def _spectrum(
    waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor, frame_rate: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return level in dB of full scale, and tilt, low and high band in dB, NaN in silence; all (batch, frame)."""
    half = WINDOW_SAMPLES // 2
    window = torch.hann_window(WINDOW_SAMPLES, device=waveforms.device)
    padded = F.pad(waveforms, (half, half))
    spectrum = torch.stft(padded, WINDOW_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True)
    # Scaled so that the sum over bins is the mean square of the samples under the window.
    power = spectrum.abs().square() * 2 / (WINDOW_SAMPLES * window.square().sum())
    hertz = torch.arange(power.shape[1], device=power.device) * SAMPLE_RATE / WINDOW_SAMPLES
    audible = (LOW_BAND_HZ[0], SAMPLE_RATE / 2)
    ranges = (audible, ALPHA_LOW_HZ, ALPHA_HIGH_HZ, LOW_BAND_HZ, HIGH_BAND_HZ)
    bands = torch.stack([power[:, (hertz >= low) & (hertz < high)].sum(dim=1) for low, high in ranges], dim=-1)
    lengths = sample_lengths // HOP_SAMPLES + 1
    pooled = pool_frames(bands, lengths, SPECTRUM_RATE, frame_lengths, frame_rate).double()
    decibels = 10 * pooled.clamp_min(1e-14).log10()
    whole, alpha_low, alpha_high, low, high = decibels.unbind(dim=-1)
    shapes = torch.stack([alpha_high - alpha_low, low - whole, high - whole])
    tilt, low, high = torch.where(whole > QUIETEST_DB, shapes, torch.nan).float()
    level = torch.where(length_mask(frame_lengths, whole.shape[1]), whole.clamp_min(QUIETEST_DB), 0.0)
    return level.float(), tilt, low, high
