"""The emotion vocabulary shared by every part, and the one table that maps other label sets to it."""

import difflib

from deeptalk.errors import UserError

EMOTIONS: tuple[str, ...] = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
"""The eight emotions, in the order of RAVDESS; an emotion's index is its place here."""

NEUTRAL = EMOTIONS.index("neutral")

ALIASES: dict[str, str] = {
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "mad": "angry",
    "fear": "fearful",
    "disgust": "disgusted",
    "surprise": "surprised",
}
"""Names that MEAD, FER, EmoTalk and plain English use for the eight."""


def emotion_index(name: str) -> int:
    """Index in `EMOTIONS` of a label in any of the known spellings.

    Raises UserError for a label that no table knows, naming the nearest one.
    """
    key = ALIASES.get(name.strip().lower(), name.strip().lower())
    if key in EMOTIONS:
        return EMOTIONS.index(key)
    near = difflib.get_close_matches(key, [*EMOTIONS, *ALIASES], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"Unknown emotion {name!r}; expected one of {', '.join(EMOTIONS)}.{hint}")
