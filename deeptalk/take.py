"""A take: one generated performance of one piece of speech."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.errors import UserError
from deeptalk.export import check_motion, export, read_take
from deeptalk.face import Rig, load_rig
from deeptalk.face.idle import idle_life, with_idle


@dataclass(frozen=True, eq=False)
class Take:
    """One performance: its motion, and all that is needed to make it again."""

    motion: np.ndarray
    """(frame, channel) float32, finite; round(seconds x frame_rate) frames of the speech."""
    rig: str = "arkit"
    """Name of the rig whose channels the motion has."""
    frame_rate: float = 25.0
    """Frames per second."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Seed, take index, settings, and hashes of bundle and speech; JSON values."""
    samples: np.ndarray | None = None
    """(sample,) float32 mono speech at 16 kHz, where it is kept."""
    head_rotation_radians: np.ndarray | None = None
    """(frame, 3) float32 yaw, pitch and roll of the head, where it moves."""

    def __post_init__(self) -> None:
        """Raise UserError for a motion of another shape, or with values that are not finite, or a rate of 0 or less.

        The same for a head rotation that is not (frame, 3).
        """
        check_motion(self.motion, "The motion of a take")
        if self.motion.dtype != np.float32:
            raise UserError(f"The motion of a take is {self.motion.dtype}; expected float32.")
        if not 0 < self.frame_rate < math.inf:
            raise UserError(f"The frame rate of a take is {self.frame_rate}; expected a number above 0.")
        if self.head_rotation_radians is not None:
            check_motion(self.head_rotation_radians, "The head rotation of a take")
            if self.head_rotation_radians.shape != (self.frame_count, 3):
                raise UserError(
                    f"The head rotation of a take has shape {self.head_rotation_radians.shape}; expected "
                    f"({self.frame_count}, 3): yaw, pitch and roll of every frame."
                )

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return self.motion.shape[0]

    @property
    def seconds(self) -> float:
        """Duration of the motion."""
        return self.frame_count / self.frame_rate

    def with_idle(self, seed: int = 0) -> "Take":
        """This take with blinks, gaze and slight head motion drawn from `seed`, so that the face does not stare.

        They replace what the take has of them; the other channels stay as they are. Raises UserError for a rig without
        ARKit's channels.
        """
        if self.rig != "arkit":
            raise UserError(f"Idle life moves ARKit channels; this take is of rig {self.rig!r}. Leave it out.")
        idle = idle_life(self.frame_count, self.frame_rate, seed, self.samples)
        motion = with_idle(self.motion, idle.motion, load_rig(self.rig))
        recipe = {**self.recipe, "idle_seed": seed}
        return replace(self, motion=motion, head_rotation_radians=idle.head_rotation_radians, recipe=recipe)

    def save(self, path: str | Path, head: Rig | None = None) -> Path:
        """Write the take in the format of the path's suffix (`deeptalk.export.FORMATS`); returns the path.

        `head` is a face with the take's channels to show it on, where the format shows one; by default its own rig.
        Raises UserError for an unknown suffix, listing those there are.
        """
        return export(self, path, head)

    @classmethod
    def load(cls, path: str | Path) -> "Take":
        """The take that was saved as `.npz`, `.json`, `.glb` or `.gltf`; raises UserError for any other file."""
        return cls(**read_take(path))
