"""What the columns of a FLAME motion are, told by the name of the rig alone, without any FLAME file.

`flame` has 50 expression coefficients and 3 of the jaw, as DEEPTalk and EMOTE store them. `flame100` has 100. Joints
that may move too are appended: `flame100+neck+eyes`.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np

from deeptalk.errors import UserError

JOINTS = ("root", "neck", "jaw", "left_eye", "right_eye")
"""FLAME's joints in its own order."""
EXPRESSION_LIMIT = 10.0
"""Coefficients are in standard deviations; reconstructions from video reach 9."""
_GROUPS = {"head": ("root",), "neck": ("neck",), "eyes": ("left_eye", "right_eye")}
_LIMITS_RADIANS = {
    "root": ((-np.pi, np.pi),) * 3,
    "neck": ((-1.2, 1.2),) * 3,
    "jaw": ((-0.2, 0.9), (-0.4, 0.4), (-0.4, 0.4)),
    "left_eye": ((-0.9, 0.9),) * 3,
    "right_eye": ((-0.9, 0.9),) * 3,
}


@dataclass(frozen=True)
class FlameLayout:
    """Columns of a FLAME motion: expression first, then the moving joints, three axis-angle radians each."""

    name: str
    """Name of the rig."""
    expressions: int
    """Expression coefficients, 1 to 100."""
    joints: tuple[str, ...]
    """Moving joints in the order of their columns: the jaw, then those that the name appends."""

    @property
    def channels(self) -> tuple[str, ...]:
        """`expression_00` ..., then `jaw_x`, `jaw_y`, `jaw_z` and so on."""
        expressions = [f"expression_{index:02d}" for index in range(self.expressions)]
        return (*expressions, *(f"{joint}_{axis}" for joint in self.joints for axis in "xyz"))

    @property
    def limits(self) -> np.ndarray:
        """(channel, 2) float32: least and greatest value."""
        expressions = [(-EXPRESSION_LIMIT, EXPRESSION_LIMIT)] * self.expressions
        return np.array([*expressions, *(pair for joint in self.joints for pair in _LIMITS_RADIANS[joint])], np.float32)


def is_flame(name: str) -> bool:
    """Whether a rig's name is one of FLAME's."""
    return name.startswith("flame")


@functools.cache
def flame_layout(name: str) -> FlameLayout:
    """The layout that a rig's name stands for; raises UserError for a name of another form."""
    match = re.fullmatch(r"flame([1-9]\d?|100)?((?:\+(?:head|neck|eyes))*)", name)
    groups = match[2].split("+")[1:] if match else []
    if match is None or len(set(groups)) != len(groups):
        raise UserError(
            f"There is no rig {name!r}; FLAME's are named flame (50 expressions and the jaw), flame100, and with more "
            "joints flame+head, flame+neck, flame+eyes or several, such as flame100+neck+eyes."
        )
    joints = tuple(joint for group in groups for joint in _GROUPS[group])
    return FlameLayout(name, int(match[1] or 50), ("jaw", *joints))
