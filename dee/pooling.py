"""Pooling over time: a learned weighted mean of the sorted values of each channel, or the plain mean."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dee.positions import length_mask, sinusoidal_positions


class GeneralizedPooling(nn.Module):
    """Generalised pooling operator (GPO) over time: sort each channel, then weight by rank.

    Max, mean and median pooling are special cases of the weights it can learn. The weights come from the rank alone,
    so they depend only on how many frames a clip has and are computed once per distinct length. Padding is never
    sorted in and never weighted.
    """

    def __init__(self, rank_size: int = 32, hidden_size: int = 32, temperature: float = 0.1) -> None:
        super().__init__()
        self.rank_size = rank_size
        self.temperature = temperature
        self.gru = nn.GRU(rank_size, hidden_size, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(hidden_size, 1, bias=False)

    def rank_weights(self, counts: list[int]) -> Float[Tensor, "count rank"]:
        """Weight of every rank for clips of `counts` frames; a row sums to one and is zero beyond its count."""
        device = self.linear.weight.device
        longest = max(counts)
        ranks = sinusoidal_positions(longest, self.rank_size, device)
        # Each row ends in the last place, so that the backward direction starts there for all rows without packing,
        # whose gradient costs time quadratic in the rank. The forward direction has not seen how many ranks follow:
        # one row, the longest, gives it for all.
        missing = longest - torch.tensor(counts, device=device)[:, None]
        place = torch.arange(longest, device=device)
        forward, backward = self.gru(ranks[(place - missing).clamp(min=0)])[0].chunk(2, dim=-1)
        by_place = self.linear(backward / 2).squeeze(-1)
        scores = by_place.gather(1, (place + missing).clamp(max=longest - 1))
        scores = scores + self.linear(forward[counts.index(longest)] / 2).squeeze(-1)
        padding = place + missing >= longest
        return (scores.float() / self.temperature).masked_fill(padding, -torch.inf).softmax(dim=-1)

    def forward(
        self, values: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch channel"]:
        """Pool float32 `values` over their first `lengths` frames (1 to frame)."""
        frames = values.shape[1]
        real = length_mask(lengths, frames)[..., None]
        ordered = values.float().masked_fill(~real, -torch.inf).sort(dim=1, descending=True).values
        ordered = ordered.masked_fill(~real, 0.0)  # the padding sorted to the end
        counts, row = torch.unique(lengths, return_inverse=True)
        weights = self.rank_weights(counts.tolist())[row]
        weights = nn.functional.pad(weights, (0, frames - weights.shape[1]))
        return (weights[..., None] * ordered).sum(dim=1)  # not a product of matrices, which autocast would round


class MeanPooling(nn.Module):
    """Mean over the real frames; on a CPU several times cheaper than the generalised operator."""

    def forward(
        self, values: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch channel"]:
        """Pool float32 `values` over their first `lengths` frames (1 to frame)."""
        real = length_mask(lengths, values.shape[1])[..., None]
        return values.float().masked_fill(~real, 0.0).sum(dim=1) / lengths[:, None]
