"""Files that other programs read: one exporter a format, chosen by the file's suffix."""

from pathlib import Path

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, Exporter, check_motion
from deeptalk.export.live_link import LiveLinkRecording, read_live_link_csv, write_live_link_csv
from deeptalk.export.npz import TakeFields, read_npz, write_npz

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
    "write_live_link_csv",
    "write_npz",
]

FORMATS: dict[str, Exporter] = {"npz": write_npz, "csv": write_live_link_csv}
"""Format name (a file's suffix without the dot) to its exporter."""


def check_format(name: str) -> str:
    """The key in `FORMATS` of a format's name, with or without a dot, in any case; UserError names those there are."""
    key = name.lower().removeprefix(".")
    if key not in FORMATS:
        raise UserError(f"Unknown format {name!r}; a take can be saved as {', '.join(FORMATS)}.")
    return key


def export(take: Exportable, path: str | Path) -> Path:
    """Write a take to `path` in the format of its suffix, atomically; returns the path.

    Raises UserError for an unknown suffix, or a format that cannot hold the take.
    """
    path = Path(path)
    FORMATS[check_format(path.suffix)](take, path)
    return path
