"""Training DEE with Lightning."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional

from dee.gaussian import GaussianEmbedding
from dee.losses import (
    coverage_loss,
    identity_targets,
    match_loss,
    pseudo_match_loss,
    same_label_targets,
    vib_loss,
)
from dee.mixing import Mix, draw_mix
from dee.model import DEE, DEEConfig
from dee.retrieval import retrieval_metrics

LABEL_SCALE = 10.0
"""Length of the vectors that emotions are classified from."""


@dataclass(frozen=True)
class DEETrainingConfig:
    """Optimisation of DEE; defaults as published where nothing else is said."""

    learning_rate: float = 1e-4
    """Adam's learning rate at the start."""
    final_learning_rate: float = 1e-6
    """Learning rate at the end of the cosine."""
    speech_learning_rate: float = 1e-5
    """Learning rate at the start of what is trained of the speech encoder, where any of it is; the paper has one for
    all."""
    targets: Literal["identity", "speech", "emotion"] = "identity"
    """Pairs of a batch that match: a clip and itself, also performances of the same speech, or of the same emotion."""
    vib_weight: float = 1e-6
    """Weight of the information bottleneck, for each side."""
    pseudo_positive_weight: float = 0.0
    """Weight of the loss with pairs that fit as well as the true one counted as matches (PCME++ uses 0.1)."""
    mixed_share: float = 0.0
    """Share of a training batch's motions that are mixed with another's, matching both by how much is in them (PCME++
    mixes 0.25). Mixed motions take no part in the likelihood below."""
    coverage_weight: float = 0.1
    """Weight of the likelihood of motion draws under their speech's Gaussian, not in the paper (0 leaves it out)."""
    coverage_on_sphere: bool = False
    """Fit the width of draws as a talker gets them, on the unit sphere, and not before; they then reach further."""
    label_weight: float = 0.0
    """Weight of classifying the emotion from the mean of each side; clips of unknown emotion take no part. Not in the
    paper, whose motion features come from an expression recogniser: from motion itself, matching alone learns mostly
    what is said, and matching by emotion alone stays where every pair looks alike."""

    def __post_init__(self) -> None:
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate} must be above 0 and at most "
                f"learning_rate {self.learning_rate}."
            )
        if not 0 <= self.mixed_share <= 1:
            raise ValueError(f"mixed_share is {self.mixed_share}; it must lie in 0..1.")


class DEETraining(pl.LightningModule):
    """Trains `self.model` on batches of features, motion, lengths, emotion and speech (clip windows).

    `speech`, where given, makes the features of a batch (batch, frame, feature) from all that is in it, and is trained
    as far as its weights ask for gradients; it is part of the checkpoints and not of `self.model`.

    Logs every term of the loss under `train/` and `val/`, and retrieval over the whole validation set. The weights to
    keep are those of the lowest `val/means_loss`, the terms that place the means. Not of `val/loss`: motions scatter
    more as the space takes shape, so its coverage, a likelihood, is best before anything was learned.
    """

    def __init__(
        self,
        config: DEEConfig | Mapping[str, Any],
        training: DEETrainingConfig | Mapping[str, Any],
        speech: nn.Module | None = None,
    ) -> None:
        super().__init__()
        # a checkpoint gives both back as plain dicts
        config = config if isinstance(config, DEEConfig) else DEEConfig.from_dict(config)
        training = training if isinstance(training, DEETrainingConfig) else DEETrainingConfig(**training)
        self.save_hyperparameters(
            {"config": dataclasses.asdict(config), "training": dataclasses.asdict(training)}, logger=False
        )
        self.training_config = training
        self.model = DEE(config)
        if training.label_weight:
            self.label_logits = nn.Linear(config.embedding_size, len(config.emotions))
        self.speech = speech
        if speech is not None and training.speech_learning_rate < training.final_learning_rate:
            raise ValueError(
                f"speech_learning_rate {training.speech_learning_rate} is below final_learning_rate "
                f"{training.final_learning_rate}, where both end; raise the one or lower the other."
            )
        self._validation: list[tuple[GaussianEmbedding, GaussianEmbedding, Tensor]] = []

    def _targets(self, batch: Mapping[str, Tensor]) -> Tensor:
        kind = self.training_config.targets
        if kind == "identity":
            return identity_targets(len(batch["lengths"]), batch["lengths"].device)
        return same_label_targets(batch[kind])

    def losses(
        self,
        speech: GaussianEmbedding,
        motion: GaussianEmbedding,
        batch: Mapping[str, Tensor],
        mix: Mix | None = None,
    ) -> dict[str, Tensor]:
        """Every term, unweighted, and their weighted sum `loss`; in float32 whatever the precision of the run.

        `mix` says how the motions that were embedded were mixed; the batch's labels are those of the unmixed ones.
        """
        weights = self.training_config
        with torch.autocast(speech.mean.device.type, enabled=False):
            logits = self.model.match(motion, speech)
            targets = self._targets(batch) if mix is None else mix.targets(self._targets(batch))
            terms = {
                "match": match_loss(logits, targets),
                "vib": vib_loss(motion) + vib_loss(speech),
                "coverage": coverage_loss(
                    speech, motion, None if mix is None else mix.share == 0, weights.coverage_on_sphere
                ),
            }
            loss = terms["match"] + weights.vib_weight * terms["vib"]
            if weights.coverage_weight:
                loss = loss + weights.coverage_weight * terms["coverage"]
            if weights.pseudo_positive_weight:
                terms["pseudo_match"] = pseudo_match_loss(logits, targets)
                loss = loss + weights.pseudo_positive_weight * terms["pseudo_match"]
            if weights.label_weight:
                terms["label"] = self._label_loss(motion, batch["emotion"], mix)
                terms["label"] = terms["label"] + self._label_loss(speech, batch["emotion"])
                loss = loss + weights.label_weight * terms["label"]
        return {"loss": loss, **terms}

    def _label_loss(self, embedding: GaussianEmbedding, emotion: Tensor, mix: Mix | None = None) -> Tensor:
        # unit means against a linear layer's small weights could never become confident
        logits = self.label_logits(LABEL_SCALE * embedding.mean)
        if mix is None:
            known = (emotion >= 0).sum().clamp(min=1)
            return functional.cross_entropy(logits, emotion, ignore_index=-1, reduction="sum") / known
        known = (emotion >= 0).to(logits)
        labels = functional.one_hot(emotion.clamp(min=0), logits.shape[-1]).to(logits) * known[:, None]
        return functional.cross_entropy(logits, mix.targets(labels), reduction="sum") / known.sum().clamp(min=1)

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["features"] if self.speech is None else self.speech(batch)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch."""
        mix, motion = None, batch["motion"]
        if self.training_config.mixed_share:
            generator = torch.default_generator  # on the CPU, as every draw of a step
            mix = draw_mix(batch["lengths"], motion.shape[1], self.training_config.mixed_share, generator)
            motion = mix.sequences(motion)
        embeddings = self.model({**batch, "features": self._features(batch), "motion": motion})
        terms = self.losses(embeddings["speech"], embeddings["motion"], batch, mix)
        size = len(batch["lengths"])
        self.log_dict({f"train/{name}": value.detach() for name, value in terms.items()}, batch_size=size)
        self.log_dict(
            {
                "train/scale": self.model.match.scale.detach(),
                "train/shift": self.model.match.shift.detach(),
                "train/speech_total_variance": embeddings["speech"].total_variance.mean().detach(),
                "train/motion_total_variance": embeddings["motion"].total_variance.mean().detach(),
            },
            batch_size=size,
        )
        return terms["loss"]

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Logs the terms and keeps the embeddings for retrieval over the whole set."""
        embeddings = self.model({**batch, "features": self._features(batch)})
        speech, motion = embeddings["speech"], embeddings["motion"]
        terms = self.losses(speech, motion, batch)
        terms["means_loss"] = terms["match"] + self.training_config.label_weight * terms.get("label", 0.0)
        self.log_dict({f"val/{name}": value for name, value in terms.items()}, batch_size=len(batch["lengths"]))
        self._validation.append((speech, motion, batch["emotion"]))

    def on_validation_epoch_end(self) -> None:
        """Retrieval with all validation clips as the gallery."""
        if not self._validation:
            return
        speech, motion, emotion = zip(*self._validation)
        self._validation.clear()
        metrics = retrieval_metrics(
            GaussianEmbedding.concatenate(speech), GaussianEmbedding.concatenate(motion), torch.cat(emotion)
        )
        self.log_dict({f"val/{name}": value for name, value in metrics.items()})

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam with a cosine over all steps of the run."""
        own = [
            parameter
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and not name.startswith("speech.")
        ]
        groups: list[dict[str, Any]] = [{"params": own}]
        if self.speech is not None:
            tuned = [parameter for parameter in self.speech.parameters() if parameter.requires_grad]
            groups.append({"params": tuned, "lr": self.training_config.speech_learning_rate})
        optimizer = torch.optim.Adam(groups, lr=self.training_config.learning_rate)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer,
            T_max=int(self.trainer.estimated_stepping_batches),
            eta_min=self.training_config.final_learning_rate,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
