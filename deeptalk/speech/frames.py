"""Motion frames: how many a recording has, where they lie in time, and faster features averaged onto them.

Motion frame j covers the time from j / frame_rate to (j + 1) / frame_rate and is described by its centre,
(j + 0.5) / frame_rate seconds. Every encoder gives exactly `frame_count` frames and aligns them to these centres.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

SAMPLE_RATE = 16000
FRAME_RATE = 25.0


def frame_count(num_samples: int, frame_rate: float = FRAME_RATE) -> int:
    """Return the frames of a 16 kHz recording: seconds times rate rounded half up, at least 1."""
    return max(1, math.floor(num_samples * frame_rate / SAMPLE_RATE + 0.5))


def frame_counts(sample_lengths: Int[Tensor, " batch"], frame_rate: float = FRAME_RATE) -> Int[Tensor, " batch"]:
    """Return `frame_count` of every length."""
    return torch.floor(sample_lengths.double() * frame_rate / SAMPLE_RATE + 0.5).long().clamp_min(1)


def length_mask(lengths: Int[Tensor, " batch"], size: int) -> Tensor:
    """Return (batch, size) booleans, True in the first `lengths` places."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def pool_frames(
    values: Float[Tensor, "batch source channel"],
    source_lengths: Int[Tensor, " batch"],
    source_rate: float,
    frame_lengths: Int[Tensor, " batch"],
    frame_rate: float,
    first_seconds: float = 0.0,
) -> Float[Tensor, "batch frame channel"]:
    """Average features whose k-th frame lies at first_seconds + k / source_rate seconds onto motion frame centres.

    The weights are a triangle around each centre, one motion frame wide on either side, and sum to one over the
    real source frames: 50 Hz features at 25 Hz are weighted 1/4, 1/2, 1/4 around the source frame that lies exactly on
    the centre. A centre beyond the first or last source frame is moved onto it. Frames beyond `frame_lengths` are zero.
    """
    half_width = source_rate / frame_rate
    frames = int(frame_lengths.max())
    centres = (torch.arange(frames, device=values.device, dtype=torch.float64) + 0.5) * half_width
    centres = (centres - first_seconds * source_rate).clamp_min(0)
    centres = torch.minimum(centres[None], (source_lengths[:, None] - 1).double())
    first = torch.floor(centres - half_width).long() + 1
    pooled = values.new_zeros(values.shape[0], frames, values.shape[2])
    total = values.new_zeros(values.shape[0], frames, 1)
    rows = torch.arange(values.shape[0], device=values.device)[:, None]
    for tap in range(math.ceil(2 * half_width)):
        places = first + tap
        weights = (1 - (places - centres).abs() / half_width).clamp_min(0)
        weights = weights * ((places >= 0) & (places < source_lengths[:, None]))
        weights = weights[..., None].to(values.dtype)
        pooled += weights * values[rows, places.clamp(0, values.shape[1] - 1)]
        total += weights
    pooled /= total
    return torch.where(length_mask(frame_lengths, frames)[..., None], pooled, torch.zeros_like(pooled))
