"""What every speech encoder promises."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.speech.frames import FRAME_RATE, frame_counts, length_mask
from deeptalk.speech.waveform import Waveform

# Part of every cache key: raise it when any encoder's output changes.
VERSION = 2


class SpeechEncoder(nn.Module, ABC):
    """Features of speech at the frame rate of the motion.

    Every encoder gives `frame_count` frames a clip, aligned to the motion frame centres (`deeptalk.speech.frames`), and
    neither the padding nor the other clips of a batch change a clip's features. Encoders are always in eval mode, and
    run without gradients unless some of their weights ask for them (`NetworkEncoder.train_last_blocks`).
    """

    def __init__(self, name: str, feature_size: int, frame_rate: float = FRAME_RATE) -> None:
        super().__init__()
        if not 1.0 <= frame_rate <= 50.0:
            raise UserError(f"The frame rate is {frame_rate}; speech features can be made at 1 to 50 frames a second.")
        self.name = name
        self.feature_size = feature_size
        self.frame_rate = float(frame_rate)
        self.training = False

    @property
    def is_trained(self) -> bool:
        """Whether any weights ask for gradients."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def forward(
        self, waveforms: Float[Tensor, "batch sample"], sample_lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frame feature"], Int[Tensor, " batch"]]:
        """Encode a padded batch of 16 kHz mono recordings.

        `sample_lengths` says how much of each row is real, what lies beyond is ignored. Returns the features, zero in
        padding frames, and the frames of each clip. Raises UserError where a length does not fit its row.
        """
        rows, size = waveforms.shape
        fits = len(sample_lengths) == rows > 0 and 1 <= int(sample_lengths.min()) <= int(sample_lengths.max()) <= size
        if not fits:
            raise UserError(
                f"The sample lengths {sample_lengths.tolist()} do not fit waveforms of shape {tuple(waveforms.shape)}; "
                "expected one length from 1 to the row's size for each of at least one row."
            )
        sample_lengths = sample_lengths.to(waveforms.device)
        real = length_mask(sample_lengths, size)
        waveforms = torch.where(real, waveforms, torch.zeros_like(waveforms)).float()  # NaN in the padding goes too
        frame_lengths = frame_counts(sample_lengths, self.frame_rate)
        with torch.set_grad_enabled(self.is_trained and torch.is_grad_enabled()):
            return self.encode(waveforms, sample_lengths, frame_lengths), frame_lengths

    @abstractmethod
    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, feature) for recordings that are zero in their padding."""

    def identity(self) -> dict[str, Any]:
        """Return what sets this encoder's output apart from that of another, as JSON values."""
        return {"name": self.name}

    def cache_key(self) -> str:
        """Return a short hash of encoder, weights, normalisation and rate: equal keys, equal features."""
        content = json.dumps([VERSION, self.frame_rate, self.identity()], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def parts(self) -> list["SpeechEncoder"]:
        """The encoders whose features lie side by side in this one's: itself, where it is no stack."""
        return [self]

    def columns(self) -> dict[str, slice]:
        """Columns of the features by the name of the part that gives them."""
        places, first = {}, 0
        for part in self.parts():
            places[part.name] = slice(first, first + part.feature_size)
            first += part.feature_size
        return places

    def train(self, mode: bool = True) -> "SpeechEncoder":
        """Stay in eval mode: features must not depend on the mode of the model that holds the encoder."""
        return super().train(False)


def pad_waveforms(waveforms: Sequence[Waveform | np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return recordings (16 kHz mono) as one zero-padded (batch, sample) tensor and their lengths."""
    if not waveforms:
        raise UserError("There are no recordings; give at least one.")
    rows = [waveform.samples if isinstance(waveform, Waveform) else waveform for waveform in waveforms]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.zeros(len(rows), int(lengths.max()))
    for row, samples in enumerate(rows):
        padded[row, : len(samples)] = torch.from_numpy(np.asarray(samples, dtype=np.float32))
    return padded, lengths


def weights_sha256(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and float32 values, the same whatever file the weights came from."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(values.shape)}".encode())
        digest.update(values.numpy().data)
    return digest.hexdigest()
