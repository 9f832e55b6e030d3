"""One mesh of a user's head, as the readers of files give it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MeshPart:
    """A mesh and its shapes, in the file's own unit."""

    name: str
    """What node, mesh, material or group are called: tells eyes, teeth and tongue from skin."""
    vertices: np.ndarray
    """(vertex, 3) float64."""
    faces: np.ndarray
    """(face, 3) int64, counter-clockwise seen from outside."""
    shapes: dict[str, np.ndarray]
    """Name -> (vertex, 3) float64 offset at 1; empty for a mesh that does not change."""
