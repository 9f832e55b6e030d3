"""Emotion by label: where each emotion lies on the sphere, and how it is approached from neutral."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dee.gaussian import GaussianEmbedding, slerp

SMALLEST_STEP = 0.1
"""Halves of an emotion's clips whose mean intensities differ by less than this say nothing about a direction."""
LONGEST_WAY = 2.0
"""How far a path goes beyond the stronger clips, in steps from the weaker to the stronger: 2 is one step beyond."""


class Prototypes(nn.Module):
    """One Gaussian for each emotion, steered by intensity. The first emotion is neutral, the start of every path.

    An emotion's path over the sphere starts at neutral (intensity 0), passes the mean direction of the weaker of its
    clips, then that of the stronger, each at the mean intensity of those clips, and goes on beyond in the direction
    from the one to the other, for one such step at most. Between these points it moves along great circles at constant
    speed. (A single circle through neutral and one mean leads past the emotion: at intensity 1 half of the takes acted
    something else.)
    The variance is that of a draw from any clip of the emotion: the clips' own variances plus the scatter of their
    means about the path. So a draw by label covers the different readings of that label.
    All numbers are buffers and are saved with the model.
    """

    anchors: Tensor
    anchor_intensity: Tensor
    log_variance: Tensor
    fitted: Tensor

    def __init__(self, emotions: list[str], embedding_size: int) -> None:
        super().__init__()
        self.emotions = list(emotions)
        count = len(emotions)
        self.register_buffer("anchors", torch.zeros(count, 2, embedding_size))
        self.register_buffer("anchor_intensity", torch.ones(count, 2))
        self.register_buffer("log_variance", torch.zeros(count, embedding_size))
        self.register_buffer("fitted", torch.zeros(count, dtype=torch.bool))

    @torch.no_grad()
    def fit(
        self, embedding: GaussianEmbedding, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"]
    ) -> None:
        """Fit every emotion that occurs; the others become unfitted. Clips of unknown emotion (-1) are left out.

        Raises ValueError for an emotion index out of range, a negative intensity, no neutral clip at all, or an
        emotion whose clips all have intensity 0.
        """
        self._check(emotion, intensity, lowest=-1)
        present = [index for index in range(len(self.emotions)) if (emotion == index).any()]
        if 0 not in present:
            raise ValueError(f"No {self.emotions[0]} clip to fit prototypes from; intensity is measured from there.")
        self.fitted.zero_()
        for index in present:
            chosen = emotion == index
            strength = intensity[chosen]
            if index and strength.max() == 0:
                raise ValueError(f"Every {self.emotions[index]} clip has intensity 0; only neutral clips may.")
            self._fit_anchors(index, embedding.mean[chosen], strength)
            self.fitted[index] = True
            self._fit_variance(index, embedding, chosen, strength)

    def _fit_anchors(self, index: int, means: Float[Tensor, "clip embedding"], strength: Float[Tensor, "clip"]) -> None:
        felt = strength > 0 if index else torch.ones_like(strength, dtype=torch.bool)
        # Split at the middle of the range, not at the median: two recorded levels are then two halves however often
        # each occurs.
        middle = (strength[felt].min() + strength[felt].max()) / 2
        halves = [felt & (strength <= middle), felt & (strength > middle)]
        step = strength[halves[1]].mean() - strength[halves[0]].mean() if halves[1].any() else 0.0
        if step < SMALLEST_STEP:
            halves = [felt, felt]
        for place, half in enumerate(halves):
            self.anchors[index, place] = functional.normalize(means[half].sum(dim=0), dim=-1)
            self.anchor_intensity[index, place] = strength[half].mean()

    def _fit_variance(
        self, index: int, embedding: GaussianEmbedding, chosen: Bool[Tensor, "batch"], strength: Float[Tensor, "clip"]
    ) -> None:
        path = self._mean_at(torch.full_like(strength, index, dtype=torch.long), strength)
        scatter = (embedding.mean[chosen] - path).square()
        self.log_variance[index] = (scatter + embedding.log_variance[chosen].exp()).mean(dim=0).log()

    def _mean_at(
        self, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch embedding"]:
        neutral = self.anchors[0, 0].expand(len(emotion), -1)
        weak, strong = self.anchors[emotion].unbind(dim=1)
        at_weak, at_strong = self.anchor_intensity[emotion].unbind(dim=1)
        first = slerp(neutral, weak, intensity / at_weak.clamp(min=SMALLEST_STEP))
        step = at_strong - at_weak
        along = ((intensity - at_weak) / step.clamp(min=SMALLEST_STEP)).clamp(max=LONGEST_WAY)
        beyond = slerp(weak, strong, torch.where(step > 0, along, torch.ones_like(along)))
        point = torch.where((intensity < at_weak)[:, None], first, beyond)
        return torch.where((emotion == 0)[:, None], neutral, point)

    def forward(self, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"]) -> GaussianEmbedding:
        """Gaussian of each labelled emotion at its intensity (0 neutral, 1 strong).

        The log-variance goes linearly from neutral's to the emotion's own at its weak clips, and stays there.
        Raises ValueError for an emotion that was not fitted, by name, an index out of range or a negative intensity.
        """
        self._check(emotion, intensity, lowest=0)
        missing = sorted({self.emotions[i] for i in emotion.tolist() if not self.fitted[i]})
        if missing:
            known = ", ".join(name for name, fitted in zip(self.emotions, self.fitted.tolist()) if fitted) or "none"
            raise ValueError(
                f"No prototype for {', '.join(missing)}; fitted: {known}. "
                "Fit prototypes on a corpus that has clips of that emotion."
            )
        weight = (intensity / self.anchor_intensity[emotion, 0].clamp(min=SMALLEST_STEP)).clamp(max=1.0)[:, None]
        log_variance = torch.lerp(self.log_variance[0].expand(len(emotion), -1), self.log_variance[emotion], weight)
        return GaussianEmbedding(self._mean_at(emotion, intensity), log_variance)

    def _check(self, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"], lowest: int) -> None:
        if ((emotion < lowest) | (emotion >= len(self.emotions))).any():
            raise ValueError(
                f"Emotion indices must be {lowest} to {len(self.emotions) - 1} ({', '.join(self.emotions)}), "
                f"not {emotion.unique().tolist()}."
            )
        known = intensity[emotion >= 0]
        if not (torch.isfinite(known) & (known >= 0)).all():
            raise ValueError(f"Intensity must be 0 or more, not {known.min().item():g}.")
