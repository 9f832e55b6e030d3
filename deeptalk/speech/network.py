"""Encoders that are a pretrained network, and training the last blocks of one."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from deeptalk.errors import UserError
from deeptalk.speech.encoder import SpeechEncoder, weights_sha256
from deeptalk.speech.frames import FRAME_RATE, SAMPLE_RATE, pool_frames
from deeptalk.speech.windows import LONGEST_SECONDS, STATE_RATE, Windows


class NetworkEncoder(SpeechEncoder):
    """An encoder with transformer blocks, frozen unless `train_last_blocks` was called.

    Also then it stays in eval mode, without dropout, so that it gives in training what it gives afterwards.
    """

    def __init__(self, name: str, network: nn.Module, feature_size: int, frame_rate: float, windows: Windows) -> None:
        super().__init__(name, feature_size, frame_rate)
        self.network = network.requires_grad_(False)
        self.windows = windows
        self.train(False)

    @property
    def kind(self) -> str:
        """The name without options: whisper of whisper:2s."""
        return self.name.partition(":")[0]

    @property
    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks, the lowest first."""

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which `build_encoder` reads as a source of this kind."""

    def identity(self) -> dict[str, Any]:
        """Return the name and the hash of the weights."""
        return {"name": self.name, "weights": weights_sha256(self.network.state_dict())}

    def train_last_blocks(self, count: int) -> None:
        """Let the last `count` blocks take gradients, and nothing else. Raises UserError for more than there are."""
        blocks = self.blocks
        if not 0 <= count <= len(blocks):
            raise UserError(f"{self.name} has {len(blocks)} blocks, {count} of which cannot be trained.")
        self.network.requires_grad_(False)
        for block in blocks[len(blocks) - count :]:
            block.requires_grad_(True)


class WaveformNetworkEncoder(NetworkEncoder):
    """A network over the waveform itself: convolutions, then blocks, as wav2vec 2.0 and its kin.

    The convolutions, and the normalisation of the waveform, take the whole of a clip and one clip at a time: so no
    padding can reach the norms among them. The blocks take frames, in windows where the speech is long.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        feature_size: int,
        frame_rate: float = FRAME_RATE,
        window_seconds: float | None = None,
        field_samples: int = 400,
    ) -> None:
        windows = Windows.of(window_seconds, round(LONGEST_SECONDS * STATE_RATE))
        super().__init__(name, network, feature_size, frame_rate, windows)
        self.field_samples = field_samples

    @abstractmethod
    def local_frames(self, samples: Float[Tensor, " sample"], length: int) -> Float[Tensor, "state size"]:
        """Return what the blocks take, of one clip with `length` samples and then silence."""

    @abstractmethod
    def contextual(
        self, local: Float[Tensor, "window state size"], lengths: Tensor
    ) -> Float[Tensor, "window state size"]:
        """Return what the blocks make of windows of local frames."""

    def encode(self, waveforms: Tensor, sample_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """Return (batch, frame, size)."""
        local = []
        for samples, length in zip(waveforms, sample_lengths.tolist()):
            missing = max(0, self.field_samples - length)  # a clip shorter than one state goes on in silence
            local.append(self.local_frames(F.pad(samples[:length], (0, missing)), length))
        states = self.windows.states(self.contextual, local, self.feature_size)
        counts = torch.tensor([len(one) for one in local], device=waveforms.device)
        first = (self.field_samples - 1) / 2 / SAMPLE_RATE  # a state describes the middle of what it hears
        return pool_frames(states, counts, STATE_RATE, frame_lengths, self.frame_rate, first)
