"""Training the expression recogniser with Lightning: weighted classification of single frames of motion."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from dee.recogniser import ExpressionRecogniser, RecogniserConfig


@dataclass(frozen=True)
class RecogniserTrainingConfig:
    """Optimisation of the recogniser; the defaults are the published ones."""

    learning_rate: float = 1e-3
    """Adam's learning rate at the start."""
    final_learning_rate: float = 1e-6
    """Learning rate at the end of the cosine."""
    noisy_share: float = 0.5
    """Probability that a frame gets noise."""
    noisy_channels: float = 0.7
    """Probability that a channel of such a frame gets it."""
    noise_std: float = 0.02
    """Standard deviation of the noise, in the units that the network reads: standard deviations of each channel. The
    authors' network reads raw FLAME parameters, whose expression coefficients have a deviation near 1."""

    def __post_init__(self) -> None:
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate} must be above 0 and at most "
                f"learning_rate {self.learning_rate}."
            )
        for name in ("noisy_share", "noisy_channels"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0..1.")
        if self.noise_std < 0:
            raise ValueError(f"noise_std is {self.noise_std}; it must be at least 0.")


def class_weights(counts: Sequence[int]) -> Float[Tensor, "emotion"]:
    """Weight N / (K n) of each of the K classes that occur (facts of the released FER); 0 for one that does not.

    Raises ValueError where fewer than two occur.
    """
    number = torch.tensor(counts, dtype=torch.float32)
    occur = number > 0
    if occur.sum() < 2:
        raise ValueError(f"A recogniser needs frames of at least two emotions; the counts are {list(counts)}.")
    return torch.where(occur, number.sum() / (occur.sum() * number.clamp(min=1)), torch.zeros_like(number))


class RecogniserTraining(pl.LightningModule):
    """Trains `self.model` on batches of "motion" (batch, frame, channel) and the "emotion" (batch,) of all its frames.

    Logs loss and accuracy under `train/` and `val/`, and for validation the accuracy of each emotion and their mean
    (`balanced_accuracy`). Set `model.set_statistics` before training.

    Args:
        config: of the recogniser, which is made here as `model`.
        training: optimiser and augmentation.
        counts: training frames of each class, or any multiple, for the weights of the classes.
        names: of the classes, for the log.
    """

    weights: Tensor

    def __init__(
        self,
        config: RecogniserConfig,
        training: RecogniserTrainingConfig,
        counts: Sequence[int],
        names: Sequence[str],
    ) -> None:
        super().__init__()
        if not len(counts) == len(names) == config.emotions:
            raise ValueError(f"There are {len(counts)} counts and {len(names)} names for {config.emotions} emotions.")
        self.model = ExpressionRecogniser(config)
        self.training_config = training
        self.names = tuple(names)
        self.register_buffer("weights", class_weights(counts), persistent=False)
        self._validation: list[tuple[Tensor, Tensor]] = []

    def with_noise(self, motion: Float[Tensor, "row channel"]) -> Float[Tensor, "row channel"]:
        """Motion with the noise of the augmentation, drawn from torch's global generator."""
        settings = self.training_config
        rows = torch.rand(len(motion), 1, device=motion.device) < settings.noisy_share
        chosen = rows & (torch.rand_like(motion) < settings.noisy_channels)
        return motion + chosen * settings.noise_std * self.model.motion_std * torch.randn_like(motion)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch."""
        motion, emotion = _rows(batch)
        logits = self.model(self.with_noise(motion))
        loss = functional.cross_entropy(logits, emotion, weight=self.weights)
        accuracy = (logits.argmax(dim=-1) == emotion).float().mean()
        self.log_dict({"train/loss": loss.detach(), "train/accuracy": accuracy}, batch_size=len(emotion))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Adds one batch to the sums of the validation."""
        motion, emotion = _rows(batch)
        logits = self.model(motion).float()
        weight = self.weights[emotion]
        losses = weight * functional.cross_entropy(logits, emotion, reduction="none")
        self._validation.append((confusion_counts(logits, emotion), torch.stack([losses.sum(), weight.sum()])))

    def on_validation_epoch_end(self) -> None:
        """Logs the loss over all validation frames, and the accuracies."""
        if not self._validation:
            return
        confusion, sums = (self._sum_over_processes(torch.stack(parts).sum(0)) for parts in zip(*self._validation))
        self._validation.clear()
        report = {"loss": sums[0] / sums[1].clamp(min=1e-6), **accuracies(confusion, self.names)}
        self.log_dict({f"val/{name}": value for name, value in report.items()})

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam with a cosine over all steps of the run."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.training_config.learning_rate)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer,
            T_max=int(self.trainer.estimated_stepping_batches),
            eta_min=self.training_config.final_learning_rate,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @torch.no_grad()
    def confusion(self, batches: Iterable[Mapping[str, Tensor]]) -> Float[Tensor, "acted recognised"]:
        """Counts of (acted, recognised) over batches on any device; the model is left in evaluation mode."""
        self.eval()
        total = torch.zeros(len(self.names), len(self.names))
        for batch in batches:
            motion, emotion = _rows({name: batch[name].to(self.device) for name in ("motion", "emotion")})
            total += confusion_counts(self.model(motion), emotion).cpu()
        return total

    def _sum_over_processes(self, tensor: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(tensor.to(self.device), reduce_op="sum")  # type: ignore[return-value]


def _rows(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    motion = batch["motion"]
    return motion.flatten(0, 1), batch["emotion"].repeat_interleave(motion.shape[1])


def confusion_counts(
    logits: Float[Tensor, "row emotion"], emotion: Int[Tensor, "row"]
) -> Float[Tensor, "emotion emotion"]:
    """How often each emotion (rows) was taken for each (columns)."""
    classes = logits.shape[-1]
    places = emotion * classes + logits.argmax(dim=-1)
    return torch.bincount(places, minlength=classes**2).view(classes, classes).float()


def accuracies(confusion: Float[Tensor, "emotion emotion"], names: Sequence[str]) -> dict[str, Any]:
    """`accuracy`, `balanced_accuracy` (mean over the emotions that occur) and `accuracy_NAME` of those."""
    counts, right = confusion.sum(1), confusion.diagonal()
    own = {name: right[place] / counts[place] for place, name in enumerate(names) if counts[place] > 0}
    report = {"accuracy": right.sum() / counts.sum(), "balanced_accuracy": torch.stack(list(own.values())).mean()}
    return report | {f"accuracy_{name}": value for name, value in own.items()}
