"""What an exporter is given and may rely on, and the one list of formats."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face import Rig


@runtime_checkable
class Exportable(Protocol):
    """One performed motion, as exporters see it; `deeptalk.take.Take` is one."""

    @property
    def motion(self) -> np.ndarray:
        """(frame, channel) float32, finite."""

    @property
    def rig(self) -> str:
        """Name of the rig whose channels the motion has."""

    @property
    def frame_rate(self) -> float:
        """Frames per second."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Seed and settings, enough to make the motion again; JSON values."""

    @property
    def samples(self) -> np.ndarray | None:
        """(sample,) float32 mono speech at 16 kHz, or None."""

    @property
    def head_rotation_radians(self) -> np.ndarray | None:
        """(frame, 3) float32 yaw, pitch and roll of the head (`deeptalk.face.head_pose`), or None."""


class TakeFields(TypedDict):
    """The fields of a `deeptalk.take.Take`, as a file gives them back."""

    motion: np.ndarray
    rig: str
    frame_rate: float
    recipe: dict[str, Any]
    samples: np.ndarray | None
    head_rotation_radians: np.ndarray | None


@runtime_checkable
class Exporter(Protocol):
    """Writes one motion to one file, atomically."""

    def __call__(self, take: Exportable, path: Path, head: Rig | None = None) -> None:
        """Write `take` to `path`; raises UserError where the format cannot hold it.

        `head` is the geometry that moves, by default that of the take's rig; formats without geometry ignore it.
        """


@dataclass(frozen=True)
class Format:
    """An exporter that is imported when it is first used."""

    description: str
    module: str
    """Within `deeptalk.export`."""
    function: str
    geometry: bool = False
    """Whether it shows a head, so that another may be asked for."""

    def __call__(self, take: Exportable, path: Path, head: Rig | None = None) -> None:
        """Write `take` to `path`; raises UserError for a motion or sound that no format holds."""
        check_motion(take.motion, "The motion to save")
        check_sound(take.samples)
        write = getattr(importlib.import_module(f"deeptalk.export.{self.module}"), self.function)
        write(take, path, **({"head": head} if self.geometry else {}))


FORMATS: dict[str, Exporter] = {
    "npz": Format("the exact motion, for Python", "npz", "write_npz"),
    "csv": Format("Live Link Face CSV, for Unreal and retargeting tools", "live_link", "write_live_link_csv"),
    "json": Format("ARKit weights in Audio2Face's layout", "arkit_json", "write_arkit_json"),
    "glb": Format("animated head with sound, for Blender, Unreal, Unity and browsers", "gltf", "write_gltf", True),
    "gltf": Format("the same as JSON", "gltf", "write_gltf", True),
    "obj": Format("one mesh a frame as text, in the folder NAME_obj", "mesh_sequence", "write_mesh_sequence", True),
    "ply": Format("one mesh a frame, in the folder NAME_ply", "mesh_sequence", "write_mesh_sequence", True),
    "mp4": Format("video with sound", "video", "write_video", True),
    "webm": Format("video with sound, for web pages", "video", "write_video", True),
    "wav": Format("the speech alone, to lay beside a motion", "wav", "write_wav"),
    "html": Format("page that plays the take in a browser, offline", "page", "write_take_page", True),
}
"""Format name (a file's suffix without the dot) to its exporter."""
FOLDER_FORMATS = ("obj", "ply")
"""Formats that write a folder beside the path they are given."""


def check_motion(motion: np.ndarray, what: str) -> None:
    """Raise UserError unless `motion` is a (frame, channel) array of finite numbers with at least one frame."""
    if motion.ndim != 2 or motion.shape[0] < 1 or motion.shape[1] < 1:
        raise UserError(f"{what} has shape {motion.shape}; expected (frame, channel) with at least one frame.")
    if not np.isfinite(motion).all():
        frame, channel = np.argwhere(~np.isfinite(motion))[0]
        raise UserError(
            f"{what} holds {motion[frame, channel]} at frame {frame}, channel {channel}; every value must be finite. "
            "Perform the take again, or check the checkpoint it came from."
        )


def check_sound(samples: np.ndarray | None) -> None:
    """Raise UserError unless `samples` is None or a (sample,) array of finite numbers."""
    if samples is None:
        return
    if samples.ndim != 1:
        raise UserError(f"The sound of a take has shape {samples.shape}; expected (sample,), one channel at 16 kHz.")
    if not np.isfinite(samples).all():
        place = int(np.argmin(np.isfinite(samples)))
        raise UserError(
            f"The sound of a take holds {samples[place]} at sample {place}; every value must be finite. Read the "
            "recording again, or leave the sound out."
        )
