"""Training of TH-VQVAE as a Lightning module."""

from collections.abc import Callable
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from thvqvae.losses import MotionErrors, motion_errors, rms_report
from thvqvae.model import THVQVAE, Reconstruction, THVQVAEConfig
from thvqvae.quantizer import perplexity, usage
from thvqvae.single_level import (
    MotionVAE,
    MotionVAEConfig,
    ProductVQVAE,
    ProductVQVAEConfig,
    SingleLevelReconstruction,
)


@dataclass(frozen=True)
class THVQVAETrainingConfig:
    """Optimiser and loss weights; learning rate, decay, warm-up and commitment are the published ones."""

    learning_rate: float = 5e-4
    """AdamW's learning rate after the warm-up."""
    weight_decay: float = 0.01
    """AdamW's weight decay."""
    warmup_steps: int = 4000
    """Steps over which the learning rate rises linearly from 0; constant afterwards."""
    vertex_weight: float = 1e6
    """Weight of the mean squared vertex distance in square metres; 1e6 makes it square millimetres."""
    velocity_weight: float = 1e6
    """Weight of the mean squared distance of vertex steps between frames, square metres; 0 in the paper."""
    motion_weight: float = 1.0
    """Weight of the mean squared error of standardised channels; 0 in the paper."""
    commitment_weight: float = 0.25
    """Weight of each codebook's commitment loss."""
    kl_weight: float = 1e-3
    """Weight of a VAE's divergence from the prior, nats a frame; it is what sets a VAE's rate."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}; it must be at least 0.")
        if self.vertex_weight <= 0 and self.motion_weight <= 0:
            raise ValueError("vertex_weight and motion_weight are both 0; one of them must ask for a reconstruction.")


AnyReconstruction = Reconstruction | SingleLevelReconstruction
AutoencoderConfig = THVQVAEConfig | ProductVQVAEConfig | MotionVAEConfig


def build(config: AutoencoderConfig) -> THVQVAE | ProductVQVAE | MotionVAE:
    """The autoencoder that a config is of."""
    if isinstance(config, THVQVAEConfig):
        return THVQVAE(config)
    return ProductVQVAE(config) if isinstance(config, ProductVQVAEConfig) else MotionVAE(config)


class THVQVAETraining(pl.LightningModule):
    """Trains a TH-VQVAE or one of its single-level rivals.

    Batches are {"motion" (batch, frame, channel), "lengths" (batch)}.
    Logs every term for training and validation (`val/loss`, `val/vertex_rms_mm`, ...) and the share and perplexity of
    the codes used in each epoch. Set `model.set_statistics` before training.

    Args:
        config: of the model, which is made here as `model`.
        training: optimiser and losses.
        vertices: maps (..., channel) to (..., coordinate) in metres, see `motion_errors`. It follows the module to its
            device but is not part of its parameters or state_dict.
    """

    vertices: nn.Module

    def __init__(self, config: AutoencoderConfig, training: THVQVAETrainingConfig, vertices: nn.Module):
        super().__init__()
        self.model = build(config)
        self.training_config = training
        object.__setattr__(self, "vertices", vertices)  # not registered: it is no part of the state_dict
        self._counts: dict[str, dict[str, Tensor]] = {"train": {}, "val": {}}
        self._squares = torch.zeros(7)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "THVQVAETraining":
        super()._apply(fn, recurse)
        self.vertices._apply(fn)
        return self

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, linear warm-up by step, then constant."""
        training = self.training_config
        optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=self.device.type == "cpu",  # several times faster there; with 16-bit on a GPU it forbids clipping
        )
        warmup = max(training.warmup_steps, 1)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def reconstruct(self, batch: dict[str, Tensor]) -> tuple[AnyReconstruction, MotionErrors]:
        """What the model makes of a batch, and how far that is from it; in training mode the codebooks learn."""
        motion, lengths = batch["motion"], batch["lengths"]
        result = self.model(motion, lengths)
        mask = torch.arange(motion.shape[1], device=motion.device) < lengths[:, None]
        return result, motion_errors(result.motion, motion, self.vertices, self.model.motion_std, mask)

    def loss(self, result: AnyReconstruction, errors: MotionErrors) -> Tensor:
        """The weighted sum of all terms, which training minimises."""
        return self._total(errors, _commitment(result), _divergence(result))

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Loss of one batch; the codebooks learn in the same pass."""
        result, errors = self.reconstruct(batch)
        self._count(result, "train")
        loss = self.loss(result, errors)
        report = {
            "loss": loss.detach(),
            **rms_report(errors),
            **{f"{name}_commitment": level.commitment_loss.detach() for name, level in result.levels.items()},
            **{f"{name}_revived": level.revived.float() for name, level in result.levels.items()},
        }
        if result.kl is not None:
            report["kl"] = result.kl.detach()
        self.log_dict({f"train/{name}": value for name, value in report.items()}, batch_size=len(batch["motion"]))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log how the codes were used over the epoch."""
        self._log_codes("train")

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Add one batch to the validation's sums."""
        result, errors = self.reconstruct(batch)
        self._count(result, "val")
        frames = batch["lengths"].sum()
        steps = (batch["lengths"] - 1).clamp(min=0).sum()
        weighted = [
            errors.vertex * frames,
            errors.velocity * steps,
            errors.motion * frames,
            _commitment(result) * frames,
            _divergence(result) * frames,
            frames,
            steps,
        ]
        self._squares = self._squares.to(self.device) + torch.stack([value.float() for value in weighted])

    def on_validation_epoch_end(self) -> None:
        """Log the root mean squares over all validation frames, the loss they make, and the use of the codes."""
        vertex, velocity, motion, commitment, kl, frames, steps = self._sum_over_processes(self._squares)
        self._squares = torch.zeros_like(self._squares)
        frames, steps = frames.clamp(min=1), steps.clamp(min=1)
        errors = MotionErrors(vertex / frames, velocity / steps, motion / frames)
        report = {"loss": self._total(errors, commitment / frames, kl / frames), **rms_report(errors)}
        if isinstance(self.model, MotionVAE):
            report["kl"] = kl / frames
        self.log_dict({f"val/{name}": value for name, value in report.items()})
        self._counts["val"] = {name: self._sum_over_processes(c) for name, c in self._counts["val"].items()}
        self._log_codes("val")

    def _count(self, result: AnyReconstruction, phase: str) -> None:
        counts = self._counts[phase]
        for name, level in result.levels.items():
            counts[name] = counts[name].to(self.device) + level.counts if name in counts else level.counts

    def _total(self, errors: MotionErrors, commitment: Tensor, kl: Tensor) -> Tensor:
        training = self.training_config
        return (
            training.vertex_weight * errors.vertex
            + training.velocity_weight * errors.velocity
            + training.motion_weight * errors.motion
            + training.commitment_weight * commitment
            + training.kl_weight * kl
        )

    def _log_codes(self, phase: str) -> None:
        for level, counts in self._counts[phase].items():
            self.log(f"{phase}/{level}_usage", usage(counts))
            self.log(f"{phase}/{level}_perplexity", perplexity(counts))
        self._counts[phase] = {}

    def _sum_over_processes(self, tensor: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(tensor.to(self.device), reduce_op="sum")  # type: ignore[return-value]


def _commitment(result: AnyReconstruction) -> Tensor:
    losses = [level.commitment_loss for level in result.levels.values()]
    return torch.stack(losses).sum() if losses else result.motion.new_zeros(())


def _divergence(result: AnyReconstruction) -> Tensor:
    return result.motion.new_zeros(()) if result.kl is None else result.kl
