"""DEE, the dynamic emotion embedding: one Gaussian a clip, in a space that speech and facial motion share."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dee.encoders import ClipEncoder, EncoderConfig, check_lengths
from dee.gaussian import GaussianEmbedding
from dee.losses import MatchLogits
from dee.prototypes import Prototypes
from dee.recogniser import SMALLEST_STD, ExpressionRecogniser, RecogniserConfig, standardise_motion
from dee.saving import read_pretrained, save_folder

Side = Literal["speech", "motion"]


def _default_emotions() -> list[str]:
    return ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised"]


@dataclass(frozen=True)
class DEEConfig:
    """Architecture of DEE; the sizes are the published ones."""

    speech_features: int = 768
    """Channels of a frame of speech features."""
    speech_columns: list[int] = field(default_factory=list)
    """The first of these channels that is read and the one after the last, for features that other models share; empty
    reads them all."""
    motion_channels: int = 52
    """Channels of a frame of motion."""
    embedding_size: int = 128
    """Channels of the shared space."""
    speech_encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(width=768, layers=2))
    """Encoder of the speech side."""
    motion_encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(width=512, layers=6))
    """Encoder of the motion side."""
    recogniser: RecogniserConfig | None = None
    """Expression recogniser whose frame features the motion side reads, as published; None reads motion itself."""
    log_variance_bias: float = -5.0
    """Where log-variances start. From 0 the 128 variances alone put every matching pair at a logit near -1,285."""
    emotions: list[str] = field(default_factory=_default_emotions)
    """Names of the emotion indices, for prototypes; the first is neutral."""

    def __post_init__(self) -> None:
        columns = self.speech_columns
        if columns and not (len(columns) == 2 and 0 <= columns[0] < columns[1] <= self.speech_features):
            raise ValueError(
                f"speech_columns is {columns}; expected two ascending numbers in 0..{self.speech_features}, the "
                "speech_features, or none."
            )

    @property
    def columns_read(self) -> slice:
        """The channels of the speech features that are read."""
        first, stop = self.speech_columns or (0, self.speech_features)
        return slice(first, stop)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "DEEConfig":
        """Config from what `dataclasses.asdict` made of one. Raises ValueError for unknown keys."""
        unknown = set(content) - {entry.name for entry in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"Unknown DEE config keys: {', '.join(sorted(unknown))}.")
        kinds = {"speech_encoder": EncoderConfig, "motion_encoder": EncoderConfig, "recogniser": RecogniserConfig}
        parts = {name: kind(**content[name]) for name, kind in kinds.items() if content.get(name) is not None}
        return cls(**{**content, **parts})


class DEE(nn.Module):
    """Two clip encoders into one space (paper section on DEE), with prototypes of labelled emotions.

    `speech` is a module that turns waveforms into features (batch, frame, feature) and lengths, for `embed_waveform`.
    It is not part of the model: neither its weights nor its device follow, and it is handed in again on loading.
    """

    feature_mean: Tensor
    feature_std: Tensor
    motion_mean: Tensor
    motion_std: Tensor
    speech: nn.Module | None

    def __init__(self, config: DEEConfig, speech: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        object.__setattr__(self, "speech", speech)  # past nn.Module, which would take it into the state_dict
        size, bias = config.embedding_size, config.log_variance_bias
        columns = range(config.speech_features)[config.columns_read]
        self.speech_encoder = ClipEncoder(config.speech_encoder, len(columns), size, bias)
        channels = config.motion_channels
        self.recogniser = None
        if config.recogniser is not None:
            if config.recogniser.motion_channels != channels:
                raise ValueError(
                    f"recogniser.motion_channels {config.recogniser.motion_channels} and motion_channels {channels} "
                    "differ; change one."
                )
            channels = config.recogniser.feature_size
            self.recogniser = ExpressionRecogniser(config.recogniser).requires_grad_(False).eval()
        self.motion_encoder = ClipEncoder(config.motion_encoder, channels, size, bias)
        self.match = MatchLogits()
        self.prototypes = nn.ModuleDict({side: Prototypes(config.emotions, size) for side in ("speech", "motion")})
        self.register_buffer("feature_mean", torch.zeros(config.speech_features))
        self.register_buffer("feature_std", torch.ones(config.speech_features))
        self.register_buffer("motion_mean", torch.zeros(config.motion_channels))
        self.register_buffer("motion_std", torch.ones(config.motion_channels))

    def set_statistics(
        self,
        feature_mean: Float[Tensor, "feature"],
        feature_std: Float[Tensor, "feature"],
        motion_mean: Float[Tensor, "channel"],
        motion_std: Float[Tensor, "channel"],
    ) -> None:
        """Standardise inputs with these, of the training corpus; call it before training.

        Deviations are raised to 1e-3, and motion in such channels is not read. Raises ValueError for another number of
        channels, values that are not finite or negative deviations.
        """
        given = {
            "feature_mean": feature_mean,
            "feature_std": feature_std,
            "motion_mean": motion_mean,
            "motion_std": motion_std,
        }
        for name, value in given.items():
            own = getattr(self, name)
            if value.shape != own.shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {tuple(own.shape)}.")
            if not torch.isfinite(value).all() or (name.endswith("std") and (value < 0).any()):
                raise ValueError(f"{name} must be finite{', and not negative' if name.endswith('std') else ''}.")
        for name, value in given.items():
            getattr(self, name).copy_(value.clamp(min=SMALLEST_STD) if name.endswith("std") else value)

    def embed_speech(
        self, features: Float[Tensor, "batch frame feature"], lengths: Int[Tensor, "batch"]
    ) -> GaussianEmbedding:
        """Gaussian of each clip of speech, from its features (not standardised) over `lengths` frames.

        Raises ValueError for lengths outside 1..frame or another number of features.
        """
        self._check_channels("features", features, self.config.speech_features)
        check_lengths(lengths, features.shape[1])
        standardised = (features - self.feature_mean) / self.feature_std
        return self.speech_encoder(standardised[..., self.config.columns_read], lengths)

    def embed_motion(
        self, motion: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, "batch"]
    ) -> GaussianEmbedding:
        """Gaussian of each clip of motion (not standardised) over `lengths` frames; differentiable.

        Raises ValueError for lengths outside 1..frame or another number of channels.
        """
        self._check_channels("motion", motion, self.config.motion_channels)
        check_lengths(lengths, motion.shape[1])
        if self.recogniser is not None:  # it standardises motion itself
            return self.motion_encoder(self.recogniser.frame_features(motion), lengths)
        return self.motion_encoder(standardise_motion(motion, self.motion_mean, self.motion_std), lengths)

    def train(self, mode: bool = True) -> "DEE":
        """As any module; the recogniser is frozen and stays in evaluation mode."""
        super().train(mode)
        if self.recogniser is not None:
            self.recogniser.eval()
        return self

    def embed_waveform(
        self, waveforms: Float[Tensor, "batch sample"], sample_lengths: Int[Tensor, "batch"]
    ) -> GaussianEmbedding:
        """Gaussian of each clip of speech, from its waveform, through the `speech` module handed in.

        Raises ValueError where none was.
        """
        if self.speech is None:
            raise ValueError("This DEE has no speech encoder; hand one in: DEE.from_pretrained(folder, speech=...).")
        features, lengths = self.speech(waveforms, sample_lengths)
        device = self.feature_mean.device
        return self.embed_speech(features.to(device), lengths.to(device))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[Side, GaussianEmbedding]:
        """Both sides of a batch with `features`, `motion` and the `lengths` they share."""
        return {
            "speech": self.embed_speech(batch["features"], batch["lengths"]),
            "motion": self.embed_motion(batch["motion"], batch["lengths"]),
        }

    @torch.no_grad()
    def fit_prototypes(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Fit the labelled emotions of both sides on batches with features, motion, lengths, emotion, intensity.

        Batches may lie on any device. Raises ValueError as `Prototypes.fit`.
        """
        device = self.feature_mean.device
        was_training = self.training
        self.eval()
        sides: dict[Side, list[GaussianEmbedding]] = {"speech": [], "motion": []}
        emotions, intensities = [], []
        for batch in batches:
            for side, embedding in self({name: batch[name].to(device) for name in _CLIP_KEYS}).items():
                sides[side].append(embedding)
            emotions.append(batch["emotion"].to(device))
            intensities.append(batch["intensity"].to(device))
        self.train(was_training)
        for side, parts in sides.items():
            prototypes = self.prototypes[side]
            assert isinstance(prototypes, Prototypes)
            prototypes.fit(GaussianEmbedding.concatenate(parts), torch.cat(emotions), torch.cat(intensities))

    def emotion_vector(
        self, emotion: Int[Tensor, "batch"], intensity: Float[Tensor, "batch"], side: Side = "motion"
    ) -> GaussianEmbedding:
        """Gaussian of a labelled emotion at an intensity (see `Prototypes`), as the motion or the speech side has it.

        The motion side by default: a label says what speech may not, and emotions that sound alike are told apart
        only there. A talker trained on draws of the speech side alone may want that side, whose prototypes of such
        emotions are closer to each other. Raises ValueError for an emotion that was not fitted.
        """
        return self.prototypes[side](emotion, intensity)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors; an existing folder is replaced as a whole, or not at all."""
        save_folder(folder, {"model": "dee", "config": dataclasses.asdict(self.config)}, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: str | Path, speech: nn.Module | None = None) -> "DEE":
        """Read what `save_pretrained` wrote, in evaluation mode.

        Raises ValueError where files are missing or broken, or keys are missing, unknown or of another shape, by name.
        """
        return read_pretrained(folder, "dee", DEEConfig, lambda config: cls(config, speech=speech))

    @staticmethod
    def _check_channels(name: str, values: Tensor, expected: int) -> None:
        if values.shape[-1] != expected:
            raise ValueError(f"{name} have {values.shape[-1]} channels, this DEE was built for {expected}.")


_CLIP_KEYS = ("features", "motion", "lengths")
