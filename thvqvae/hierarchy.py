"""The two halving and two doubling blocks of the temporal hierarchy, and the masks of its three frame rates."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from thvqvae.attention import TransformerStack

STRIDE = 4
"""Motion frames per frame of the top level; the bottom level has two frames in that time."""


def level_frames(frames: int) -> tuple[int, int, int]:
    """Frames of the top level, the bottom level and the padded motion that hold `frames` of motion."""
    top = -(-frames // STRIDE)
    return top, 2 * top, 4 * top


class LevelMasks(NamedTuple):
    """True = real, for each frame rate; None where the whole batch is real."""

    motion: Bool[Tensor, "batch motion_frame"] | None
    """Motion frames that were given."""
    full: Bool[Tensor, "batch full_frame"] | None
    """Motion frames after filling up to a multiple of 4."""
    bottom: Bool[Tensor, "batch bottom_frame"] | None
    """Frames of the bottom level."""
    top: Bool[Tensor, "batch top_frame"] | None
    """Frames of the top level."""


def level_masks(lengths: Int[Tensor, " batch"] | None, frames: int) -> LevelMasks:
    """Masks for clips of `lengths` frames in a batch of `frames`; lengths None means that all are full.

    Raises ValueError where a length is below 1 or beyond the batch.
    """
    if lengths is None:
        return LevelMasks(None, None, None, None)
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 1 or longest > frames:
        raise ValueError(
            f"lengths run from {shortest} to {longest} frames; expected 1 to {frames}, the batch's frames."
        )
    if shortest == frames:
        return LevelMasks(None, None, None, None)
    top, bottom, full = level_frames(frames)
    top_lengths = (lengths + STRIDE - 1) // STRIDE

    def mask(count: int, real: Tensor) -> Tensor:
        return torch.arange(count, device=lengths.device) < real[:, None]

    return LevelMasks(
        mask(full, lengths), mask(full, 4 * top_lengths), mask(bottom, 2 * top_lengths), mask(top, top_lengths)
    )


def repeat_edge(
    inputs: Float[Tensor, "batch frame channel"], mask: Bool[Tensor, "batch frame"] | None
) -> Float[Tensor, "batch frame channel"]:
    """Fill padding with the last real frame, as a convolution with replicate padding would see it."""
    if mask is None:
        return inputs
    last = mask.sum(dim=1, keepdim=True) - 1
    index = torch.minimum(torch.arange(inputs.shape[1], device=inputs.device), last)
    return torch.gather(inputs, 1, index[..., None].expand_as(inputs))


def zero_padding(
    inputs: Float[Tensor, "batch frame channel"], mask: Bool[Tensor, "batch frame"] | None
) -> Float[Tensor, "batch frame channel"]:
    """Fill padding with zeros, as a convolution with zero padding would see it."""
    return inputs if mask is None else inputs.masked_fill(~mask[..., None], 0.0)


class _Activate(nn.Module):
    """LeakyReLU 0.2, BatchNorm over real frames, Linear: what follows each strided convolution."""

    def __init__(self, size: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(size)
        self.projection = nn.Linear(size, size)

    def forward(
        self, inputs: Float[Tensor, "batch channel frame"], mask: Bool[Tensor, "batch frame"] | None
    ) -> Float[Tensor, "batch frame channel"]:
        active = F.leaky_relu(inputs, 0.2)
        if mask is None or not self.training:
            return self.projection(self.norm(active).transpose(1, 2))
        frames = active.transpose(1, 2)
        normal = self.norm(frames[mask])  # padding must not enter the batch statistics
        return self.projection(torch.zeros_like(frames).to(normal.dtype).masked_scatter(mask[..., None], normal))


@dataclass(frozen=True)
class BlockSize:
    """Sizes that the blocks of an autoencoder share."""

    heads: int
    """Attention heads."""
    feedforward: int
    """Feed-forward channels."""
    layers: int
    """Transformer layers."""
    dropout: float
    """Dropout of the transformer layers."""
    causal: bool = False
    """A frame is made from frames up to the end of its own pair only."""

    def transformer(self, size: int) -> TransformerStack:
        """The attention of a block with `size` channels."""
        return TransformerStack(
            size, self.heads, self.feedforward, self.layers, self.dropout, period=1, causal=self.causal
        )


class Encoder(nn.Module):
    """Halves the frame rate: strided convolution over replicated edges, then attention (TH-VQVAE encoders).

    Args:
        channels: channels of the input.
        size: channels of the output.
        block: sizes of the transformer layers; where causal, output frame i sees input frames up to 2 i + 1.
    """

    def __init__(self, channels: int, size: int, block: BlockSize):
        super().__init__()
        self.edges = (3, 0) if block.causal else (2, 2)
        self.convolution = nn.Conv1d(channels, size, 5, stride=2)
        self.activate = _Activate(size)
        self.transformer = block.transformer(size)

    def forward(
        self,
        inputs: Float[Tensor, "batch frame channel"],
        mask: Bool[Tensor, "batch frame"] | None,
        half_mask: Bool[Tensor, "batch half_frame"] | None,
    ) -> Float[Tensor, "batch half_frame size"]:
        """Encode an even number of frames; masks (True = real) are those of input and output."""
        filled = F.pad(repeat_edge(inputs, mask).transpose(1, 2), self.edges, mode="replicate")
        convolved = self.convolution(filled)
        return self.transformer(self.activate(convolved, half_mask), half_mask)


class Doubling(nn.ConvTranspose1d):
    """Transposed convolution (batch, size, frame) -> (batch, size, 2 frame), centred or causal.

    Where causal, output frames 2 i and 2 i + 1 see input frames up to i.
    """

    def __init__(self, size: int, kernel: int, causal: bool):
        # for an odd kernel the output is one frame short without output padding
        padding, output_padding = (0, 0) if causal else ((kernel - 1) // 2, kernel % 2)
        super().__init__(size, size, kernel, stride=2, padding=padding, output_padding=output_padding)

    def forward(self, inputs: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Frames beyond twice the input's, which only the causal form makes, are cut off."""
        return super().forward(inputs, output_size)[..., : 2 * inputs.shape[-1]]


class Decoder(nn.Module):
    """Doubles the frame rate: transposed convolution, then attention (TH-VQVAE decoders).

    Args:
        size: channels of input and output.
        block: sizes of the transformer layers; where causal, output frames 2 i and 2 i + 1 see input frames up to i.
    """

    def __init__(self, size: int, block: BlockSize):
        super().__init__()
        self.convolution = Doubling(size, 5, block.causal)
        self.activate = _Activate(size)
        self.transformer = block.transformer(size)

    def forward(
        self,
        inputs: Float[Tensor, "batch frame size"],
        mask: Bool[Tensor, "batch frame"] | None,
        double_mask: Bool[Tensor, "batch double_frame"] | None,
    ) -> Float[Tensor, "batch double_frame size"]:
        """Decode to twice the frames; masks (True = real) are those of input and output."""
        convolved = self.convolution(zero_padding(inputs, mask).transpose(1, 2))
        return self.transformer(self.activate(convolved, double_mask), double_mask)
