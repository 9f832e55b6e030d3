"""Small pictures that draw brows and irises on a coarse mesh, as PNG bytes, and where on them each vertex lies.

A texture holds the share of its material's colour that is left, so a program without textures shows plain material.
"""

import struct
import zlib

import numpy as np
from jaxtyping import Float, UInt8

from deeptalk.face.appearance import (
    BROW,
    BROW_HALF_WIDTH_METRES,
    BROW_METRES,
    IRIS,
    IRIS_RADIANS,
    IRIS_RIM,
    PUPIL,
    PUPIL_RADIANS,
    RIM_RADIANS,
    SCLERA,
    SKIN,
)
from deeptalk.render.shading import linear

TEXELS = 256
EYE_RADIANS = 0.6
"""Angle from the front of the eye at the edge of its texture; all beyond is white."""
BROW_LEFT_METRES, BROW_WIDTH_METRES = -0.030, 0.066
"""Least distance outward from the eye's centre on the brow's texture, and its width."""
BROW_LOW_METRES, BROW_HEIGHT_METRES = 0.004, 0.026
BACK_METRES = -0.02
"""Behind this, measured from the eye's centre, nothing is drawn."""


def _bytes(light: np.ndarray) -> UInt8[np.ndarray, "*texel 3"]:
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0) ** (1 / 2.4) - 0.055)
    return np.round(255.0 * np.clip(value, 0.0, 1.0)).astype(np.uint8)


def png(image: UInt8[np.ndarray, "row column 3"]) -> bytes:
    """A picture as PNG (ISO/IEC 15948): 8 bits of red, green and blue, rows unfiltered."""
    height, width, _ = image.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.tobytes() for row in image)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def eye_uv(direction: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 2"]:
    """Place on the eye's texture of unit directions from the eye's centre; v runs downwards, as in glTF."""
    angle = np.arccos(np.clip(direction[:, 2], -1.0, 1.0))
    across = direction[:, :2] / np.maximum(np.linalg.norm(direction[:, :2], axis=1, keepdims=True), 1e-9)
    return (0.5 + 0.5 * (angle / EYE_RADIANS)[:, None] * across * (1.0, -1.0)).astype(np.float32)


def eye_texture() -> UInt8[np.ndarray, "row column 3"]:
    """Pupil, iris with a darker rim and fine spokes, and the white around them."""
    across, down = np.meshgrid(*[(np.arange(TEXELS) + 0.5) / TEXELS * 2 - 1] * 2)
    angle, turn = EYE_RADIANS * np.hypot(across, down), np.arctan2(down, across)
    soft = 2.0 * EYE_RADIANS / TEXELS  # an edge of two texels

    def within(radians: float) -> np.ndarray:
        return np.clip((radians - angle) / soft + 0.5, 0.0, 1.0)[..., None]

    spokes = 1.0 + 0.10 * np.sin(23 * turn + 2 * np.sin(5 * turn)) + 0.06 * np.sin(61 * turn)
    depth = np.clip((angle - PUPIL_RADIANS) / (IRIS_RADIANS - PUPIL_RADIANS), 0.0, 1.0)
    iris = linear(IRIS) * (spokes * (1.15 - 0.35 * depth))[..., None]
    rim = np.clip((angle - IRIS_RADIANS) / (RIM_RADIANS - IRIS_RADIANS), 0.0, 1.0)[..., None]
    light = np.ones((TEXELS, TEXELS, 3)) * linear(SCLERA)
    # The rim fades into the white: an eye has no outline.
    light += within(RIM_RADIANS) * (1.0 - 0.75 * rim) * (linear(IRIS_RIM) - light)
    light += within(IRIS_RADIANS) * (iris - light)
    light += within(PUPIL_RADIANS) * (linear(PUPIL) - light)
    return _bytes(light / linear(SCLERA))


def brow_uv(place: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 2"]:
    """Place on the brow's texture of points (outward, up, forward) from the centre of the eye on their side."""
    outward, up, forward = place.T
    outward = outward + np.maximum(
        BACK_METRES - forward, 0.0
    )  # runs off the texture on the way to the back of the head
    u = (outward - BROW_LEFT_METRES) / BROW_WIDTH_METRES
    v = 1.0 - (up - BROW_LOW_METRES) / BROW_HEIGHT_METRES
    return np.stack([u, v], axis=1).astype(np.float32)


def brow_texture() -> UInt8[np.ndarray, "row column 3"]:
    """One brow, drawn with short hairs that lean outward; both sides use it."""
    texel = (np.arange(TEXELS) + 0.5) / TEXELS
    outward = (BROW_LEFT_METRES + BROW_WIDTH_METRES * texel)[None, :]
    up = (BROW_LOW_METRES + BROW_HEIGHT_METRES * (1.0 - texel))[:, None]
    line = np.interp(outward, BROW_METRES[:, 0], BROW_METRES[:, 1])
    width = np.interp(outward, BROW_METRES[:, 0], BROW_HALF_WIDTH_METRES, left=0.0, right=0.0)
    ends = np.clip((outward - BROW_METRES[0, 0]) / 0.005, 0, 1) * np.clip((BROW_METRES[-1, 0] - outward) / 0.004, 0, 1)
    body = np.clip(1.5 - np.abs(up - line) / np.maximum(width, 1e-9), 0.0, 1.0) * ends
    hairs = 0.5 + 0.5 * np.sin(2 * np.pi * (outward - 0.55 * (up - line)) / 0.0011 + 2.0 * np.sin(outward / 0.0023))
    strength = (0.85 * body * (0.84 + 0.16 * hairs))[..., None]
    skin = linear(SKIN)
    return _bytes((skin + strength * (linear(BROW) - skin)) / skin)
