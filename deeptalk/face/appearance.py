"""How the built-in head is drawn: colours of its parts, and eyes fine enough to have an iris."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Int, UInt8

from deeptalk.face.rig import Rig

SKIN, LIPS, TEETH, TONGUE, LINING = (224, 178, 154), (196, 118, 110), (238, 232, 220), (186, 92, 92), (92, 40, 40)
SCLERA, IRIS, IRIS_RIM, PUPIL = (240, 240, 238), (92, 124, 140), (48, 62, 74), (16, 16, 18)
PUPIL_RADIANS, IRIS_RADIANS, RIM_RADIANS = 0.17, 0.40, 0.46
"""Half angles seen from the eye's centre: a pupil of 2.5 mm and an iris of 5.8 mm on an eye of 14.5 mm."""
EYE_SUBDIVISIONS = 2


@dataclass(frozen=True)
class DrawingMesh:
    """The rig's mesh as it is drawn; the first vertices are the rig's own, those behind refine the eyes."""

    neutral: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    deltas: Float[np.ndarray, "channel vertex 3"]
    colours: UInt8[np.ndarray, "vertex 3"]


def drawing_mesh(rig: Rig) -> DrawingMesh:
    """Refine the eyes of a rig and colour every vertex by its part."""
    channels, count = rig.deltas.shape[:2]
    attributes = {"deltas": rig.deltas.transpose(1, 0, 2).reshape(count, -1).astype(np.float64)}
    vertices, faces = rig.neutral.astype(np.float64), np.asarray(rig.faces)
    eyes = {side: np.isin(np.arange(count), rig.regions[side]) for side in ("left_eye", "right_eye")}
    for _ in range(EYE_SUBDIVISIONS):
        chosen = np.flatnonzero((eyes["left_eye"] | eyes["right_eye"])[faces].all(axis=1))
        marks = {side: mask[:, None].astype(np.float64) for side, mask in eyes.items()}
        vertices, faces, values = trimesh.remesh.subdivide(
            vertices, faces, face_index=chosen, vertex_attributes=attributes | marks
        )
        attributes = {"deltas": values["deltas"]}
        eyes = {side: values[side].reshape(-1) > 0.99 for side in eyes}
    colours = _part_colours(rig, len(vertices))
    for mask in eyes.values():
        vertices[mask], colours[mask] = _round_eye(vertices[mask])
    deltas = attributes["deltas"].reshape(len(vertices), channels, 3).transpose(1, 0, 2)
    return DrawingMesh(vertices.astype(np.float32), faces.astype(np.int64), deltas.astype(np.float32), colours)


def _part_colours(rig: Rig, count: int) -> UInt8[np.ndarray, "vertex 3"]:
    colours = np.tile(np.array(SKIN, np.uint8), (count, 1))
    parts = {"teeth": TEETH, "tongue": TONGUE, "mouth_lining": LINING}
    for name, colour in parts.items():
        colours[rig.regions[name]] = colour
    return colours


def _round_eye(
    vertices: Float[np.ndarray, "vertex 3"],
) -> tuple[Float[np.ndarray, "vertex 3"], UInt8[np.ndarray, "vertex 3"]]:
    """Push an eye's vertices onto its sphere and colour iris and pupil around the forward direction (+z)."""
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    offset = vertices - centre
    radius = np.median(np.linalg.norm(offset, axis=1))
    direction = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    angle = np.arccos(np.clip(direction[:, 2], -1, 1))
    colours = np.tile(np.array(SCLERA, np.uint8), (len(vertices), 1))
    for limit, colour in ((RIM_RADIANS, IRIS_RIM), (IRIS_RADIANS, IRIS), (PUPIL_RADIANS, PUPIL)):
        colours[angle <= limit] = colour
    return centre + radius * direction, colours
