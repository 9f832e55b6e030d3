"""What DEE says about a clip: a Gaussian whose mean lies on the unit sphere."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def slerp(
    start: Float[Tensor, "batch embedding"], end: Float[Tensor, "batch embedding"], weight: Float[Tensor, "batch"]
) -> Float[Tensor, "batch embedding"]:
    """Point on the great circle through two unit vectors: `start` at weight 0, `end` at 1, beyond outside 0..1.

    The direction between opposite points is undefined; the result there is a unit vector but an arbitrary one.
    """
    angle = 2 * torch.atan2((start - end).norm(dim=-1), (start + end).norm(dim=-1))
    sine = angle.sin()
    close = sine < 1e-4  # the straight line differs from the arc by less than float32 resolves
    safe = torch.where(close, torch.ones_like(sine), sine)
    from_start = torch.where(close, 1 - weight, ((1 - weight) * angle).sin() / safe)
    from_end = torch.where(close, weight, (weight * angle).sin() / safe)
    return functional.normalize(from_start[:, None] * start + from_end[:, None] * end, dim=-1)


@dataclass(frozen=True)
class GaussianEmbedding:
    """Diagonal Gaussians, one a clip: unit `mean` (batch, embedding) and `log_variance` (batch, embedding)."""

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.log_variance.shape or self.mean.dim() != 2:
            raise ValueError(
                "mean and log_variance must both be (batch, embedding), "
                f"not {tuple(self.mean.shape)} and {tuple(self.log_variance.shape)}."
            )

    def __len__(self) -> int:
        return self.mean.shape[0]

    @property
    def total_variance(self) -> Float[Tensor, "batch"]:
        """Sum of the variances over the channels: the expected squared distance of a draw (before normalising)."""
        return self.log_variance.exp().sum(dim=-1)

    def sample(
        self, generator: torch.Generator, spread: float = 1.0, shared_noise: bool = False
    ) -> Float[Tensor, "batch embedding"]:
        """Draw unit vectors: normalise(mean + spread * sigma * noise). Spread 0 gives the mean.

        With `shared_noise` all rows get the noise of one draw. It is drawn on the generator's own device, so that a CPU
        generator gives the same draws on any device. Raises ValueError for a negative spread.
        """
        if not spread >= 0:
            raise ValueError(f"spread must be 0 or more, not {spread}.")
        shape = self.mean[:1].shape if shared_noise else self.mean.shape
        noise = torch.randn(shape, generator=generator, device=generator.device).to(self.mean)
        return functional.normalize(self.mean + spread * (self.log_variance / 2).exp() * noise, dim=-1)

    def interpolate(self, other: "GaussianEmbedding", weight: float) -> "GaussianEmbedding":
        """Between this (weight 0) and `other` (weight 1): means along the great circle, log-variances linearly."""
        weights = torch.full_like(self.mean[:, 0], weight)
        return GaussianEmbedding(
            slerp(self.mean, other.mean, weights), torch.lerp(self.log_variance, other.log_variance, weight)
        )

    def detach(self) -> "GaussianEmbedding":
        """The same numbers without a graph."""
        return GaussianEmbedding(self.mean.detach(), self.log_variance.detach())

    @staticmethod
    def concatenate(parts: Sequence["GaussianEmbedding"]) -> "GaussianEmbedding":
        """Join several batches."""
        return GaussianEmbedding(
            torch.cat([part.mean for part in parts]), torch.cat([part.log_variance for part in parts])
        )
