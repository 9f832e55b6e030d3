"""Regions of FLAME: from the vertex masks that come with it, else from the template and its skinning weights."""

from collections.abc import Mapping

import numpy as np

from deeptalk.face.flame_file import FlameModel
from deeptalk.face.flame_layout import JOINTS
from deeptalk.face.mouth import MouthRim, distance_along, find_mouth_rim

LIP_SHARE = 0.25
"""Height of a lip from the inner rim, over the surface, as a share of the mouth's width; less towards the corners."""
FACE_SHARE = 0.12
"""Skin that the expressions and the jaw move less than this share of what moves most is not face."""
JAW_WEIGHT = 0.5
_MASK_NAMES = {"left_eyeball": "left_eye", "right_eyeball": "right_eye"}


def mouth_rim(model: FlameModel) -> MouthRim | None:
    """The open edge inside the mouth, or None for a mesh with another kind of mouth."""
    eyes = model.weights[:, [JOINTS.index("left_eye"), JOINTS.index("right_eye")]].sum(axis=1) > 0.5
    skin_faces = model.faces[~eyes[model.faces].any(axis=1)]
    return find_mouth_rim(model.template, skin_faces, model.weights[:, JOINTS.index("jaw")])


def flame_regions(model: FlameModel) -> dict[str, np.ndarray]:
    """Sorted vertex indices: skin, eyes, left_eye, right_eye, lips, upper_face, jaw, face, and every mask of the file.

    Eyes are what the eye joints carry. With masks, upper_face is eye_region and forehead, face and lips are theirs.
    Without them: the face is the skin that the first 50 expressions and the jaw move noticeably, in one piece; lips
    are the skin near the inner rim of the mouth; the upper face is the face from the lower edge of the eyeballs up.
    The jaw is what the jaw joint carries by half or more, without the lips, in both cases.
    """
    weight = {joint: model.weights[:, index] for index, joint in enumerate(JOINTS)}
    eye = {side: np.flatnonzero(weight[side] > 0.5) for side in ("left_eye", "right_eye")}
    eyes = np.union1d(*eye.values())
    skin = np.setdiff1d(np.arange(len(model.template)), eyes)
    regions = {"skin": skin, "eyes": eyes, **eye}
    masks = model.masks
    regions["face"] = np.setdiff1d(masks["face"], eyes) if "face" in masks else _moving_skin(model, skin)
    regions["lips"] = masks["lips"] if "lips" in masks else _lips(model, skin)
    if {"eye_region", "forehead"} <= set(masks):
        upper = np.union1d(masks["eye_region"], masks["forehead"])
    else:
        lowest = model.template[eyes, 1].min() if len(eyes) else np.median(model.template[regions["face"], 1])
        upper = regions["face"][model.template[regions["face"], 1] >= lowest]
    regions["face"] = np.union1d(regions["face"], regions["lips"])
    regions["upper_face"] = np.setdiff1d(upper, np.union1d(eyes, regions["lips"]))
    jaw = regions["face"][weight["jaw"][regions["face"]] >= JAW_WEIGHT]
    regions["jaw"] = np.setdiff1d(jaw, np.union1d(regions["lips"], regions["upper_face"]))
    return {**{_MASK_NAMES.get(name, name): mask for name, mask in masks.items()}, **regions}


def flame_parts(faces: np.ndarray, regions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Faces by part: the two eyes, and the skin with all others."""
    parts = {side: np.flatnonzero(np.isin(faces, regions[side]).all(axis=1)) for side in ("left_eye", "right_eye")}
    return {"skin": np.setdiff1d(np.arange(len(faces)), np.concatenate(list(parts.values()))), **parts}


def _moving_skin(model: FlameModel, skin: np.ndarray) -> np.ndarray:
    """Skin that moves with expressions or the jaw: the largest piece of it, and the holes in that."""
    from scipy.sparse.csgraph import connected_components

    from deeptalk.face.mouth import edge_lengths

    expression = np.linalg.norm(model.expression_directions[..., :50], axis=(1, 2))
    jaw = model.weights[:, JOINTS.index("jaw")]
    moved = np.maximum(expression / np.percentile(expression[skin], 99), jaw)
    graph = edge_lengths(model.template, model.faces)

    def largest(members: np.ndarray) -> np.ndarray:
        if not len(members):
            return members
        _, label = connected_components(graph[members][:, members], directed=False)
        return members[label == np.bincount(label).argmax()]

    face = largest(skin[moved[skin] > FACE_SHARE])
    return np.setdiff1d(skin, largest(np.setdiff1d(skin, face)))


def _lips(model: FlameModel, skin: np.ndarray) -> np.ndarray:
    rim = mouth_rim(model)
    if rim is None:
        return np.zeros(0, np.int64)
    members = np.union1d(rim.upper, rim.lower)
    x = model.template[:, 0]
    middle, half_width = (x[members].max() + x[members].min()) / 2, np.ptp(x[members]) / 2
    faces = model.faces[np.isin(model.faces, skin).all(axis=1)]
    reach = 2 * half_width * LIP_SHARE
    away = distance_along(model.template, faces, members, reach)
    from_middle = np.clip(np.abs(x - middle) / (half_width + 0.3 * reach), 0, 1)
    return np.flatnonzero(away <= reach * np.sqrt(1 - from_middle**2))
