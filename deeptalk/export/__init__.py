"""Files that other programs read: one exporter a format, chosen by the file's suffix.

What a format needs is imported when it is first written or read.
"""

import os
from pathlib import Path

from deeptalk.errors import UserError
from deeptalk.export.formats import FOLDER_FORMATS, FORMATS, Exportable, Exporter, TakeFields, check_motion
from deeptalk.export.live_link import LiveLinkRecording, read_live_link_csv, write_live_link_csv
from deeptalk.export.npz import read_npz, write_npz
from deeptalk.face import Rig

__all__ = [
    "FORMATS",
    "Exportable",
    "Exporter",
    "LiveLinkRecording",
    "TakeFields",
    "check_format",
    "check_motion",
    "export",
    "read_live_link_csv",
    "read_npz",
    "read_take",
    "write_live_link_csv",
    "write_npz",
]


def check_format(name: str) -> str:
    """The key in `FORMATS` of a format's name, with or without a dot, in any case; UserError names those there are."""
    key = name.lower().removeprefix(".")
    if key not in FORMATS:
        raise UserError(f"Unknown format {name!r}; a take can be saved as {', '.join(FORMATS)}.")
    return key


def export(take: Exportable, path: str | Path, head: Rig | None = None) -> Path:
    """Write a take to `path` in the format of its suffix, atomically; returns what was written.

    That is the path, or for a sequence of meshes the folder beside it. `head` is the geometry that moves, by default
    that of the take's rig. Raises UserError for an unknown suffix, or a format that cannot hold the take.
    """
    path = Path(path)
    name = check_format(path.suffix)
    if name not in FOLDER_FORMATS and os.path.isdir(path):
        raise UserError(f"{path} is a folder; a file is written there. Give another name.")
    FORMATS[name](take, path, head)
    if name in FOLDER_FORMATS:
        from deeptalk.export.mesh_sequence import sequence_folder

        return sequence_folder(path)
    return path


def read_take(path: str | Path) -> TakeFields:
    """Read a take that was saved as `.npz`, `.glb`, `.gltf` or `.json`; `Take(**read_take(path))` is the take again.

    Raises UserError for any other suffix, and as the reader of that format does. A Live Link CSV holds no rig, recipe
    or sound: `read_live_link_csv` reads its motion.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix in (".glb", ".gltf"):
        from deeptalk.export.gltf_read import read_gltf

        return read_gltf(path)
    if suffix == ".json":
        from deeptalk.export.arkit_json import read_arkit_json

        return read_arkit_json(path)
    raise UserError(f"A take cannot be read from {path}: expected .npz, .glb, .gltf or .json.")
