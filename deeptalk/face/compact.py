"""Vertex distances without the vertices: for a linear rig they are a quadratic form of the channels.

The weighted mean squared vertex distance of two motions is (a - b)' G (a - b) with the Gram matrix G of the channel
deltas. A factor F with F F' = G maps a motion to coordinates whose plain squared distance is the same number.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.face.rig import LinearRig


class CompactVertices(nn.Module):
    """Linear map (..., channel) -> (..., coordinate); see `compact_vertices`. It has no state to save."""

    factor: Float[Tensor, "channel coordinate"]

    def __init__(self, factor: Float[Tensor, "channel coordinate"]) -> None:
        super().__init__()
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch coordinate"]:
        """Coordinates in metres; the sum of their squared differences is the weighted mean squared distance."""
        return motion @ self.factor


def compact_vertices(rig: LinearRig, region_weights: Mapping[str, float]) -> CompactVertices:
    """Module whose outputs lie apart exactly as the rig's vertices do, at 1/100 of the cost.

    For motions a and b, `(f(a) - f(b)).square().sum(-1)` is the weighted mean over vertices of the squared Euclidean
    distance in metres^2: sum_v w_v |a_v - b_v|^2 / sum_v w_v, where w_v adds up the weights of the regions that hold
    vertex v. Directions in which no weighted vertex moves get no coordinate, so a small region gives few.

    Args:
        rig: a linear rig.
        region_weights: region name -> weight of its vertices, at least 0 and not all 0.

    Raises:
        UserError: unknown region, negative or non-finite weight, or no weight at all.
    """
    vertex_weight = np.zeros(len(rig.neutral))
    for name, weight in region_weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise UserError(f"Region {name!r} has weight {weight}; weights are finite numbers of at least 0.")
        vertex_weight[rig.region(name)] += weight
    if vertex_weight.sum() == 0:
        raise UserError(f"The region weights {dict(region_weights)} leave no vertex; give one region a weight over 0.")
    weighted = np.flatnonzero(vertex_weight)
    scale = np.sqrt(vertex_weight[weighted] / vertex_weight.sum())
    deltas = (rig.deltas[:, weighted].astype(np.float64) * scale[:, None]).reshape(len(rig.channels), -1)
    # The singular vectors of the deltas themselves: a Cholesky factor of the Gram matrix would fail where it is
    # singular and would square the condition number.
    left, singular, _ = np.linalg.svd(deltas, full_matrices=False)
    kept = singular > singular[0] * 1e-10
    return CompactVertices(torch.tensor(left[:, kept] * singular[kept], dtype=torch.float32))
