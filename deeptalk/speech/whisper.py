"""Whisper's encoder as a plain torch module: any length, no padding to 30 s.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.2.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from deeptalk.speech.frames import FRAME_RATE, length_mask, pool_frames
from deeptalk.speech.mel import mel_lengths, mel_power
from deeptalk.speech.network import NetworkEncoder
from deeptalk.speech.windows import STATE_RATE, Windows


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
        query_bias, key_bias, value_bias = self.attention_in.bias.chunk(3)
        # the key's stays zero in training too, as it would change no attention
        bias = torch.cat([query_bias, torch.zeros_like(key_bias), value_bias])
        query_key_value = F.linear(self.attention_norm(hidden), self.attention_in.weight, bias)
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


class WhisperEncoder(NetworkEncoder):
    """Last hidden states of a Whisper encoder, averaged onto the motion frames.

    The log-mel floor is 8 decades under the clip's own loudest real frame, as in Whisper. Speech longer than the
    network's window (30 s) goes through it in windows that overlap by a sixth (5 s); in an overlap the features fade
    linearly from one window to the next, elsewhere they are those of one window. The network attends to all of a window
    and knows places in it, so features depend a little on the window: on 20 s of real speech, windows of 12 s gave
    standardised features with a median cosine of 0.99 (first) and 0.96 (second) to those of the whole.

    With `window_seconds`, windows are that short and overlap by half, and the name says so (`whisper:2s`): a model
    trained on short clips then meets long speech with the context it knows.
    """

    network: WhisperNetwork

    def __init__(
        self, network: WhisperNetwork, frame_rate: float = FRAME_RATE, window_seconds: float | None = None
    ) -> None:
        name = "whisper" if window_seconds is None else f"whisper:{window_seconds:g}s"
        windows = Windows.of(window_seconds, 2 * network.shape.positions, stride=2)
        super().__init__(name, network, network.shape.size, frame_rate, windows)

    @classmethod
    def load(
        cls, source: str | Path | None = None, frame_rate: float = FRAME_RATE, window_seconds: float | None = None
    ) -> "WhisperEncoder":
        """Load weights as `build_encoder` describes `source`. Raises UserError."""
        from deeptalk.speech.whisper_weights import load_network

        return cls(load_network(source), frame_rate, window_seconds)

    @property
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks, the lowest first."""
        return list(self.network.layers)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the encoder in transformers' format: config.json and model.safetensors."""
        from deeptalk.speech.whisper_weights import save_network

        save_network(self.network, Path(folder))

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, size)."""
        lengths = mel_lengths(sample_lengths)
        log_mel = whisper_log_mel(waveforms, lengths, self.network.shape.mel_bins)
        hidden = self.hidden_states(log_mel, lengths)
        return pool_frames(hidden, (lengths + 1) // 2, STATE_RATE, frame_lengths, self.frame_rate)

    def hidden_states(
        self, log_mel: Float[Tensor, "batch mel frame"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch half_frame size"]:
        """Return states at 50 Hz for log-mel of any length, `lengths` of it real."""
        clips = [clip[:, :length].T for clip, length in zip(log_mel, lengths.tolist())]
        return self.windows.states(lambda mel, sizes: self.network(mel.mT, sizes), clips, self.feature_size)


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
