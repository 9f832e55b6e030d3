"""DEE: a probabilistic embedding of emotion that speech and facial motion share.

Stands alone: it works on any (batch, frame, channel) sequences and imports neither `deeptalk` nor `thvqvae`.
"""

from typing import TYPE_CHECKING, Any

from dee.encoders import EncoderConfig
from dee.gaussian import GaussianEmbedding
from dee.model import DEE, DEEConfig

if TYPE_CHECKING:
    from dee.training import DEETraining, DEETrainingConfig

__all__ = ["DEE", "DEEConfig", "DEETraining", "DEETrainingConfig", "EncoderConfig", "GaussianEmbedding"]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import, and using a trained model does not need it
    if name in ("DEETraining", "DEETrainingConfig"):
        from dee import training

        return getattr(training, name)
    raise AttributeError(f"module 'dee' has no attribute {name!r}")
