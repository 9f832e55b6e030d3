"""The contrastive loss of DEE: closed-form sampled distance (PCME++, arXiv 2305.18171) and its companions.

Everything here is computed in float32 (or float64 when given it), also inside mixed precision. Rows of every matrix
are motions, columns are speech clips; neither side is special except in `coverage_loss`.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dee.gaussian import GaussianEmbedding


def sampled_distance(rows: GaussianEmbedding, columns: GaussianEmbedding) -> Float[Tensor, "row column"]:
    """Expected squared distance between a draw of each row and a draw of each column, in closed form.

    E|z_i - z_j|^2 = |mean_i - mean_j|^2 + sum of both variances, for draws that are not yet normalised.
    """
    with torch.autocast(rows.mean.device.type, enabled=False):
        # means have unit length: |a - b|^2 = 2 - 2ab would lose digits where a is near b, and be wrong off the sphere
        squared = torch.cdist(rows.mean, columns.mean, compute_mode="donot_use_mm_for_euclid_dist").square()
        return squared + rows.total_variance[:, None] + columns.total_variance


class MatchLogits(nn.Module):
    """Log-odds that a motion and a speech clip belong together: -scale * sampled distance + shift, both learned."""

    def __init__(self, scale: float = 5.0, shift: float = 5.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([scale]))
        self.shift = nn.Parameter(torch.tensor([shift]))

    def forward(self, rows: GaussianEmbedding, columns: GaussianEmbedding) -> Float[Tensor, "row column"]:
        """Logits of every pair."""
        return -self.scale * sampled_distance(rows, columns) + self.shift


def identity_targets(count: int, device: torch.device | None = None) -> Float[Tensor, "row column"]:
    """1 where row and column come from the same clip."""
    return torch.eye(count, device=device)


def same_label_targets(labels: Int[Tensor, "batch"]) -> Float[Tensor, "row column"]:
    """1 where labels are equal, and on the diagonal; a negative label is unknown and matches itself only."""
    same = (labels[:, None] == labels) & (labels >= 0)
    return (same | torch.eye(len(labels), dtype=torch.bool, device=labels.device)).float()


def match_loss(logits: Float[Tensor, "row column"], targets: Float[Tensor, "row column"]) -> Float[Tensor, ""]:
    """Binary cross-entropy over all pairs, once for each direction of matching (hence twice the mean)."""
    return 2 * functional.binary_cross_entropy_with_logits(logits, targets.to(logits))


def pseudo_targets(
    logits: Float[Tensor, "row column"], targets: Float[Tensor, "row column"]
) -> Float[Tensor, "row column"]:
    """Targets in which a column also counts as a match if it fits the row at least as well as the row's true match.

    It then matches as much as the true one: wholly, or by the share that is in a mixed sample (`dee.mixing`). Where a
    row has several true matches, the first of the highest target is the one to compare with.
    """
    best = targets.argmax(dim=1, keepdim=True)
    return torch.where(logits >= logits.gather(1, best), targets.gather(1, best), targets)


def pseudo_match_loss(logits: Float[Tensor, "row column"], targets: Float[Tensor, "row column"]) -> Float[Tensor, ""]:
    """`match_loss` with pseudo-positives found among the columns of each row, and among the rows of each column."""
    by_row = pseudo_targets(logits.detach(), targets).to(logits)
    by_column = pseudo_targets(logits.detach().T, targets.T).T.to(logits)
    cross_entropy = functional.binary_cross_entropy_with_logits
    return cross_entropy(logits, by_row) + cross_entropy(logits, by_column)


def vib_loss(embedding: GaussianEmbedding) -> Float[Tensor, ""]:
    """Variational information bottleneck: KL divergence from the standard normal, mean over clips and channels."""
    s = embedding.log_variance
    return -0.5 * (1 + s - embedding.mean.square() - s.exp()).mean()


def coverage_loss(
    speech: GaussianEmbedding,
    motion: GaussianEmbedding,
    counted: Bool[Tensor, "batch"] | None = None,
    on_sphere: bool = False,
) -> Float[Tensor, ""]:
    """Expected negative log-likelihood (nats a channel) of a draw of each motion under its own speech's Gaussian.

    Not in the paper. In the matching loss a variance only adds distance, so nothing there holds the speech Gaussian
    as wide as the performances of that speech really scatter. Here its log-variance is fitted to that scatter (the
    motions' own variance included, as a talker may be trained on their draws); means and the motion side get no
    gradient, for one that could shrink the scatter itself makes the embedding collapse.
    Clips outside `counted`, such as mixed ones, which nobody performed, take no part; without any it is 0.

    Draws are put on the unit sphere, which brings them nearer to the mean: of total variance v, the expected squared
    distance is about 2 - 2 / sqrt(1 + v) and no longer v (noise is nearly at right angles to the mean). `on_sphere`
    fits the variance of the draws as they are then, so that these scatter as the motions do.
    """
    scatter = (motion.mean - speech.mean).square().detach() + motion.log_variance.detach().exp()
    s = speech.log_variance
    if on_sphere:
        total = speech.total_variance[:, None]
        s = s + (2 * (1 - (1 + total).rsqrt()) / total).log()
    likelihood = 0.5 * (scatter * (-s).exp() + s + math.log(2 * math.pi))
    if counted is None:
        return likelihood.mean()
    return (likelihood.mean(dim=-1) * counted).sum() / counted.sum().clamp(min=1)
