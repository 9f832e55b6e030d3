"""DEE: a probabilistic embedding of emotion that speech and facial motion share.

Stands alone: it works on any (batch, frame, channel) sequences and imports neither `deeptalk` nor `thvqvae`.
"""

from dee.encoders import EncoderConfig
from dee.gaussian import GaussianEmbedding
from dee.model import DEE, DEEConfig
from dee.training import DEETraining, DEETrainingConfig

__all__ = ["DEE", "DEEConfig", "DEETraining", "DEETrainingConfig", "EncoderConfig", "GaussianEmbedding"]
