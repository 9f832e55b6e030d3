"""Does the Gaussian of a piece of speech hold the performances of that speech? Coverage, and proper scores.

`truths` are where the motion side puts several true performances of each clip: unit vectors (clip, draw, embedding).
Draws of the Gaussian are put on the unit sphere too, as a talker gets them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dee.gaussian import GaussianEmbedding

Region = Literal["ball", "ellipsoid"]


def draws(embedding: GaussianEmbedding, count: int, generator: torch.Generator) -> Float[Tensor, "clip draw embedding"]:
    """`count` unit vectors from each clip's Gaussian."""
    return torch.stack([embedding.sample(generator) for _ in range(count)], dim=1)


def coverage_ranks(
    embedding: GaussianEmbedding,
    truths: Float[Tensor, "clip truth embedding"],
    generator: torch.Generator,
    count: int = 500,
    region: Region = "ball",
) -> Float[Tensor, "clip truth"]:
    """Share of the Gaussian's own draws that lie further in than each truth: uniform on 0..1 where it is calibrated.

    Further in means nearer to the mean, by plain distance (`ball`), or with each channel in units of its deviation
    (`ellipsoid`). This is the probability integral transform of that distance, so no draw needs to be exactly Gaussian
    on the sphere. Mostly small ranks: the Gaussian is too wide; mostly large: too narrow.
    """
    own = _distance_from_mean(embedding, draws(embedding, count, generator), region).sort(dim=1).values
    return torch.searchsorted(own, _distance_from_mean(embedding, truths, region).contiguous()) / count


def _distance_from_mean(
    embedding: GaussianEmbedding, points: Float[Tensor, "clip point embedding"], region: Region
) -> Float[Tensor, "clip point"]:
    offsets = points - embedding.mean[:, None]
    if region == "ellipsoid":
        offsets = offsets * (-embedding.log_variance / 2).exp()[:, None]
    return offsets.norm(dim=-1)


def channel_ranks(
    embedding: GaussianEmbedding,
    truths: Float[Tensor, "clip truth embedding"],
    generator: torch.Generator,
    count: int = 500,
) -> Float[Tensor, "clip truth embedding"]:
    """Share of the Gaussian's own draws below each truth, channel by channel: uniform where the margins are right."""
    own = draws(embedding, count, generator).sort(dim=1).values.transpose(1, 2).contiguous()
    return torch.searchsorted(own, truths.transpose(1, 2).contiguous()).transpose(1, 2) / count


def central_coverage(ranks: Float[Tensor, "..."], levels: Sequence[float]) -> list[float]:
    """Share of ranks in the central interval of each size: of margins, the interval that leaves out both tails."""
    return [((ranks - 0.5).abs() <= level / 2).float().mean().item() for level in levels]


def coverage(ranks: Float[Tensor, "..."], levels: Sequence[float]) -> list[float]:
    """Share of ranks up to each level: of distances from the mean, the truths in the innermost part of that size."""
    return [(ranks <= level).float().mean().item() for level in levels]


def coverage_error(shares: Sequence[float], levels: Sequence[float]) -> float:
    """Mean distance of a reliability curve from the diagonal: 0 is calibrated, 0.5 about the worst."""
    return sum(abs(share - level) for share, level in zip(shares, levels, strict=True)) / len(levels)


def energy_scores(
    samples: Float[Tensor, "clip sample embedding"], truths: Float[Tensor, "clip truth embedding"]
) -> Float[Tensor, "clip"]:
    """Energy score of each clip, mean over its truths: E|X - y| - E|X - X'| / 2, lower is better (Gneiting 2007).

    A proper score: in expectation, nothing beats draws from the distribution that the truths come from. The second term
    takes pairs of different samples (unbiased); one sample for each clip is a point, whose second term is 0.
    """
    count = samples.shape[1]
    to_truths = torch.cdist(samples, truths).mean(dim=(1, 2))
    if count == 1:
        return to_truths
    between = torch.cdist(samples, samples).sum(dim=(1, 2)) / (count * (count - 1))
    return to_truths - between / 2


def constant_variance(embedding: GaussianEmbedding) -> GaussianEmbedding:
    """The same means, with each channel's variance averaged over the clips: equally wide, blind to the clip."""
    variance = embedding.log_variance.exp().mean(dim=0, keepdim=True)
    return GaussianEmbedding(embedding.mean, variance.log().expand_as(embedding.log_variance))


def scatter(truths: Float[Tensor, "clip truth embedding"]) -> Float[Tensor, "clip"]:
    """Total variance of each clip's truths (unbiased): what `total_variance` should follow. At least two truths."""
    return truths.var(dim=1).sum(dim=-1)
