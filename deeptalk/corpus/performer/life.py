"""Blinks and gaze: the idle layer's, joined with what a reading does to the lids and the gaze.

They live in the channel group `BLINK_AND_GAZE`; the other 42 channels do not depend on them.
"""

import numpy as np

from deeptalk.face import BLINK_AND_GAZE, CHANNELS, LinearRig
from deeptalk.face.idle import idle_life

GROUP = [CHANNELS.index(name) for name in BLINK_AND_GAZE]
"""Columns of blinks and gaze."""
OTHERS = [index for index in range(len(CHANNELS)) if index not in GROUP]

_SIDES = ("Left", "Right")
_LIDS = [CHANNELS.index(f"eyeBlink{side}") for side in _SIDES]
_OPPOSED = [
    (CHANNELS.index(f"eyeLook{one}{side}"), CHANNELS.index(f"eyeLook{other}{side}"))
    for one, other in (("Down", "Up"), ("In", "Out"))
    for side in _SIDES
]


def add_life(motion: np.ndarray, frame_rate: float, seed: int, samples: np.ndarray, rig: LinearRig) -> None:
    """Add blinks and gaze of `seed` to a motion (frame, channel) in place; the head does not move here."""
    idle = idle_life(len(motion), frame_rate, seed, samples, head=False).motion
    motion[:, _LIDS] = 1.0 - (1.0 - motion[:, _LIDS]) * (1.0 - idle[:, _LIDS])
    for one, other in _OPPOSED:
        net = np.clip(motion[:, one] - motion[:, other] + idle[:, one] - idle[:, other], -1.0, 1.0)
        motion[:, one], motion[:, other] = np.maximum(net, 0.0), np.maximum(-net, 0.0)
    limit_blink(motion, rig)


def limit_blink(motion: np.ndarray, rig: LinearRig) -> None:
    """Lower the blinks of a motion (frame, channel) in place where the lids would pass each other.

    A squint, a raised cheek and a look down close the eye too; what they leave open is what a blink may close.
    """
    for side, blink in zip(_SIDES, _LIDS):
        upper, lower = lid_margins(rig, side)
        slopes = rig.deltas[:, upper, 1] - rig.deltas[:, lower, 1]
        gap = rig.neutral[upper, 1] - rig.neutral[lower, 1] + motion @ slopes
        closing = -float(slopes[blink])
        motion[:, blink] = np.clip(motion[:, blink] + np.minimum(gap, 0.0) / closing, 0.0, 1.0)


def lid_margins(rig: LinearRig, side: str) -> tuple[int, int]:
    """Vertices of the upper and the lower lid that meet in front of the middle of an eye.

    The upper lid is what a blink carries down by more than half its largest movement, the lower one what it leaves.
    """
    eye = rig.neutral[rig.region(f"{side.lower()}_eye")]
    centre = (eye.min(axis=0) + eye.max(axis=0)) / 2.0
    skin = rig.region("skin")
    place = rig.neutral[skin] - centre
    falls = -rig.deltas[CHANNELS.index(f"eyeBlink{side}"), skin, 1]
    before_eye = (np.abs(place[:, 0]) < 0.0015) & (np.abs(place[:, 1]) < 0.012) & (place[:, 2] > 0.008)
    upper = before_eye & (falls > 0.5 * falls[before_eye].max())
    lower = before_eye & (falls < 0.1 * falls[before_eye].max()) & (place[:, 1] < 0.0)
    return int(skin[upper][place[upper, 1].argmin()]), int(skin[lower][place[lower, 1].argmax()])
