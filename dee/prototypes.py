"""Emotion by label: where each emotion lies on the sphere, and how it is approached from neutral."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dee.gaussian import GaussianEmbedding, slerp


class Prototypes(nn.Module):
    """One Gaussian for each emotion, steered by intensity. The first emotion is neutral, the start of every path.

    An emotion's mean is the mean direction of its clips, weighted by intensity, and stands at `reference_intensity`.
    Intensity 0 is neutral, the reference intensity is that mean; in between and beyond, the point moves along the great
    circle through both at constant speed (beyond is extrapolation, of what the clips did not show).
    The variance is that of a draw from any clip of the emotion: the clips' own variances plus the scatter of their
    means about the path. So a draw by label covers the different readings of that label.
    All numbers are buffers and are saved with the model.
    """

    mean: Tensor
    log_variance: Tensor
    reference_intensity: Tensor
    fitted: Tensor

    def __init__(self, emotions: list[str], embedding_size: int) -> None:
        super().__init__()
        self.emotions = list(emotions)
        count = len(emotions)
        self.register_buffer("mean", torch.zeros(count, embedding_size))
        self.register_buffer("log_variance", torch.zeros(count, embedding_size))
        self.register_buffer("reference_intensity", torch.ones(count))
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
            weight = torch.ones_like(strength) if index == 0 else strength
            if weight.sum() == 0:
                raise ValueError(f"Every {self.emotions[index]} clip has intensity 0; only neutral clips may.")
            self.mean[index] = functional.normalize((weight[:, None] * embedding.mean[chosen]).sum(dim=0), dim=-1)
            self.reference_intensity[index] = (weight * strength).sum() / weight.sum() if index else 1.0
            self.fitted[index] = True
            self._fit_variance(index, embedding, chosen, strength)

    def _fit_variance(
        self, index: int, embedding: GaussianEmbedding, chosen: Bool[Tensor, "batch"], strength: Float[Tensor, "clip"]
    ) -> None:
        path = self._mean_at(torch.full_like(strength, index, dtype=torch.long), strength)
        scatter = (embedding.mean[chosen] - path).square()
        self.log_variance[index] = (scatter + embedding.log_variance[chosen].exp()).mean(dim=0).log()

    def _mean_at(
        self, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch embedding"]:
        neutral = self.mean[0].expand(len(emotion), -1)
        return slerp(neutral, self.mean[emotion], intensity / self.reference_intensity[emotion])

    def forward(self, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"]) -> GaussianEmbedding:
        """Gaussian of each labelled emotion at its intensity (0 neutral, 1 strong).

        The log-variance goes linearly from neutral's to the emotion's own at the reference intensity, and stays there.
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
        weight = (intensity / self.reference_intensity[emotion]).clamp(max=1.0)[:, None]
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
