"""The benchmark: metrics in millimetres, systems side by side on the same clips, intervals, reports."""

from deeptalk.benchmark.measures import METRICS, FaceMeasures, Metric
from deeptalk.benchmark.protocol import (
    BenchmarkClip,
    BenchmarkConfig,
    System,
    benchmark_clips,
    check_names,
    clip_speech,
)
from deeptalk.benchmark.report import Report, Row
from deeptalk.benchmark.run import run_benchmark
from deeptalk.benchmark.statistics import Interval, bootstrap_interval
from deeptalk.benchmark.systems import (
    STANDARD_NAMES,
    DEEPTalkSystem,
    EmoTalkSystem,
    MeanFaceSystem,
    NearestNeighbourSystem,
    NoisyEmoTalkSystem,
    TruePerformance,
    standard_systems,
)

__all__ = [
    "METRICS",
    "STANDARD_NAMES",
    "BenchmarkClip",
    "BenchmarkConfig",
    "DEEPTalkSystem",
    "EmoTalkSystem",
    "FaceMeasures",
    "Interval",
    "MeanFaceSystem",
    "Metric",
    "NearestNeighbourSystem",
    "NoisyEmoTalkSystem",
    "Report",
    "Row",
    "System",
    "TruePerformance",
    "benchmark_clips",
    "bootstrap_interval",
    "check_names",
    "clip_speech",
    "run_benchmark",
    "standard_systems",
]
