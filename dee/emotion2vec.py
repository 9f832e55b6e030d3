"""emotion2vec: the speech encoder under the released DEE (arXiv 2312.15185; data2vec 2.0 for audio, arXiv 2212.07525).

Architecture only; the weights come with the released checkpoint (`dee.released`) or from the user.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dee.positions import length_mask
from dee.saving import read_pretrained, save_folder

STRIDES = (5, 2, 2, 2, 2, 2, 2)
KERNELS = (10, 3, 3, 3, 3, 2, 2)
"""Of the seven convolutions over the waveform: together one frame every 320 samples, from 400 samples on."""
SMALLEST_CLIP = 400
"""Samples of the shortest clip that gives a frame."""


@dataclass(frozen=True)
class Emotion2VecConfig:
    """Sizes; the defaults are those of emotion2vec base."""

    convolution_size: int = 512
    """Channels of the convolutions over the waveform."""
    width: int = 768
    """Channels of the transformer."""
    heads: int = 12
    """Attention heads."""
    feedforward: int = 3072
    """Hidden channels of the feed-forward part of a block."""
    context_blocks: int = 4
    """Blocks of the audio part ("prenet")."""
    blocks: int = 8
    """Blocks after them."""
    extra_tokens: int = 10
    """Learned tokens in front of the frames, dropped again at the end."""
    position_layers: int = 5
    """Convolutions that give the relative position."""
    position_kernel: int = 19
    """Frames each of them sees; odd."""
    position_groups: int = 16
    """Groups of their channels."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % self.position_groups:
            raise ValueError(
                f"width {self.width} must be a multiple of heads {self.heads} and of position_groups "
                f"{self.position_groups}."
            )
        if self.position_kernel % 2 == 0:
            raise ValueError(f"position_kernel is {self.position_kernel}; it must be odd.")


def frame_lengths(sample_lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Frames of clips of so many samples; frames at the end that no full window covers are left out."""
    for kernel, stride in zip(KERNELS, STRIDES):
        sample_lengths = (sample_lengths - kernel) // stride + 1
    return sample_lengths


def alibi_slopes(heads: int) -> Float[Tensor, " head"]:
    """Slopes of ALiBi (arXiv 2108.12409): 2^(-8 k / n) for a power of two; else those of the power below, then every
    other one of the power above."""
    power = 2 ** (heads.bit_length() - 1)
    slopes = 2.0 ** (-8.0 / power * torch.arange(1, power + 1))
    if power == heads:
        return slopes
    return torch.cat([slopes, alibi_slopes(2 * power)[0::2][: heads - power]])


class _ConvolutionNorm(nn.Module):
    """Layer norm over the channels of (batch, channel, frame), then GELU."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, elementwise_affine=affine)

    def forward(self, values: Float[Tensor, "batch channel frame"]) -> Float[Tensor, "batch channel frame"]:
        return functional.gelu(self.norm(values.mT).mT)


class Block(nn.Module):
    """Transformer block, norms after the residual sums."""

    def __init__(self, config: Emotion2VecConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.attention_output = nn.Linear(config.width, config.width)
        self.attention_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.feedforward)
        self.contract = nn.Linear(config.feedforward, config.width)
        self.output_norm = nn.LayerNorm(config.width)

    def forward(
        self, hidden: Float[Tensor, "batch token width"], bias: Float[Tensor, "batch head token token"]
    ) -> Float[Tensor, "batch token width"]:
        """`bias` is added to the attention's logits; -inf hides a token."""
        query, key, value = self.qkv(hidden).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        hidden = self.attention_norm(hidden + self.attention_output(heard.transpose(1, 2).flatten(2)))
        return self.output_norm(hidden + self.contract(functional.gelu(self.expand(hidden))))


class Emotion2Vec(nn.Module):
    """Speech to one feature vector every 20 ms.

    Waveforms are normalised per clip to mean 0 and variance 1; neither padding nor batch-mates change a clip. There is
    no dropout: it is used frozen, or with its last blocks trained as DEE does.
    """

    def __init__(self, config: Emotion2VecConfig | None = None) -> None:
        super().__init__()
        config = config or Emotion2VecConfig()
        self.config = config
        size, width = config.convolution_size, config.width
        self.convolutions = nn.ModuleList(
            nn.Conv1d(1 if number == 0 else size, size, kernel, stride, bias=False)
            for number, (kernel, stride) in enumerate(zip(KERNELS, STRIDES))
        )
        self.convolution_norms = nn.ModuleList(_ConvolutionNorm(size, affine=True) for _ in KERNELS)
        self.feature_norm = nn.LayerNorm(size)
        self.feature_projection = nn.Linear(size, width)
        self.position_convolutions = nn.ModuleList(
            nn.Conv1d(
                width, width, config.position_kernel, padding=config.position_kernel // 2, groups=config.position_groups
            )
            for _ in range(config.position_layers)
        )
        self.position_norm = _ConvolutionNorm(width, affine=False)
        self.extra_tokens = nn.Parameter(torch.zeros(config.extra_tokens, width))
        self.alibi_scale = nn.Parameter(torch.ones(config.heads))
        self.context_norm = nn.LayerNorm(width)
        self.context_blocks = nn.ModuleList(Block(config) for _ in range(config.context_blocks))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))

    def local_features(
        self, waveforms: Float[Tensor, "batch sample"], sample_lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frame width"]:
        """Features of each frame before any of them sees another, from waveforms that are not normalised yet."""
        real = length_mask(sample_lengths, waveforms.shape[1])
        count = sample_lengths[:, None].to(waveforms.dtype)
        waveforms = waveforms.masked_fill(~real, 0.0)
        centred = (waveforms - waveforms.sum(dim=1, keepdim=True) / count).masked_fill(~real, 0.0)
        variance = centred.square().sum(dim=1, keepdim=True) / count
        values = (centred / torch.sqrt(variance + 1e-5))[:, None]
        for convolution, norm in zip(self.convolutions, self.convolution_norms):
            values = norm(convolution(values))
        return self.feature_projection(self.feature_norm(values.mT))

    def _positions(self, local: Tensor, real: Tensor) -> Tensor:
        positions = local.mT
        for convolution in self.position_convolutions:  # padding is silenced before each, so that none leaks in
            positions = self.position_norm(convolution(positions.masked_fill(~real[:, None], 0.0)))
        return positions.mT

    def attention_bias(self, lengths: Int[Tensor, " batch"], frames: int) -> Float[Tensor, "batch head token token"]:
        """Scaled symmetric ALiBi between frames, none to or from the extra tokens, -inf to padding frames."""
        places = torch.arange(frames, device=lengths.device)
        distance = (places - places[:, None]).abs()
        slopes = alibi_slopes(self.config.heads).to(lengths.device) * self.alibi_scale.clamp(min=0)
        extra = self.config.extra_tokens
        bias = functional.pad(-slopes[:, None, None] * distance, (extra, 0, extra, 0))
        hidden = functional.pad(~length_mask(lengths, frames), (extra, 0))
        return bias.masked_fill(hidden[:, None, None], -torch.inf)

    def context(
        self, local: Float[Tensor, "batch frame width"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch token width"]:
        """Extra tokens and frames after the audio part's own blocks."""
        real = length_mask(lengths, local.shape[1])
        hidden = local.masked_fill(~real[..., None], 0.0) + self._positions(local, real)
        hidden = torch.cat([self.extra_tokens.expand(len(local), -1, -1), hidden], dim=1)
        hidden = self.context_norm(hidden)
        bias = self.attention_bias(lengths, local.shape[1])
        for block in self.context_blocks:
            hidden = block(hidden, bias)
        return hidden

    def contextual_features(
        self, local: Float[Tensor, "batch frame width"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frame width"]:
        """Features after all blocks, from local ones of which `lengths` frames are real."""
        hidden = self.context(local, lengths)
        bias = self.attention_bias(lengths, local.shape[1])
        for block in self.blocks:
            hidden = block(hidden, bias)
        return hidden[:, self.config.extra_tokens :]

    def forward(
        self, waveforms: Float[Tensor, "batch sample"], sample_lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frame width"], Int[Tensor, " batch"]]:
        """Features of 16 kHz mono speech, and how many frames (50 a second) of each clip are real.

        What padding frames hold is undefined. Raises ValueError for a clip under 400 samples or a length that is
        larger than its row.
        """
        if int(sample_lengths.min()) < SMALLEST_CLIP or int(sample_lengths.max()) > waveforms.shape[1]:
            raise ValueError(
                f"Clips have {sample_lengths.tolist()} samples in rows of {waveforms.shape[1]}; emotion2vec needs "
                f"at least {SMALLEST_CLIP} (25 ms) and at most the row."
            )
        lengths = frame_lengths(sample_lengths)
        return self.contextual_features(self.local_features(waveforms, sample_lengths), lengths), lengths

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors; an existing folder is replaced as a whole, or not at all."""
        save_folder(folder, {"model": "emotion2vec", "config": dataclasses.asdict(self.config)}, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Emotion2Vec":
        """Read what `save_pretrained` wrote, in evaluation mode; raises ValueError as `DEE.from_pretrained`."""
        return read_pretrained(folder, "emotion2vec", Emotion2VecConfig, cls)
