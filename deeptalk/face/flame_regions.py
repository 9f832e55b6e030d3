"""Regions of FLAME: from the vertex masks that come with it, else from the template and its skinning weights."""

from collections.abc import Mapping

import numpy as np

from deeptalk.face.flame_file import FlameModel
from deeptalk.face.flame_layout import JOINTS
from deeptalk.face.mouth import MouthRim, distance_along, find_mouth_rim

LIP_SHARE = 0.25
"""Height of a lip from the inner rim, over the surface, as a share of the mouth's width; less towards the corners."""
FACE_BELOW_MOUTH, FACE_ABOVE_EYES, FACE_BEHIND_EYES = 0.62, 0.85, 0.55
"""How far the face reaches, as shares of the height from the mouth to the eyes."""
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
    Without them: the face is the front of the head from chin to hairline, placed by eyeballs and mouth; lips are the
    skin near the inner rim of the mouth; the upper face is the face from the lower edge of the eyeballs up.
    The jaw is what the jaw joint carries by half or more, without the lips, in both cases.
    """
    weight = {joint: model.weights[:, index] for index, joint in enumerate(JOINTS)}
    eye = {side: np.flatnonzero(weight[side] > 0.5) for side in ("left_eye", "right_eye")}
    eyes = np.union1d(*eye.values())
    skin = np.setdiff1d(np.arange(len(model.template)), eyes)
    regions = {"skin": skin, "eyes": eyes, **eye}
    masks = model.masks
    regions["face"] = np.setdiff1d(masks["face"], eyes) if "face" in masks else _front(model, skin, eyes)
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


def _front(model: FlameModel, skin: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Skin of the front of the head from chin to hairline, by the places of the eyeballs and of the mouth."""
    place, rim = model.template[skin], mouth_rim(model)
    if not len(eyes) or rim is None:
        return skin[place[:, 2] >= np.median(place[:, 2])]
    eye = model.template[eyes].mean(axis=0)
    mouth = model.template[np.union1d(rim.upper, rim.lower)].mean(axis=0)
    drop = eye[1] - mouth[1]  # from the eyes to the mouth, the measure of everything here
    low, high = mouth[1] - FACE_BELOW_MOUTH * drop, eye[1] + FACE_ABOVE_EYES * drop
    in_height = (place[:, 1] >= low) & (place[:, 1] <= high)
    return skin[in_height & (place[:, 2] >= eye[2] - FACE_BEHIND_EYES * drop)]


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
