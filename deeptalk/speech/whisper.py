"""Whisper's encoder as a plain torch module: any length, no padding to 30 s, frozen.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from deeptalk.speech.encoder import SpeechEncoder, weights_sha256
from deeptalk.speech.frames import FRAME_RATE, length_mask, pool_frames
from deeptalk.speech.mel import mel_lengths, mel_power

WHISPER_RATE = 50.0
# Mel frames (10 ms each) in one pass of the network: a bound on memory, not on the length of the speech.
MEL_FRAMES_AT_ONCE = 12000
# Windows are padded together only up to this factor, beyond it the padding costs more than the batch saves.
LARGEST_STRETCH = 1.25


@dataclass(frozen=True)
class WhisperShape:
    """Sizes of a Whisper encoder; the defaults are those of tiny.en."""

    mel_bins: int = 80
    """Bands of the log-mel input."""
    size: int = 384
    """Width of the transformer."""
    layers: int = 4
    """Number of transformer layers."""
    heads: int = 6
    """Attention heads in a layer."""
    feedforward: int = 1536
    """Width inside the feed-forward parts."""
    positions: int = 1500
    """Encoder frames (20 ms each) that have a position: the longest window."""

    def __post_init__(self) -> None:
        if min(self.mel_bins, self.size, self.layers, self.heads, self.feedforward, self.positions) < 1:
            raise ValueError(f"every size must be at least 1, got {self}")
        if self.positions < 2:  # windows of one frame could not overlap
            raise ValueError(f"positions must be at least 2, got {self.positions}")
        if self.size % self.heads:
            raise ValueError(f"size ({self.size}) must be a multiple of heads ({self.heads})")


class WhisperLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = nn.LayerNorm(shape.size)
        self.attention_in = nn.Linear(shape.size, 3 * shape.size)  # query, key, value; the key's bias is zero
        self.attention_out = nn.Linear(shape.size, shape.size)
        self.feedforward_norm = nn.LayerNorm(shape.size)
        self.feedforward_in = nn.Linear(shape.size, shape.feedforward)
        self.feedforward_out = nn.Linear(shape.feedforward, shape.size)

    def forward(self, hidden: Tensor, real: Tensor | None) -> Tensor:
        """Map (batch, frame, size); `real` (batch, 1, 1, frame) says which frames may be attended to."""
        batch, frames, size = hidden.shape
        query_key_value = self.attention_in(self.attention_norm(hidden))
        query, key, value = query_key_value.view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=real)
        hidden = hidden + self.attention_out(attended.transpose(1, 2).reshape(batch, frames, size))
        return hidden + self.feedforward_out(F.gelu(self.feedforward_in(self.feedforward_norm(hidden))))


class WhisperNetwork(nn.Module):
    """Whisper's encoder network: log-mel at 100 Hz to hidden states at 50 Hz."""

    positions: Tensor

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.shape = shape
        self.conv1 = nn.Conv1d(shape.mel_bins, shape.size, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.size, shape.size, 3, stride=2, padding=1)
        self.register_buffer("positions", torch.zeros(shape.positions, shape.size))
        self.layers = nn.ModuleList(WhisperLayer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.size)

    def forward(
        self, log_mel: Float[Tensor, "batch mel frame"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch half_frame size"]:
        """Return the last hidden states, frame k at 20 k ms; `lengths` counts mel frames, at most 2 * positions."""
        # Both convolutions must see zeros right after the end of a clip, as they do when it is alone.
        real = length_mask(lengths, log_mel.shape[2])[:, None]
        hidden = F.gelu(self.conv1(log_mel.masked_fill(~real, 0.0))).masked_fill(~real, 0.0)
        hidden = F.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.positions[: hidden.shape[1]]
        attendable = None
        if int(lengths.min()) < log_mel.shape[2]:
            attendable = length_mask((lengths + 1) // 2, hidden.shape[1])[:, None, None]
        for layer in self.layers:
            hidden = layer(hidden, attendable)
        return self.norm(hidden)


class WhisperEncoder(SpeechEncoder):
    """Last hidden states of a Whisper encoder, averaged onto the motion frames.

    The log-mel floor is 8 decades under the clip's own loudest real frame, as in Whisper. Speech longer than the
    network's window (30 s) goes through it in windows that overlap by a sixth (5 s); in an overlap the features fade
    linearly from one window to the next, elsewhere they are those of one window. The network attends to all of a window
    and knows places in it, so features depend a little on the window: on 20 s of real speech, windows of 12 s gave
    standardised features with a median cosine of 0.99 (first) and 0.96 (second) to those of the whole.

    With `window_seconds`, windows are that short and overlap by half, and the name says so (`whisper:2s`): a model
    trained on short clips then meets long speech with the context it knows.
    """

    def __init__(
        self, network: WhisperNetwork, frame_rate: float = FRAME_RATE, window_seconds: float | None = None
    ) -> None:
        name = "whisper" if window_seconds is None else f"whisper:{window_seconds:g}s"
        super().__init__(name, network.shape.size, frame_rate)
        self.network = network.requires_grad_(False)
        longest = 2 * network.shape.positions
        self.window = longest if window_seconds is None else min(longest, 4 * round(window_seconds * 25))
        self.overlap = 2 * max(1, longest // 12) if window_seconds is None else self.window // 2
        self.train(False)

    @classmethod
    def load(
        cls, source: str | Path | None = None, frame_rate: float = FRAME_RATE, window_seconds: float | None = None
    ) -> "WhisperEncoder":
        """Load weights as `build_encoder` describes `source`. Raises UserError."""
        from deeptalk.speech.whisper_weights import load_network

        return cls(load_network(source), frame_rate, window_seconds)

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, size)."""
        lengths = mel_lengths(sample_lengths)
        log_mel = whisper_log_mel(waveforms, lengths, self.network.shape.mel_bins)
        hidden = self.hidden_states(log_mel, lengths)
        return pool_frames(hidden, (lengths + 1) // 2, WHISPER_RATE, frame_lengths, self.frame_rate)

    def hidden_states(self, log_mel: Tensor, lengths: Tensor) -> Tensor:
        """Return (batch, frame, size) at 50 Hz for log-mel (batch, mel, frame) of any length."""
        hidden = log_mel.new_zeros(log_mel.shape[0], (log_mel.shape[2] + 1) // 2, self.feature_size)
        overlap = self.overlap
        for windows in self._batches(lengths.tolist()):
            sizes = torch.tensor([end - start for _, start, end in windows], device=lengths.device)
            mels = [log_mel[clip, :, start:end].T for clip, start, end in windows]
            padded = nn.utils.rnn.pad_sequence(mels, batch_first=True).transpose(1, 2)
            for states, (clip, start, end) in zip(self.network(padded, sizes), windows):
                frames = (end - start + 1) // 2
                fade = torch.ones(frames, 1, device=hidden.device)
                rise = (torch.arange(overlap // 2, device=hidden.device)[:, None] + 0.5) / (overlap // 2)
                if start > 0:
                    fade[: overlap // 2] = rise
                if end < int(lengths[clip]):
                    fade[-(overlap // 2) :] = 1 - rise
                hidden[clip, start // 2 : start // 2 + frames] += fade * states[:frames]
        return hidden

    def identity(self) -> dict[str, Any]:
        """Return the name and the hash of the weights."""
        return {"name": self.name, "weights": weights_sha256(self.network.state_dict())}

    def _batches(self, lengths: list[int]) -> Iterator[list[tuple[int, int, int]]]:
        """Yield windows (clip, start, end) in mel frames, those of like size together, a bounded number at once."""
        windows = [(clip, start, end) for clip, length in enumerate(lengths) for start, end in self._windows(length)]
        windows.sort(key=lambda one: one[2] - one[1])
        batch: list[tuple[int, int, int]] = []
        for one in windows:
            size = one[2] - one[1]
            alike = batch and size <= LARGEST_STRETCH * (batch[0][2] - batch[0][1])
            if batch and not (alike and (len(batch) + 1) * size <= MEL_FRAMES_AT_ONCE):
                yield batch
                batch = []
            batch.append(one)
        yield batch

    def _windows(self, length: int) -> Iterator[tuple[int, int]]:
        start = 0
        while start + self.window < length:
            yield start, start + self.window
            start += self.window - self.overlap
        yield start, length


def whisper_log_mel(
    waveforms: Float[Tensor, "batch sample"], lengths: Int[Tensor, " batch"], mel_bins: int = 80
) -> Float[Tensor, "batch mel frame"]:
    """Return Whisper's input: log10 power no more than 8 below the clip's largest, plus 4, over 4.

    `lengths` counts mel frames. Agrees with transformers' WhisperFeatureExtractor on the frames before its padding.
    """
    log_power = mel_power(waveforms, mel_bins).clamp_min(1e-10).log10()
    padding = ~length_mask(lengths, log_power.shape[2])[:, None]
    loudest = log_power.masked_fill(padding, -torch.inf).amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(log_power, loudest - 8.0) + 4.0) / 4.0
