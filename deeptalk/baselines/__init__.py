"""Systems that DEEPTalk is measured against: EmoTalk, and the trivial ones that any system must beat."""

from deeptalk.baselines.emotalk import EmoTalk, EmoTalkConfig
from deeptalk.baselines.emotalk_training import EmoTalkTraining, EmoTalkTrainingConfig
from deeptalk.baselines.trivial import MeanFace, NearestNeighbour, NoisyEmoTalk

__all__ = [
    "EmoTalk",
    "EmoTalkConfig",
    "EmoTalkTraining",
    "EmoTalkTrainingConfig",
    "MeanFace",
    "NearestNeighbour",
    "NoisyEmoTalk",
]
