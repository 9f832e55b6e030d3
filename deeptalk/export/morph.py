"""A take's motion as morph targets: a mesh, its targets and their weights, from any rig.

A linear rig gives one target a channel. Any other rig is fitted by the fewest principal directions of its motion
(singular value decomposition of the vertices over time) that stay within `LARGEST_ERROR_MM`.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from deeptalk.face import LinearRig, Rig, vertex_normals, weld_map
from deeptalk.face.appearance import DrawingMesh, drawing_mesh

LARGEST_ERROR_MM = 0.05
"""Most that a vertex of a fitted motion may be away from the rig's own."""
_CHUNK_FRAMES = 64


@dataclass(frozen=True, eq=False)
class MorphMesh:
    """The drawn mesh of a rig with its targets; the rig's own vertices come first, in the rig's order."""

    drawing: DrawingMesh
    positions: Float[np.ndarray, "drawn 3"]
    """Metres."""
    normals: Float[np.ndarray, "drawn 3"]
    names: tuple[str, ...]
    """Of the targets."""
    position_deltas: Float[np.ndarray, "target drawn 3"]
    """Metres at weight 1."""
    normal_deltas: Float[np.ndarray, "target drawn 3"]
    """Change of the normal at weight 1; what lies between is linear, so normals are exact at 0 and 1 only."""


@dataclass(frozen=True, eq=False)
class MorphMotion:
    """A motion on a `MorphMesh`."""

    mesh: MorphMesh
    weights: Float[np.ndarray, "frame target"]
    error_mm: float
    """Largest distance of a vertex from the rig's own; 0 for a linear rig."""


def morph_motion(rig: Rig, motion: Float[np.ndarray, "frame channel"]) -> MorphMotion:
    """Targets and weights of a motion on a rig."""
    if isinstance(rig, LinearRig):
        return MorphMotion(_linear_mesh(rig), np.ascontiguousarray(motion, np.float32), 0.0)
    vertices = np.concatenate(
        [
            rig.vertices(torch.from_numpy(np.ascontiguousarray(motion[start : start + _CHUNK_FRAMES]))).detach().numpy()
            for start in range(0, len(motion), _CHUNK_FRAMES)
        ]
    )
    deltas, weights, error_mm = fit_targets(rig.neutral, vertices)
    names = tuple(f"shape_{number:03d}" for number in range(len(deltas)))
    return MorphMotion(_mesh(rig, names, deltas), weights, error_mm)


@functools.lru_cache(maxsize=4)
def _linear_mesh(rig: LinearRig) -> MorphMesh:
    return _mesh(rig, rig.channels, rig.deltas)


def fit_targets(
    neutral: Float[np.ndarray, "vertex 3"], vertices: Float[np.ndarray, "frame vertex 3"]
) -> tuple[Float[np.ndarray, "target vertex 3"], Float[np.ndarray, "frame target"], float]:
    """Fewest targets in the order of SVD that keep every vertex within `LARGEST_ERROR_MM`, and their weights in -1..1.

    The error in mm is measured on what is stored, in float32.
    """
    offsets = (vertices.astype(np.float64) - neutral).reshape(len(vertices), -1)
    # Frames are fewer than coordinates, so their Gram matrix is the small way to the same decomposition.
    values, left = np.linalg.eigh(offsets @ offsets.T)
    left = left[:, ::-1][:, values[::-1] > max(values[-1], 0.0) * 1e-12]
    right = left.T @ offsets
    low, high = 0, left.shape[1]
    while low < high:
        middle = (low + high) // 2
        if _largest_error_mm(offsets, left[:, :middle], right[:middle]) <= LARGEST_ERROR_MM * 0.98:
            high = middle
        else:
            low = middle + 1
    scale = np.maximum(np.abs(left[:, :low]).max(axis=0, initial=0.0), 1e-12)
    weights = (left[:, :low] / scale).astype(np.float32)
    deltas = (right[:low] * scale[:, None]).astype(np.float32)
    error_mm = _largest_error_mm(offsets, weights.astype(np.float64), deltas.astype(np.float64))
    return deltas.reshape(low, len(neutral), 3), weights, error_mm


def _largest_error_mm(offsets: np.ndarray, weights: np.ndarray, deltas: np.ndarray) -> float:
    largest = 0.0
    for start in range(0, len(offsets), _CHUNK_FRAMES):
        rest = offsets[start : start + _CHUNK_FRAMES] - weights[start : start + _CHUNK_FRAMES] @ deltas
        largest = max(largest, float((rest.reshape(len(rest), -1, 3) ** 2).sum(axis=2).max()))
    return 1000.0 * largest**0.5


def _mesh(rig: Rig, names: tuple[str, ...], deltas: Float[np.ndarray, "target vertex 3"]) -> MorphMesh:
    drawing = drawing_mesh(rig, refine_skin=False)
    neutral = torch.tensor(rig.neutral)
    faces, weld = torch.tensor(rig.faces), weld_map(neutral)
    rest = vertex_normals(neutral, faces, weld).numpy()
    moved = [vertex_normals(neutral + torch.tensor(delta), faces, weld).numpy() - rest for delta in deltas]
    normal_deltas = np.stack(moved) if moved else np.zeros_like(deltas)
    normals = spread(rest[None], drawing.parents)[0]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    forward = np.array([0.0, 0.0, 1.0], np.float32)
    return MorphMesh(
        drawing,
        spread(rig.neutral[None], drawing.parents, drawing.bulge)[0],
        np.where(lengths > 1e-6, normals / np.maximum(lengths, 1e-6), forward).astype(np.float32),
        names,
        spread(deltas, drawing.parents),
        spread(normal_deltas, drawing.parents),
    )


def spread(
    values: Float[np.ndarray, "batch vertex 3"],
    parents: Int[np.ndarray, "refining 2"],
    bulge: Float[np.ndarray, "refining 3"] | None = None,
) -> Float[np.ndarray, "batch drawn 3"]:
    """Values of the rig's own vertices, on all drawn ones: half way between the parents, plus the bulge."""
    count = values.shape[1]
    out = np.zeros((len(values), count + len(parents), 3), np.float32)
    out[:, :count] = values
    known = count
    while known < out.shape[1]:  # one generation of refining vertices after the other; parents come before
        ready = (parents[known - count :] < known).all(axis=1)
        upto = known + (len(ready) if ready.all() else int(np.argmin(ready)))
        new = slice(known - count, upto - count)
        out[:, known:upto] = out[:, parents[new]].mean(axis=2)
        if bulge is not None:
            out[:, known:upto] += bulge[new]
        known = upto
    return out
