"""What the sound of a corpus is like, and whether the jaw moves with it: level, clipping, lag."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from deeptalk.speech import FRAME_RATE, SAMPLE_RATE

DYNAMIC_RANGE_DB = 40.0
"""Levels so far below the loudest of a clip count as this: recordings of a voice differ, and so does their noise."""
SLOW_FRAMES = 25
"""What changes more slowly, such as a jaw held open in surprise, is not compared with the sound."""
FULL_SCALE = 32766.5 / 32768.0
CLIPPED_SAMPLES = 3
"""So many samples in a row at full scale are clipping, not a peak."""
LARGEST_LAG_FRAMES = 12
LEAST_JAW_SPREAD, LEAST_LEVEL_SPREAD_DB = 0.005, 2.0
"""Below these there is nothing to correlate."""
LEAST_CORRELATION = 0.25
"""Lags of clips whose jaw hardly follows the level say nothing."""
NEARLY = 0.1
"""Correlations that differ by less fit equally well."""
OUTLYING_FRAMES = 3


def frame_levels(
    samples: Float[np.ndarray, " sample"], frames: int, frame_rate: float = FRAME_RATE
) -> Float[np.ndarray, " frame"]:
    """Log RMS of the time of each motion frame in dB of full scale, not below 40 dB under the loudest."""
    edges = np.rint(np.arange(frames + 1) * SAMPLE_RATE / frame_rate).astype(np.int64)
    padded = np.zeros(edges[-1])
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    level = 10.0 * np.log10(np.add.reduceat(padded**2, edges[:-1]) / np.diff(edges) + 1e-12)
    return np.maximum(level, level.max() - DYNAMIC_RANGE_DB)


def is_clipped(samples: Float[np.ndarray, " sample"]) -> bool:
    """Whether several samples in a row are at full scale."""
    full = np.abs(samples) >= FULL_SCALE
    runs = np.convolve(full, np.ones(CLIPPED_SAMPLES), mode="valid") if len(full) >= CLIPPED_SAMPLES else np.zeros(1)
    return bool((runs > CLIPPED_SAMPLES - 0.5).any())


@dataclass(frozen=True, eq=False)
class LagCurve:
    """How well jaw and level of one clip fit, by lag."""

    name: str
    correlation: np.ndarray
    """(25,) at lags of -12..12 frames; above 0 the jaw comes after the sound."""

    def lag(self, near: float | None = None) -> int:
        """The lag of the best fit; with `near`, of the local best nearest to it that fits nearly as well."""
        best = int(self.correlation.argmax())
        if near is None:
            return best - LARGEST_LAG_FRAMES
        padded = np.concatenate([[-1.0], self.correlation, [-1.0]])
        peaks = (self.correlation >= padded[:-2]) & (self.correlation >= padded[2:])
        equal = np.flatnonzero(peaks & (self.correlation >= self.correlation[best] - NEARLY))
        return int(min(equal - LARGEST_LAG_FRAMES, key=lambda lag: abs(lag - near)))


def lag_curve(name: str, jaw: Float[np.ndarray, " frame"], level: Float[np.ndarray, " frame"]) -> LagCurve | None:
    """Cross-correlation of jaw and level; None where either hardly moves or the clip is shorter than a second.

    Both are taken without what changes slowly, and as 0 outside the clip, so that a few frames that happen to fit at a
    large lag do not win.
    """
    frames = min(len(jaw), len(level))
    if frames < 2 * LARGEST_LAG_FRAMES + 1 or jaw.std() < LEAST_JAW_SPREAD or level.std() < LEAST_LEVEL_SPREAD_DB:
        return None
    a, b = _fast(jaw[:frames]), _fast(level[:frames])
    whole = np.correlate(a, b, mode="full") / np.sqrt((a * a).sum() * (b * b).sum())
    return LagCurve(name, whole[frames - 1 - LARGEST_LAG_FRAMES : frames + LARGEST_LAG_FRAMES])


def _fast(values: Float[np.ndarray, " frame"]) -> Float[np.ndarray, " frame"]:
    """Values less their mean over the `SLOW_FRAMES` around each."""
    window = np.ones(min(SLOW_FRAMES, len(values)))
    slow = np.convolve(values, window, mode="same") / np.convolve(np.ones(len(values)), window, mode="same")
    return values - slow


def lags_as_dict(curves: list[LagCurve], without: int) -> dict[str, Any]:
    """Median, spread, histogram and outliers; `without` clips hardly moved. Empty where there are no clips.

    Speech is rhythmic, so a clip may fit as well half a second off: of nearly equal fits, that nearest to the median of
    the corpus counts.
    """
    if not curves and not without:
        return {}
    clear = [curve for curve in curves if curve.correlation.max() >= LEAST_CORRELATION]
    median = float(np.median([curve.lag() for curve in clear])) if clear else 0.0
    lags = np.array([curve.lag(near=median) for curve in clear])
    far = [(int(lag), curve) for lag, curve in zip(lags, clear) if abs(lag - median) > OUTLYING_FRAMES]
    far.sort(key=lambda one: -abs(one[0] - median))
    edges = np.arange(-LARGEST_LAG_FRAMES, LARGEST_LAG_FRAMES + 2) - 0.5
    return {
        "clips": len(curves) + without,
        "clear": len(clear),
        "still": without,
        "median_frames": median,
        "median_correlation": float(np.median([curve.correlation.max() for curve in curves])) if curves else 0.0,
        "within_one_frame": float((np.abs(lags - median) <= 1).mean()) if clear else 0.0,
        "lags": list(range(-LARGEST_LAG_FRAMES, LARGEST_LAG_FRAMES + 1)),
        "histogram": np.histogram(lags, edges)[0].tolist(),
        "outliers": [
            {"clip": curve.name, "lag_frames": lag, "correlation": float(curve.correlation.max())}
            for lag, curve in far[:20]
        ],
        "outlier_count": len(far),
    }


def levels_as_dict(peaks: list[float], levels: list[float], clipped: list[str]) -> dict[str, Any]:
    """Percentiles of peak and level, and the clips that clip."""
    if not peaks:
        return {}
    return {
        "clips": len(peaks),
        "level_db": {str(p): float(np.percentile(levels, p)) for p in (5, 50, 95)},
        "peak_db": {str(p): float(np.percentile(20 * np.log10(np.maximum(peaks, 1e-4)), p)) for p in (5, 50, 95)},
        "clipped": clipped[:20],
        "clipped_count": len(clipped),
    }
