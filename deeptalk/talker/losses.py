"""The talker's loss terms. All are means over real frames, tokens or clips; padding counts for nothing."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

SQUARE_MILLIMETRES = 1e6
"""Square millimetres in a square metre."""


def masked_mean(values: Float[Tensor, "batch step"], mask: Bool[Tensor, "batch step"]) -> Float[Tensor, ""]:
    """Mean of the values where the mask is True; 0 where it is nowhere True."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp_min(1)


def vertex_loss(
    predicted: Float[Tensor, "batch frame coordinate"],
    target: Float[Tensor, "batch frame coordinate"],
    mask: Bool[Tensor, "batch frame"],
) -> Float[Tensor, ""]:
    """Mean squared vertex distance in mm^2 (paper: L_rec).

    `coordinate` are those of `deeptalk.face.compact_vertices`, in metres: their squared differences sum to the weighted
    mean over vertices of the squared distance.
    """
    return masked_mean((predicted - target).square().sum(-1), mask) * SQUARE_MILLIMETRES


def velocity_loss(
    predicted: Float[Tensor, "batch frame coordinate"],
    target: Float[Tensor, "batch frame coordinate"],
    mask: Bool[Tensor, "batch frame"],
) -> Float[Tensor, ""]:
    """Mean squared distance of vertex steps from frame to frame, (mm per frame)^2. 0 for clips of one frame."""
    difference = (predicted - target).diff(dim=1)
    return masked_mean(difference.square().sum(-1), mask[:, 1:]) * SQUARE_MILLIMETRES


def vertex_error_mm(
    predicted: Float[Tensor, "batch frame coordinate"],
    target: Float[Tensor, "batch frame coordinate"],
    mask: Bool[Tensor, "batch frame"],
) -> Float[Tensor, ""]:
    """Root-mean-square vertex distance of each frame in mm, averaged over real frames; for reports only."""
    return masked_mean((predicted - target).square().sum(-1).sqrt(), mask) * 1000.0


def code_cross_entropy(
    logits: Float[Tensor, "batch token code"], codes: Int[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, ""]:
    """Cross-entropy in nats a token of the codes that the TH-VQVAE gives to the target motion."""
    return masked_mean(F.cross_entropy(logits.transpose(1, 2), codes, reduction="none"), mask)


def code_accuracy(
    logits: Float[Tensor, "batch token code"], codes: Int[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, ""]:
    """Share of tokens whose most likely code is the target's."""
    return masked_mean((logits.argmax(-1) == codes).float(), mask)


def mean_consistency(
    predicted_mean: Float[Tensor, "batch size"], wanted_mean: Float[Tensor, "batch size"]
) -> Float[Tensor, ""]:
    """Squared distance of the two embeddings' means (paper's released setting `mean`); 0 to 4 for unit means."""
    return (predicted_mean - wanted_mean).square().sum(-1).mean()
