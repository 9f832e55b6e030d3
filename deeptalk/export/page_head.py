"""The head of a page: mesh, targets and textures as JSON values, arrays as base64."""

import base64
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from deeptalk.export.morph import morph_motion
from deeptalk.export.textures import brow_texture, brow_uv, eye_texture, eye_uv, png
from deeptalk.face import LinearRig, Rig
from deeptalk.face.appearance import MATERIALS, DrawingMesh, drawing_mesh
from deeptalk.face.head_pose import head_pivot

STEP_METRES = 2e-6
"""Of what is stored as 16-bit steps where it fits; a target that moves farther has larger steps."""


def pack(array: np.ndarray) -> str:
    """Bytes of an array, little-endian, as base64."""
    return base64.b64encode(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def pack_steps(values: np.ndarray, least_step: float = 0.0) -> dict[str, Any]:
    """Values as 16-bit steps of the smallest size that holds them: `scale` times what is in `steps`."""
    scale = max(least_step, float(np.abs(values).max(initial=0.0)) / 32767, 1e-12)
    return {"scale": scale, "steps": pack(np.round(values / scale).astype(np.int16))}


def pack_motion(motion: np.ndarray) -> dict[str, Any]:
    """A motion (frame, channel) as steps; values of ARKit are off by 2e-5 at most."""
    return pack_steps(motion)


def head_data(rig: Rig, motions: Sequence[np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray | None]]:
    """What draws a rig, and the weights of each motion on its targets: None where those are the channels."""
    mesh = drawing_mesh(rig, refine_skin=False)
    if isinstance(rig, LinearRig):
        deltas, weights = rig.deltas, cast(list[np.ndarray | None], [None] * len(motions))
    else:  # one set of targets for all motions
        morph = morph_motion(rig, np.concatenate(motions))
        deltas = morph.mesh.position_deltas[:, : len(rig.neutral)]
        weights = list(np.split(morph.weights, np.cumsum([len(motion) for motion in motions])[:-1]))
    index_type = np.uint16 if len(mesh.colours) < 65536 else np.uint32
    return {
        "wide": index_type is np.uint32,
        "channels": list(rig.channels),
        "neutral": pack(rig.neutral.astype(np.float32)),
        "faces": pack(np.asarray(rig.faces).astype(index_type)),
        "parents": pack(mesh.parents.astype(index_type)),
        "bulge": pack_steps(mesh.bulge),
        "colours": pack(mesh.plain_colours),
        "materials": _materials(mesh, index_type),
        "targets": [_target(delta, index_type) for delta in deltas],
        "pivot": head_pivot(rig).tolist(),
        "frame": _frame(rig),
    }, weights


def _target(delta: np.ndarray, index_type: type) -> dict[str, Any]:
    moved = np.flatnonzero((np.abs(delta) > STEP_METRES / 2).any(axis=1))
    return {"index": pack(moved.astype(index_type)), **pack_steps(delta[moved], STEP_METRES)}


def _materials(mesh: DrawingMesh, index_type: type) -> list[dict[str, Any]]:
    """Faces of each material, and its texture with where every vertex lies on it."""
    textures = {"skin": (brow_uv, brow_texture), "eye": (eye_uv, eye_texture)}
    materials = []
    for number, name in enumerate(MATERIALS):
        faces = mesh.faces[mesh.materials == number]
        if not len(faces):
            continue
        entry: dict[str, Any] = {"name": name, "faces": pack(faces.astype(index_type))}
        used = np.unique(faces)
        if name in textures and mesh.place[used].any():
            place, texture = textures[name]
            entry["vertices"] = pack(used.astype(index_type))
            entry["uv"] = pack(place(mesh.place[used]))
            entry["texture"] = "data:image/png;base64," + base64.b64encode(png(texture())).decode("ascii")
        materials.append(entry)
    return materials


def _frame(rig: Rig) -> dict[str, float]:
    """What a picture of the head must hold: from above the crown to below the chin, and its width, in metres."""
    face = rig.neutral[rig.regions["face"]] if "face" in rig.regions else rig.neutral
    left, right = float(rig.neutral[:, 0].min()), float(rig.neutral[:, 0].max())
    height = float(np.ptp(face[:, 1]))
    return {
        "top": float(rig.neutral[:, 1].max()) + 0.04 * height,
        "bottom": float(face[:, 1].min()) - 0.19 * height,
        "centre": (left + right) / 2,
        "width": 1.10 * (right - left),
        "depth": float(face[:, 2].mean()),
    }
