"""EmoTalk (Peng et al., ICCV 2023, arXiv 2303.11089) on precomputed speech features, the deterministic baseline.

The paper fine-tunes two wav2vec2-large (1024 wide, 24 layers), one for content and one for emotion. Here both are stood
in for by a trainable projection and a few transformer layers over the features of a frozen speech encoder, the same
features that the other systems get. Everything behind them is as published: the fusion decoder, the controls, the
losses. Differences from the released code: any batch size, lengths, persons not seen in training (mean embedding).
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deeptalk.baselines.emotalk_decoder import FusionDecoder
from deeptalk.errors import UserError
from deeptalk.files import atomic_folder, read_json, write_json
from thvqvae.attention import TransformerStack

STRONG_INTENSITY = 0.75
"""Intensities above this are level 1 (strong), others level 0: half way between normal and strong RAVDESS."""


@dataclass(frozen=True)
class EmoTalkConfig:
    """Sizes of EmoTalk; the defaults are the published ones, except the depth of the stand-in encoders."""

    speech_features: int = 1024
    """Size of a frame of speech features (1024 in wav2vec2-large)."""
    channels: int = 52
    """Motion channels."""
    emotions: int = 8
    """Classes of the emotion classifier."""
    people: int = 24
    """Speakers with an embedding of their own (the 24 actors of RAVDESS)."""
    frame_rate: float = 25.0
    """Frames per second; also the period of the attention bias, one second (30 in the paper)."""
    encoder_size: int = 1024
    """Width of the content and of the emotion encoder."""
    encoder_layers: int = 2
    """Transformer layers of each encoder, over frozen features (the paper fine-tunes 24 pretrained ones)."""
    encoder_heads: int = 16
    """Attention heads of the encoders."""
    encoder_feedforward: int = 4096
    """Feedforward width of the encoders."""
    content_size: int = 512
    """Width of the content part of the decoder's query."""
    emotion_size: int = 256
    """Width of the emotion part of the decoder's query."""
    level_size: int = 32
    """Width of the emotion level part of the decoder's query."""
    person_size: int = 32
    """Width of the person part of the decoder's query."""
    decoder_heads: int = 4
    """Attention heads of the decoder."""
    decoder_feedforward: int = 832
    """Feedforward width of the decoder."""
    dropout: float = 0.1
    """Dropout of encoders and decoder."""

    def __post_init__(self) -> None:
        if self.encoder_size % self.encoder_heads:
            raise ValueError(
                f"encoder_size {self.encoder_size} must be a multiple of encoder_heads {self.encoder_heads}."
            )
        if self.decoder_size % self.decoder_heads:
            parts = "content_size + emotion_size + level_size + person_size"
            raise ValueError(f"{parts} = {self.decoder_size} must be a multiple of decoder_heads {self.decoder_heads}.")

    @property
    def decoder_size(self) -> int:
        """Width of the decoder's query stream."""
        return self.content_size + self.emotion_size + self.level_size + self.person_size


def intensity_level(intensity: Float[Tensor, "batch"]) -> Int[Tensor, "batch"]:
    """The paper's two emotion levels from an intensity of 0..1: above 0.75 is strong (1), else normal (0)."""
    return (intensity > STRONG_INTENSITY).long()


def frame_mask(lengths: Int[Tensor, "batch"], frames: int) -> Bool[Tensor, "batch {frames}"]:
    """True for real frames."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def resample(
    sequence: Float[Tensor, "batch frame size"],
    lengths: Int[Tensor, "batch"],
    new_lengths: Int[Tensor, "batch"],
    new_frames: int,
) -> Float[Tensor, "batch {new_frames} size"]:
    """Linear interpolation in time of each sequence from its length to another, first and last frames kept."""
    step = (lengths - 1) / (new_lengths - 1).clamp(min=1)
    position = torch.arange(new_frames, device=sequence.device) * step[:, None]
    position = torch.minimum(position, (lengths - 1)[:, None].to(position.dtype))
    before = position.floor().long()
    after = torch.minimum(before + 1, (lengths - 1)[:, None])
    fraction = (position - before)[..., None].to(sequence.dtype)
    rows = torch.arange(len(sequence), device=sequence.device)[:, None]
    return sequence[rows, before] * (1 - fraction) + sequence[rows, after] * fraction


class SpeechBranch(nn.Module):
    """Projection and bidirectional transformer layers (symmetric ALiBi) over frozen speech features."""

    def __init__(self, config: EmoTalkConfig):
        super().__init__()
        size = config.encoder_size
        self.project = nn.Linear(config.speech_features, size)
        self.transformer = TransformerStack(
            size, config.encoder_heads, config.encoder_feedforward, config.encoder_layers, config.dropout
        )

    def forward(
        self, features: Float[Tensor, "batch frame feature"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch frame size"]:
        """Hidden frames; those of padding are zero."""
        real = frame_mask(lengths, features.shape[1])
        return self.transformer(self.project(features), real) * real[..., None]


class EmoTalk(nn.Module):
    """Speech features, emotion level and person -> 52 blendshape coefficients, the same every time.

    Content and emotion come from two branches; by default both hear the same clip. With `emotion_features` the emotion
    comes from another clip, whose hidden frames are resampled in time to the content's (section 3.2 of the paper, used
    for cross-reconstruction). Coefficients are not
    limited to a rig's range.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: EmoTalkConfig):
        super().__init__()
        self.config = config
        self.register_buffer("feature_mean", torch.zeros(config.speech_features))
        self.register_buffer("feature_std", torch.ones(config.speech_features))
        self.content_encoder = SpeechBranch(config)
        self.emotion_encoder = SpeechBranch(config)
        self.classifier = nn.Sequential(
            nn.Linear(config.encoder_size, config.encoder_size),
            nn.Tanh(),
            nn.Linear(config.encoder_size, config.emotions),
        )
        self.decoder = FusionDecoder(
            hidden_size=config.encoder_size,
            channels=config.channels,
            people=config.people,
            content_size=config.content_size,
            emotion_size=config.emotion_size,
            level_size=config.level_size,
            person_size=config.person_size,
            heads=config.decoder_heads,
            feedforward=config.decoder_feedforward,
            dropout=config.dropout,
            bias_period=round(config.frame_rate),
        )

    def set_statistics(self, feature_mean: Float[Tensor, "feature"], feature_std: Float[Tensor, "feature"]) -> None:
        """Set what standardises the speech features; standard deviations are floored at 1e-3."""
        self.feature_mean.copy_(feature_mean)
        self.feature_std.copy_(feature_std.clamp(min=1e-3))

    def encode_content(
        self, features: Float[Tensor, "batch frame feature"], lengths: Int[Tensor, "batch"]
    ) -> Float[Tensor, "batch frame hidden"]:
        """Hidden frames of what is said."""
        return self.content_encoder(self._standardise(features, lengths), lengths)

    def encode_emotion(
        self, features: Float[Tensor, "batch frame feature"], lengths: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch frame hidden"], Float[Tensor, "batch emotion"]]:
        """Hidden frames of how it is said, and class logits from their mean over the real frames."""
        hidden = self.emotion_encoder(self._standardise(features, lengths), lengths)
        return hidden, self.classifier(hidden.sum(dim=1) / lengths[:, None])

    def decode(
        self,
        content: Float[Tensor, "batch frame hidden"],
        emotion: Float[Tensor, "batch frame hidden"],
        lengths: Int[Tensor, "batch"],
        level: Int[Tensor, "batch"],
        person: Int[Tensor, "batch"],
    ) -> Float[Tensor, "batch frame channel"]:
        """Motion from hidden frames of equal number; frames of padding are zero."""
        motion = self.decoder(content, emotion, level, person)
        return motion * frame_mask(lengths, motion.shape[1])[..., None]

    def forward(
        self,
        features: Float[Tensor, "batch frame feature"],
        lengths: Int[Tensor, "batch"],
        level: Int[Tensor, "batch"],
        person: Int[Tensor, "batch"],
        emotion_features: Float[Tensor, "batch emotion_frame feature"] | None = None,
        emotion_lengths: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch frame channel"]:
        """Motion of every frame of `features`; see the class for what the emotion features do.

        Raises UserError for features of another size, lengths that do not fit, a level or person out of range.
        """
        content = self.encode_content(features, lengths)
        if emotion_features is None or emotion_lengths is None:
            emotion, _ = self.encode_emotion(features, lengths)
        else:
            emotion, _ = self.encode_emotion(emotion_features, emotion_lengths)
            emotion = resample(emotion, emotion_lengths, lengths, features.shape[1])
        return self.decode(content, emotion, lengths, level, person)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a new folder, atomically."""
        with atomic_folder(folder, "config.json") as temporary:
            write_json(temporary / "config.json", dataclasses.asdict(self.config))
            save_file({k: v.contiguous() for k, v in self.state_dict().items()}, temporary / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "EmoTalk":
        """Read a folder written by `save_pretrained`, in eval mode.

        Raises UserError where a file is missing, or the two do not fit each other.
        """
        folder = Path(folder)
        content = read_json(folder / "config.json")
        try:
            model = cls(EmoTalkConfig(**content))
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except (TypeError, ValueError) as error:
            raise UserError(f"{folder / 'config.json'} is not a config of EmoTalk: {error}") from error
        except (OSError, SafetensorError) as error:
            raise UserError(f"Cannot read the weights of EmoTalk, {folder / 'model.safetensors'}: {error}") from error
        except RuntimeError as error:
            first = json.dumps(str(error).strip().splitlines()[-1].strip())
            raise UserError(f"Weights and config in {folder} do not fit each other: {first}") from error
        return model.eval()

    def _standardise(self, features: Tensor, lengths: Tensor) -> Tensor:
        if features.shape[-1] != self.config.speech_features:
            raise UserError(
                f"EmoTalk was built for {self.config.speech_features} speech features a frame, got "
                f"{features.shape[-1]}; "
                "use the speech encoder it was trained with."
            )
        if bool(((lengths < 1) | (lengths > features.shape[1])).any()):
            raise UserError(f"Lengths must be 1 to {features.shape[1]} frames, got {lengths.tolist()}.")
        return (features - self.feature_mean) / self.feature_std
