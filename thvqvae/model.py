"""TH-VQVAE: a temporally hierarchical discrete prior over motion (DEEPTalk, arXiv 2408.06010)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from thvqvae.autoencoder import MotionAutoencoder
from thvqvae.hierarchy import BlockSize, Decoder, Doubling, Encoder, LevelMasks, level_frames, level_masks, zero_padding
from thvqvae.quantizer import EMAQuantizer, Quantized
from thvqvae.saving import load_pretrained, save_pretrained


@dataclass(frozen=True)
class THVQVAEConfig:
    """Sizes of the network; the defaults are the published ones."""

    channels: int = 52
    """Channels of the motion: 52 for ARKit, 53 for the released FLAME checkpoint."""
    hidden_size: int = 128
    """Channels of both encoders, the top decoder and the top codes; bottom codes have twice as many."""
    heads: int = 8
    """Attention heads of every transformer layer."""
    feedforward_size: int = 256
    """Feed-forward channels of the encoders and the top decoder."""
    decoder_feedforward_size: int = 512
    """Feed-forward channels of the bottom decoder, which is three times as wide."""
    layers: int = 1
    """Transformer layers in each encoder and decoder."""
    dropout: float = 0.1
    """Dropout of the transformer layers."""
    top_codes: int = 256
    """Codes of the top level, one every 4 frames."""
    bottom_codes: int = 256
    """Codes of the bottom level, one every 2 frames."""
    decay: float = 0.95
    """What the codebooks' moving averages keep at each training step."""
    epsilon: float = 1e-5
    """Laplace smoothing of the codebooks' counts."""
    dead_code_share: float = 0.1
    """A code used less than this share of an even use is put onto a new latent; 0 never, as the authors."""
    seed: int = 0
    """Seeds the codebooks' initialisation and revival."""
    causal: bool = False
    """Frames are made from codes, and codes from frames, up to the end of their own 4 frames: for live use."""
    project_bottom: bool = False
    """A linear map chooses what of its features and of the decoded top codes the bottom level quantises; the paper
    quantises both as they are, so that bottom codes say again what top codes say."""

    def __post_init__(self) -> None:
        for name in ("channels", "hidden_size", "heads", "layers", "top_codes", "bottom_codes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}; change one.")
        for name in ("dropout", "decay", "dead_code_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in 0..1, 1 excluded.")


class Codes(NamedTuple):
    """The discrete form of a motion: indices into the two codebooks, -1 at padding."""

    top: Int[Tensor, "batch top_frame"]
    """One index every 4 frames."""
    bottom: Int[Tensor, "batch bottom_frame"]
    """One index every 2 frames, two for each of `top`."""


class Reconstruction(NamedTuple):
    """A motion after one pass through the quantised hierarchy."""

    motion: Float[Tensor, "batch frame channel"]
    """The reconstruction; garbage at padding."""
    top: Quantized
    """What the top quantiser did."""
    bottom: Quantized
    """What the bottom quantiser did."""

    @property
    def levels(self) -> dict[str, Quantized]:
        """Both quantisers' results by name."""
        return {"top": self.top, "bottom": self.bottom}

    @property
    def kl(self) -> None:
        """Codes are discrete: there is no divergence from a prior."""
        return None


class THVQVAE(MotionAutoencoder):
    """Two-level vector-quantised autoencoder of motion, for any number of frames and channels.

    The bottom encoder halves the frame rate, the top encoder halves it again. Top codes are quantised first and decoded
    to the bottom rate; they and the bottom features together are quantised as bottom codes; both kinds of codes are
    decoded to motion. Motion of any length is filled up to a multiple of 4 frames by repeating its last frame, and
    trimmed on the way back. A clip gives the same result alone and in a padded batch, in training too: attention,
    convolutions, batch statistics and codebooks see real frames only. `lengths` are always in motion frames.

    Buffers:
        motion_mean, motion_std (channel): motion is standardised by them on the way in and restored on the way out.
    """

    def __init__(self, config: THVQVAEConfig):
        super().__init__(config.channels)
        self.config = config
        size = config.hidden_size
        block = BlockSize(config.heads, config.feedforward_size, config.layers, config.dropout, config.causal)
        self.bottom_encoder = Encoder(config.channels, size, block)
        self.top_encoder = Encoder(size, size, block)
        quantizer = (config.decay, config.epsilon, config.dead_code_share)
        self.top_quantizer = EMAQuantizer(config.top_codes, size, *quantizer, seed=2 * config.seed)
        self.bottom_quantizer = EMAQuantizer(config.bottom_codes, 2 * size, *quantizer, seed=2 * config.seed + 1)
        self.top_decoder = Decoder(size, block)
        self.to_bottom = nn.Linear(2 * size, 2 * size) if config.project_bottom else nn.Identity()
        self.upsample_top = Doubling(size, 4, config.causal)
        self.bottom_decoder = Decoder(3 * size, replace(block, feedforward=config.decoder_feedforward_size))
        self.output = nn.Conv1d(3 * size, config.channels, 5)
        self.output_edges = (4, 0) if config.causal else (2, 2)

    def forward(
        self, motion: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Reconstruction:
        """Quantise and reconstruct; in training mode the codebooks learn from this batch.

        Raises ValueError for another number of channels, no frames, or values that are not finite.
        """
        masks = self.check(motion, lengths)
        top, bottom = self._quantise(motion, masks)
        return Reconstruction(self._decode(top.vectors, bottom.vectors, masks)[:, : motion.shape[1]], top, bottom)

    def encode(
        self, motion: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Codes:
        """Codes of a motion: ceil(frame / 4) of the top level and twice as many of the bottom level.

        Evaluates whatever the model's mode: no dropout, no update. Raises ValueError as `forward`.
        """
        masks = self.check(motion, lengths)
        with self.evaluating(), torch.no_grad():
            top, bottom = self._quantise(motion, masks)
        return Codes(top.indices, bottom.indices)

    def decode(
        self, codes: Codes, frame_count: int | None = None, lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frame channel"]:
        """Motion of codes, trimmed to `frame_count` frames (default: all that the codes hold).

        Evaluates whatever the model's mode. Codes at padding (-1) need `lengths`, in motion frames. Raises ValueError
        where the numbers of codes do not fit each other or `frame_count`, or an index lies outside its codebook.
        """
        frames = self._check_codes(codes, frame_count, lengths)
        with self.evaluating():
            motion = self.decode_latents(self.top_vectors(codes.top), self.bottom_vectors(codes.bottom), lengths)
        return motion[:, :frames]

    def reconstruct(
        self, motion: Float[Tensor, "batch frame channel"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frame channel"]:
        """The motion that its codes decode to, as long as the given one."""
        return self.decode(self.encode(motion, lengths), motion.shape[1], lengths)

    def top_vectors(
        self, codes: Int[Tensor, "batch top_frame"] | Float[Tensor, "batch top_frame code"]
    ) -> Float[Tensor, "batch top_frame size"]:
        """Top code vectors of indices or of (straight-through) one-hots; differentiable in the one-hots."""
        return self.top_quantizer.vectors(codes)

    def bottom_vectors(
        self, codes: Int[Tensor, "batch bottom_frame"] | Float[Tensor, "batch bottom_frame code"]
    ) -> Float[Tensor, "batch bottom_frame size"]:
        """Bottom code vectors of indices or of (straight-through) one-hots; differentiable in the one-hots."""
        return self.bottom_quantizer.vectors(codes)

    def decode_top(
        self, top_latent: Float[Tensor, "batch top_frame size"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch bottom_frame size"]:
        """What the bottom level is told of the top level: (batch, frame / 4, size) -> (batch, frame / 2, size)."""
        masks = level_masks(lengths, 4 * top_latent.shape[1])
        return self.top_decoder(top_latent, masks.top, masks.bottom)

    def decode_latents(
        self,
        top_latent: Float[Tensor, "batch top_frame top_size"],
        bottom_latent: Float[Tensor, "batch bottom_frame bottom_size"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch frame channel"]:
        """Motion, 4 frames for each top latent, of code vectors of both levels; differentiable in both."""
        return self._decode(top_latent, bottom_latent, level_masks(lengths, 4 * top_latent.shape[1]))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into `folder`, replacing each in one step."""
        save_pretrained(self, self.config, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "THVQVAE":
        """The model saved in `folder`, in evaluation mode.

        Raises ValueError naming what is missing there, or any key or shape that does not fit.
        """
        return load_pretrained(cls, THVQVAEConfig, Path(folder))

    def _quantise(self, motion: Tensor, masks: LevelMasks) -> tuple[Quantized, Quantized]:
        """Both levels of a checked motion, which is filled up to a multiple of 4 frames here."""
        bottom_features = self.bottom_encoder(self.filled(motion, masks), masks.full, masks.bottom)
        top = self.top_quantizer(self.top_encoder(bottom_features, masks.bottom, masks.top), masks.top)
        context = self.top_decoder(top.vectors, masks.top, masks.bottom)
        latent = self.to_bottom(torch.cat([context, bottom_features], dim=-1))
        bottom = self.bottom_quantizer(latent, masks.bottom)
        return top, bottom

    def _decode(self, top_latent: Tensor, bottom_latent: Tensor, masks: LevelMasks) -> Tensor:
        upsampled = self.upsample_top(zero_padding(top_latent, masks.top).transpose(1, 2)).transpose(1, 2)
        hidden = self.bottom_decoder(torch.cat([upsampled, bottom_latent], dim=-1), masks.bottom, masks.full)
        padded = F.pad(zero_padding(hidden, masks.full).transpose(1, 2), self.output_edges)
        return self.restore(self.output(padded).transpose(1, 2))

    def _check_codes(self, codes: Codes, frame_count: int | None, lengths: Tensor | None) -> int:
        tops, bottoms = codes.top.shape[1], codes.bottom.shape[1]
        if tops < 1 or bottoms != 2 * tops:
            raise ValueError(f"Got {tops} top codes and {bottoms} bottom codes; expected twice as many bottom codes.")
        frames = 4 * tops if frame_count is None else frame_count
        if frames < 1 or level_frames(frames)[0] != tops:
            raise ValueError(
                f"{tops} top codes hold {4 * tops - 3} to {4 * tops} frames, but {frames} were asked for; give "
                "ceil(frames / 4) top and twice as many bottom codes."
            )
        lowest = 0 if lengths is None else -1
        for level, indices, size in (
            ("Top", codes.top, self.config.top_codes),
            ("Bottom", codes.bottom, self.config.bottom_codes),
        ):
            smallest, largest = int(indices.min()), int(indices.max())
            if smallest < lowest or largest >= size:
                hint = "; codes at padding (-1) need lengths" if smallest == -1 else ""
                raise ValueError(f"{level} codes run from {smallest} to {largest}; expected 0 to {size - 1}{hint}.")
        return frames
