"""Which of a head's shapes is which ARKit channel, whatever the spelling."""

import re
from collections.abc import Iterable

from deeptalk.errors import UserError
from deeptalk.face.channels import CHANNELS

OPTIONAL_PREFIXES = ("eyeLook", "eyeSquint", "eyeWide", "cheek", "noseSneer", "tongueOut")
"""Channels that a head may lack: many heads turn their eyes by bones, and speech is readable without the rest."""
_BY_KEY = {name.lower(): name for name in CHANNELS}
_SIDES = {"l": "left", "r": "right"}


def channel_of(name: str) -> tuple[str, str] | None:
    """Channel of a shape's name, and the side if the name is one half of a channel of the middle; None if it is none.

    Case, separators and what stands before a separator do not matter: `browDown_L`, `BrowDownLeft`,
    `head.brow_down_left` are all `browDownLeft`. `browInnerUp_L` is the left half of `browInnerUp`.
    """
    starts = [0, *(match.end() for match in re.finditer(r"[^A-Za-z0-9]+", name))]
    for start in starts:
        text = name[start:]
        if ended := re.search(r"(?:(?<=[a-z])|[^A-Za-z0-9]+)([LR])$|[^A-Za-z0-9]+([lr])$", text):
            text = text[: ended.start()] + _SIDES[(ended[1] or ended[2]).lower()]
        key = re.sub(r"[^a-z0-9]", "", text.lower())
        if key in _BY_KEY:
            return _BY_KEY[key], ""
        for side in _SIDES.values():
            if key.endswith(side) and key.removesuffix(side) in _BY_KEY:
                return _BY_KEY[key.removesuffix(side)], side
    return None


def match_shapes(names: Iterable[str], where: str) -> dict[str, list[str]]:
    """Channel -> the shapes of one mesh that make it: one, or the two halves of a channel of the middle.

    Raises UserError where two shapes are the same channel.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        if (match := channel_of(name)) is None:
            continue
        channel, side = match
        if side in found.setdefault(channel, {}):
            raise UserError(f"{where} has two shapes for {channel}: {found[channel][side]!r} and {name!r}; rename one.")
        found[channel][side] = name
    return {channel: [sides[""]] if "" in sides else list(sides.values()) for channel, sides in found.items()}


def check_shapes(present: Iterable[str], where: str) -> list[str]:
    """Channels that the head lacks and may lack; raises UserError naming those that it must have."""
    missing = [name for name in CHANNELS if name not in set(present)]
    needed = [name for name in missing if not name.startswith(OPTIONAL_PREFIXES)]
    if len(needed) == sum(not name.startswith(OPTIONAL_PREFIXES) for name in CHANNELS):
        raise UserError(
            f"{where} has no shapes with ARKit's names (jawOpen, mouthSmileLeft or mouthSmile_L ...), so it cannot "
            "be moved; export it with its shape keys, named as Apple names them."
        )
    if needed:
        raise UserError(
            f"{where} lacks the shapes {', '.join(needed)}; every head needs those of jaw, mouth and brows."
        )
    return missing
