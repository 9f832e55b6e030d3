"""Lids that meet and go no further."""

import numpy as np
from jaxtyping import Float

from deeptalk.face.channels import CHANNELS
from deeptalk.face.rig import LinearRig, Rig

SIDES = ("Left", "Right")


def limit_blink(motion: Float[np.ndarray, "frame channel"], rig: Rig) -> None:
    """Lower the blinks of an ARKit motion in place where the lids would pass each other.

    A squint, a raised cheek and a look down close the eye too; what they leave open is what a blink may close. On a
    head whose lids are not found the motion stays as it is.
    """
    if not isinstance(rig, LinearRig):
        return
    for side in SIDES:
        margins, blink = lid_margins(rig, side), CHANNELS.index(f"eyeBlink{side}")
        if margins is None:
            continue
        upper, lower = margins
        slopes = rig.deltas[:, upper, 1] - rig.deltas[:, lower, 1]
        gap = rig.neutral[upper, 1] - rig.neutral[lower, 1] + motion @ slopes
        motion[:, blink] = np.clip(motion[:, blink] - np.minimum(gap, 0.0) / float(slopes[blink]), 0.0, 1.0)


def lid_margins(rig: LinearRig, side: str) -> tuple[int, int] | None:
    """Vertices of the upper and the lower lid that meet in front of the middle of an eye, where the head has such.

    The upper lid is what a blink carries down by more than half its largest movement, the lower one what it leaves.
    """
    eye, skin = (rig.regions.get(name, np.zeros(0, np.int64)) for name in (f"{side.lower()}_eye", "skin"))
    if not len(eye) or not len(skin):
        return None
    at = rig.neutral[eye]
    place = rig.neutral[skin] - (at.min(axis=0) + at.max(axis=0)) / 2.0
    falls = -rig.deltas[CHANNELS.index(f"eyeBlink{side}"), skin, 1]
    before_eye = (np.abs(place[:, 0]) < 0.0015) & (np.abs(place[:, 1]) < 0.012) & (place[:, 2] > 0.008)
    most = falls[before_eye].max(initial=0.0)
    upper = before_eye & (falls > 0.5 * most) & (most > 0.001)
    lower = before_eye & (falls < 0.1 * most) & (place[:, 1] < 0.0)
    if not upper.any() or not lower.any():
        return None
    return int(skin[upper][place[upper, 1].argmin()]), int(skin[lower][place[lower, 1].argmax()])
