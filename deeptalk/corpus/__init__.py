"""Corpora: the format on disk, building one with the performer, cached features, and Lightning data modules."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeptalk.corpus.build import CorpusBuild, build_corpus
    from deeptalk.corpus.clips import CorpusConfig
    from deeptalk.corpus.data import ClipWindows, ClipWindowsConfig, MotionWindows, MotionWindowsConfig
    from deeptalk.corpus.features import FeatureStore
    from deeptalk.corpus.format import Corpus
    from deeptalk.corpus.frames import MotionFrames, MotionFramesConfig
    from deeptalk.corpus.mix import CorpusMix, open_corpora
    from deeptalk.corpus.pairs import PairReport, SwappedPairs, SwappedPairsConfig
    from deeptalk.corpus.references import speaker_offsets
    from deeptalk.corpus.resample import resample_motion
    from deeptalk.corpus.rows import PerformanceRow, SpeechRow
    from deeptalk.corpus.sampler import InOrderSampler, SeededSampler
    from deeptalk.corpus.statistics import feature_statistics, motion_statistics
    from deeptalk.corpus.writer import CorpusWriter

# Imported on first use: Lightning takes seconds, and whoever only opens a corpus does without it.
_HOMES = {
    "ClipWindows": "data",
    "ClipWindowsConfig": "data",
    "Corpus": "format",
    "CorpusBuild": "build",
    "CorpusConfig": "clips",
    "CorpusMix": "mix",
    "CorpusWriter": "writer",
    "FeatureStore": "features",
    "InOrderSampler": "sampler",
    "MotionFrames": "frames",
    "MotionFramesConfig": "frames",
    "MotionWindows": "data",
    "MotionWindowsConfig": "data",
    "PairReport": "pairs",
    "PerformanceRow": "rows",
    "SeededSampler": "sampler",
    "SpeechRow": "rows",
    "SwappedPairs": "pairs",
    "SwappedPairsConfig": "pairs",
    "build_corpus": "build",
    "feature_statistics": "statistics",
    "motion_statistics": "statistics",
    "open_corpora": "mix",
    "resample_motion": "resample",
    "speaker_offsets": "references",
}

__all__ = [
    "ClipWindows",
    "ClipWindowsConfig",
    "Corpus",
    "CorpusBuild",
    "CorpusConfig",
    "CorpusMix",
    "CorpusWriter",
    "FeatureStore",
    "InOrderSampler",
    "MotionFrames",
    "MotionFramesConfig",
    "MotionWindows",
    "MotionWindowsConfig",
    "PairReport",
    "PerformanceRow",
    "SeededSampler",
    "SpeechRow",
    "SwappedPairs",
    "SwappedPairsConfig",
    "build_corpus",
    "feature_statistics",
    "motion_statistics",
    "open_corpora",
    "resample_motion",
    "speaker_offsets",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"deeptalk.corpus.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deeptalk.corpus' has no attribute {name!r}")
