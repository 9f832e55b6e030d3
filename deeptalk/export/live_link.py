"""The CSV of Apple's ARKit that the Live Link Face app records and Unreal reads.

63 columns: a timecode, the number 61, 52 shapes in PascalCase in the app's own order, then yaw, pitch and roll of the
head and of both eyes. The frame field of the timecode counts 60 to the second at every frame rate, with a fraction, so
the rate is in the differences of timecodes and nowhere else. Columns are mapped by name, never by place.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, check_motion
from deeptalk.face import CHANNELS, pascal_case
from deeptalk.files import atomic_path

# fmt: off
SHAPE_COLUMNS: tuple[str, ...] = (
    "EyeBlinkLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft", "EyeLookUpLeft", "EyeSquintLeft",
    "EyeWideLeft", "EyeBlinkRight", "EyeLookDownRight", "EyeLookInRight", "EyeLookOutRight", "EyeLookUpRight",
    "EyeSquintRight", "EyeWideRight", "JawForward", "JawRight", "JawLeft", "JawOpen", "MouthClose",
    "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft", "MouthSmileLeft", "MouthSmileRight",
    "MouthFrownLeft", "MouthFrownRight", "MouthDimpleLeft", "MouthDimpleRight", "MouthStretchLeft",
    "MouthStretchRight", "MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper",
    "MouthPressLeft", "MouthPressRight", "MouthLowerDownLeft", "MouthLowerDownRight", "MouthUpperUpLeft",
    "MouthUpperUpRight", "BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight",
    "CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut",
)
# fmt: on
"""The 52 shapes in the app's order."""
ROTATION_COLUMNS: tuple[str, ...] = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)
"""The 9 rotations in the app's order, radians."""

_COUNTS_PER_SECOND = 60
_COMMON_RATES = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0)
_CLOCK_TOLERANCE = 3e-4


@dataclass(frozen=True)
class LiveLinkRecording:
    """One file of the Live Link Face app."""

    motion: np.ndarray
    """(frame, 52) float32 in the order of `deeptalk.face.CHANNELS`."""
    rotations: np.ndarray
    """(frame, 9) float32 radians in the order of `ROTATION_COLUMNS`; the built-in head does not use them."""
    frame_rate: float
    """Frames per second."""
    start_seconds: float
    """Time of day of the first frame."""


def timecode(frame: int, frame_rate: float) -> str:
    """`hours:minutes:seconds:counts.fraction` of a frame, 60 counts to the second, as the app writes it."""
    thousandths = round(frame * _COUNTS_PER_SECOND * 1000 / frame_rate)
    seconds, rest = divmod(thousandths, _COUNTS_PER_SECOND * 1000)
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


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; expected a Live Link Face CSV.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({error}); expected a Live Link Face CSV.") from error
    if len(rows) < 3:
        raise UserError(
            f"{path} has {max(len(rows) - 1, 0)} frames; a Live Link Face CSV needs a header and two frames."
        )
    return [name.strip().lower() for name in rows[0]], rows[1:]


def _seconds(code: str) -> float:
    hours, minutes, seconds, counts = code.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(counts) / _COUNTS_PER_SECOND


def _frame_rate(times: np.ndarray, path: Path) -> float:
    """Rate of evenly spaced times; a common rate where the phone's clock is within 0.03 % of one."""
    steps = np.diff(times)
    step = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - step) > 0.5 * abs(step))
    if step <= 0 or uneven.size:
        row = int(uneven[0]) + 3 if uneven.size else 3
        raise UserError(
            f"{path}: the timecode of line {row} is not one frame after the line before: frames are missing or "
            "repeated. Export the recording again, or resample it to an even rate first."
        )
    rate = (len(times) - 1) / float(times[-1] - times[0])
    nearest = min(_COMMON_RATES, key=lambda common: abs(common - rate))
    return nearest if abs(nearest - rate) <= _CLOCK_TOLERANCE * nearest else rate


def read_live_link_csv(path: str | Path) -> LiveLinkRecording:
    """Read a CSV of the app or of `write_live_link_csv`.

    Columns are found by name in any case (the count column is spelled two ways in the wild). Raises UserError for a
    missing file, a missing column, a value that is not a number, or frames that are not evenly spaced.
    """
    path = Path(path)
    header, rows = _read_rows(path)
    wanted = ["Timecode", *(pascal_case(name) for name in CHANNELS), *ROTATION_COLUMNS]
    missing = [name for name in wanted if name.lower() not in header]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; expected a Live Link Face CSV.")
    places = [header.index(name.lower()) for name in wanted[1:]]
    time_place = header.index("timecode")
    times = np.empty(len(rows))
    values = np.empty((len(rows), len(places)), np.float32)
    for index, row in enumerate(rows):
        try:
            times[index] = _seconds(row[time_place])
            values[index] = [float(row[place]) for place in places]
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}, line {index + 2}: {error}; expected a timecode and 61 numbers.") from error
    check_motion(values, str(path))
    motion, rotations = (np.ascontiguousarray(part) for part in np.split(values, [len(CHANNELS)], axis=1))
    return LiveLinkRecording(motion, rotations, _frame_rate(times, path), float(times[0]))
