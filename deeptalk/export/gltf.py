"""glTF 2.0: the animated head as morph targets, with normals, materials, head rotation and the sound, in one file.

One mesh has a primitive a material; its targets are sparse accessors, so what a channel does not move takes no bytes.
What glTF has no place for (rig, recipe, sound) is in `asset.extras.deeptalk`; `deeptalk.export.read_take` reads it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

import deeptalk
from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, check_motion
from deeptalk.export.gltf_buffer import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, BufferBuilder
from deeptalk.export.morph import MorphMesh, MorphMotion, morph_motion
from deeptalk.export.textures import brow_texture, brow_uv, eye_texture, eye_uv, png
from deeptalk.export.wav import wav_bytes
from deeptalk.face import Rig, load_rig
from deeptalk.face.appearance import MATERIALS
from deeptalk.face.head_pose import head_pivot
from deeptalk.files import atomic_path
from deeptalk.render.shading import linear

STILL_METRES, STILL_NORMAL = 1e-6, 0.02
"""Offsets below these are left out of the targets: a micrometre, and one degree of a normal."""
ROUGHNESS = {"skin": 0.6, "eye": 0.12, "teeth": 0.25, "tongue": 0.4, "mouth_lining": 0.8, "eye_lining": 0.5}
"""Of each of `deeptalk.face.appearance.MATERIALS`."""
TEXTURES = {"skin": png(brow_texture()), "eye": png(eye_texture())}
"""Pictures of the materials that have one."""
_CLAMP_TO_EDGE = 33071


def write_gltf(take: Exportable, path: Path, head: Rig | None = None, sparse: bool = True) -> None:
    """Write a take as `.glb` (one binary file) or `.gltf` (one JSON file with the bytes inside as base64).

    Args:
        take: the motion, and its sound and head rotation where there are any.
        path: where to.
        head: the rig whose geometry moves, with the channels of the take; by default that of the take's name.
        sparse: whether targets store only what moves; without, for a program that cannot read sparse accessors.

    Raises UserError for a motion that is empty, not finite, or of other channels than the head's.
    """
    rig = load_rig(take.rig) if head is None else head
    check_motion(take.motion, "The motion to save")
    if take.motion.shape[1] != len(rig.channels):
        raise UserError(
            f"The motion to save has {take.motion.shape[1]} channels, rig {rig.name!r} has {len(rig.channels)}; "
            "hand in the head of the take's rig."
        )
    content = _pack(take, rig, sparse, path.suffix.lower() != ".gltf")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _pack(take: Exportable, rig: Rig, sparse: bool, binary: bool) -> bytes:
    morph, buffer = morph_motion(rig, take.motion), BufferBuilder()
    primitives = _primitives(buffer, morph.mesh, len(rig.neutral), sparse)
    pivot = head_pivot(rig)
    document: dict[str, Any] = {
        "asset": {
            "version": "2.0",
            "generator": f"DEEPTalk {deeptalk.__version__}",
            "extras": {"deeptalk": _extras(take, rig, morph, buffer)},
        },
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "head", "translation": pivot.tolist(), "children": [1]},
            {"name": "face", "translation": (-pivot).tolist(), "mesh": 0},
        ],
        "meshes": [
            {
                "name": "face",
                "primitives": primitives,
                "weights": [0.0] * len(morph.mesh.names),
                "extras": {"targetNames": list(morph.mesh.names)},
            }
        ],
        "animations": [_animation(take, morph, buffer)],
    }
    if not morph.mesh.names:  # a motion that never leaves the neutral face
        del document["meshes"][0]["weights"], document["animations"]
    return buffer.pack(document | _surfaces(buffer, morph.mesh, primitives), binary)


def _extras(take: Exportable, rig: Rig, morph: MorphMotion, buffer: BufferBuilder) -> dict[str, Any]:
    extras: dict[str, Any] = {
        "rig": take.rig,
        "channels": list(rig.channels),
        "frame_rate": float(take.frame_rate),
        "recipe": dict(take.recipe),
        "largest_error_mm": round(morph.error_mm, 6),
    }
    if morph.mesh.names != tuple(rig.channels):  # the weights are not the channels, so these are kept beside
        motion = np.ascontiguousarray(take.motion, "<f4")
        extras["motion"] = {"bufferView": buffer.view(motion.tobytes(), name="motion"), "shape": list(motion.shape)}
    if take.samples is not None:
        sound = buffer.view(wav_bytes(take.samples), name="sound")
        extras["sound"] = {"bufferView": sound, "mimeType": "audio/wav"}
    return extras


def _primitives(buffer: BufferBuilder, mesh: MorphMesh, own_count: int, sparse: bool) -> list[dict[str, Any]]:
    """One primitive a material; `extras` names the material, and how many of the rig's own vertices it begins with."""
    primitives: list[dict[str, Any]] = []
    for number, name in enumerate(MATERIALS):
        faces = mesh.drawing.faces[mesh.drawing.materials == number]
        if not len(faces):
            continue
        used = np.unique(faces)
        targets = [
            {
                "POSITION": _target(buffer, positions[used], STILL_METRES, sparse),
                "NORMAL": _target(buffer, normals[used], STILL_NORMAL, sparse),
            }
            for positions, normals in zip(mesh.position_deltas, mesh.normal_deltas)
        ]
        attributes = {
            "POSITION": buffer.dense(mesh.positions[used], ARRAY_BUFFER, bounds=True),
            "NORMAL": buffer.dense(mesh.normals[used], ARRAY_BUFFER),
            "COLOR_0": buffer.dense(_tint(mesh.drawing.plain_colours[used]), ARRAY_BUFFER, normalized=True),
        }
        uv = _texture_place(name, mesh.drawing.place[used])
        if uv is not None:
            attributes["TEXCOORD_0"] = buffer.dense(uv, ARRAY_BUFFER)
        indices = np.searchsorted(used, faces).astype(np.uint16 if len(used) < 65535 else np.uint32).reshape(-1)
        primitive = {
            "attributes": attributes,
            "indices": buffer.dense(indices, ELEMENT_ARRAY_BUFFER),
            "material": len(primitives),
            "extras": {"material": name, "rig_vertices": int((used < own_count).sum())},
        }
        primitives.append(primitive | ({"targets": targets} if targets else {}))
    return primitives


def _texture_place(material: str, place: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 2"] | None:
    """Texture coordinates of a material that has a texture, on a head that has eyes."""
    if not place.any():
        return None
    return {"skin": brow_uv, "eye": eye_uv}[material](place) if material in TEXTURES else None


def _target(buffer: BufferBuilder, offsets: Float[np.ndarray, "vertex 3"], still: float, sparse: bool) -> int:
    moved = np.flatnonzero((np.abs(offsets) > still).any(axis=1))
    if sparse and len(moved) < 0.8 * len(offsets):
        return buffer.sparse(offsets, moved, bounds=True)
    return buffer.dense(offsets, ARRAY_BUFFER, bounds=True)


def _base(colours: np.ndarray) -> np.ndarray:
    return np.maximum(colours.max(axis=0), 1)


def _tint(colours: np.ndarray) -> np.ndarray:
    """What a vertex' colour is of its material's: a program that knows no vertex colours still shows the material's."""
    share = linear(colours) / linear(_base(colours))
    return np.round(65535 * np.concatenate([np.minimum(share, 1.0), np.ones((len(share), 1))], axis=1)).astype("<u2")


def _surfaces(buffer: BufferBuilder, mesh: MorphMesh, primitives: list[dict[str, Any]]) -> dict[str, Any]:
    """Materials, and the textures they use."""
    materials: list[dict[str, Any]] = []
    textures: list[dict[str, int]] = []
    images: list[dict[str, Any]] = []
    for primitive in primitives:
        name = primitive["extras"]["material"]
        used = np.unique(mesh.drawing.faces[mesh.drawing.materials == MATERIALS.index(name)])
        surface: dict[str, Any] = {
            "baseColorFactor": [
                *linear(_base(mesh.drawing.plain_colours[used])).astype(np.float64).round(6).tolist(),
                1.0,
            ],
            "metallicFactor": 0.0,
            "roughnessFactor": ROUGHNESS[name],
        }
        if "TEXCOORD_0" in primitive["attributes"]:
            surface["baseColorTexture"] = {"index": len(textures)}
            textures.append({"sampler": 0, "source": len(images)})
            images.append({"name": name, "mimeType": "image/png", "bufferView": buffer.view(TEXTURES[name])})
        materials.append({"name": name, "pbrMetallicRoughness": surface, "doubleSided": True})
    pictures = {"textures": textures, "images": images}
    clamped = {"samplers": [{"wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}]}
    return {"materials": materials} | (pictures | clamped if textures else {})


def _animation(take: Exportable, morph: MorphMotion, buffer: BufferBuilder) -> dict[str, Any]:
    """Frame f is the key at f / frame_rate seconds, linear in between."""
    times = (np.arange(len(take.motion)) / take.frame_rate).astype("<f4")
    keys = buffer.dense(times, bounds=True)
    outputs = {(1, "weights"): np.ascontiguousarray(morph.weights, "<f4").reshape(-1)}
    if take.head_rotation_radians is not None:
        turns = Rotation.from_euler("YXZ", take.head_rotation_radians.astype(np.float64)).as_quat()
        # A quaternion and its negative are one rotation; neighbours on one side keep the interpolation short.
        flips = np.cumprod(np.concatenate([[1.0], np.where((turns[1:] * turns[:-1]).sum(axis=1) < 0, -1.0, 1.0)]))
        outputs[0, "rotation"] = (turns * flips[:, None]).astype("<f4")
    samplers = [
        {"input": keys, "output": buffer.dense(values), "interpolation": "LINEAR"} for values in outputs.values()
    ]
    channels = [
        {"sampler": number, "target": {"node": node, "path": path}} for number, (node, path) in enumerate(outputs)
    ]
    return {"name": "take", "samplers": samplers, "channels": channels}
