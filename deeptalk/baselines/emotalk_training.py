"""Training EmoTalk by cross-reconstruction on pseudo pairs (arXiv 2303.11089, sections 3.2 and 3.4)."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from deeptalk.baselines.emotalk import EmoTalk, EmoTalkConfig, frame_mask, intensity_level, resample


@dataclass(frozen=True)
class EmoTalkTrainingConfig:
    """Optimiser and loss weights; the defaults are the published ones (the paper's batch is 8, for 80 epochs)."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""
    cross_weight: float = 1.0
    """Weight of the cross-reconstruction loss (equation 3)."""
    self_weight: float = 1.0
    """Weight of the self-reconstruction loss (equation 4)."""
    velocity_weight: float = 0.5
    """Weight of the velocity loss (equation 5)."""
    classification_weight: float = 0.1
    """Weight of the emotion classification loss (equation 6)."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate {self.learning_rate} must be above 0.")
        weights = (self.cross_weight, self.self_weight, self.velocity_weight, self.classification_weight)
        if min(weights) < 0:
            raise ValueError(f"The four loss weights must not be negative, got {weights}.")


def masked_squared_error(
    predicted: Float[Tensor, "batch frame channel"],
    target: Float[Tensor, "batch frame channel"],
    lengths: Int[Tensor, "batch"],
) -> Float[Tensor, ""]:
    """Mean over real frames and channels of the squared error; zero where no frame is real."""
    real = frame_mask(lengths, predicted.shape[1])[..., None]
    squared = ((predicted - target) ** 2 * real).sum()
    return squared / (real.sum() * predicted.shape[-1]).clamp(min=1)


def velocity_squared_error(
    predicted: Float[Tensor, "batch frame channel"],
    target: Float[Tensor, "batch frame channel"],
    lengths: Int[Tensor, "batch"],
) -> Float[Tensor, ""]:
    """`masked_squared_error` of the first differences in time, per frame; a clip of one frame has none."""
    return masked_squared_error(predicted.diff(dim=1), target.diff(dim=1), (lengths - 1).clamp(min=0))


class EmoTalkTraining(pl.LightningModule):
    """Lightning module: four losses on batches of `deeptalk.corpus.SwappedPairs`.

    Clip 12 says sentence 1 with emotion 2, clip 21 sentence 2 with emotion 1, by one speaker. Of D(content, emotion):
    D(12, 21) is held against the motion of sentence 1 with emotion 1, D(21, 12) against that of sentence 2 with emotion
    2 (cross), D(12, 12) against its own motion (self); targets are on the timeline of the content clip, and the level
    is the target's. The velocity loss covers all three; the classifier hears both clips.
    """

    def __init__(self, config: EmoTalkConfig, training: EmoTalkTrainingConfig):
        super().__init__()
        self.training_config = training
        self.model = EmoTalk(config)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The four losses, unweighted; `motion`, the weighted sum of the first three; `total`, of all four.

        `motion` is what to choose weights by: the classifier overfits first, and outweighs the motion in `total`.
        """
        lengths_12, lengths_21 = batch["lengths_12"], batch["lengths_21"]
        level_1, level_2 = intensity_level(batch["intensity_1"]), intensity_level(batch["intensity_2"])
        content_12 = self.model.encode_content(batch["features_12"], lengths_12)
        content_21 = self.model.encode_content(batch["features_21"], lengths_21)
        emotion_12, logits_12 = self.model.encode_emotion(batch["features_12"], lengths_12)
        emotion_21, logits_21 = self.model.encode_emotion(batch["features_21"], lengths_21)
        person = batch["speaker"]
        crossed_21 = resample(emotion_21, lengths_21, lengths_12, content_12.shape[1])
        crossed_12 = resample(emotion_12, lengths_12, lengths_21, content_21.shape[1])
        decode = self.model.decode
        terms = {
            "11": (decode(content_12, crossed_21, lengths_12, level_1, person), batch["motion_11"], lengths_12),
            "22": (decode(content_21, crossed_12, lengths_21, level_2, person), batch["motion_22"], lengths_21),
            "12": (decode(content_12, emotion_12, lengths_12, level_2, person), batch["motion_12"], lengths_12),
        }
        labels = torch.cat([batch["emotion_2"], batch["emotion_1"]])
        losses = {
            "cross": masked_squared_error(*terms["11"]) + masked_squared_error(*terms["22"]),
            "self": masked_squared_error(*terms["12"]),
            "velocity": torch.stack([velocity_squared_error(*term) for term in terms.values()]).sum(),
            "classification": classification_loss(torch.cat([logits_12, logits_21]), labels),
        }
        c = self.training_config
        losses["motion"] = (
            c.cross_weight * losses["cross"] + c.self_weight * losses["self"] + c.velocity_weight * losses["velocity"]
        )
        losses["total"] = losses["motion"] + c.classification_weight * losses["classification"]
        return losses

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Logs the losses as `train/...`; returns `total`."""
        losses = self.losses(batch)
        size = len(batch["speaker"])
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=size)
        return losses["total"]

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Logs the losses as `val/...`."""
        size = len(batch["speaker"])
        self.log_dict({f"val/{name}": value for name, value in self.losses(batch).items()}, batch_size=size)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as in the paper."""
        return torch.optim.Adam(self.model.parameters(), lr=self.training_config.learning_rate)


def classification_loss(logits: Float[Tensor, "clip emotion"], labels: Int[Tensor, "clip"]) -> Float[Tensor, ""]:
    """Cross-entropy over the clips whose emotion is known (label not -1); zero where none is."""
    known = labels >= 0
    if not bool(known.any()):
        return logits.sum() * 0.0
    return functional.cross_entropy(logits[known], labels[known])
