"""What vertex losses and metrics are computed on: coordinates whose squared distance is the weighted vertex distance.

For a linear rig they need no vertices: the weighted mean squared vertex distance of two motions is (a - b)' G (a - b)
with the Gram matrix G of the channel deltas, and a factor F with F F' = G maps a motion to coordinates whose plain
squared distance is the same number. Any other rig gives its weighted vertices.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deeptalk.errors import UserError
from deeptalk.face.rig import LinearRig, Rig


class CompactVertices(nn.Module):
    """Linear map (..., channel) -> (..., coordinate); see `compact_vertices`. It has no state to save."""

    factor: Float[Tensor, "channel coordinate"]

    def __init__(self, factor: Float[Tensor, "channel coordinate"]) -> None:
        super().__init__()
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch coordinate"]:
        """Coordinates in metres; the sum of their squared differences is the weighted mean squared distance."""
        return motion @ self.factor


class VertexCoordinates(nn.Module):
    """(..., channel) -> (..., coordinate) of any rig: its vertices, each scaled by the root of its share of the weight.

    It has no state to save and no parameters; what is differentiable in the rig is differentiable here.
    """

    scale: Float[Tensor, "vertex 1"]
    chosen: Int[Tensor, "vertex"]

    def __init__(self, rig: Rig, region_weights: Mapping[str, float]) -> None:
        super().__init__()
        weight = _vertex_weights(rig, region_weights)
        inside = [name for name in region_weights if region_weights[name] > 0]
        # The rig computes one region where that is enough, since its cost is that of the vertices asked for.
        self.rig, self.region = rig, inside[0] if len(inside) == 1 else None
        listed = np.arange(len(weight)) if self.region is None else rig.region(self.region)
        chosen = np.flatnonzero(weight[listed])
        scale = np.sqrt(weight[listed][chosen] / weight.sum())[:, None]
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32), persistent=False)
        self.register_buffer("chosen", torch.from_numpy(chosen), persistent=False)

    def forward(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch coordinate"]:
        """Coordinates in metres; the sum of their squared differences is the weighted mean squared distance."""
        vertices = self.rig.vertices(motion, self.region)
        return (vertices.index_select(-2, self.chosen) * self.scale).flatten(-2)


def compact_vertices(rig: Rig, region_weights: Mapping[str, float]) -> CompactVertices | VertexCoordinates:
    """Module whose outputs lie apart exactly as the rig's vertices do; for a linear rig at 1/100 of the cost.

    For motions a and b, `(f(a) - f(b)).square().sum(-1)` is the weighted mean over vertices of the squared Euclidean
    distance in metres^2: sum_v w_v |a_v - b_v|^2 / sum_v w_v, where w_v adds up the weights of the regions that hold
    vertex v. In a linear rig, directions in which no weighted vertex moves get no coordinate, so a small region gives
    few; another rig, such as FLAME, gives three for every weighted vertex.

    Args:
        rig: any rig.
        region_weights: region name -> weight of its vertices, at least 0 and not all 0.

    Raises:
        UserError: unknown region, negative or non-finite weight, or no weight at all.
    """
    if not isinstance(rig, LinearRig):
        return VertexCoordinates(rig, region_weights)
    vertex_weight = _vertex_weights(rig, region_weights)
    weighted = np.flatnonzero(vertex_weight)
    scale = np.sqrt(vertex_weight[weighted] / vertex_weight.sum())
    deltas = (rig.deltas[:, weighted].astype(np.float64) * scale[:, None]).reshape(len(rig.channels), -1)
    # The singular vectors of the deltas themselves: a Cholesky factor of the Gram matrix would fail where it is
    # singular and would square the condition number.
    left, singular, _ = np.linalg.svd(deltas, full_matrices=False)
    kept = singular > singular[0] * 1e-10
    return CompactVertices(torch.tensor(left[:, kept] * singular[kept], dtype=torch.float32))


def _vertex_weights(rig: Rig, region_weights: Mapping[str, float]) -> Float[np.ndarray, "vertex"]:
    vertex_weight = np.zeros(len(rig.neutral))
    for name, weight in region_weights.items():
        if not (np.isfinite(weight) and weight >= 0):
            raise UserError(f"Region {name!r} has weight {weight}; weights are finite numbers of at least 0.")
        vertex_weight[rig.region(name)] += weight
    if vertex_weight.sum() == 0:
        raise UserError(f"The region weights {dict(region_weights)} leave no vertex; give one region a weight over 0.")
    return vertex_weight
