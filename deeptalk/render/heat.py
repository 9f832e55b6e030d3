"""Errors as colours: a map from millimetres to sRGB whose lightness rises evenly."""

import numpy as np
from jaxtyping import Float, UInt8

STOPS = np.array(
    [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99],
     [170, 220, 50], [253, 231, 37]],
    np.float64,
)  # fmt: skip
"""Nine evenly spaced colours of viridis (CC0), which is even in lightness and safe for the colour-blind."""


def heat_colours(millimetres: Float[np.ndarray, "*batch"], maximum_millimetres: float) -> UInt8[np.ndarray, "*batch 3"]:
    """sRGB of errors from 0 to the maximum, which later ones share."""
    place = np.clip(np.asarray(millimetres, np.float64) / max(maximum_millimetres, 1e-9), 0, 1) * (len(STOPS) - 1)
    channels = [np.interp(place, np.arange(len(STOPS)), STOPS[:, k]) for k in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)
