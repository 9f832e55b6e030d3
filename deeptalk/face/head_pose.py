"""How a head is turned: yaw, pitch and roll about a point at the top of the neck."""

import numpy as np
from jaxtyping import Float

from deeptalk.face.rig import Rig


def rotation_matrices(head_rotation_radians: Float[np.ndarray, "*frame 3"]) -> Float[np.ndarray, "*frame 3 3"]:
    """Matrices that turn head coordinates (x to the character's left, y up, z forward) by yaw, pitch and roll.

    R = R_y(yaw) R_x(pitch) R_z(roll), each a right-handed turn about its axis: positive yaw looks to the character's
    left, positive pitch down, positive roll leans to the character's right shoulder.
    """
    yaw, pitch, roll = np.moveaxis(np.asarray(head_rotation_radians, np.float64), -1, 0)
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def head_pivot(rig: Rig) -> Float[np.ndarray, "3"]:
    """Point in metres about which the head turns: the joint of skull and neck, about level with the ear lobes.

    It is placed by the proportions of the built-in head: two fifths up the face, a little behind the middle of the
    head's depth.
    """
    head = np.asarray(rig.neutral, np.float64)
    face = head[rig.regions["face"]] if "face" in rig.regions else head
    (left, _, back), (right, _, front) = head.min(axis=0), head.max(axis=0)
    low, high = face[:, 1].min(), face[:, 1].max()
    return np.array([(left + right) / 2, low + 0.4 * (high - low), back + 0.45 * (front - back)])


def turn_head(
    vertices: Float[np.ndarray, "*frame vertex 3"],
    head_rotation_radians: Float[np.ndarray, "*frame 3"],
    pivot: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "*frame vertex 3"]:
    """Vertices of each frame turned about the pivot; in and out in metres."""
    turned = (vertices - pivot) @ np.swapaxes(rotation_matrices(head_rotation_radians), -1, -2) + pivot
    return turned.astype(vertices.dtype)
