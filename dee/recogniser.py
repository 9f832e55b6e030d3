"""The facial expression recogniser (FER) under the released DEE: one frame of motion to an emotion, and its features.

Published sizes: facts of the released FER (a multilayer perceptron on 50 expression and 3 jaw parameters).
"""

import dataclasses
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dee.saving import read_pretrained, save_folder

RELEASED_EMOTIONS = ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry", "contempt")
"""Order of the released recogniser's outputs (AffectNet)."""


SMALLEST_STD = 1e-3
"""Standard deviation of channels that hardly moved in training; such channels are not read."""


def standardise_motion(
    motion: Float[Tensor, "*batch channel"], mean: Float[Tensor, "channel"], std: Float[Tensor, "channel"]
) -> Float[Tensor, "*batch channel"]:
    """Motion in standard deviations from the mean; 0 in channels that did not move in training.

    A captured motion that does move them would lie hundreds of deviations from all that was learnt.
    """
    return ((motion - mean) / std).masked_fill(std <= SMALLEST_STD, 0.0)


def _published_sizes() -> list[int]:
    return [256, 512, 1024, 512, 256, 128, 64]


@dataclass(frozen=True)
class RecogniserConfig:
    """Sizes of the recogniser; the hidden ones are the published ones."""

    motion_channels: int = 53
    """Channels of a frame of motion."""
    hidden_sizes: list[int] = field(default_factory=_published_sizes)
    """Channels of the hidden layers; the last but one are the features."""
    emotions: int = 8
    """Number of classes."""
    dropout: float = 0.3
    """Dropout after each hidden layer."""
    features: Literal["normalised", "released"] = "normalised"
    """`normalised`: the features pass through the trained batch norms as the classifier's do. `released`: linear maps
    and activations only, none after the last, as the authors' extractor computes them."""

    def __post_init__(self) -> None:
        if len(self.hidden_sizes) < 2 or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes is {self.hidden_sizes}; expected at least two sizes of at least 1.")

    @property
    def feature_size(self) -> int:
        """Channels of the features."""
        return self.hidden_sizes[-2]


class ExpressionRecogniser(nn.Module):
    """Emotion of a frame of motion. Every hidden layer is a linear map, batch norm, leaky ReLU and dropout."""

    motion_mean: Tensor
    motion_std: Tensor

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("motion_mean", torch.zeros(config.motion_channels))
        self.register_buffer("motion_std", torch.ones(config.motion_channels))
        sizes = [config.motion_channels, *config.hidden_sizes]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in config.hidden_sizes)
        self.activation = nn.LeakyReLU(0.01)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(sizes[-1], config.emotions)

    def set_statistics(self, motion_mean: Float[Tensor, "channel"], motion_std: Float[Tensor, "channel"]) -> None:
        """Standardise motion with these, of the training corpus; channels of under 1e-3 are not read."""
        self.motion_mean.copy_(motion_mean)
        self.motion_std.copy_(motion_std.clamp(min=SMALLEST_STD))

    def forward(self, motion: Float[Tensor, "frame channel"]) -> Float[Tensor, "frame emotion"]:
        """Logits of the emotions of each frame of motion (not standardised)."""
        motion = standardise_motion(motion, self.motion_mean, self.motion_std)
        for linear, norm in zip(self.hidden, self.norms):
            motion = self.dropout(self.activation(norm(linear(motion))))
        return self.output(motion)

    def frame_features(self, motion: Float[Tensor, "*batch frame channel"]) -> Float[Tensor, "*batch frame feature"]:
        """Features of each frame, of the layer before the last hidden one, in the variant of the config."""
        hidden = standardise_motion(motion.flatten(0, -2), self.motion_mean, self.motion_std)
        count = len(self.config.hidden_sizes) - 1
        for number, (linear, norm) in enumerate(zip(self.hidden[:count], self.norms), start=1):
            hidden = linear(hidden)
            if self.config.features == "normalised":
                hidden = self.activation(norm(hidden))
            elif number < count:
                hidden = self.activation(hidden)
        return hidden.unflatten(0, motion.shape[:-1])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors; an existing folder is replaced as a whole, or not at all."""
        save_folder(folder, {"model": "recogniser", "config": dataclasses.asdict(self.config)}, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ExpressionRecogniser":
        """Read what `save_pretrained` wrote, in evaluation mode; raises ValueError as `DEE.from_pretrained`."""
        return read_pretrained(folder, "recogniser", RecogniserConfig, cls)
