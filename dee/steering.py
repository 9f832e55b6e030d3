"""Steering with Gaussians on the sphere: blends of several, and emotions that move over time.

A track is a `GaussianEmbedding` with one row a frame, or one row where nothing moves. A take is drawn along it with
`sample(..., shared_noise=True)`: the mean moves, and the take keeps its one reading.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from dee.gaussian import GaussianEmbedding, slerp

_MOST_STEPS = 200
_SMALLEST_STEP = 1e-12
"""Radians; the weighted mean is searched in float64."""
_SMALLEST_SUM = 1e-3
"""Length of the weighted sum of unit vectors under which its direction says nothing."""


def blend(parts: GaussianEmbedding, weights: Float[Tensor, "batch"]) -> GaussianEmbedding:
    """One Gaussian between several: the weighted mean on the sphere, and the weighted mean of log-variances.

    The mean is the point with the least weighted sum of squared angles to all means (Buss and Fillmore 2001, ACM Trans
    Graph 20:95). Two parts give the point on the arc between them at the second's share of the weight, as
    `GaussianEmbedding.interpolate`; the order of the parts does not matter. Weights need not add up to 1.

    Raises ValueError for weights that are not above 0, another number of them, or means that cancel each other.
    """
    if weights.shape != (len(parts),) or not (torch.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"weights must be {len(parts)} numbers above 0, not {weights.tolist()}.")
    if len(parts) == 1:
        return parts
    share = (weights.double() / weights.double().sum())[:, None]
    means = parts.mean.double()
    total = (share * means).sum(dim=0, keepdim=True)
    if total.norm() < _SMALLEST_SUM:
        raise ValueError("The means lie opposite each other, so nothing lies between them; change a weight.")
    point = functional.normalize(total, dim=-1)
    for _ in range(_MOST_STEPS):
        # towards each mean along its arc: a tangent as long as the angle
        across = means - (means * point).sum(dim=-1, keepdim=True) * point
        angle = torch.atan2(across.norm(dim=-1), (means * point).sum(dim=-1))
        step = (share * angle[:, None] * functional.normalize(across, dim=-1)).sum(dim=0, keepdim=True)
        point = functional.normalize(point * step.norm().cos() + functional.normalize(step, dim=-1) * step.norm().sin())
        if step.norm() < _SMALLEST_STEP:
            break
    log_variance = (share * parts.log_variance.double()).sum(dim=0, keepdim=True)
    return GaussianEmbedding(point.to(parts.mean), log_variance.to(parts.log_variance))


def track(
    keys: GaussianEmbedding, times: Float[Tensor, "key"], frame_times: Float[Tensor, "frame"]
) -> GaussianEmbedding:
    """Gaussians at the frame times: from key point to key point along great circles at constant speed.

    The first key holds before its time, the last one after. Where neighbouring keys are equal nothing moves between
    them, to the bit; where all are, one row is given. Raises ValueError for times that do not rise, or another number
    of them than of keys.
    """
    if times.shape != (len(keys),) or (times.diff() <= 0).any():
        raise ValueError(f"times must be {len(keys)} rising numbers, not {times.tolist()}.")
    first = GaussianEmbedding(keys.mean[:1], keys.log_variance[:1])
    if bool((keys.mean == first.mean).all() and (keys.log_variance == first.log_variance).all()):
        return first
    place = (torch.searchsorted(times, frame_times, right=True) - 1).clamp(0, len(keys) - 2)
    weight = ((frame_times - times[place]) / (times[place + 1] - times[place])).clamp(0, 1).to(keys.mean)
    start, end = keys.mean[place], keys.mean[place + 1]
    still = (start == end).all(dim=-1) | (weight == 0)
    mean = torch.where(still[:, None], start, slerp(start, end, weight))
    mean = torch.where((weight == 1)[:, None], end, mean)
    log_variance = torch.lerp(keys.log_variance[place], keys.log_variance[place + 1], weight[:, None])
    return GaussianEmbedding(mean, log_variance)


def window_starts(frames: int, window: int) -> Int[Tensor, "window"]:
    """First frames of windows that overlap by half or more and cover `frames`, evenly from the first to the last.

    A clip no longer than `window` has one.
    """
    if frames <= window:
        return torch.zeros(1, dtype=torch.long)
    hop = max(1, window // 2)
    count = -(-(frames - window) // hop) + 1
    return torch.linspace(0, frames - window, count, dtype=torch.float64).round().long()
