"""What the name of a RAVDESS file says (Livingstone and Russo 2018, table 5)."""

import re
from dataclasses import dataclass

from deeptalk.emotions import EMOTIONS

STATEMENTS: tuple[tuple[str, str], ...] = (
    ("kids", "kids are talking by the door"),
    ("dogs", "dogs are sitting by the door"),
)
"""Name and text of the two sentences."""
STRESSED: dict[str, int] = {"kids": 0, "dogs": 0, "talking": 0, "sitting": 0, "door": 0}
"""Which vowel of a word bears primary stress, counted from 0; `are`, `by` and `the` bear none."""
MODALITIES = ("full video", "video without sound", "sound")
CHANNELS = ("speech", "song")
SOUND, SPEECH = 3, 1

_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


@dataclass(frozen=True)
class RavdessName:
    """The seven numbers of a name, decoded."""

    modality: int
    """1 full video, 2 video without sound, 3 sound."""
    channel: int
    """1 speech, 2 song."""
    emotion: int
    """Index in `deeptalk.emotions.EMOTIONS`."""
    strong: bool
    statement: int
    """Index in `STATEMENTS`."""
    repetition: int
    """1 or 2."""
    actor: int
    """1 to 24; odd numbers are men."""

    @property
    def intensity(self) -> float:
        """0 for neutral, 0.5 normal, 1 strong."""
        return 0.0 if self.emotion == 0 else 1.0 if self.strong else 0.5


def parse_name(stem: str) -> RavdessName | None:
    """The name of a file without its suffix, decoded; None where it is no name of RAVDESS."""
    found = _NAME.fullmatch(stem)
    if not found:
        return None
    modality, channel, emotion, intensity, statement, repetition, actor = map(int, found.groups())
    limits = ((modality, 3), (channel, 2), (emotion, len(EMOTIONS)), (intensity, 2), (statement, 2), (repetition, 2))
    if any(not 1 <= value <= most for value, most in limits) or not 1 <= actor <= 24:
        return None
    if emotion == 1 and intensity == 2:  # there is no strong neutral
        return None
    return RavdessName(modality, channel, emotion - 1, intensity == 2, statement - 1, repetition, actor)
