"""Where the head is seen from: a portrait that holds the whole head at any picture size."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

FIELD_OF_VIEW_RADIANS = 0.36
"""A portrait lens: about 85 mm on a full-frame camera, so that a nose is not drawn too large."""
SIDE_RADIANS, ABOVE_RADIANS = 0.055, 0.02
"""The camera stands a little to the character's left and above, so that a nose and a chin have depth."""
MARGIN = 0.035
"""Share of the picture that stays free above the head, and on both sides of it."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; pixels count from the top left corner, depth is metres along the line of sight."""

    position: Float[np.ndarray, "3"]
    axes: Float[np.ndarray, "3 3"]
    """Rows: right, up, backward."""
    focal_pixels: float
    centre_pixels: tuple[float, float]
    """Where the line of sight meets the picture, x and y."""
    width: int
    height: int
    distance: float
    """Metres from the camera to the middle of the head."""

    @property
    def pixels_per_metre(self) -> float:
        """Scale of the picture at the middle of the head."""
        return self.focal_pixels / self.distance

    def project(self, positions: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Picture x and y in pixels (a pixel's middle is at .5), and the reciprocal of depth."""
        seen = (positions - self.position.astype(np.float32)) @ self.axes.T.astype(np.float32)
        nearness = -1 / seen[..., 2]
        out = np.empty_like(seen)
        out[..., 0] = self.centre_pixels[0] + self.focal_pixels * seen[..., 0] * nearness
        out[..., 1] = self.centre_pixels[1] - self.focal_pixels * seen[..., 1] * nearness
        out[..., 2] = nearness
        return out


def portrait(points: Float[np.ndarray, "point 3"], bottom: float, width: int, height: int) -> Camera:
    """A camera that fills the picture with the points: from `bottom` (y in metres) to the top, and both sides.

    Moving away or nearer is left to the focal length: the perspective is the same for every head of this size.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    target = np.array([(low[0] + high[0]) / 2, (bottom + high[1]) / 2, (low[2] + high[2]) / 2])
    distance = (high[1] - bottom) / (2 * np.tan(FIELD_OF_VIEW_RADIANS / 2))
    side, above = np.sin(SIDE_RADIANS), np.sin(ABOVE_RADIANS)
    backward = np.array([side, above, np.sqrt(1 - side**2 - above**2)])
    right = np.cross([0, 1, 0], backward)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(backward, right), backward])
    unit = Camera(target + distance * backward, axes, 1.0, (0.0, 0.0), width, height, distance)
    seen = unit.project(points[points[:, 1] >= bottom].astype(np.float32))[:, :2]
    (left, top), (right_edge, lowest) = seen.min(axis=0), seen.max(axis=0)
    focal = min(width * (1 - 2 * MARGIN) / (right_edge - left), height * (1 - MARGIN) / (lowest - top))
    centre = (width / 2 - focal * (left + right_edge) / 2, height - focal * lowest)
    return Camera(unit.position, axes, float(focal), (float(centre[0]), float(centre[1])), width, height, distance)
