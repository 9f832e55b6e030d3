"""TH-VQVAE: a temporally hierarchical, vector-quantised prior over motion.

It stands alone: any (batch, frame, channel) sequence will do. `THVQVAETraining` is imported on first use, because
Lightning is slow to import.
"""

from typing import TYPE_CHECKING, Any

from thvqvae.model import THVQVAE, Codes, Reconstruction, THVQVAEConfig
from thvqvae.quantizer import EMAQuantizer, Quantized
from thvqvae.single_level import MotionVAE, MotionVAEConfig, ProductVQVAE, ProductVQVAEConfig

if TYPE_CHECKING:
    from thvqvae.training import THVQVAETraining, THVQVAETrainingConfig

__all__ = [
    "THVQVAE",
    "Codes",
    "EMAQuantizer",
    "MotionVAE",
    "MotionVAEConfig",
    "ProductVQVAE",
    "ProductVQVAEConfig",
    "Quantized",
    "Reconstruction",
    "THVQVAEConfig",
    "THVQVAETraining",
    "THVQVAETrainingConfig",
]


def __getattr__(name: str) -> Any:
    if name in {"THVQVAETraining", "THVQVAETrainingConfig"}:
        from thvqvae import training

        return getattr(training, name)
    raise AttributeError(f"module 'thvqvae' has no attribute {name!r}")
