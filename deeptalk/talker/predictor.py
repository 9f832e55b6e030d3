"""From speech features and an emotion vector to the codes of both levels of the motion prior, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from dee import DEE
from thvqvae import THVQVAE
from thvqvae.attention import TransformerStack
from thvqvae.hierarchy import STRIDE, level_frames, level_masks
from thvqvae.saving import load_pretrained, save_pretrained

TOP, BOTTOM = 0, 1

Choose = Callable[[Tensor, int], Tensor]
"""(logits (batch, token, code), level 0 = top or 1 = bottom) -> one-hot choices of the same shape."""


@dataclass(frozen=True)
class IndexPredictorConfig:
    """Sizes of the index predictor; the defaults are the published ones (facts 3.1)."""

    emotion_source: Literal["motion", "speech"] = "motion"
    """Side of DEE whose draws train the predictor (DESIGN section 2); labels are looked up on the same side later."""
    feature_size: int = 768
    """Channels of the speech features."""
    content_first: int = 0
    """First of these channels that the content layer reads, for features that DEE shares."""
    content_features: int = 0
    """How many it reads from there; 0 reads all that follow."""
    emotion_size: int = 128
    """Channels of DEE's emotion vector."""
    num_speakers: int = 32
    """Speakers seen in training; any other is given as -1, the mean of their identities."""
    top_codes: int = 256
    """Codes of the motion prior's top level."""
    bottom_codes: int = 256
    """Codes of its bottom level."""
    decoded_top_size: int = 128
    """Channels of its decoded top level."""
    content_size: int = 128
    """Channels of the projected speech features."""
    identity_size: int = 32
    """Channels of a speaker's identity."""
    style_size: int = 128
    """Channels of emotion and identity together."""
    face_size: int = 128
    """Channels of the face features."""
    size: int = 256
    """Channels inside the top and the bottom predictor."""
    heads: int = 8
    """Attention heads everywhere."""
    feedforward: int = 256
    """Channels inside the feed-forward parts."""
    layers: int = 6
    """Layers of the top and of the bottom predictor."""
    face_dropout: float = 0.1
    """Dropout of the face feature layer."""
    dropout: float = 0.0
    """Dropout of the top and the bottom predictor."""
    period_frames: int = 25
    """Frames without distance penalty in the face feature layer: one second at 25 frames a second."""

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that do not fit each other."""
        if (self.content_size + self.style_size) % self.heads:
            raise ValueError(
                f"content_size + style_size is {self.content_size + self.style_size}; it must be a multiple of "
                f"heads ({self.heads})."
            )
        if self.size % self.heads:
            raise ValueError(f"size is {self.size}; it must be a multiple of heads ({self.heads}).")
        if not 0 <= self.content_first < self.content_first + max(self.content_features, 1) <= self.feature_size:
            raise ValueError(
                f"content_first {self.content_first} and content_features {self.content_features} leave the "
                f"{self.feature_size} channels of feature_size; lower one."
            )
        if self.num_speakers < 1:
            raise ValueError(f"num_speakers is {self.num_speakers}; expected at least 1.")

    @property
    def content_columns(self) -> slice:
        """The channels of the speech features that the content layer reads."""
        last = self.content_first + self.content_features if self.content_features else self.feature_size
        return slice(self.content_first, last)


@dataclass(frozen=True)
class Prediction:
    """What one pass of the predictor gives; t4 is the number of frames rounded up to a multiple of 4."""

    motion: Float[Tensor, "batch frame channel"]
    """Decoded motion, as many frames as the features."""
    face: Float[Tensor, "batch t4 face"]
    """Face features, edge-padded."""
    top_logits: Float[Tensor, "batch top top_code"]
    """Logits of the top codes, t4 / 4 of them."""
    bottom_logits: Float[Tensor, "batch bottom bottom_code"]
    """Logits of the bottom codes, t4 / 2 of them."""


class IndexPredictor(nn.Module):
    """Non-autoregressive predictor of the two levels of codes (paper section 3.3).

    Content and style (emotion and identity) go through one transformer layer with a bias in steps of one second to face
    features; the top codes are predicted from stacks of 4 frames, the bottom codes from stacks of 2 frames and the
    decoded top codes that were chosen. `feature_mean` and `feature_std` are buffers: features come raw.

    `check_parents` says whether a motion prior and a DEE fit it.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: IndexPredictorConfig):
        super().__init__()
        self.config = config
        self.register_buffer("feature_mean", torch.zeros(config.feature_size))
        self.register_buffer("feature_std", torch.ones(config.feature_size))
        self.content = nn.Linear(len(range(config.feature_size)[config.content_columns]), config.content_size)
        self.emotion = nn.Linear(config.emotion_size, config.style_size)
        self.identity = nn.Embedding(config.num_speakers, config.identity_size)
        self.style = nn.Linear(config.style_size + config.identity_size, config.style_size)
        width = config.content_size + config.style_size
        self.face_layer = TransformerStack(
            width, config.heads, config.feedforward, layers=1, dropout=config.face_dropout, period=config.period_frames
        )
        self.face = nn.Linear(width, config.face_size)
        stack = (config.size, config.heads, config.feedforward, config.layers, config.dropout)
        self.top_input = nn.Linear(STRIDE * config.face_size, config.size)
        self.top_stack = TransformerStack(*stack)
        self.top_output = nn.Linear(config.size, config.top_codes)
        self.bottom_input = nn.Linear(STRIDE // 2 * config.face_size + config.decoded_top_size, config.size)
        self.bottom_stack = TransformerStack(*stack)
        self.bottom_output = nn.Linear(config.size, config.bottom_codes)

    def set_statistics(self, feature_mean: Float[Tensor, " feature"], feature_std: Float[Tensor, " feature"]) -> None:
        """Set what raw features are standardised with, before training."""
        self.feature_mean.copy_(feature_mean)
        self.feature_std.copy_(feature_std.clamp_min(1e-6))

    def identities(self, speaker: Int[Tensor, " batch"]) -> Float[Tensor, "batch identity"]:
        """Identity vectors; -1 is the mean of all, for a speaker who was not in training.

        Raises ValueError for any other number outside the table.
        """
        if bool(((speaker < -1) | (speaker >= self.config.num_speakers)).any()):
            raise ValueError(
                f"speaker holds {speaker.min().item()} to {speaker.max().item()}; expected -1 (unseen) to "
                f"{self.config.num_speakers - 1}."
            )
        known = self.identity(speaker.clamp_min(0))
        return torch.where((speaker >= 0)[:, None], known, self.identity.weight.mean(dim=0))

    def check_parents(self, motion_prior: THVQVAE, dee: DEE) -> None:
        """Raise ValueError where a parent has other sizes than this predictor or than the other parent."""
        own, prior = self.config, motion_prior.config
        for owner, name, expected, given in (
            ("motion prior", "top_codes", own.top_codes, prior.top_codes),
            ("motion prior", "bottom_codes", own.bottom_codes, prior.bottom_codes),
            ("motion prior", "decoded_top_size", own.decoded_top_size, prior.hidden_size),
            ("DEE", "emotion_size", own.emotion_size, dee.config.embedding_size),
            ("DEE", "feature_size", own.feature_size, dee.config.speech_features),
        ):
            if expected != given:
                raise ValueError(
                    f"The talker was built for {name} {expected}, the {owner} has {given}; "
                    f"set {name}={given} or give the {owner} it was built for."
                )
        if prior.channels != dee.config.motion_channels:
            raise ValueError(
                f"The motion prior has {prior.channels} channels, DEE {dee.config.motion_channels}; "
                "give two that were trained for the same rig."
            )

    def forward(
        self,
        features: Float[Tensor, "batch frame feature"],
        emotion_vector: Float[Tensor, "batch emotion"],
        speaker: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        motion_prior: THVQVAE,
        choose: Choose,
    ) -> Prediction:
        """Predict, choose and decode both levels of codes.

        Features come raw, any number of frames; they are filled up to a multiple of 4 by repeating each clip's last
        frame, and the motion is trimmed again. `lengths` are in frames. Gradients flow through the motion prior if
        `choose` lets them. Raises ValueError for features, lengths or speakers that do not fit.
        """
        face = self.face_features(features, emotion_vector, speaker, lengths)
        top_logits = self.top_logits(face, lengths)
        top_vectors = motion_prior.top_vectors(choose(top_logits, TOP))
        bottom_logits = self.bottom_logits(face, motion_prior.decode_top(top_vectors, lengths), lengths)
        bottom_vectors = motion_prior.bottom_vectors(choose(bottom_logits, BOTTOM))
        motion = motion_prior.decode_latents(top_vectors, bottom_vectors, lengths)
        return Prediction(motion[:, : features.shape[1]], face, top_logits, bottom_logits)

    def face_features(
        self,
        features: Float[Tensor, "batch frame feature"],
        emotion_vector: Float[Tensor, "batch emotion"],
        speaker: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch t4 face"]:
        """Face features of a number of frames that is a multiple of 4: each clip's last frame is repeated."""
        if features.shape[2] != self.config.feature_size:
            raise ValueError(
                f"The features have {features.shape[2]} channels, this talker reads {self.config.feature_size}; "
                "give features of the speech encoder it was trained with."
            )
        masks = level_masks(lengths, features.shape[1])
        frames = torch.arange(level_frames(features.shape[1])[2], device=features.device)
        place = torch.minimum(frames, (lengths - 1)[:, None])
        standardised = (features - self.feature_mean) / self.feature_std
        content = self.content(standardised[..., self.config.content_columns])
        content = content.gather(1, place[:, :, None].expand(-1, -1, content.shape[-1]))
        style = self.style(torch.cat([self.emotion(emotion_vector), self.identities(speaker)], dim=-1))
        joined = torch.cat([content, style[:, None].expand(-1, len(frames), -1)], dim=-1)
        return self.face(self.face_layer(joined, masks.full))

    def top_logits(
        self, face: Float[Tensor, "batch t4 face"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch top code"]:
        """Logits of the top codes."""
        hidden = self.top_input(rearrange(face, "b (t s) c -> b t (s c)", s=STRIDE))
        return self.top_output(self.top_stack(hidden, level_masks(lengths, face.shape[1]).top))

    def bottom_logits(
        self,
        face: Float[Tensor, "batch t4 face"],
        decoded_top: Float[Tensor, "batch bottom decoded"],
        lengths: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch bottom code"]:
        """Logits of the bottom codes, given the decoded top level (`THVQVAE.decode_top`)."""
        stacked = rearrange(face, "b (t s) c -> b t (s c)", s=STRIDE // 2)
        hidden = self.bottom_input(torch.cat([stacked, decoded_top], dim=-1))
        return self.bottom_output(self.bottom_stack(hidden, level_masks(lengths, face.shape[1]).bottom))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`, replacing each in one step."""
        save_pretrained(self, self.config, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "IndexPredictor":
        """The predictor saved in `folder`, in evaluation mode; raises ValueError naming what does not fit."""
        return load_pretrained(cls, IndexPredictorConfig, Path(folder))
