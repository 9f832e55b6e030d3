"""Self-attention with linear distance biases (ALiBi), for sequences of any length.

`torch.nn.TransformerEncoderLayer` is not used: in evaluation its fused path reads a float mask as boolean, so every
biased position would be blocked. Here the bias is always added, through `scaled_dot_product_attention`.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

TORCH_LAYER_KEYS: Mapping[str, str] = {
    "self_attn.in_proj_weight": "attention.input_projection.weight",
    "self_attn.in_proj_bias": "attention.input_projection.bias",
    "self_attn.out_proj.weight": "attention.output_projection.weight",
    "self_attn.out_proj.bias": "attention.output_projection.bias",
    "linear1.weight": "expand.weight",
    "linear1.bias": "expand.bias",
    "linear2.weight": "contract.weight",
    "linear2.bias": "contract.bias",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "feedforward_norm.weight",
    "norm2.bias": "feedforward_norm.bias",
}
"""Names of `torch.nn.TransformerEncoderLayer`'s tensors -> names of `TransformerLayer`'s; the values are the same."""


def alibi_slopes(heads: int) -> Float[Tensor, " head"]:
    """Slope of each head's distance penalty, float32 (ALiBi, arXiv 2108.12409, section 3).

    For a power of two, 2^(-8/heads), 2^(-16/heads), ...: 1/2, 1/4, ... for 8 heads. Other counts take the slopes of the
    next lower power of two, then every second slope of the next higher one.
    """
    if heads < 1:
        raise ValueError(f"heads is {heads}; attention needs at least 1 head.")

    def geometric(count: int) -> list[float]:
        return [2.0 ** (-8.0 * (head + 1) / count) for head in range(count)]

    lower = 2 ** (heads.bit_length() - 1)
    extra = geometric(2 * lower)[::2][: heads - lower]
    return torch.tensor(geometric(lower) + extra)


def symmetric_alibi_bias(
    heads: int, length: int, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "head {length} {length}"]:
    """Additive bias -slope * |i - j|: near frames weigh more, past and future alike."""
    return periodic_alibi_bias(heads, length, period=1, device=device, dtype=dtype)


def periodic_alibi_bias(
    heads: int,
    length: int,
    period: int = 25,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "head {length} {length}"]:
    """Additive bias -slope * floor(|i - j| / period): no penalty inside one period (25 frames are a second)."""
    if period < 1:
        raise ValueError(f"period is {period} frames; it must be at least 1.")
    # Made anew each forward pass, not cached: it costs far less than the attention it biases, and a cached tensor
    # would hold memory that grows with the square of the longest clip ever seen.
    frame = torch.arange(length, device=device)
    distance = (frame[:, None] - frame[None, :]).abs() // period
    slopes = alibi_slopes(heads).to(distance.device)
    return (-slopes[:, None, None] * distance).to(dtype)


def add_padding_mask(
    bias: Float[Tensor, "head query key"], mask: Bool[Tensor, "batch key"] | None
) -> Float[Tensor, "rows head query key"]:
    """Bias with -inf at padded keys (`mask` False); rows is 1 without a mask, else the batch."""
    if mask is None:
        return bias[None]
    return bias[None].masked_fill(~mask[:, None, None, :], float("-inf"))


class SelfAttention(nn.Module):
    """Multi-head self-attention with a bias added to the scores.

    Args:
        size: channels of input and output, a multiple of `heads`.
        heads: attention heads.
        dropout: dropout on the attention weights, in training only.
    """

    def __init__(self, size: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if size % heads:
            raise ValueError(f"size {size} is not a multiple of heads {heads}; change one of them.")
        self.heads = heads
        self.dropout = dropout
        self.input_projection = nn.Linear(size, 3 * size)
        self.output_projection = nn.Linear(size, size)
        nn.init.xavier_uniform_(self.input_projection.weight)
        nn.init.zeros_(self.input_projection.bias)
        nn.init.zeros_(self.output_projection.bias)

    def forward(
        self, inputs: Float[Tensor, "batch frame size"], bias: Float[Tensor, "rows head frame frame"]
    ) -> Float[Tensor, "batch frame size"]:
        """Attend within each sequence; `bias` has 1 row for all sequences or one each (see `add_padding_mask`)."""
        batch, frames, size = inputs.shape
        projected = self.input_projection(inputs).view(batch, frames, 3, self.heads, size // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        # The bias must have the dtype of the query: with another dtype torch 2.13 on CPU adds wrong values.
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias.to(query.dtype), dropout_p=self.dropout if self.training else 0.0
        )
        return self.output_projection(attended.transpose(1, 2).reshape(batch, frames, size))


class TransformerLayer(nn.Module):
    """Post-norm transformer encoder layer with GELU, equal to torch's own with a float mask that is really added.

    Args:
        size: channels.
        heads: attention heads.
        feedforward: channels inside the feed-forward part.
        dropout: dropout on attention weights, both residual branches and inside the feed-forward part.
    """

    def __init__(self, size: int, heads: int, feedforward: int, dropout: float = 0.1):
        super().__init__()
        self.attention = SelfAttention(size, heads, dropout)
        self.attention_norm = nn.LayerNorm(size)
        self.expand = nn.Linear(size, feedforward)
        self.contract = nn.Linear(feedforward, size)
        self.feedforward_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        inputs: Float[Tensor, "batch frame size"],
        bias: Float[Tensor, "head frame frame"],
        mask: Bool[Tensor, "batch frame"] | None = None,
    ) -> Float[Tensor, "batch frame size"]:
        """Transform (batch, frame, size); padded frames (`mask` False) are never looked at, their output is garbage."""
        attended = self.attention(inputs, add_padding_mask(bias, mask))
        hidden = self.attention_norm(inputs + self.dropout(attended))
        fed = self.contract(self.dropout(F.gelu(self.expand(hidden))))
        return self.feedforward_norm(hidden + self.dropout(fed))


class TransformerStack(nn.Module):
    """Layers that share one distance bias: symmetric ALiBi, or periodic where `period` is over 1.

    Args:
        size, heads, feedforward, dropout: as for `TransformerLayer`.
        layers: number of layers.
        period: frames without penalty, see `periodic_alibi_bias`; 1 is plain symmetric ALiBi.
        causal: a frame sees itself and earlier frames only.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        feedforward: int,
        layers: int,
        dropout: float = 0.1,
        period: int = 1,
        causal: bool = False,
    ):
        super().__init__()
        self.heads = heads
        self.period = period
        self.causal = causal
        self.layers = nn.ModuleList(TransformerLayer(size, heads, feedforward, dropout) for _ in range(layers))

    def forward(
        self, inputs: Float[Tensor, "batch frame size"], mask: Bool[Tensor, "batch frame"] | None = None
    ) -> Float[Tensor, "batch frame size"]:
        """Transform (batch, frame, size), any number of frames; `mask` True = real frame."""
        bias = periodic_alibi_bias(self.heads, inputs.shape[1], self.period, inputs.device, inputs.dtype)
        if self.causal:
            future = torch.ones(inputs.shape[1], inputs.shape[1], dtype=torch.bool, device=inputs.device).triu(1)
            bias = bias.masked_fill(future, float("-inf"))
        hidden = inputs
        for layer in self.layers:
            hidden = layer(hidden, bias, mask)
        return hidden
