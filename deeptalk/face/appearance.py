"""How the built-in head is drawn: colours of its parts, eyes fine enough to have an iris, brows that can be read."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from deeptalk.face.rig import Rig

SKIN, LIPS, BROW = (226, 182, 158), (198, 116, 108), (96, 66, 50)
TEETH, TONGUE, LINING = (240, 235, 224), (190, 92, 92), (92, 38, 40)
SCLERA, IRIS, IRIS_RIM, PUPIL = (242, 242, 240), (92, 124, 140), (46, 60, 72), (14, 14, 16)
PUPIL_RADIANS, IRIS_RADIANS, RIM_RADIANS = 0.17, 0.40, 0.46
"""Half angles seen from the eye's centre: a pupil of 2.5 mm and an iris of 5.8 mm on an eye of 14.5 mm."""
BROW_METRES = np.array([[-0.021, 0.0178], [-0.008, 0.0205], [0.007, 0.0212], [0.018, 0.0182], [0.026, 0.0120]])
"""Middle line of a brow, outward and up from the eye's centre."""
BROW_HALF_WIDTH_METRES = (0.0046, 0.0042, 0.0036, 0.0028, 0.0012)
SUBDIVISIONS = 2


@dataclass(frozen=True)
class DrawingMesh:
    """The rig's mesh as it is drawn: its own vertices, then refining ones half way between two earlier ones.

    A refining vertex stands at the middle of its parents plus its `bulge`, and so does its normal without the bulge:
    whoever draws deforms the rig's own vertices only, and no seam shows where fine and coarse faces meet.
    """

    faces: Int[np.ndarray, "face 3"]
    parents: Int[np.ndarray, "refining 2"]
    bulge: Float[np.ndarray, "refining 3"]
    colours: UInt8[np.ndarray, "vertex 3"]


def drawing_mesh(rig: Rig) -> DrawingMesh:
    """Refine a rig's mesh where colours change quickly, and colour every vertex by its part."""
    count = len(rig.neutral)
    vertices, faces = rig.neutral.astype(np.float64), np.asarray(rig.faces)
    parts = ("skin", "left_eye", "right_eye", "lips", "teeth", "tongue", "mouth_lining")
    share = {name: np.isin(np.arange(count), rig.regions[name]).astype(np.float64) for name in parts}
    centres = {side: _centre(rig.neutral[rig.regions[side]]) for side in ("left_eye", "right_eye")}
    parents = np.zeros((0, 2), np.int64)
    for _ in range(SUBDIVISIONS):
        eyes = share["left_eye"] + share["right_eye"] > 0.99
        fine = eyes | ((share["skin"] > 0) & ((_brow_strength(vertices, centres) > 0) | (share["lips"] > 0)))
        faces, new = _subdivide(faces, fine[faces].any(axis=1), len(vertices))
        vertices = np.concatenate([vertices, vertices[new].mean(axis=1)])
        share = {name: np.concatenate([value, value[new].mean(axis=1)]) for name, value in share.items()}
        parents = np.concatenate([parents, new])
    colours, round_vertices = _colours(vertices, share, centres), vertices.copy()
    for side, centre in centres.items():
        mask = share[side] > 0.99
        round_vertices[mask], colours[mask] = _round_eye(vertices[mask], centre)
    # A bulge is on top of the parents as drawn, which may bulge themselves.
    drawn = np.concatenate([vertices[:count], round_vertices[count:]])
    bulge = drawn[count:] - drawn[parents].mean(axis=1)
    return DrawingMesh(faces, parents, bulge.astype(np.float32), colours)


def _subdivide(
    faces: Int[np.ndarray, "face 3"], chosen: Bool[np.ndarray, "face"], count: int
) -> tuple[Int[np.ndarray, "finer 3"], Int[np.ndarray, "new 2"]]:
    """Split the chosen faces into four; returns all faces, and the parents of new vertices, numbered from `count`."""
    coarse = faces[chosen]
    edges = np.sort(coarse[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
    new, place = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    middle = count + place.reshape(-1, 3)
    (a, b, c), (ab, bc, ca) = coarse.T, middle.T
    finer = [np.stack(corner, axis=1) for corner in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate([faces[~chosen], *finer]), new


def _centre(vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "3"]:
    return (vertices.min(axis=0) + vertices.max(axis=0)) / 2


def _brow_strength(
    vertices: Float[np.ndarray, "vertex 3"], centres: dict[str, Float[np.ndarray, "3"]]
) -> Float[np.ndarray, "vertex"]:
    """1 on the middle line of a brow, falling to 0 a little outside its edge; 0 on the back of the head."""
    strength = np.zeros(len(vertices))
    for side, centre in centres.items():
        outward = (vertices[:, 0] - centre[0]) * (1 if side == "left_eye" else -1)
        up = vertices[:, 1] - centre[1]
        line = np.interp(outward, BROW_METRES[:, 0], BROW_METRES[:, 1])
        width = np.interp(outward, BROW_METRES[:, 0], BROW_HALF_WIDTH_METRES, left=0.0, right=0.0)
        distance = np.abs(up - line)
        inside = (width > 0) & (vertices[:, 2] > centre[2] - 0.02)
        strength = np.maximum(strength, np.where(inside, np.clip(1.6 - distance / np.maximum(width, 1e-9), 0, 1), 0))
    return strength


def _blend(colours: np.ndarray, colour: tuple[int, int, int], weight: Float[np.ndarray, "vertex"]) -> np.ndarray:
    return colours + weight[:, None] * (np.array(colour, np.float64) - colours)


def _colours(
    vertices: Float[np.ndarray, "vertex 3"],
    share: dict[str, Float[np.ndarray, "vertex"]],
    centres: dict[str, Float[np.ndarray, "3"]],
) -> UInt8[np.ndarray, "vertex 3"]:
    colours = np.tile(np.array(SKIN, np.float64), (len(vertices), 1))
    colours = _blend(colours, LIPS, share["lips"])
    colours = _blend(colours, BROW, 0.85 * _brow_strength(vertices, centres) * share["skin"])
    for name, colour in (("teeth", TEETH), ("tongue", TONGUE), ("mouth_lining", LINING)):
        colours = _blend(colours, colour, (share[name] > 0.5).astype(np.float64))
    return np.round(colours).astype(np.uint8)


def _round_eye(
    vertices: Float[np.ndarray, "vertex 3"], centre: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "vertex 3"], UInt8[np.ndarray, "vertex 3"]]:
    """Push an eye's vertices onto its sphere and colour iris and pupil around the forward direction (+z)."""
    offset = vertices - centre
    radii = np.linalg.norm(offset, axis=1)
    direction = offset / radii[:, None]
    angle = np.arccos(np.clip(direction[:, 2], -1, 1))
    colours = np.tile(np.array(SCLERA, np.uint8), (len(vertices), 1))
    for limit, colour in ((RIM_RADIANS, IRIS_RIM), (IRIS_RADIANS, IRIS), (PUPIL_RADIANS, PUPIL)):
        within = angle <= limit
        colours[within] = colour
    return centre + np.median(radii) * direction, colours
