"""How a head is drawn: colours of its parts, eyes fine enough to have an iris, brows that can be read, a level neck."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from deeptalk.face.mesh import vertex_normals
from deeptalk.face.rig import Rig

SKIN, LIPS, BROW, LASHES = (222, 180, 158), (186, 116, 108), (82, 58, 46), (66, 42, 38)
TEETH, TONGUE, LINING, SOCKET = (240, 235, 224), (190, 92, 92), (92, 38, 40), (176, 112, 104)
SCLERA, IRIS, IRIS_RIM, PUPIL = (242, 242, 240), (92, 124, 140), (46, 60, 72), (14, 14, 16)
PUPIL_RADIANS, IRIS_RADIANS, RIM_RADIANS = 0.17, 0.40, 0.46
"""Half angles seen from the eye's centre: a pupil of 2.5 mm and an iris of 5.8 mm on an eye of 14.5 mm."""
BROW_METRES = np.array([[-0.021, 0.0178], [-0.008, 0.0205], [0.007, 0.0212], [0.018, 0.0182], [0.026, 0.0120]])
"""Middle line of a brow, outward and up from the eye's centre."""
BROW_HALF_WIDTH_METRES = (0.0046, 0.0042, 0.0036, 0.0028, 0.0012)
WARM_SHADE = (0.8, 1.2, 1.2)
SHADE_METRES, DEEPEST_LIGHT = (0.014, 0.045), 0.2
"""How far behind the lips the mouth begins to darken, over which length, and the share of colour that remains."""
BLUSH, BLUSH_STRENGTH = (206, 128, 112), 0.38
BLUSH_METRES = ((0.018, -0.034, 0.016), (-0.031, -0.038, 0.011))
"""Warm places of the face: cheek and tip of the nose, outward and up from the eye's centre, and their radius."""
LASHES_METRES = (0.0014, 0.0024)
"""The rim of a lid is dark up to the first height over the eye's ball, and skin from the second on."""
UPPER_LASHES, LOWER_LASHES, CORNERS_METRES = 0.9, 0.1, -0.0015
"""How dark the rims are above and below the corners of the eye, whose height is from the eye's centre."""
LONG_METRES, ROUNDING = 0.0085, 0.5
"""Skin with longer edges (skull, neck) is refined and rounded: a middle moves half of what takes it to the plane of
each end's normal, which puts it on the circle through both."""
ARCH_RADIUS_METRES = 0.03
"""Of the half circle in front that the teeth stand on."""
BROW_BOX_METRES = ((-0.032, 0.0, -0.03), (0.04, 0.035, 0.05))
"""Lowest and highest place of vertices of faces that a brow may touch."""
SUBDIVISIONS = 2
NECK_ROWS, NECK_METRES, LEVEL_METRES = 3, 0.03, 0.005
"""Rows of faces added below an open, uneven neck (by more than the last), and how far below it they end, level."""
MATERIALS = ("skin", "eye", "teeth", "tongue", "mouth_lining", "eye_lining")
"""What a face is made of; its number is the place in this list."""
PARTS = ("skin", "left_eye", "right_eye", "lips", "teeth", "tongue", "mouth_lining", "eye_lining")
"""Regions of a rig that are drawn in their own way, where it has them; all else is skin."""


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
    """sRGB with iris, pupil and brows."""
    plain_colours: UInt8[np.ndarray, "vertex 3"]
    """sRGB without iris, pupil and brows, for those who draw these by `place`."""
    place: Float[np.ndarray, "vertex 3"]
    """At rest: on an eye the unit direction from its centre; on the face (outward, up, forward) in metres from the
    centre of the eye on that side; on teeth (along the row, up, 0) in metres from the middle. Zero where there is
    nothing to place."""
    materials: UInt8[np.ndarray, "face"]
    """Places in `MATERIALS`."""

    def has_detail(self) -> Bool[np.ndarray, "face"]:
        """Which faces show something that is drawn by `place`: an eye, teeth, part of a brow."""
        outward, up, forward = self.place.T
        inside = (up > BROW_BOX_METRES[0][1]) & (up < BROW_BOX_METRES[1][1]) & (forward > BROW_BOX_METRES[0][2])
        inside &= (outward > BROW_BOX_METRES[0][0]) & (outward < BROW_BOX_METRES[1][0])
        skin = self.materials == MATERIALS.index("skin")
        drawn = np.isin(self.materials, [MATERIALS.index("eye"), MATERIALS.index("teeth")])
        return drawn | (skin & inside[self.faces].any(axis=1))


def drawing_mesh(rig: Rig, refine_skin: bool = True) -> DrawingMesh:
    """Refine a rig's mesh where colours change quickly, colour every vertex by its part, and end the neck level.

    `refine_skin` refines brows and lips beside the eyes, for those who draw colours of vertices.
    A rig without some part of `PARTS` is drawn without it, one without any as plain skin.
    """
    count = len(rig.neutral)
    vertices = rig.neutral.astype(np.float64)
    faces, parents, bulge = _with_level_neck(rig, vertices)
    vertices = np.concatenate([vertices, vertices[parents[:, 0]] + bulge])
    share = _shares(rig, len(vertices))
    sides = ("left_eye", "right_eye") if all(len(rig.regions.get(s, ())) for s in ("left_eye", "right_eye")) else ()
    centres = {side: _centre(rig.neutral[rig.regions[side]]) for side in sides}
    for _ in range(SUBDIVISIONS):
        eyes = share["left_eye"] + share["right_eye"] > 0.99
        drawn_on = (_brow_strength(vertices, centres) > 0) | (share["lips"] > 0)
        fine = (eyes | (drawn_on & (share["skin"] > 0) & refine_skin))[faces].any(axis=1)
        long = (share["skin"] == 1)[faces].all(axis=1) & (_longest_edges(faces, vertices) > LONG_METRES)
        normals = _normals(faces, vertices)
        faces, new = subdivide(faces, fine | long, len(vertices))
        middles = vertices[new].mean(axis=1)
        skull = np.linalg.norm(np.diff(vertices[new], axis=1)[:, 0], axis=1) > LONG_METRES / 2
        skull &= (share["skin"] == 1)[new].all(axis=1) & (share["lips"] == 0)[new].all(axis=1)
        middles[skull] += _rounding(vertices[new[skull]], normals[new[skull]])
        vertices = np.concatenate([vertices, middles])
        share = {name: np.concatenate([value, value[new].mean(axis=1)]) for name, value in share.items()}
        parents = np.concatenate([parents, new])
    plain = _colours(vertices, share, centres, _ball_radius(vertices, share, centres))
    place, drawn = _face_place(vertices, centres), vertices.copy()
    colours = _blend(plain, BROW, 0.85 * _brow_strength(vertices, centres) * share["skin"])
    for side, centre in centres.items():
        mask = share[side] > 0.99
        drawn[mask], colours[mask] = _round_eye(vertices[mask], centre)
        place[mask] = _directions(vertices[mask], centre)
    teeth = share["teeth"] > 0.99
    place[teeth] = _along_arch(vertices[teeth])
    # A bulge is on top of the parents as drawn, which may bulge themselves.
    drawn[:count] = vertices[:count]
    bulge = drawn[count:] - drawn[parents].mean(axis=1)
    return DrawingMesh(
        faces=faces,
        parents=parents,
        bulge=bulge.astype(np.float32),
        colours=np.round(colours).astype(np.uint8),
        plain_colours=np.round(plain).astype(np.uint8),
        place=place.astype(np.float32),
        materials=_materials(faces, share),
    )


def _shares(rig: Rig, count: int) -> dict[str, Float[np.ndarray, "vertex"]]:
    share = {name: np.isin(np.arange(count), rig.regions.get(name, ())).astype(np.float64) for name in PARTS}
    share["skin"] = 1 - np.minimum(1, sum(share[name] for name in PARTS if name not in ("skin", "lips")))
    return share


def _longest_edges(
    faces: Int[np.ndarray, "face 3"], vertices: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "face"]:
    return np.linalg.norm(vertices[faces] - vertices[np.roll(faces, -1, axis=1)], axis=2).max(axis=1)


def _normals(
    faces: Int[np.ndarray, "face 3"], vertices: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "vertex 3"]:
    return vertex_normals(torch.tensor(vertices), torch.tensor(faces)).numpy()


def _rounding(ends: Float[np.ndarray, "edge 2 3"], normals: Float[np.ndarray, "edge 2 3"]) -> np.ndarray:
    """From the middle of each edge to the round surface over it."""
    to_middle = ends.mean(axis=1, keepdims=True) - ends
    height = np.einsum("eki,eki->ek", to_middle, normals)
    return -ROUNDING * np.einsum("ek,eki->ei", height, normals) / 2


def _with_level_neck(
    rig: Rig, vertices: Float[np.ndarray, "vertex 3"]
) -> tuple[Int[np.ndarray, "face 3"], Int[np.ndarray, "new 2"], Float[np.ndarray, "new 3"]]:
    """Faces with rows added below the lowest open edge, if that is uneven; parents and bulge of the new vertices."""
    faces = np.asarray(rig.faces)
    nothing = faces, np.zeros((0, 2), np.int64), np.zeros((0, 3))
    edges = _lowest_open_edges(faces, vertices)
    if len(edges) < 8:
        return nothing
    edge, heights = np.unique(edges), vertices[edges[:, 0], 1]
    if np.ptp(heights) < LEVEL_METRES or heights.max() > np.quantile(vertices[:, 1], 0.25):
        return nothing
    bottom, count, width = heights.min() - NECK_METRES, len(vertices), len(edge)
    column = np.searchsorted(edge, edges)
    added, parents, bulge = [], [], []
    for row in range(1, NECK_ROWS + 1):
        parents.append(np.stack([edge, edge], axis=1))
        drop = (bottom - vertices[edge, 1]) * row / NECK_ROWS
        bulge.append(np.stack([np.zeros(width), drop, np.zeros(width)], axis=1))
        below = count + (row - 1) * width + column
        above = edges if row == 1 else below - width
        added += [
            np.stack([above[:, 1], above[:, 0], below[:, 0]], 1),
            np.stack([above[:, 1], below[:, 0], below[:, 1]], 1),
        ]
    return np.concatenate([faces, *added]), np.concatenate(parents), np.concatenate(bulge)


def _lowest_open_edges(
    faces: Int[np.ndarray, "face 3"], vertices: Float[np.ndarray, "vertex 3"]
) -> Int[np.ndarray, "edge 2"]:
    """Edges of one face only, in its direction, of the connected open border that reaches lowest."""
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, place, uses = np.unique(np.sort(directed, axis=1), axis=0, return_inverse=True, return_counts=True)
    border = directed[uses[place.reshape(-1)] == 1]
    if not len(border):
        return border
    reached = np.zeros(len(vertices), bool)
    reached[border[np.argmin(vertices[border[:, 0], 1]), 0]] = True
    while (grow := reached[border[:, 0]] != reached[border[:, 1]]).any():
        reached[border[grow]] = True
    return border[reached[border[:, 0]]]


def subdivide(
    faces: Int[np.ndarray, "face 3"], chosen: Bool[np.ndarray, "face"], count: int
) -> tuple[Int[np.ndarray, "finer 3"], Int[np.ndarray, "new 2"]]:
    """Split the chosen faces into four and their neighbours so that no vertex lies inside an edge.

    Returns all faces, and the parents of the new vertices, which are numbered from `count`.
    """
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
    unique, place = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    place = place.reshape(-1, 3)
    split = np.zeros(len(unique), bool)
    split[place[chosen]] = True
    number = np.where(split, count + np.cumsum(split) - 1, -1)
    middle, pieces = number[place], []
    for pattern in range(8):  # which of the edges ab, bc, ca are split
        marks = [(pattern >> edge) & 1 == 1 for edge in range(3)]
        here = (split[place] == marks).all(axis=1)
        (a, b, c), (ab, bc, ca) = faces[here].T, middle[here].T
        for corners in _PIECES[pattern]:
            pieces.append(np.stack([{"a": a, "b": b, "c": c, "d": ab, "e": bc, "f": ca}[k] for k in corners], axis=1))
    return np.concatenate(pieces), unique[split]


_PIECES = {
    0: ("abc",),
    1: ("adc", "dbc"),
    2: ("abe", "aec"),
    4: ("abf", "fbc"),
    3: ("dbe", "ade", "aec"),
    6: ("fec", "abe", "aef"),
    5: ("adf", "dbc", "dcf"),
    7: ("adf", "dbe", "fec", "def"),
}
"""Corners of the pieces of a face abc, where d, e and f are the middles of ab, bc and ca, by which edges are split."""


def _centre(vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "3"]:
    return (vertices.min(axis=0) + vertices.max(axis=0)) / 2


def _face_place(
    vertices: Float[np.ndarray, "vertex 3"], centres: dict[str, Float[np.ndarray, "3"]]
) -> Float[np.ndarray, "vertex 3"]:
    place = np.zeros_like(vertices)
    for centre in centres.values():
        sign = np.sign(centre[0])
        mask = vertices[:, 0] * sign >= 0
        place[mask] = (vertices[mask] - centre) * [sign, 1, 1]
    return place


def _brow_strength(
    vertices: Float[np.ndarray, "vertex 3"], centres: dict[str, Float[np.ndarray, "3"]]
) -> Float[np.ndarray, "vertex"]:
    """1 on the middle line of a brow, falling to 0 a little outside its edge; 0 on the back of the head."""
    if not centres:
        return np.zeros(len(vertices))
    outward, up, forward = _face_place(vertices, centres).T
    line = np.interp(outward, BROW_METRES[:, 0], BROW_METRES[:, 1])
    width = np.interp(outward, BROW_METRES[:, 0], BROW_HALF_WIDTH_METRES, left=0.0, right=0.0)
    inside = (width > 0) & (forward > -0.02)
    return np.where(inside, np.clip(1.6 - np.abs(up - line) / np.maximum(width, 1e-9), 0, 1), 0)


def _along_arch(vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 3"]:
    """Metres along the row of teeth from its middle, and height."""
    outward = arch_normals(vertices)
    return np.stack(
        [ARCH_RADIUS_METRES * np.arctan2(outward[:, 0], outward[:, 2]), vertices[:, 1], 0 * outward[:, 0]], 1
    )


def arch_normals(vertices: Float[np.ndarray, "tooth 3"]) -> Float[np.ndarray, "tooth 3"]:
    """Unit directions away from the middle of the arch of teeth; a mesh this coarse has no better normals."""
    outward = np.zeros((len(vertices), 3))
    if len(vertices):
        outward[:, 0] = vertices[:, 0] - (vertices[:, 0].min() + vertices[:, 0].max()) / 2
        outward[:, 2] = vertices[:, 2] - (vertices[:, 2].max() - ARCH_RADIUS_METRES)
    return outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)


def _ball_radius(
    vertices: Float[np.ndarray, "vertex 3"],
    share: dict[str, Float[np.ndarray, "vertex"]],
    centres: dict[str, Float[np.ndarray, "3"]],
) -> float:
    distances = [np.linalg.norm(vertices[share[side] == 1] - centre, axis=1) for side, centre in centres.items()]
    return float(np.median(np.concatenate(distances))) if distances else 0.0


def _lash_strength(place: Float[np.ndarray, "vertex 3"], ball_radius: float) -> Float[np.ndarray, "vertex"]:
    height = np.linalg.norm(place, axis=1) - ball_radius
    near = np.clip((LASHES_METRES[1] - height) / (LASHES_METRES[1] - LASHES_METRES[0]), 0, 1) * (place[:, 2] > 0)
    upper = np.clip((place[:, 1] - CORNERS_METRES) / 0.001, 0, 1)
    return near * (LOWER_LASHES + (UPPER_LASHES - LOWER_LASHES) * upper)


def _blend(colours: np.ndarray, colour: tuple[int, int, int], weight: Float[np.ndarray, "vertex"]) -> np.ndarray:
    return colours + weight[:, None] * (np.array(colour, np.float64) - colours)


def _colours(
    vertices: Float[np.ndarray, "vertex 3"],
    share: dict[str, Float[np.ndarray, "vertex"]],
    centres: dict[str, Float[np.ndarray, "3"]],
    ball_radius: float,
) -> Float[np.ndarray, "vertex 3"]:
    colours = np.tile(np.array(SKIN, np.float64), (len(vertices), 1))
    if centres:
        place = _face_place(vertices, centres)
        for outward, up, radius in BLUSH_METRES:
            distance = np.linalg.norm(place[:, :2] - [outward, up], axis=1) / radius
            colours = _blend(colours, BLUSH, BLUSH_STRENGTH * np.exp(-(distance**2)) * (place[:, 2] > -0.03))
        colours = _blend(colours, LASHES, _lash_strength(place, ball_radius) * share["skin"])
    colours = _blend(colours, LIPS, share["lips"])
    parts = {"teeth": TEETH, "tongue": TONGUE, "mouth_lining": LINING, "eye_lining": SOCKET}
    for name, colour in (*parts.items(), ("left_eye", SCLERA), ("right_eye", SCLERA)):
        colours = _blend(colours, colour, (share[name] > 0.5).astype(np.float64))
    lips = share["lips"] > 0.5
    if lips.any():  # light hardly reaches what lies deep in the mouth
        depth = vertices[lips, 2].max() - SHADE_METRES[0] - vertices[:, 2]
        light = np.clip(1 - depth / SHADE_METRES[1], DEEPEST_LIGHT, 1)
        inside = share["teeth"] + share["tongue"] + share["mouth_lining"] > 0.5
        colours[inside] *= light[inside, None] ** np.array(WARM_SHADE)
    return colours


def _materials(
    faces: Int[np.ndarray, "face 3"], share: dict[str, Float[np.ndarray, "vertex"]]
) -> UInt8[np.ndarray, "face"]:
    """A face with any vertex in a part is of that part: vertices where a lining meets the skin are skin."""
    code = np.zeros(len(share["skin"]), np.uint8)
    for name in PARTS:
        material = "eye" if name in ("left_eye", "right_eye") else name
        if material in MATERIALS:
            code[share[name] > 0] = MATERIALS.index(material)
    return code[faces].max(axis=1)


def _directions(
    vertices: Float[np.ndarray, "vertex 3"], centre: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "vertex 3"]:
    offset = vertices - centre
    return offset / np.linalg.norm(offset, axis=1, keepdims=True)


def _round_eye(
    vertices: Float[np.ndarray, "vertex 3"], centre: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "vertex 3"], UInt8[np.ndarray, "vertex 3"]]:
    """Push an eye's vertices onto its sphere and colour iris and pupil around the forward direction (+z)."""
    radii = np.linalg.norm(vertices - centre, axis=1)
    direction = _directions(vertices, centre)
    angle = np.arccos(np.clip(direction[:, 2], -1, 1))
    colours = np.tile(np.array(SCLERA, np.uint8), (len(vertices), 1))
    for limit, colour in ((RIM_RADIANS, IRIS_RIM), (IRIS_RADIANS, IRIS), (PUPIL_RADIANS, PUPIL)):
        within = angle <= limit
        colours[within] = colour
    return centre + np.median(radii) * direction, colours
