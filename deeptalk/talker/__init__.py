"""The talker: from speech and an emotion vector to the codes of the motion prior, in one pass.

`TalkerTraining` is imported on first use, because Lightning is slow to import.
"""

from typing import TYPE_CHECKING, Any

from deeptalk.talker.predictor import IndexPredictor, IndexPredictorConfig, Prediction
from deeptalk.talker.sampling import Drawn, MostLikely, StraightThrough, take_generator

if TYPE_CHECKING:
    from deeptalk.talker.training import TalkerTraining, TalkerTrainingConfig

__all__ = [
    "Drawn",
    "IndexPredictor",
    "IndexPredictorConfig",
    "MostLikely",
    "Prediction",
    "StraightThrough",
    "TalkerTraining",
    "TalkerTrainingConfig",
    "take_generator",
]


def __getattr__(name: str) -> Any:
    if name in {"TalkerTraining", "TalkerTrainingConfig"}:
        from deeptalk.talker import training

        return getattr(training, name)
    raise AttributeError(f"module 'deeptalk.talker' has no attribute {name!r}")
