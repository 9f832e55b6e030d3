"""Blinks and gaze: the idle layer's, joined with what a reading does to the lids and the gaze.

They live in the channel group `BLINK_AND_GAZE`; the other 42 channels do not depend on them.
"""

import numpy as np

from deeptalk.face import BLINK_AND_GAZE, CHANNELS, LinearRig
from deeptalk.face.idle import idle_life
from deeptalk.face.lids import limit_blink

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
