"""A rig's motion as the triangles that are drawn: refined, with smooth normals, turned by the head's pose."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float, Int

from deeptalk.face import Rig, weld_map
from deeptalk.face.appearance import MATERIALS, SUBDIVISIONS, DrawingMesh, arch_normals, drawing_mesh
from deeptalk.face.head_pose import head_pivot, rotation_matrices

CHUNK_FRAMES = 16
"""Frames deformed in one go: large enough for the matrix product, small enough for the cache."""
GENERATIONS = SUBDIVISIONS + 2
"""Most steps from a drawn vertex back to the rig's own: the neck, then each refinement, and its bulge."""
NECK_SPAN_METRES = (0.115, 0.06)
"""How far below the pivot the neck stands still, and from where on up all turns with the head."""


class DrawnHead:
    """The mesh of a rig as it is drawn, and its positions and normals at any motion."""

    def __init__(self, rig: Rig):
        self.rig = rig
        self.mesh: DrawingMesh = drawing_mesh(rig, refine_skin=False)
        count = len(rig.neutral)
        self.faces: Int[np.ndarray, "face 3"] = np.ascontiguousarray(self.mesh.faces, np.int32)
        self._refine, self._bulge = _refinement(self.mesh, count)
        self._own_faces = np.asarray(rig.faces)
        self._normals = _normal_sums(self._own_faces, rig.neutral)
        self._teeth = np.unique(self.mesh.faces[self.mesh.materials == MATERIALS.index("teeth")])
        self.rest: Float[np.ndarray, "drawn 3"] = self._refine @ rig.neutral + self._bulge
        self._pivot = head_pivot(rig).astype(np.float32)
        self._teeth_normals = arch_normals(self.rest[self._teeth]).astype(np.float32)
        low, high = NECK_SPAN_METRES
        share = np.clip((self.rest[:, 1] - (self._pivot[1] - low)) / (low - high), 0, 1)
        self._turn_share = (share * share * (3 - 2 * share)).astype(np.float32)

    def frames(
        self, motion: Float[np.ndarray, "frame channel"], head_rotation_radians: Float[np.ndarray, "frame 3"] | None
    ) -> Iterator[tuple[Float[np.ndarray, "drawn 3"], Float[np.ndarray, "drawn 3"]]]:
        """Positions in metres and unit normals of one frame after the other."""
        for start in range(0, len(motion), CHUNK_FRAMES):
            part = slice(start, start + CHUNK_FRAMES)
            with torch.inference_mode():
                own = self.rig.vertices(torch.from_numpy(np.ascontiguousarray(motion[part], np.float32))).numpy()
            turns = None if head_rotation_radians is None else head_rotation_radians[part]
            for frame, vertices in enumerate(own):
                yield self.place(vertices, None if turns is None else turns[frame])

    def on_drawn(self, values: Float[np.ndarray, "vertex"]) -> Float[np.ndarray, "drawn"]:
        """Values of the rig's own vertices, on the drawn ones."""
        return self._refine @ values

    def place(
        self, vertices: Float[np.ndarray, "vertex 3"], rotation_radians: Float[np.ndarray, "3"] | None
    ) -> tuple[Float[np.ndarray, "drawn 3"], Float[np.ndarray, "drawn 3"]]:
        """Positions and unit normals of the drawn vertices, from the rig's own; the head turned by yaw, pitch, roll."""
        first, second, third = (vertices[self._own_faces[:, corner]] for corner in range(3))
        u, v = second - first, third - first
        doubled_area = np.stack(
            [
                u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1],
                u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
                u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0],
            ],
            axis=1,
        )
        normals = self._refine @ _unit(self._normals @ doubled_area)
        normals[self._teeth] = self._teeth_normals
        positions = self._refine @ vertices + self._bulge
        if rotation_radians is not None and np.any(rotation_radians):
            turn = rotation_matrices(rotation_radians).astype(np.float32)
            share = self._turn_share[:, None]
            positions += share * ((positions - self._pivot) @ turn.T + self._pivot - positions)
            normals += share * (normals @ turn.T - normals)
        return positions, _unit(normals)


def _unit(vectors: Float[np.ndarray, "vector 3"]) -> Float[np.ndarray, "vector 3"]:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return vectors / np.maximum(lengths, 1e-20)[:, None]


def _refinement(mesh: DrawingMesh, count: int) -> tuple[scipy.sparse.csr_array, Float[np.ndarray, "drawn 3"]]:
    """Drawn vertices as a matrix times the rig's own plus an offset: parents of parents written out."""
    total = count + len(mesh.parents)
    half = scipy.sparse.csr_array(
        (np.full(mesh.parents.size, 0.5), (np.repeat(np.arange(count, total), 2), mesh.parents.reshape(-1))),
        shape=(total, total),
    )
    own = scipy.sparse.csr_array((np.ones(count), (np.arange(count), np.arange(count))), shape=(total, count))
    offset = np.concatenate([np.zeros((count, 3)), mesh.bulge.astype(np.float64)])
    matrix, total_offset = own, offset
    for _ in range(GENERATIONS):
        matrix, total_offset = own + half @ matrix, offset + half @ total_offset
    return matrix.astype(np.float32).tocsr(), total_offset.astype(np.float32)


def _normal_sums(faces: Int[np.ndarray, "face 3"], neutral: Float[np.ndarray, "vertex 3"]) -> scipy.sparse.csr_array:
    """Matrix (vertex, face) that sums the faces around each point; copies of a point share one sum."""
    weld = weld_map(torch.tensor(neutral)).numpy()
    sums = scipy.sparse.csr_array(
        (np.ones(faces.size, np.float32), (weld[faces].reshape(-1), np.repeat(np.arange(len(faces)), 3))),
        shape=(len(neutral), len(faces)),
    )
    return sums[weld]
