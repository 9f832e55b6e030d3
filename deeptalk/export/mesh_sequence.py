"""One mesh file a frame, for programs that play sequences: OBJ as text, PLY as binary with normals.

`happy.obj` becomes a folder `happy_obj` with `happy_0001.obj`, `happy_0002.obj` ... (sequence importers of Blender,
Maya and Houdini want one name, one number from 1, nothing else of that suffix), `happy.wav` where there is sound, and
`sequence.json` with rig, rate, unit, recipe and the motion itself.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, TakeFields, check_motion
from deeptalk.face import Rig, channels_of, load_rig, vertex_normals
from deeptalk.face.head_pose import head_pivot, turn_head
from deeptalk.files import atomic_folder, read_json, write_json

MARKER = "sequence.json"
FORMAT = "deeptalk-mesh-sequence"
BLOCK_FRAMES = 64
"""Frames whose vertices are in memory at a time."""


def sequence_folder(path: str | Path) -> Path:
    """Folder that a sequence named `path` is written to: `takes/happy.obj` gives `takes/happy_obj`."""
    path = Path(path)
    return path.with_name(f"{path.stem}_{path.suffix.lower().removeprefix('.')}")


def write_mesh_sequence(take: Exportable, path: Path, head: Rig | None = None) -> None:
    """Write the head of every frame, atomically as a folder (`sequence_folder`).

    Vertices are in metres, in the rig's order, x to the character's left, y up, z forward; OBJ has micrometres and one
    group for each part of the head. A turned head is turned.

    Args:
        take: the motion.
        path: file name ending in .obj or .ply.
        head: geometry to move instead of the take's rig; it has the same channels.

    Raises:
        UserError: another suffix, a head with other channels, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".obj", ".ply"):
        raise UserError(f"A mesh sequence is .obj or .ply, not {path.name!r}.")
    check_motion(take.motion, "The motion to save")
    rig = load_rig(take.rig) if head is None else head
    if tuple(rig.channels) != channels_of(take.rig):
        raise UserError(f"The head has other channels than rig {take.rig!r}; give one made for that rig.")
    encode = _obj_encoder(rig) if path.suffix.lower() == ".obj" else _ply_encoder(rig)
    digits = max(4, len(str(len(take.motion))))
    with atomic_folder(sequence_folder(path), MARKER) as folder:
        for first in range(0, len(take.motion), BLOCK_FRAMES):
            for index, vertices in enumerate(_vertices(take, rig, first), start=first + 1):
                (folder / f"{path.stem}_{index:0{digits}d}{path.suffix.lower()}").write_bytes(encode(vertices))
        if take.samples is not None:
            from deeptalk.export.wav import write_wav

            write_wav(take, folder / f"{path.stem}.wav")
        write_json(folder / MARKER, _description(take, rig, path))


def read_mesh_sequence(folder: str | Path) -> tuple[np.ndarray, TakeFields]:
    """Vertices (frame, vertex, 3) float32 in metres of a sequence, and the take it shows, without the sound.

    Raises UserError for a folder that is no such sequence, or files that are missing or damaged.
    """
    folder = Path(folder)
    about = read_json(folder / MARKER)
    needed = (
        "suffix",
        "files",
        "vertices",
        "channels",
        "motion",
        "rig",
        "frame_rate",
        "recipe",
        "head_rotation_radians",
    )
    if not isinstance(about, dict) or about.get("format") != FORMAT or any(key not in about for key in needed):
        raise UserError(
            f"{folder / MARKER} does not describe a mesh sequence; expected what a take saved as .obj wrote."
        )
    read = _read_obj if about["suffix"] == ".obj" else _read_ply
    files = [folder / name for name in about["files"] if Path(name).name == name]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of its {len(files)} files, such as {missing[0]}.")
    vertices = np.stack([read(file, about["vertices"]) for file in files])
    turned = about["head_rotation_radians"]
    fields = TakeFields(
        motion=np.array(about["motion"], np.float32).reshape(-1, len(about["channels"])),
        rig=about["rig"],
        frame_rate=float(about["frame_rate"]),
        recipe=about["recipe"],
        samples=None,
        head_rotation_radians=None if turned is None else np.array(turned, np.float32),
    )
    return vertices, fields


def _vertices(take: Exportable, rig: Rig, first: int) -> np.ndarray:
    """(frame, vertex, 3) of a block of frames from `first` on, turned as the head is."""
    some = slice(first, first + BLOCK_FRAMES)
    vertices = rig.vertices(torch.from_numpy(np.ascontiguousarray(take.motion[some], np.float32))).numpy()
    if take.head_rotation_radians is None:
        return vertices
    return turn_head(vertices, take.head_rotation_radians[some], head_pivot(rig))


def _description(take: Exportable, rig: Rig, path: Path) -> dict[str, object]:
    digits = max(4, len(str(len(take.motion))))
    suffix = path.suffix.lower()
    return {
        "format": FORMAT,
        "suffix": suffix,
        "rig": take.rig,
        "head": dict(rig.provenance),
        "frame_rate": take.frame_rate,
        "frames": len(take.motion),
        "vertices": len(rig.neutral),
        "unit": "metre",
        "axes": "x to the character's left, y up, z forward",
        "recipe": dict(take.recipe),
        "files": [f"{path.stem}_{index:0{digits}d}{suffix}" for index in range(1, len(take.motion) + 1)],
        "channels": list(rig.channels),
        "head_rotation_radians": None if take.head_rotation_radians is None else take.head_rotation_radians.tolist(),
        "motion": np.asarray(take.motion, np.float64).tolist(),
    }


def _obj_encoder(rig: Rig) -> Callable[[np.ndarray], bytes]:
    lines = ["s 1"]  # one smoothing group: importers shade the head smoothly
    for part, chosen in rig.face_parts.items():
        lines.append(f"g {part}")
        lines += [f"f {a} {b} {c}" for a, b, c in (rig.faces[chosen] + 1).tolist()]
    faces = "\n".join(lines) + "\n"
    pattern = "v %.6f %.6f %.6f\n" * len(rig.neutral)
    return lambda vertices: (pattern % tuple((vertices + 0.0).ravel().tolist()) + faces).encode("ascii")


def _ply_encoder(rig: Rig) -> Callable[[np.ndarray], bytes]:
    names = [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(rig.neutral)}",
        *names,
        f"element face {len(rig.faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    faces = np.empty(len(rig.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, rig.faces
    head, tail, triangles = ("\n".join(header) + "\n").encode("ascii"), faces.tobytes(), torch.tensor(rig.faces)

    def encode(vertices: np.ndarray) -> bytes:
        normals = vertex_normals(torch.from_numpy(np.ascontiguousarray(vertices)), triangles).numpy()
        return head + np.concatenate([vertices, normals], axis=1).astype("<f4").tobytes() + tail

    return encode


def _read_obj(file: Path, count: int) -> np.ndarray:
    from deeptalk.face.obj_folder import read_obj_vertices

    vertices = read_obj_vertices(file).astype(np.float32)
    if len(vertices) != count:
        raise UserError(f"{file} has {len(vertices)} vertices, the sequence {count}; export it again.")
    return vertices


def _read_ply(file: Path, count: int) -> np.ndarray:
    content = file.read_bytes()
    start = content.find(b"end_header\n") + len(b"end_header\n")
    size = 6 * 4 * count
    if f"element vertex {count}\n".encode() not in content[:start] or len(content) < start + size:
        raise UserError(f"{file} does not hold {count} vertices; export the sequence again.")
    return np.frombuffer(content, "<f4", 6 * count, start).reshape(count, 6)[:, :3].copy()
