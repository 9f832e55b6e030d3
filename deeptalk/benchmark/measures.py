"""The metrics of a benchmark table: what each is called, means and uses, and their values for one clip."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from deeptalk.benchmark import metrics
from deeptalk.face import BLINK_AND_GAZE, Rig, compact_vertices


@dataclass(frozen=True)
class Metric:
    """One column of the table."""

    title: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    definition: str
    """In words, with its source; ends where the name of the references is to be added."""
    uses_references: bool = True
    """False for what is measured on takes alone."""
    headline: bool = True
    """False for what stands in a second table."""


METRICS: dict[str, Metric] = {
    "energy_score": Metric(
        "energy score",
        "mm",
        "lower",
        "fair energy score: mean d(take, reference) - 1/2 mean d(take, other take); d is the root mean square vertex "
        "distance over the face and all frames (Gneiting and Raftery 2007; strictly proper)",
    ),
    "coverage_error": Metric(
        "coverage error", "mm", "lower", "mean over references of d to the nearest take; falls with the number of takes"
    ),
    "mean_estimate_error": Metric(
        "mean estimate error", "mm", "lower", "d between the mean of the takes and the mean of the references"
    ),
    "diversity": Metric(
        "diversity", "mm", "neither", "mean d over pairs of different takes of one clip", uses_references=False
    ),
    "lve": Metric(
        "LVE",
        "mm",
        "lower",
        "largest lip vertex distance of a frame, mean over frames (EmoTalk's text), over all pairs of take and "
        "reference; one performance against one, so a system that varies as the truth does is not at its least",
    ),
    "eve": Metric("EVE", "mm", "lower", "as LVE, over the vertices of eyes and forehead (region upper_face)"),
    "lve_squared": Metric(
        "LVE squared",
        "mm^2",
        "lower",
        "as LVE with squared distances: what CodeTalker's script calls LVE, times 1e6",
        headline=False,
    ),
    "fdd": Metric(
        "FDD",
        "mm^2",
        "neither",
        "CodeTalker's upper-face dynamics deviation: mean over vertices of the standard deviation over time of the "
        "squared displacement from neutral, reference minus take; positive = the take moves less; nearest 0 is best",
        headline=False,
    ),
    "speed": Metric(
        "speed",
        "x real time",
        "higher",
        "seconds of speech / seconds for one take from the waveform: speech features and system, one clip at a time",
        uses_references=False,
    ),
    "speed_after_features": Metric(
        "speed after features",
        "x real time",
        "higher",
        "as speed, without the time of the speech features where the system is handed them",
        uses_references=False,
        headline=False,
    ),
}
"""In the order of a table's columns."""


class FaceMeasures:
    """Measures takes against references on one rig; blink and gaze channels are set to zero on both sides."""

    def __init__(self, rig: Rig):
        self.rig = rig
        self.compact = compact_vertices(rig, {"face": 1.0})
        self.kept = torch.tensor([channel not in BLINK_AND_GAZE for channel in rig.channels])

    def measure(
        self,
        takes: Float[np.ndarray, "take frame channel"],
        references: Float[np.ndarray, "reference reference_frame channel"],
    ) -> dict[str, float]:
        """All metrics of `METRICS` that come from motion."""
        x, y = self._visible(takes), self._visible(references)
        compact_x, compact_y = self.compact(x), self.compact(y)
        return {
            "energy_score": metrics.energy_score(compact_x, compact_y),
            "coverage_error": metrics.coverage_error(compact_x, compact_y),
            "mean_estimate_error": metrics.mean_estimate_error(compact_x, compact_y),
            "diversity": metrics.diversity(compact_x),
            **self._vertex_errors(x, y),
        }

    def diversity(self, takes: Float[np.ndarray, "take frame channel"]) -> float:
        """Diversity alone, mm."""
        return metrics.diversity(self.compact(self._visible(takes)))

    def mean_estimate_error(
        self,
        takes: Float[np.ndarray, "take frame channel"],
        references: Float[np.ndarray, "reference reference_frame channel"],
    ) -> float:
        """Mean estimate error alone, mm."""
        return metrics.mean_estimate_error(self.compact(self._visible(takes)), self.compact(self._visible(references)))

    def _visible(self, motions: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(motions, dtype=np.float32)) * self.kept

    def _vertex_errors(self, takes: torch.Tensor, references: torch.Tensor) -> dict[str, float]:
        # Deterministic systems give one motion many times: measure it once. One take at a time to save memory.
        distinct, counts = torch.unique(takes, dim=0, return_counts=True)
        weights = counts.double() / counts.sum()
        lips, upper = (self.rig.vertices(references, region) for region in ("lips", "upper_face"))
        take_lips, take_upper = (self.rig.vertices(distinct, region) for region in ("lips", "upper_face"))
        neutral = self.rig.vertices(torch.zeros(len(self.kept)), "upper_face")
        errors = {
            "lve": [metrics.maximum_vertex_error(take, lips).mean() for take in take_lips],
            "eve": [metrics.maximum_vertex_error(take, upper).mean() for take in take_upper],
            "lve_squared": [metrics.maximum_squared_vertex_error(take, lips).mean() for take in take_lips],
            "fdd": list(metrics.dynamics_deviation(take_upper[:, None], upper, neutral).mean(dim=1)),
        }
        return {name: float((torch.stack(values) * weights).sum()) for name, values in errors.items()}
