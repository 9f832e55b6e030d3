"""Single-level rivals of TH-VQVAE with its blocks: a product-code VQ-VAE and a VAE."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from thvqvae.autoencoder import MotionAutoencoder
from thvqvae.hierarchy import BlockSize, Decoder, Doubling, Encoder, LevelMasks, level_masks, zero_padding
from thvqvae.quantizer import EMAQuantizer, Quantized
from thvqvae.saving import load_pretrained, save_pretrained


class SingleLevelReconstruction(NamedTuple):
    """A motion after one pass through a single-level bottleneck."""

    motion: Float[Tensor, "batch frame channel"]
    """The reconstruction; garbage at padding."""
    levels: dict[str, Quantized]
    """What each quantiser did; empty for a VAE."""
    kl: Float[Tensor, ""] | None
    """Divergence from the prior in nats a motion frame, mean over real frames; None for codes."""


@dataclass(frozen=True)
class SingleLevelConfig:
    """Sizes that both rivals share; by default they have up to a fifth more parameters than TH-VQVAE, not fewer."""

    channels: int = 52
    """Channels of the motion."""
    stride: Literal[2, 4] = 4
    """Motion frames for each latent frame."""
    hidden_size: int = 128
    """Channels of the encoders; the decoders are three times as wide."""
    heads: int = 8
    """Attention heads of every transformer layer."""
    feedforward_size: int = 256
    """Feed-forward channels of the encoders."""
    decoder_feedforward_size: int = 512
    """Feed-forward channels of the decoder."""
    layers: int = 1
    """Transformer layers in each encoder and decoder."""
    dropout: float = 0.1
    """Dropout of the transformer layers."""

    def __post_init__(self) -> None:
        for name in ("channels", "hidden_size", "heads", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}; change one.")


@dataclass(frozen=True)
class ProductVQVAEConfig(SingleLevelConfig):
    """A product code: each latent frame is a code from each of several codebooks.

    The defaults carry TH-VQVAE's 6 bits a frame: 3 codebooks of 256 every 4 frames. One codebook of as many bits would
    need 16 million codes.
    """

    codebooks: int = 3
    """Codebooks, each with its own part of the latent."""
    codes: int = 256
    """Codes of each codebook."""
    decay: float = 0.95
    """What the codebooks' moving averages keep at each training step."""
    epsilon: float = 1e-5
    """Laplace smoothing of the codebooks' counts."""
    dead_code_share: float = 0.1
    """A code used less than this share of an even use is put onto a new latent."""
    seed: int = 0
    """Seeds the codebooks' initialisation and revival."""

    @property
    def bits_per_frame(self) -> float:
        """Bits a motion frame that the codes hold."""
        return self.codebooks * math.log2(self.codes) / self.stride


@dataclass(frozen=True)
class MotionVAEConfig(SingleLevelConfig):
    """A Gaussian latent for each latent frame, with a standard normal prior."""

    latent_size: int = 16
    """Channels of the latent."""


class _SingleLevel(MotionAutoencoder):
    """Encoder to hidden features every `stride` frames, and decoder from three times as many channels."""

    def __init__(self, config: SingleLevelConfig):
        super().__init__(config.channels)
        size = config.hidden_size
        block = BlockSize(config.heads, config.feedforward_size, config.layers, config.dropout)
        self.stride = config.stride
        self.bottom_encoder = Encoder(config.channels, size, block)
        self.top_encoder = Encoder(size, size, block) if config.stride == 4 else None
        self.upsample = Doubling(3 * size, 4, causal=False) if config.stride == 4 else None
        self.decoder = Decoder(3 * size, replace(block, feedforward=config.decoder_feedforward_size))
        self.output = nn.Conv1d(3 * size, config.channels, 5)

    def features(self, motion: Tensor, masks: LevelMasks) -> Tensor:
        """(batch, latent frame, hidden) of a checked motion."""
        hidden = self.bottom_encoder(self.filled(motion, masks), masks.full, masks.bottom)
        return hidden if self.top_encoder is None else self.top_encoder(hidden, masks.bottom, masks.top)

    def latent_mask(self, masks: LevelMasks) -> Tensor | None:
        """Real latent frames."""
        return masks.bottom if self.top_encoder is None else masks.top

    def decoded(self, latent: Tensor, masks: LevelMasks, frames: int) -> Tensor:
        """Motion of `frames` frames from (batch, latent frame, 3 hidden)."""
        hidden = latent
        if self.upsample is not None:
            hidden = self.upsample(zero_padding(hidden, masks.top).transpose(1, 2)).transpose(1, 2)
        hidden = self.decoder(hidden, masks.bottom, masks.full)
        padded = F.pad(zero_padding(hidden, masks.full).transpose(1, 2), (2, 2))
        return self.restore(self.output(padded).transpose(1, 2))[:, :frames]


class ProductVQVAE(_SingleLevel):
    """Single-level vector-quantised autoencoder of motion with a product code."""

    def __init__(self, config: ProductVQVAEConfig):
        super().__init__(config)
        self.config = config
        size = config.hidden_size
        self.to_codes = nn.Linear(size, config.codebooks * size)
        settings = (config.decay, config.epsilon, config.dead_code_share)
        self.quantizers = nn.ModuleList(
            EMAQuantizer(config.codes, size, *settings, seed=config.codebooks * config.seed + number)
            for number in range(config.codebooks)
        )
        self.from_codes = nn.Linear(config.codebooks * size, 3 * size)

    def forward(
        self, motion: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, " batch"] | None = None
    ) -> SingleLevelReconstruction:
        """Quantise and reconstruct; in training mode the codebooks learn. Raises ValueError as `THVQVAE`."""
        masks = self.check(motion, lengths)
        levels = self._quantise(motion, masks)
        codes = torch.cat([level.vectors for level in levels.values()], dim=-1)
        motion = self.decoded(self.from_codes(codes), masks, motion.shape[1])
        return SingleLevelReconstruction(motion, levels, None)

    def encode(
        self, motion: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Int[Tensor, "batch latent_frame codebook"]:
        """Codes of a motion, -1 at padding; evaluates whatever the model's mode. Raises ValueError as `forward`."""
        masks = self.check(motion, lengths)
        with self.evaluating(), torch.no_grad():
            return torch.stack([level.indices for level in self._quantise(motion, masks).values()], dim=-1)

    def decode(
        self, codes: Int[Tensor, "batch latent_frame codebook"], frame_count: int | None = None
    ) -> Float[Tensor, "batch frame channel"]:
        """Motion of codes without padding, trimmed to `frame_count` frames (default: all that the codes hold).

        Evaluates whatever the model's mode. Raises ValueError for another number of codebooks, an index outside one, or
        more frames than the codes hold.
        """
        held = self.stride * codes.shape[1]
        frames = held if frame_count is None else frame_count
        if codes.shape[2] != self.config.codebooks or not 0 < frames <= held:
            raise ValueError(
                f"Codes of shape {tuple(codes.shape)} were given for {frames} frames; expected {self.config.codebooks} "
                f"codebooks and one latent frame for every {self.stride} frames."
            )
        if int(codes.min()) < 0 or int(codes.max()) >= self.config.codes:
            raise ValueError(
                f"Codes run from {int(codes.min())} to {int(codes.max())}; expected 0 to {self.config.codes - 1}."
            )
        parts = [cast(EMAQuantizer, book).vectors(codes[..., i]) for i, book in enumerate(self.quantizers)]
        with self.evaluating():
            return self.decoded(self.from_codes(torch.cat(parts, dim=-1)), level_masks(None, held), frames)

    def _quantise(self, motion: Tensor, masks: LevelMasks) -> dict[str, Quantized]:
        """Every codebook's result on a checked motion."""
        parts = self.to_codes(self.features(motion, masks)).chunk(self.config.codebooks, dim=-1)
        mask = self.latent_mask(masks)
        return {str(i): quantize(part, mask) for i, (quantize, part) in enumerate(zip(self.quantizers, parts))}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`, replacing each in one step."""
        save_pretrained(self, self.config, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ProductVQVAE":
        """The model saved in `folder`, in evaluation mode; raises ValueError as `THVQVAE.from_pretrained`."""
        return load_pretrained(cls, ProductVQVAEConfig, Path(folder))


class MotionVAE(_SingleLevel):
    """Single-level variational autoencoder of motion."""

    def __init__(self, config: MotionVAEConfig):
        super().__init__(config)
        self.config = config
        size = config.hidden_size
        self.to_latent = nn.Linear(size, 2 * config.latent_size)
        self.from_latent = nn.Linear(config.latent_size, 3 * size)

    def forward(
        self,
        motion: Float[Tensor, "batch frame channel"],
        lengths: Int[Tensor, " batch"] | None = None,
        draw: bool | None = None,
    ) -> SingleLevelReconstruction:
        """Encode and reconstruct from a draw of the posterior, or from its mean; None draws while training.

        Raises ValueError as `THVQVAE`.
        """
        masks = self.check(motion, lengths)
        mean, log_variance = self.to_latent(self.features(motion, masks)).float().chunk(2, dim=-1)
        latent = mean
        if self.training if draw is None else draw:
            latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        # KL of a diagonal Gaussian from the standard normal (arXiv 1312.6114, appendix B)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)
        mask = self.latent_mask(masks)
        real = torch.ones_like(kl) if mask is None else mask.to(kl.dtype)
        rate = (kl * real).sum() / real.sum() / self.stride
        motion = self.decoded(self.from_latent(latent), masks, motion.shape[1])
        return SingleLevelReconstruction(motion, {}, rate)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`, replacing each in one step."""
        save_pretrained(self, self.config, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "MotionVAE":
        """The model saved in `folder`, in evaluation mode; raises ValueError as `THVQVAE.from_pretrained`."""
        return load_pretrained(cls, MotionVAEConfig, Path(folder))
