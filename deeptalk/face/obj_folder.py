"""A head as a folder of Wavefront files: one neutral, and one file for each shape."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face.mesh_part import MeshPart

NEUTRAL_NAMES = ("neutral", "basis", "base", "default", "rest")
MAX_FILE_BYTES = 256 * 1024**2


def read_obj_folder(folder: Path) -> list[MeshPart]:
    """The head's parts, by the groups or objects of the neutral file; shapes are named by their files.

    Raises UserError for no neutral, a file that is no Wavefront mesh, or files of unequal vertex count.
    """
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() == ".obj"}
    neutrals = [stem for stem in files if stem.lower() in NEUTRAL_NAMES]
    if len(neutrals) != 1:
        raise UserError(
            f"{folder} has {len(files)} .obj files and {len(neutrals)} neutral ones; expected one named "
            f"{' or '.join(f'{name}.obj' for name in NEUTRAL_NAMES)}, and one for each shape, such as jawOpen.obj."
        )
    vertices, faces, groups = read_obj(files[neutrals[0]])
    shapes = {}
    for stem, file in files.items():
        if stem == neutrals[0]:
            continue
        moved = read_obj_vertices(file)
        if len(moved) != len(vertices):
            raise UserError(
                f"{file} has {len(moved)} vertices and {files[neutrals[0]].name} has {len(vertices)}; every shape "
                "needs the neutral's vertices in the same order: export without optimising or splitting."
            )
        shapes[stem] = moved - vertices
    names = sorted(set(groups))
    parts = []
    for name in names:
        chosen = faces[[group == name for group in groups]]
        used, numbers = np.unique(chosen, return_inverse=True)
        offsets = {shape: offset[used] for shape, offset in shapes.items()}
        parts.append(MeshPart(name, vertices[used], numbers.reshape(-1, 3), offsets))
    return parts


def read_obj_vertices(path: Path) -> np.ndarray:
    """Vertices (vertex, 3) alone, which is all that a shape's file is read for; raises UserError as `read_obj`."""
    lines = [line[2:] for line in _lines(path) if line.startswith("v ")]
    try:
        width = len(lines[0].split()) if lines else 3  # some programs write a colour behind the place
        points = np.array(" ".join(lines).split(), np.float64).reshape(len(lines), width)[:, :3]
    except ValueError as error:
        raise UserError(f"{path} is not a Wavefront mesh ({error}); export the head again as .obj.") from error
    if not np.isfinite(points).all():
        raise UserError(f"{path} holds coordinates that are NaN or infinite; export the head again.")
    return points


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Vertices (vertex, 3), triangles (face, 3) and the group, object or material of each; polygons are split as fans.

    Raises UserError for a file that is no such mesh.
    """
    points = read_obj_vertices(path)
    faces: list[list[int]] = []
    groups: list[str] = []
    group, count = path.stem, 0
    try:
        for line in _lines(path):
            fields = line.split()
            if fields[:1] == ["v"]:
                count += 1
            elif fields[:1] in (["g"], ["o"], ["usemtl"]) and len(fields) > 1:
                group = " ".join(fields[1:])
            elif fields[:1] == ["f"]:
                corners = [int(field.split("/")[0]) for field in fields[1:]]
                corners = [corner - 1 if corner > 0 else corner + count for corner in corners]
                faces += [[corners[0], *pair] for pair in pairwise(corners[1:])]
                groups += [group] * (len(corners) - 2)
        triangles = np.array(faces, np.int64).reshape(-1, 3)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a Wavefront mesh ({error}); export the head again as .obj.") from error
    if not len(points) or not len(triangles) or triangles.min() < 0 or triangles.max() >= len(points):
        raise UserError(f"{path} is not a Wavefront mesh with vertices and faces; export the head again as .obj.")
    return points, triangles, groups


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes; a head's .obj has at most 256 MiB.")
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a Wavefront mesh.") from error
