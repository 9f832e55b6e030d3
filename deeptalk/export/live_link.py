"""Writing the CSV that the Live Link Face app records and Unreal reads; `deeptalk.face.live_link` reads it."""

import csv
from pathlib import Path

import numpy as np

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

EYE_RADIANS = 0.6
"""Rotation of an eye at 1.0 of a look channel, as the app records it: the slope of one over the other."""


def timecode(frame: int, frame_rate: float) -> str:
    """`hours:minutes:seconds:counts.fraction` of a frame, 60 counts to the second, as the app writes it."""
    thousandths = round(frame * COUNTS_PER_SECOND * 1000 / frame_rate)
    seconds, rest = divmod(thousandths, COUNTS_PER_SECOND * 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def write_live_link_csv(take: Exportable, path: Path) -> None:
    """Write a take of the `arkit` rig as the app would; values have ten decimals.

    Raises UserError for another rig.
    """
    if take.rig != "arkit":
        raise UserError(f"A Live Link CSV holds ARKit's 52 shapes; this take is of rig {take.rig!r}. Save it as .npz.")
    check_motion(take.motion, "The motion to save")
    order = [[pascal_case(name) for name in CHANNELS].index(name) for name in SHAPE_COLUMNS]
    count = str(len(SHAPE_COLUMNS) + len(ROTATION_COLUMNS))
    rotations = _rotations(take)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Timecode", "BlendShapeCount", *SHAPE_COLUMNS, *ROTATION_COLUMNS])
        for frame, values in enumerate(np.concatenate([take.motion[:, order], rotations], axis=1).tolist()):
            cells = [f"{value:.10f}" for value in values]
            writer.writerow([timecode(frame, take.frame_rate), count, *cells])


def _rotations(take: Exportable) -> np.ndarray:
    """(frame, 9) radians in the order of `ROTATION_COLUMNS`.

    In recordings of the app positive yaw looks to the character's right and positive pitch down (measured on its eyes);
    roll is taken to keep the handedness of the other two. Eyes turn by `EYE_RADIANS` at 1.0 of a look channel.
    """
    rotations = np.zeros((len(take.motion), len(ROTATION_COLUMNS)))
    if take.head_rotation_radians is not None:
        rotations[:, :3] = take.head_rotation_radians * (-1.0, 1.0, -1.0)
    look = {
        (name, side): take.motion[:, CHANNELS.index(f"eyeLook{name}{side}")]
        for name in ("In", "Out", "Up", "Down")
        for side in ("Left", "Right")
    }
    for side, first, right in (("Left", 3, 1.0), ("Right", 6, -1.0)):
        rotations[:, first] = EYE_RADIANS * right * (look["In", side] - look["Out", side])
        rotations[:, first + 1] = EYE_RADIANS * (look["Down", side] - look["Up", side])
    return rotations + 0.0  # no minus zeros
