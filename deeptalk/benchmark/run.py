"""Running a benchmark: every system performs every clip and is timed; metrics, intervals, report."""

import platform
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import torch
from rich.console import Console
from rich.progress import track

from deeptalk import __version__
from deeptalk.benchmark.measures import METRICS, FaceMeasures
from deeptalk.benchmark.protocol import (
    BenchmarkClip,
    BenchmarkConfig,
    System,
    benchmark_clips,
    check_names,
    check_takes,
)
from deeptalk.benchmark.report import Report, Row
from deeptalk.benchmark.statistics import bootstrap_interval
from deeptalk.face import load_rig
from deeptalk.speech import SpeechEncoder

if TYPE_CHECKING:
    from deeptalk.corpus import Corpus


def run_benchmark(
    systems: Sequence[System],
    corpus: "Corpus",
    encoder: SpeechEncoder,
    config: BenchmarkConfig | None = None,
    progress: bool = False,
    origins: Mapping[str, Any] | None = None,
) -> Report:
    """Measure systems on one split of a corpus.

    Every system gives `config.takes` takes of every clip, from a seed that is a function of (config.seed, clip), and is
    then timed on one take of each clip. Metrics are computed per clip and averaged over clips, with bootstrap
    intervals; with `config.compare_with`, also the paired differences to that system.

    `origins` (JSON values) says what the systems were made from; it is kept in the report's settings.

    Raises UserError for a system whose takes do not fit, unknown names, or a corpus with too few references.
    """
    config = config or BenchmarkConfig()
    names = [system.name for system in systems]
    check_names(names, config)
    clips = benchmark_clips(
        corpus, encoder, config.split, config.given, config.takes, config.max_references, config.max_clips
    )
    measures = FaceMeasures(load_rig(corpus.rig))
    values = {}
    for system in systems:
        steps = track(
            list(enumerate(clips)), f"benchmark: {system.name}", disable=not progress, console=Console(stderr=True)
        )
        system.perform(clips[0], 1, config.seed)  # the first call is slower: it is not timed
        measured = [_measure(system, clip, clip_seed(config.seed, i), config.takes, measures) for i, clip in steps]
        values[system.name] = {name: np.array([clip[name] for clip in measured]) for name in METRICS}
    rows = [_row(name, values, config) for name in names]
    settings = {**_settings(corpus, encoder, clips, config), "origins": dict(origins or {})}
    return Report(rows, [clip.speech_id for clip in clips], settings)


def clip_seed(seed: int, clip: int) -> int:
    """Seed of the takes of one clip."""
    return int(np.random.SeedSequence([seed, clip]).generate_state(1)[0])


def _measure(system: System, clip: BenchmarkClip, seed: int, takes: int, measures: FaceMeasures) -> dict[str, float]:
    motions = system.perform(clip, takes, seed)
    check_takes(motions, system, clip, takes)
    return {**measures.measure(motions, clip.references), **_speed(system, clip, seed)}


def _speed(system: System, clip: BenchmarkClip, seed: int) -> dict[str, float]:
    if system.reads == "truth":
        return {"speed": np.nan, "speed_after_features": np.nan}
    started = time.perf_counter()
    system.perform(clip, 1, seed)
    seconds = time.perf_counter() - started
    before = clip.feature_seconds if system.reads == "features" else 0.0
    return {"speed": clip.seconds / (seconds + before), "speed_after_features": clip.seconds / seconds}


def _row(name: str, values: dict[str, dict[str, np.ndarray]], config: BenchmarkConfig) -> Row:
    def intervals(per_clip: dict[str, np.ndarray]) -> dict:
        return {
            metric: bootstrap_interval(x, config.resamples, config.confidence, config.seed)
            for metric, x in per_clip.items()
        }

    own, differences = values[name], {}
    if config.compare_with and name != config.compare_with:
        other = values[config.compare_with]
        differences = intervals({metric: own[metric] - other[metric] for metric in METRICS})
    return Row(name, own, intervals(own), differences)


def _settings(
    corpus: "Corpus", encoder: SpeechEncoder, clips: Sequence[BenchmarkClip], config: BenchmarkConfig
) -> dict[str, Any]:
    ids = {clip.speech_id for clip in clips}
    spoken = [row for row in corpus.speech if row.speech_id in ids]
    return {
        "split": config.split,
        "given": config.given,
        "takes": config.takes,
        "references": min(len(clip.references) for clip in clips),
        "voices": len({row.speaker for row in spoken}),
        "sentences": len({row.sentence for row in spoken}),
        "seed": config.seed,
        "resamples": config.resamples,
        "confidence": config.confidence,
        "compare_with": config.compare_with,
        "rig": corpus.rig,
        "frame_rate": corpus.frame_rate,
        "corpus_hash": corpus.hash,
        "performer": corpus.manifest.get("performer"),
        "encoder": encoder.name,
        "encoder_key": encoder.cache_key(),
        "versions": {
            "deeptalk": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
        },
    }
