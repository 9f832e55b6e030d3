"""What the autoencoders of motion share: standardised channels, clips of any length, checks."""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from thvqvae.hierarchy import LevelMasks, level_frames, level_masks, repeat_edge

SMALLEST_STD = 1e-3
"""Standard deviation used for channels that hardly moved in training; such channels are not encoded."""


class MotionAutoencoder(nn.Module):
    """Base of the autoencoders: the buffers that motion is standardised by, and checked, filled batches.

    Motion of any length is filled up to a multiple of 4 frames by repeating its last frame.
    """

    motion_mean: Tensor
    motion_std: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.register_buffer("motion_mean", torch.zeros(channels))
        self.register_buffer("motion_std", torch.ones(channels))

    def set_statistics(self, motion_mean: Float[Tensor, " channel"], motion_std: Float[Tensor, " channel"]) -> None:
        """Set what motion is standardised by, before training; standard deviations below 1e-3 count as 1e-3."""
        for name, given in (("motion_mean", motion_mean), ("motion_std", motion_std)):
            if given.shape != self.motion_mean.shape or not bool(torch.isfinite(given).all()):
                raise ValueError(f"{name} has shape {tuple(given.shape)}; expected {self.channels} finite numbers.")
        self.motion_mean.copy_(motion_mean)
        self.motion_std.copy_(motion_std.clamp(min=SMALLEST_STD))

    def standardise(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Motion in standard deviations from the mean; 0 in channels that did not move in training.

        No code can tell how such a channel moves, and a captured motion that does move it would lie hundreds of
        standard deviations from all that was learnt.
        """
        return ((motion - self.motion_mean) / self.motion_std).masked_fill(self.motion_std <= SMALLEST_STD, 0.0)

    def restore(self, standardised: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Inverse of `standardise` for channels that moved in training."""
        return standardised * self.motion_std + self.motion_mean

    def filled(self, motion: Float[Tensor, "batch frame channel"], masks: LevelMasks) -> Tensor:
        """Standardised motion, filled up to a multiple of 4 frames, padding repeating each clip's last frame."""
        missing = level_frames(motion.shape[1])[2] - motion.shape[1]
        filled = F.pad(motion.transpose(1, 2), (0, missing), mode="replicate").transpose(1, 2)
        return self.standardise(repeat_edge(filled, masks.motion))

    def check(self, motion: Tensor, lengths: Int[Tensor, " batch"] | None) -> LevelMasks:
        """Masks of a batch; raises ValueError for other channels, no frames, or values that are not finite."""
        if motion.shape[2] != self.channels:
            raise ValueError(
                f"Motion has {motion.shape[2]} channels, this {type(self).__name__} was made for {self.channels}; "
                "give motion of the same rig."
            )
        if motion.shape[0] == 0 or motion.shape[1] == 0:
            raise ValueError(f"Motion of shape {tuple(motion.shape)} is empty; give at least 1 clip of 1 frame.")
        masks = level_masks(lengths, motion.shape[1])
        if not bool(torch.isfinite(motion).all()):
            raise ValueError("Motion holds values that are not finite (NaN or infinity); clean it before encoding.")
        return masks

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode for a while, whatever the mode was."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)
