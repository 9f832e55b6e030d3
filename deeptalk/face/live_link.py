"""Reading the CSV of Apple's ARKit that the Live Link Face app records and Unreal reads.

63 columns: a timecode, the number 61, 52 shapes in PascalCase in the app's own order, then yaw, pitch and roll of the
head and of both eyes. The frame field of the timecode counts 60 to the second at every frame rate, with a fraction, so
the rate is in the differences of timecodes and nowhere else. Columns are mapped by name, never by place.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face.channels import CHANNELS, pascal_case

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

COUNTS_PER_SECOND = 60
"""Of the last field of a timecode, at every frame rate."""
DAY_SECONDS = 86_400.0
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


@dataclass(frozen=True)
class LiveLinkFrames:
    """The rows of one file as they stand: nothing is checked but that every cell is a number."""

    motion: np.ndarray
    """(frame, 52) float32 in the order of `deeptalk.face.CHANNELS`; may hold NaN."""
    rotations: np.ndarray
    """(frame, 9) float32 radians in the order of `ROTATION_COLUMNS`; may hold NaN."""
    seconds: np.ndarray
    """(frame,) float64 time of day of each row; a take that runs past midnight goes on counting."""

    @property
    def step_seconds(self) -> float:
        """Median time from one row to the next."""
        return float(np.median(np.diff(self.seconds)))

    @property
    def frame_rate(self) -> float:
        """Frames per second while no frame is missing; a common rate where the phone's clock is within 0.03 % of one.

        The mean of the steps that are near the median: the app's timecodes are rounded, so no single step will do.
        """
        steps = np.diff(self.seconds)
        even = steps[np.abs(steps - self.step_seconds) <= 0.5 * abs(self.step_seconds)]
        rate = 1.0 / float(even.mean())
        nearest = min(_COMMON_RATES, key=lambda common: abs(common - rate))
        return nearest if abs(nearest - rate) <= _CLOCK_TOLERANCE * nearest else rate

    @property
    def uneven_rows(self) -> np.ndarray:
        """Indices of rows that do not come one step, within half of one, after the row before."""
        steps = np.diff(self.seconds)
        return np.flatnonzero(np.abs(steps - self.step_seconds) > 0.5 * abs(self.step_seconds)) + 1


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
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(counts) / COUNTS_PER_SECOND


def read_live_link_frames(path: str | Path) -> LiveLinkFrames:
    """Read the rows of a CSV of the app as they stand, uneven times and NaN included.

    Columns are found by name in any case (the count column is spelled two ways in the wild). Raises UserError for a
    missing file, a missing column, a cell that is not a number, or timecodes that do not run forwards at all.
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
    times[1:] += DAY_SECONDS * np.cumsum(np.diff(times) < -DAY_SECONDS / 2)
    motion, rotations = (np.ascontiguousarray(part) for part in np.split(values, [len(CHANNELS)], axis=1))
    frames = LiveLinkFrames(motion, rotations, times)
    if not frames.step_seconds > 0:
        raise UserError(
            f"{path}: its timecodes stand still or run backwards for most frames; expected one frame a line. Export "
            "the recording again."
        )
    return frames


def read_live_link_csv(path: str | Path) -> LiveLinkRecording:
    """Read a CSV of the app or of `deeptalk.export.write_live_link_csv` that has no defect.

    Raises UserError as `read_live_link_frames` does, for a value that is not finite, and for frames that are not evenly
    spaced: `deeptalk corpus import livelink` mends those, and says so.
    """
    frames = read_live_link_frames(path)
    values = np.concatenate([frames.motion, frames.rotations], axis=1)
    if not np.isfinite(values).all():
        frame, channel = np.argwhere(~np.isfinite(values))[0]
        raise UserError(
            f"{path} holds {values[frame, channel]} at frame {frame}, column "
            f"{[*CHANNELS, *ROTATION_COLUMNS][channel]}; every value must be finite. Export the recording again."
        )
    if frames.uneven_rows.size:
        raise UserError(
            f"{path}: the timecode of line {int(frames.uneven_rows[0]) + 2} is not one frame after the line before: "
            "frames are missing or repeated. Export the recording again, or resample it to an even rate first."
        )
    return LiveLinkRecording(frames.motion, frames.rotations, frames.frame_rate, float(frames.seconds[0]))
