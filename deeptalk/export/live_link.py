"""Writing the CSV that the Live Link Face app records and Unreal reads; `deeptalk.face.live_link` reads it."""

import csv
from pathlib import Path

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, check_motion
from deeptalk.face import CHANNELS, pascal_case
from deeptalk.face.live_link import (
    COUNTS_PER_SECOND,
    ROTATION_COLUMNS,
    SHAPE_COLUMNS,
    LiveLinkRecording,
    read_live_link_csv,
)
from deeptalk.files import atomic_path

__all__ = ["LiveLinkRecording", "read_live_link_csv", "timecode", "write_live_link_csv"]


def timecode(frame: int, frame_rate: float) -> str:
    """`hours:minutes:seconds:counts.fraction` of a frame, 60 counts to the second, as the app writes it."""
    thousandths = round(frame * COUNTS_PER_SECOND * 1000 / frame_rate)
    seconds, rest = divmod(thousandths, COUNTS_PER_SECOND * 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def write_live_link_csv(take: Exportable, path: Path) -> None:
    """Write a take of the `arkit` rig as the app would; rotations are zero, values have ten decimals.

    Raises UserError for another rig.
    """
    if take.rig != "arkit":
        raise UserError(f"A Live Link CSV holds ARKit's 52 shapes; this take is of rig {take.rig!r}. Save it as .npz.")
    check_motion(take.motion, "The motion to save")
    order = [[pascal_case(name) for name in CHANNELS].index(name) for name in SHAPE_COLUMNS]
    count = str(len(SHAPE_COLUMNS) + len(ROTATION_COLUMNS))
    still = ["0.0000000000"] * len(ROTATION_COLUMNS)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Timecode", "BlendShapeCount", *SHAPE_COLUMNS, *ROTATION_COLUMNS])
        for frame, values in enumerate(take.motion[:, order].tolist()):
            shapes = [f"{value:.10f}" for value in values]
            writer.writerow([timecode(frame, take.frame_rate), count, *shapes, *still])
