"""Geometry of triangle meshes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def vertex_normals(
    vertices: Float[Tensor, "*batch vertex 3"], faces: Int[Tensor, "face 3"], weld: Int[Tensor, "vertex"] | None = None
) -> Float[Tensor, "*batch vertex 3"]:
    """Smooth unit normals: area-weighted mean of the normals of the triangles around a vertex. Differentiable.

    Args:
        vertices: positions in any unit.
        faces: triangles, counter-clockwise seen from outside.
        weld: for meshes that hold one point several times (texture or material seams): the representative of each
            vertex, see `weld_map`. All copies of a point get the same normal.

    Returns:
        Unit normals; zero for a vertex without a triangle.
    """
    corners = vertices[..., faces, :]
    doubled_area = torch.linalg.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    targets = faces if weld is None else weld[faces]
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, targets[:, corner], doubled_area)
    if weld is not None:
        total = total[..., weld, :]
    # Triangles of a head are about 1e-6 m^2, so the guard against zero length is far below them.
    return total / torch.linalg.vector_norm(total, dim=-1, keepdim=True).clamp_min(1e-20)


def weld_map(vertices: Float[Tensor, "vertex 3"], tolerance: float = 0.0) -> Int[Tensor, "vertex"]:
    """For each vertex the first vertex at the same place (within a grid of `tolerance`, in the vertices' unit)."""
    points = vertices if tolerance == 0 else torch.round(vertices / tolerance)
    _, group = torch.unique(points, dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(vertices), dtype=torch.int64, device=vertices.device)
    numbers = torch.arange(len(vertices), device=vertices.device)
    return first.scatter_reduce(0, group, numbers, reduce="amin")[group]
