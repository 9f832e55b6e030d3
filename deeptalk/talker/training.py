"""Training of the index predictor, stage 1 (reconstruction) and stage 2 (with emotion consistency)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from dee import DEE, GaussianEmbedding
from deeptalk.talker import losses
from deeptalk.talker.predictor import Choose, IndexPredictor, IndexPredictorConfig, Prediction
from deeptalk.talker.sampling import MostLikely, StraightThrough
from thvqvae import THVQVAE, Codes
from thvqvae.quantizer import PADDING

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class TalkerTrainingConfig:
    """Optimiser and loss weights of one stage; learning rate and tau are the published ones."""

    stage: int = 1
    """1 learns to reconstruct; 2, from the weights of 1, also to be felt as the emotion it was given."""
    learning_rate: float = 1e-4
    """Adam's learning rate, constant."""
    vertex_weight: float = 1.0
    """Weight of the mean squared vertex distance in mm^2."""
    velocity_weight: float = 1.0
    """Weight of the mean squared distance of vertex steps between frames, mm^2; 0 in the paper."""
    code_weight: float = 1.0
    """Weight of the cross-entropy, both levels added, on the codes of the target; 0 in the paper, which learns through
    the frozen decoder alone. Without it every draw is pulled to the one best face, and draws lose their variety."""
    emotion_weight: float = 3.0
    """Weight of the emotion consistency in stage 2. The paper's 1e-4 beside mean squared coordinates in metres is 300
    beside mm^2, where there is no cross-entropy to keep in balance."""
    consistency: Literal["mean", "csd"] = "mean"
    """`mean`: squared distance of the embeddings' means. `csd`: -log of DEE's probability that the two match."""
    start_tau: float = 2.0
    """Gumbel-softmax temperature of the gradients at the first step."""
    end_tau: float = 0.1
    """The same at the last step, reached linearly."""
    spread: float = 1.0
    """Scale of DEE's standard deviation when emotion vectors are drawn."""
    identity_dropout: float = 0.2
    """Probability that a clip's speaker is hidden, so that the mean identity learns to speak for unseen ones."""

    def __post_init__(self) -> None:
        """Raise ValueError for values that no run can use."""
        if self.stage not in (1, 2):
            raise ValueError(f"stage is {self.stage}; expected 1 (reconstruction) or 2 (with emotion consistency).")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0.")
        if not 0 < self.end_tau <= self.start_tau:
            raise ValueError(
                f"end_tau is {self.end_tau} and start_tau {self.start_tau}; expected 0 < end_tau <= start_tau."
            )
        if not 0 <= self.identity_dropout < 1:
            raise ValueError(f"identity_dropout is {self.identity_dropout}; it must lie in 0..1, 1 excluded.")
        if self.spread < 0:
            raise ValueError(f"spread is {self.spread}; it must be 0 or more.")
        if self.vertex_weight <= 0 and self.code_weight <= 0:
            raise ValueError("vertex_weight and code_weight are both 0; one of them must ask for the target's motion.")


class TalkerTraining(pl.LightningModule):
    """Trains `model`, an index predictor, on top of a frozen motion prior and a frozen DEE.

    Batches hold features (batch, frame, feature), motion (batch, frame, channel), lengths and speaker (batch).
    The parents stay in evaluation mode, take no gradients for themselves, follow the module to its device, and are not
    in its state_dict. All random draws come from torch's global generator. Logs every term under `train/` and `val/`;
    `val/loss` is the training objective at the most likely codes and the mean emotion vector of `emotion_source`,
    `val/vertex_error_mm` is measured as takes are made: emotion from the speech, most likely codes.

    Emotion consistency (stage 2) compares the embedding of the predicted motion with the Gaussian that the emotion
    vector was drawn from: DEE's speech side of the clip (paper), or its motion side of the target where
    `emotion_source` is motion. As in the paper it asks for the Gaussian's mean, not for the draw that the predictor
    was given.

    Args:
        config: of the predictor.
        training: optimiser and losses.
        motion_prior: trained TH-VQVAE with the codebooks of `config`.
        dee: trained DEE.
        vertices: maps (..., channel) to (..., coordinate) in metres, such as `deeptalk.face.compact_vertices`.

    Raises ValueError where the parents do not fit the config or each other.
    """

    motion_prior: THVQVAE
    dee: DEE
    vertices: nn.Module

    def __init__(
        self,
        config: IndexPredictorConfig,
        training: TalkerTrainingConfig,
        motion_prior: THVQVAE,
        dee: DEE,
        vertices: nn.Module,
    ):
        super().__init__()
        self.model = IndexPredictor(config)
        self.model.check_parents(motion_prior, dee)
        self.training_config = training
        # Past nn.Module's registration: parents are no part of the parameters, the state_dict or train().
        for name, parent in (("motion_prior", motion_prior), ("dee", dee), ("vertices", vertices)):
            object.__setattr__(self, name, parent.eval().requires_grad_(False))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TalkerTraining":
        super()._apply(fn, recurse)
        for parent in (self.motion_prior, self.dee, self.vertices):
            parent._apply(fn)
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant learning rate."""
        return torch.optim.Adam(self.model.parameters(), lr=self.training_config.learning_rate)

    def tau(self) -> float:
        """Gumbel-softmax temperature of the current step."""
        training = self.training_config
        done = min(1.0, self.global_step / max(1.0, float(self.trainer.estimated_stepping_batches)))
        return training.start_tau + done * (training.end_tau - training.start_tau)

    def emotion_source(self, batch: Batch) -> GaussianEmbedding:
        """The Gaussians that emotion vectors of training come from, one a clip."""
        with torch.no_grad():
            if self.model.config.emotion_source == "motion":
                return self.dee.embed_motion(batch["motion"], batch["lengths"])
            return self.dee.embed_speech(batch["features"], batch["lengths"])

    def predict(self, batch: Batch, emotion_vector: Tensor, speaker: Tensor, choose: Choose) -> Prediction:
        """One pass of the predictor through the frozen motion prior."""
        return self.model(batch["features"], emotion_vector, speaker, batch["lengths"], self.motion_prior, choose)

    def terms(self, batch: Batch, prediction: Prediction, source: GaussianEmbedding) -> dict[str, Tensor]:
        """Every term of the stage's objective, unweighted, and `loss`, their weighted sum; float32 scalars.

        The bottom codes' cross-entropy is taken with the target's own top codes: codes are drawn top first, and the
        bottom level must learn what goes with a top code, not with a wrong one.
        """
        training = self.training_config
        terms = self._motion_terms(batch, prediction)
        loss = training.vertex_weight * terms["vertex"] + training.velocity_weight * terms["velocity"]
        if training.code_weight > 0:
            terms |= self._code_terms(batch, prediction)
            loss = loss + training.code_weight * (terms["top_code"] + terms["bottom_code"])
        if training.stage == 2:
            terms["emotion"] = self.emotion_consistency(prediction.motion, batch["lengths"], source)
            loss = loss + training.emotion_weight * terms["emotion"]
        return {"loss": loss, **terms}

    def emotion_consistency(self, motion: Tensor, lengths: Tensor, source: GaussianEmbedding) -> Tensor:
        """How far the motion, as DEE feels it, is from `source`; the mean over clips (`consistency` says which)."""
        felt = self.dee.embed_motion(motion, lengths)
        if self.training_config.consistency == "mean":
            return losses.mean_consistency(felt.mean.float(), source.mean.float())
        matched = self.dee.match(felt, source).diagonal()  # (clip, clip) logits; only a clip's own source counts
        return nn.functional.softplus(-matched).mean()

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Loss of one batch with drawn emotion vectors and drawn codes."""
        training = self.training_config
        source = self.emotion_source(batch)
        vector = source.sample(torch.default_generator, training.spread)
        speaker = batch["speaker"]
        hidden = torch.rand(len(speaker)).to(speaker.device) < training.identity_dropout
        tau = self.tau()
        prediction = self.predict(batch, vector, torch.where(hidden, -1, speaker), StraightThrough(tau))
        terms = self.terms(batch, prediction, source)
        report = {f"train/{name}": value.detach() for name, value in terms.items()}
        self.log_dict({**report, "train/tau": tau}, batch_size=len(speaker))
        return terms["loss"]

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Log the terms at means and most likely codes, for a speaker who was not in training."""
        source = self.emotion_source(batch)
        unseen = torch.full_like(batch["speaker"], -1)
        prediction = self.predict(batch, source.mean, unseen, MostLikely())
        report = self.terms(batch, prediction, source)
        if "top_code" not in report:
            report |= self._code_terms(batch, prediction)
        heard = self.dee.embed_speech(batch["features"], batch["lengths"]).mean
        performed = self.predict(batch, heard, unseen, MostLikely())
        mask = _frame_mask(batch)
        report["vertex_error_mm"] = losses.vertex_error_mm(
            self.vertices(performed.motion.float()), self.vertices(batch["motion"]), mask
        )
        report["emotion"] = self.emotion_consistency(prediction.motion, batch["lengths"], source)
        self.log_dict({f"val/{name}": value for name, value in report.items()}, batch_size=len(unseen))

    def _motion_terms(self, batch: Batch, prediction: Prediction) -> dict[str, Tensor]:
        mask = _frame_mask(batch)
        predicted, target = self.vertices(prediction.motion.float()), self.vertices(batch["motion"])
        return {
            "vertex": losses.vertex_loss(predicted, target, mask),
            "velocity": losses.velocity_loss(predicted, target, mask),
        }

    def _code_terms(self, batch: Batch, prediction: Prediction) -> dict[str, Tensor]:
        lengths = batch["lengths"]
        codes: Codes = self.motion_prior.encode(batch["motion"], lengths)
        decoded = self.motion_prior.decode_top(self.motion_prior.top_vectors(codes.top), lengths)
        bottom_logits = self.model.bottom_logits(prediction.face, decoded, lengths).float()
        top_logits = prediction.top_logits.float()
        terms = {}
        for level, logits, own in (("top", top_logits, codes.top), ("bottom", bottom_logits, codes.bottom)):
            real = own != PADDING
            terms[f"{level}_code"] = losses.code_cross_entropy(logits, own.clamp_min(0), real)
            terms[f"{level}_accuracy"] = losses.code_accuracy(logits.detach(), own, real)
        return terms


def _frame_mask(batch: Batch) -> Tensor:
    """True for real frames."""
    return torch.arange(batch["motion"].shape[1], device=batch["lengths"].device) < batch["lengths"][:, None]
