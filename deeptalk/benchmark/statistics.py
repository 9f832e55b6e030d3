"""Bootstrap intervals over clips."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean over clips and its bootstrap interval; low and high are NaN where there are fewer than two clips."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values: Float[np.ndarray, " clip"], resamples: int, confidence: float, seed: int) -> Interval:
    """Mean over clips with its bias-corrected and accelerated bootstrap interval (scipy.stats.bootstrap, BCa).

    Clips are drawn with replacement as if independent; clips of one sentence or voice are not quite, so with few of
    those the interval is too narrow. The interval of a paired difference is that of the per-clip differences. Values
    that are all equal give an interval of no width; NaN gives NaN.
    """
    mean = float(np.mean(values))
    if np.isnan(mean) or len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    if np.all(values == values[0]):
        return Interval(float(values[0]), float(values[0]), float(values[0]))
    rng = np.random.default_rng(seed)
    result = stats.bootstrap((values,), np.mean, n_resamples=resamples, confidence_level=confidence, rng=rng)
    low, high = (float(bound) for bound in result.confidence_interval)
    return Interval(mean, low, high)
