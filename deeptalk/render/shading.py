"""Light, materials and tone of a picture: one set of numbers, read by both backends.

Colours are linear light (Rec. 709 primaries), directions unit vectors in the rig's space, x to the character's left.
"""

import numpy as np
from jaxtyping import Float, Int

from deeptalk.face import appearance


def linear(colour: tuple[int, int, int] | np.ndarray) -> Float[np.ndarray, "*batch 3"]:
    """Linear light of sRGB bytes."""
    value = np.asarray(colour, np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _towards(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = float(np.sqrt(x * x + y * y + z * z))
    return (x / length, y / length, z / length)


LIGHTS = np.array(
    [  # direction, then colour
        [*_towards(0.62, 0.62, 0.72), 1.12, 1.04, 0.95],  # key
        [*_towards(-0.85, 0.05, 0.60), 0.20, 0.23, 0.28],  # fill
        [*_towards(-0.75, 0.40, -0.75), 1.60, 1.70, 1.80],  # rim
        [*_towards(0.30, 0.22, 0.95), 1.50, 1.50, 1.50],  # only seen as a highlight of the eyes
    ],
    np.float32,
)
AMBIENT = np.array([[0.27, 0.29, 0.33], [0.15, 0.125, 0.115], [0.34, 0.17, 0.12]], np.float32)
"""Rows: light from the sky, from the ground; how far light creeps round into the shade of skin, red farthest."""
MATERIALS = np.array(
    [  # share of the creeping light, gloss, log2 of its sharpness, share of the rim light, how much hollows darken
        [1.0, 0.11, 4.0, 1.0, 1.0],  # skin
        [0.3, 0.00, 4.0, 0.0, 2.2],  # eye, whose highlight is drawn with its iris
        [0.6, 0.30, 6.0, 0.0, 0.4],  # teeth
        [0.8, 0.18, 5.0, 0.0, 1.0],  # tongue
        [0.5, 0.05, 5.0, 0.0, 1.2],  # mouth lining
        [1.0, 0.06, 5.0, 0.0, 1.0],  # eye lining
    ],
    np.float32,
)
PALETTE = np.stack(
    [linear(c) for c in (appearance.IRIS, appearance.IRIS_RIM, appearance.PUPIL, appearance.BROW, appearance.LINING)]
)
EYE = np.array([appearance.PUPIL_RADIANS, appearance.IRIS_RADIANS, appearance.RIM_RADIANS], np.float32)
OCCLUSION_METRES = (0.0035, 0.011)
"""Radii over which hollows of the picture's depth are darkened: lids and lips, then sockets and chin."""
OCCLUSION = np.array([1.1, 1.5, 1.6], np.float32)
"""How much a hollow takes from red, green and blue: skin keeps red the longest."""
TONE_STEPS, TONE_TOP = 1024, 4.0
"""The table of tones goes by the square root of light: its steps to 1, and the light at its end."""
SHOULDER = 0.6
"""Light above this is bent towards white instead of cut off."""


def tone_table() -> Float[np.ndarray, "tone"]:
    """sRGB, 0 to 255, of light (i / TONE_STEPS) ** 2 at place i."""
    light = (np.arange(int(np.sqrt(TONE_TOP) * TONE_STEPS)) / TONE_STEPS) ** 2
    room = 1 - SHOULDER
    bent = np.where(light < SHOULDER, light, 1 - room * np.exp(-(light - SHOULDER) / room))
    return (255 * np.where(bent <= 0.0031308, 12.92 * bent, 1.055 * bent ** (1 / 2.4) - 0.055)).astype(np.float32)


def reaches_pixels(pixels_per_metre: float) -> Int[np.ndarray, "ring"]:
    """Radii of hollows in whole pixels."""
    return np.maximum(1, np.round(np.array(OCCLUSION_METRES) * pixels_per_metre)).astype(np.int64)


def as_glsl() -> str:
    """The tables above as the head of a shader."""
    tables = {"LIGHTS": LIGHTS, "AMBIENT": AMBIENT, "MATERIALS": MATERIALS, "PALETTE": PALETTE, "EYE": EYE}
    lines = ["#version 330", f"const float SHOULDER = {SHOULDER:.8f}, TONE_TOP = {TONE_TOP:.8f};"]
    for name, table in tables.items():
        values = ", ".join(f"{value:.8f}" for value in table.reshape(-1))
        lines.append(f"const float {name}[{table.size}] = float[{table.size}]({values});")
    lines += [
        "vec3 light(int i) { return vec3(LIGHTS[6 * i], LIGHTS[6 * i + 1], LIGHTS[6 * i + 2]); }",
        "vec3 light_colour(int i) { return vec3(LIGHTS[6 * i + 3], LIGHTS[6 * i + 4], LIGHTS[6 * i + 5]); }",
        "vec3 ambient(int i) { return vec3(AMBIENT[3 * i], AMBIENT[3 * i + 1], AMBIENT[3 * i + 2]); }",
        "vec3 palette(int i) { return vec3(PALETTE[3 * i], PALETTE[3 * i + 1], PALETTE[3 * i + 2]); }",
        f"vec3 occlusion() {{ return vec3({', '.join(f'{value:.8f}' for value in OCCLUSION)}); }}",
    ]
    return "\n".join(lines) + "\n"
