"""DEE: a probabilistic embedding of emotion that speech and facial motion share.

Stands alone: it works on any (batch, frame, channel) sequences and imports neither `deeptalk` nor `thvqvae`.
"""

from typing import TYPE_CHECKING, Any

from dee.encoders import EncoderConfig
from dee.gaussian import GaussianEmbedding
from dee.model import DEE, DEEConfig
from dee.recogniser import ExpressionRecogniser, RecogniserConfig

if TYPE_CHECKING:
    from dee.recogniser_training import RecogniserTraining, RecogniserTrainingConfig
    from dee.training import DEETraining, DEETrainingConfig

# Lightning takes seconds to import, and using a trained model does not need it
_HOMES = {
    "DEETraining": "training",
    "DEETrainingConfig": "training",
    "RecogniserTraining": "recogniser_training",
    "RecogniserTrainingConfig": "recogniser_training",
}

__all__ = [
    "DEE",
    "DEEConfig",
    "DEETraining",
    "DEETrainingConfig",
    "EncoderConfig",
    "ExpressionRecogniser",
    "GaussianEmbedding",
    "RecogniserConfig",
    "RecogniserTraining",
    "RecogniserTrainingConfig",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"dee.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dee' has no attribute {name!r}")
