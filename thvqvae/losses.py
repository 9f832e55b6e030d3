"""How far a reconstructed motion is from the given one: on vertices, in velocity, and in standardised channels."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class MotionErrors(NamedTuple):
    """Mean squares over real frames; means over a batch of such errors weigh each batch by its frames."""

    vertex: Float[Tensor, ""]
    """Squared distance of vertices, square metres."""
    velocity: Float[Tensor, ""]
    """Squared distance of the vertices' steps from one frame to the next, square metres."""
    motion: Float[Tensor, ""]
    """Squared error of standardised channels, mean over channels too."""


def mean_over_frames(
    values: Float[Tensor, "batch frame"], mask: Bool[Tensor, "batch frame"] | None
) -> Float[Tensor, ""]:
    """Mean over real frames; zero where there are none (velocity of clips of one frame)."""
    if mask is None:
        return values.sum() / max(values.numel(), 1)
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def motion_errors(
    predicted: Float[Tensor, "batch frame channel"],
    target: Float[Tensor, "batch frame channel"],
    vertices: Callable[[Tensor], Tensor],
    motion_std: Float[Tensor, " channel"],
    mask: Bool[Tensor, "batch frame"] | None = None,
) -> MotionErrors:
    """Errors of a motion (batch, frame, channel) against its target, in float32 also under mixed precision.

    Args:
        predicted, target: motions.
        vertices: maps (..., channel) to (..., coordinate) such that the sum over coordinates of squared differences is
            the (weighted) mean over vertices of squared distances, in square metres.
        motion_std: standard deviation of each channel.
        mask: True = real frame.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        predicted, target = predicted.float(), target.float()
        difference = vertices(predicted) - vertices(target)
        step_mask = None if mask is None else mask[:, 1:] & mask[:, :-1]
        return MotionErrors(
            vertex=mean_over_frames(difference.square().sum(dim=-1), mask),
            velocity=mean_over_frames(difference.diff(dim=1).square().sum(dim=-1), step_mask),
            motion=mean_over_frames(((predicted - target) / motion_std).square().mean(dim=-1), mask),
        )


def rms_report(errors: MotionErrors) -> dict[str, Tensor]:
    """The errors as root mean squares under names with units: millimetres, and standard deviations of the channels."""
    return {
        "vertex_rms_mm": 1e3 * errors.vertex.detach().sqrt(),
        "velocity_rms_mm_per_frame": 1e3 * errors.velocity.detach().sqrt(),
        "motion_rms_std": errors.motion.detach().sqrt(),
    }
