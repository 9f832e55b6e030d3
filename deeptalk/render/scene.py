"""What is drawn, apart from how: the head, camera, colours and background that both backends take."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from deeptalk.errors import UserError
from deeptalk.face import Rig
from deeptalk.face.appearance import MATERIALS
from deeptalk.render import shading
from deeptalk.render.camera import Camera, portrait
from deeptalk.render.geometry import DrawnHead

SMALLEST, LARGEST = 16, 8192
"""Pixels of a picture's side."""
CHIN_ROOM_METRES = 0.042
"""How far below the chin at rest the picture ends: an open jaw stays inside."""
BACKGROUND = ((232, 235, 240), (205, 211, 220))
"""sRGB at the top and at the bottom."""
ONE_SAMPLE = np.zeros((1, 2), np.float32)
EYE_SETBACK_METRES = 0.0016
"""How much farther off than they are eyes count where they are compared with lids: a strong squint and raised cheek
together press the lower lid this far into the ball, which would show through it."""
FOUR_SAMPLES = np.array([[0.125, -0.375], [0.375, 0.125], [-0.125, 0.375], [-0.375, -0.125]], np.float32)
"""Offsets in pixels whose four pictures are averaged: each column and row of quarters is met once."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One head before one camera; what changes from frame to frame is its motion."""

    head: DrawnHead
    camera: Camera
    colours: Float[np.ndarray, "drawn 3"]
    """Linear light of the drawn vertices."""
    background: Float[np.ndarray, "height 3"]
    """sRGB, 0 to 255, of each row."""
    samples: Float[np.ndarray, "sample 2"]
    """Offsets in pixels of the pictures that are averaged."""

    @property
    def two_sided(self) -> bool:
        """Whether faces are drawn from inside, too: where a head has no lining, its open mouth shows its inside."""
        return not len(self.head.rig.regions.get("mouth_lining", ()))

    @cached_property
    def _eyes(self) -> np.ndarray:
        mesh = self.head.mesh
        return np.unique(mesh.faces[mesh.materials == MATERIALS.index("eye")])

    def project(self, positions: Float[np.ndarray, "drawn 3"]) -> Float[np.ndarray, "drawn 3"]:
        """Picture x and y in pixels and the reciprocal of depth of the drawn vertices, lids before eyes."""
        screen = self.camera.project(positions)
        nearness = screen[self._eyes, 2]
        screen[self._eyes, 2] = nearness / (1 + np.float32(EYE_SETBACK_METRES) * nearness)
        return screen

    @property
    def look(self) -> Float[np.ndarray, "12"]:
        """Focal length and centre in pixels, and the camera's axes, for shaders."""
        camera = self.camera
        return np.array([camera.focal_pixels, *camera.centre_pixels, *camera.axes.reshape(-1)], np.float32)


def make_scene(rig: Rig, size: int | Sequence[int] = 512, antialias: bool = True) -> Scene:
    """A portrait of the rig, `size` pixels square or (width, height); raises UserError for impossible sizes."""
    width, height = picture_size(size)
    head = DrawnHead(rig)
    bottom = float(head.rest[:, 1].min())
    if len(rig.regions.get("face", ())):
        bottom = max(bottom, float(rig.neutral[rig.regions["face"], 1].min()) - CHIN_ROOM_METRES)
    share = np.linspace(0, 1, height)[:, None]
    top_colour, bottom_colour = (np.array(colour, np.float64) for colour in BACKGROUND)
    return Scene(
        head,
        portrait(head.rest, bottom, width, height),
        shading.linear(head.mesh.plain_colours),
        ((1 - share) * top_colour + share * bottom_colour).astype(np.float32),
        FOUR_SAMPLES if antialias else ONE_SAMPLE,
    )


def picture_size(size: int | Sequence[int]) -> tuple[int, int]:
    """Width and height in pixels of a size given as one number or two."""
    pair = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(pair) != 2 or any(not isinstance(n, (int, np.integer)) or not SMALLEST <= n <= LARGEST for n in pair):
        raise UserError(f"The picture's size is {size}; expected pixels, or (width, height), {SMALLEST} to {LARGEST}.")
    return int(pair[0]), int(pair[1])
