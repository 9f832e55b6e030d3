"""emotion2vec, the speech side of the released DEE, as an encoder."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dee.emotion2vec import SMALLEST_CLIP, Emotion2Vec
from deeptalk.errors import UserError
from deeptalk.files import read_json
from deeptalk.speech.frames import FRAME_RATE
from deeptalk.speech.network import WaveformNetworkEncoder
from deeptalk.speech.weights import weights_folder

ALTERNATIVES = (
    "give --speech-weights (in Python source=) the folder of a bundle that `deeptalk import-checkpoint` wrote from a "
    "released DEE, or one that Emotion2Vec.save_pretrained wrote; another encoder is whisper+prosody"
)


class Emotion2VecEncoder(WaveformNetworkEncoder):
    """Last hidden states of emotion2vec (arXiv 2312.15185), averaged onto the motion frames."""

    network: Emotion2Vec

    def __init__(
        self, network: Emotion2Vec, frame_rate: float = FRAME_RATE, window_seconds: float | None = None
    ) -> None:
        name = "emotion2vec" if window_seconds is None else f"emotion2vec:{window_seconds:g}s"
        super().__init__(name, network, network.config.width, frame_rate, window_seconds, SMALLEST_CLIP)

    @classmethod
    def load(
        cls, source: str | Path | None, frame_rate: float = FRAME_RATE, window_seconds: float | None = None
    ) -> "Emotion2VecEncoder":
        """Load weights from a source as `weights_folder` describes. Raises UserError."""
        if source is None:
            raise UserError(f"emotion2vec comes without weights: {ALTERNATIVES}.")
        folder = weights_folder("emotion2vec", source, ALTERNATIVES)
        config = read_json(folder / "config.json")
        found = config.get("model", config.get("model_type")) if isinstance(config, dict) else type(config).__name__
        if found != "emotion2vec":
            raise UserError(f"{folder}/config.json describes '{found}', expected 'emotion2vec'; {ALTERNATIVES}.")
        try:
            return cls(Emotion2Vec.from_pretrained(folder), frame_rate, window_seconds)
        except ValueError as error:
            raise UserError(f"emotion2vec cannot be read. {error}") from error

    @property
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks, the lowest first."""
        return [*self.network.context_blocks, *self.network.blocks]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors."""
        self.network.save_pretrained(folder)

    def local_frames(self, samples: Float[Tensor, " sample"], length: int) -> Float[Tensor, "state size"]:
        """Return the frames of a clip after the convolutions."""
        return self.network.local_features(samples[None], torch.tensor([length], device=samples.device))[0]

    def contextual(
        self, local: Float[Tensor, "window state size"], lengths: Tensor
    ) -> Float[Tensor, "window state size"]:
        """Return the frames after all blocks."""
        return self.network.contextual_features(local, lengths)

    def identity(self) -> dict[str, Any]:
        """Return the name, the architecture and the hash of the weights."""
        return {**super().identity(), "architecture": dataclasses.asdict(self.network.config)}
