"""Systems that DEEPTalk is measured against: EmoTalk, and the trivial ones that any system must beat."""

from typing import TYPE_CHECKING, Any

from deeptalk.baselines.emotalk import EmoTalk, EmoTalkConfig
from deeptalk.baselines.trivial import MeanFace, MotionNoise, NearestNeighbour

if TYPE_CHECKING:
    from deeptalk.baselines.emotalk_training import EmoTalkTraining, EmoTalkTrainingConfig

__all__ = [
    "EmoTalk",
    "EmoTalkConfig",
    "EmoTalkTraining",
    "EmoTalkTrainingConfig",
    "MeanFace",
    "MotionNoise",
    "NearestNeighbour",
]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import, and a benchmark does without it.
    if name in {"EmoTalkTraining", "EmoTalkTrainingConfig"}:
        from deeptalk.baselines import emotalk_training

        return getattr(emotalk_training, name)
    raise AttributeError(f"module 'deeptalk.baselines' has no attribute {name!r}")
