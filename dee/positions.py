"""Sinusoidal positions and length masks."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def sinusoidal_positions(count: int, width: int, device: torch.device | None = None) -> Float[Tensor, "position width"]:
    """Sine and cosine of each position in turn, wavelengths 2 pi to 20,000 pi. `width` is even."""
    positions = torch.arange(count, dtype=torch.float32, device=device)[:, None]
    channels = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    angles = positions * torch.exp(channels * (-math.log(10_000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def length_mask(lengths: Int[Tensor, "batch"], frames: int) -> Bool[Tensor, "batch frame"]:
    """True where a frame is real, False where it is padding."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]
