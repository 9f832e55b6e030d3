"""Log-mel features: no weights, so always at hand."""

import torch
from torch import Tensor

from deeptalk.speech.encoder import SpeechEncoder
from deeptalk.speech.frames import FRAME_RATE, pool_frames
from deeptalk.speech.mel import MEL_RATE, mel_lengths, mel_power
from deeptalk.speech.statistics import population_statistics

MEL_BINS = 80
# Quieter than any room: digital silence must not lie ten times further from speech than a pause does.
POWER_FLOOR = 1e-6


class LogMelEncoder(SpeechEncoder):
    """80 log10 mel powers, each standardised by stored statistics of real speech (never by the clip)."""

    mean: Tensor
    std: Tensor

    def __init__(self, frame_rate: float = FRAME_RATE) -> None:
        super().__init__("logmel", MEL_BINS, frame_rate)
        statistics = population_statistics()["logmel"]
        self.register_buffer("mean", torch.tensor(statistics["mean"]))
        self.register_buffer("std", torch.tensor(statistics["std"]))

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, 80)."""
        values = (log_mel(waveforms) - self.mean) / self.std
        return pool_frames(values, mel_lengths(sample_lengths), MEL_RATE, frame_lengths, self.frame_rate)

    def identity(self) -> dict:
        """Return the name and the statistics."""
        return {"name": self.name, "mean": self.mean.tolist(), "std": self.std.tolist()}


def log_mel(waveforms: Tensor) -> Tensor:
    """Return (batch, frame, 80) log10 mel power at 100 Hz before any normalisation."""
    return mel_power(waveforms, MEL_BINS).clamp_min(POWER_FLOOR).log10().transpose(1, 2)
