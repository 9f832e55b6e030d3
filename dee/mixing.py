"""Mixed-sample data augmentation for matching (PCME++, arXiv 2305.18171, section 2.4), on sequences of any length.

A share of the clips of one side is mixed with another clip of the batch; how much of the other is in it is how much it
matches the other's partner. Half of them are CutMix along time, a stretch of the other clip in place of one's own, the
other half Mixup, a weighted mean of both. How much is mixed is drawn from Beta(2, 2), as published.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """Which other clip goes into each clip of a batch, where, and how much of it."""

    partner: Int[Tensor, "batch"]
    """Row of the other clip."""
    place: Int[Tensor, "batch frame"]
    """Frame of the other clip that meets each frame; always one of its real frames."""
    weight: Float[Tensor, "batch frame"]
    """Weight of the other clip in each frame, 0 to 1; 0 in padding."""
    share: Float[Tensor, "batch"]
    """Mean weight over the clip's own frames; 0 leaves the clip as it is."""

    def sequences(self, values: Float[Tensor, "batch frame channel"]) -> Float[Tensor, "batch frame channel"]:
        """Mix (padded) sequences. Standardising is linear, so it may come before or after."""
        rows = torch.arange(len(values), device=values.device)[:, None]
        other = values[self.partner][rows, self.place]
        return torch.where((self.weight > 0)[..., None], torch.lerp(values, other, self.weight[..., None]), values)

    def targets(self, targets: Float[Tensor, "batch column"]) -> Float[Tensor, "batch column"]:
        """Targets of the mixed clips: their own and the other's, by share."""
        return torch.lerp(targets, targets[self.partner], self.share[:, None])


def draw_mix(lengths: Int[Tensor, "batch"], frames: int, probability: float, generator: torch.Generator) -> Mix:
    """Draw a mix of clips of these lengths, padded to `frames`; each is mixed with this probability.

    A stretch is never longer than either clip, and the share counts what is really there. Every clip goes into one
    other; a clip that is alone in its batch stays as it is. The numbers are drawn on the generator's own device, so a
    CPU generator gives the same mix on any device. Raises ValueError for a probability outside 0..1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"The probability of mixing is {probability}; it must lie in 0..1.")
    count, device = len(lengths), lengths.device
    order = torch.randperm(count, generator=generator, device=generator.device).to(device)
    partner = torch.empty_like(order).scatter_(0, order, order.roll(1))
    uniform = torch.rand(7, count, generator=generator, device=generator.device).to(device)
    is_mixed = (uniform[0] < probability) & (count > 1)
    is_cut = uniform[1] < 0.5
    portion = uniform[2:5].median(dim=0).values  # the middle one of three uniform numbers is Beta(2, 2)
    other_lengths = lengths[partner]
    longest = torch.minimum(lengths, other_lengths)
    stretch = torch.where(is_cut, torch.minimum((portion * lengths).round().long(), longest), longest)
    start = (uniform[5] * (lengths - stretch + 1)).long()
    other_start = (uniform[6] * (other_lengths - stretch + 1)).long()
    after = torch.arange(frames, device=device) - start[:, None]
    inside = (after >= 0) & (after < stretch[:, None]) & is_mixed[:, None]
    place = torch.minimum((after + other_start[:, None]).clamp(min=0), other_lengths[:, None] - 1)
    weight = torch.where(is_cut, torch.ones_like(portion), portion)[:, None] * inside
    return Mix(partner, place, weight, weight.sum(dim=1) / lengths)
