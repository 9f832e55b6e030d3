"""From a sequence of features to one Gaussian: the encoder used for speech and for motion."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dee.gaussian import GaussianEmbedding
from dee.pooling import GeneralizedPooling, MeanPooling
from dee.positions import length_mask, sinusoidal_positions


@dataclass(frozen=True)
class EncoderConfig:
    """Size of one clip encoder."""

    width: int = 512
    """Channels inside the transformer; a multiple of `heads`, even."""
    layers: int = 6
    """Transformer layers before the two heads; each head has one more."""
    heads: int = 8
    """Attention heads."""
    feedforward: int = 2048
    """Hidden channels of the feed-forward part of a layer."""
    dropout: float = 0.1
    """Dropout in layers and on positions."""
    pooling: Literal["gpo", "mean"] = "gpo"
    """How each head pools over time: generalised pooling as published, or the mean, which trains faster on a CPU."""
    project_input: bool = True
    """Linear map from the input channels to `width`; the released speech side has none."""

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and a multiple of heads {self.heads}.")


def _layer(config: EncoderConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        config.width, config.heads, config.feedforward, dropout=config.dropout, batch_first=True
    )


class PooledHead(nn.Module):
    """One more transformer layer, a linear map and pooling over time."""

    def __init__(self, config: EncoderConfig, embedding_size: int) -> None:
        super().__init__()
        self.layer = _layer(config)
        self.linear = nn.Linear(config.width, embedding_size)
        self.pool = GeneralizedPooling() if config.pooling == "gpo" else MeanPooling()

    def forward(
        self, hidden: Float[Tensor, "batch frame width"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch embedding"]:
        """One vector a clip, float32."""
        padding = ~length_mask(lengths, hidden.shape[1])
        return self.pool(self.linear(self.layer(hidden, src_key_padding_mask=padding)), lengths)


class ClipEncoder(nn.Module):
    """Transformer over frames, then a head for the mean and one for the log-variance. Any length of clip.

    Masks are boolean: in evaluation `nn.TransformerEncoderLayer` takes a fused path that misreads float masks.
    """

    def __init__(self, config: EncoderConfig, channels: int, embedding_size: int, log_variance_bias: float) -> None:
        super().__init__()
        if not config.project_input and channels != config.width:
            raise ValueError(
                f"project_input=False needs as many input channels ({channels}) as width ({config.width})."
            )
        self.width = config.width
        self.input = nn.Linear(channels, config.width) if config.project_input else nn.Identity()
        self.position_dropout = nn.Dropout(config.dropout)
        # a list, not nn.TransformerEncoder, which starts every layer from one and the same random weights
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.mean_head = PooledHead(config, embedding_size)
        self.log_variance_head = PooledHead(config, embedding_size)
        # pooling weights sum to one, so the bias is where the log-variances start
        nn.init.constant_(self.log_variance_head.linear.bias, log_variance_bias)

    def hidden(
        self, values: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch frame width"]:
        """Features of every frame, before the heads; what padding frames hold is undefined."""
        real = length_mask(lengths, values.shape[1])
        hidden = self.input(values.masked_fill(~real[..., None], 0.0))
        hidden = self.position_dropout(hidden + sinusoidal_positions(hidden.shape[1], self.width, hidden.device))
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=~real)
        return hidden

    def forward(self, values: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, "batch"]) -> GaussianEmbedding:
        """Gaussian of each clip, in float32 also under mixed precision."""
        hidden = self.hidden(values, lengths)
        mean = functional.normalize(self.mean_head(hidden, lengths), dim=-1, eps=1e-8)
        return GaussianEmbedding(mean, self.log_variance_head(hidden, lengths))


def check_lengths(lengths: Int[Tensor, "batch"], frames: int) -> None:
    """Raises ValueError unless every length is between 1 and `frames`."""
    low, high = torch.aminmax(lengths)
    if low < 1 or high > frames:
        raise ValueError(f"lengths must be 1 to {frames} (the frames given), not {int(low)} to {int(high)}.")
