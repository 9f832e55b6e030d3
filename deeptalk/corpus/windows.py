"""Cutting windows out of clips, and padding them to batches."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

Item = dict[str, Tensor]
Batch = dict[str, Tensor]


def draw_window(
    frames: int, shortest: int, longest: int, multiple: int, generator: np.random.Generator
) -> tuple[int, int]:
    """Draw a window (first frame, number of frames) of a clip.

    Its length is uniform over the multiples of `multiple` from `shortest` to `longest` that the clip has room for. A
    clip shorter than `shortest` gives its largest multiple, and one shorter than `multiple` itself.
    """
    if frames < multiple:
        return 0, frames
    high = min(longest, frames) // multiple
    low = min(-(-shortest // multiple), high)
    length = int(generator.integers(low, high + 1)) * multiple
    return int(generator.integers(0, frames - length + 1)), length


def pad_edge(values: Float32[np.ndarray, "frame channel"], frames: int) -> Float32[np.ndarray, "padded channel"]:
    """Repeat the last frame until there are `frames`; at least as many as there are already."""
    return np.concatenate([values, np.repeat(values[-1:], frames - len(values), axis=0)])


def collate(items: Sequence[Item]) -> Batch:
    """Stack items into a batch: scalars as they are, sequences (frame, channel) or (sample,) padded to the longest.

    Motion is padded with its last frame, others with zeros, as encoders pad theirs. The items carry their lengths.
    """
    batch: Batch = {}
    for name in items[0]:
        values = [item[name] for item in items]
        if values[0].dim() == 0:
            batch[name] = torch.stack(values)
            continue
        frames = max(len(value) for value in values)
        batch[name] = torch.stack([_pad(value, frames, repeat=name.startswith("motion")) for value in values])
    return batch


def _pad(value: Tensor, frames: int, repeat: bool) -> Tensor:
    missing = frames - len(value)
    last = value[-1:] if repeat else torch.zeros_like(value[-1:])
    return torch.cat([value, last.expand(missing, *value.shape[1:])])


def whole(value: int) -> Tensor:
    """An integer as an int64 scalar tensor."""
    return torch.tensor(value, dtype=torch.int64)


def real(value: float) -> Tensor:
    """A number as a float32 scalar tensor."""
    return torch.tensor(value, dtype=torch.float32)
