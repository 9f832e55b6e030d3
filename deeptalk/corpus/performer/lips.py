"""Contacts of the lips: closures that close, a lower lip that meets the teeth, and lips that never cross.

On a linear rig the height of a vertex is affine in the channels, so the height that a sound needs is solved for, with
the emotion active: /p b m/ close the lips, /f v/ bring the lower lip to the edge of the upper teeth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.event import Phone
from deeptalk.corpus.performer.mouth import CONTROL_RATE, plateau
from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.face import CHANNELS, LinearRig

CLOSURE_PHONES, TEETH_PHONES = ("P", "B", "M"), ("F", "V")
CLOSURE_GAP_METRES = -0.0002
"""Signed gap at /p b m/: the lips press each other a little."""
BELOW_TEETH_METRES = 0.0002
"""How far below the edge of the upper teeth the inner lower lip ends at /f v/."""
LEAST_GAP_METRES = -0.0003
"""Where a pose would press the lips further into each other, the jaw gives way."""
RAMP_SECONDS = 0.045

CLOSURE_SHARES: dict[str, float] = {
    **dict.fromkeys(("mouthUpperUp", "mouthLowerDown", "mouthFunnel", "mouthShrugUpper", "jawForward"), 0.12),
    **dict(mouthPress=0.6, mouthShrugLower=0.6, mouthSmile=0.85),
}
"""What is left of a channel while the lips touch: the first five part them, the others bend the line between them."""
TEETH_SHARES: dict[str, float] = {
    **dict.fromkeys(("mouthLowerDown", "mouthFunnel", "mouthShrugLower", "mouthShrugUpper", "jawForward"), 0.15),
    **dict(mouthPress=0.3, mouthPucker=0.4),
}
"""What is left of a channel while the lower lip touches the teeth."""

_JAW_OPEN, _MOUTH_CLOSE = CHANNELS.index("jawOpen"), CHANNELS.index("mouthClose")


def _lost(shares: dict[str, float]) -> np.ndarray:
    """(channel,) what a contact takes from every channel."""
    lost = np.zeros(len(CHANNELS))
    for name, share in shares.items():
        lost[list(channel_indices(name))] = 1.0 - share
    return lost


_CLOSURE_LOST, _TEETH_LOST = _lost(CLOSURE_SHARES), _lost(TEETH_SHARES)


@dataclass(frozen=True)
class Contacts:
    """Contacts that a clip asks for."""

    closure: np.ndarray
    """(control,) 0..1, how far the lips are to close."""
    teeth: np.ndarray
    """(control,) 0..1, how far the lower lip is to meet the teeth."""
    closure_points: np.ndarray
    """(closure,) control point in the middle of each /p b m/."""


def contacts(phones: Sequence[Phone], times: np.ndarray) -> Contacts:
    """Contacts of the phones at the control points `times`."""
    closure, teeth, points = np.zeros(len(times)), np.zeros(len(times)), []
    for phone in phones:
        if phone.symbol not in CLOSURE_PHONES + TEETH_PHONES:
            continue
        middle = round(phone.middle_seconds * CONTROL_RATE)
        margin = 0.2 * (phone.end_seconds - phone.start_seconds)
        start = min(phone.start_seconds + margin, times[middle])
        end = max(phone.end_seconds - margin, times[middle])
        first, last = np.searchsorted(times, (start - RAMP_SECONDS, end + RAMP_SECONDS))
        curve = closure if phone.symbol in CLOSURE_PHONES else teeth
        near = plateau(times[first:last], start, end, RAMP_SECONDS)
        curve[first:last] = np.maximum(curve[first:last], near)
        if phone.symbol in CLOSURE_PHONES:
            points.append(middle)
    # Where both are wanted, the nearer one decides.
    share = closure**4 / np.maximum(closure**4 + teeth**4, 1e-12)
    strongest = np.maximum(closure, teeth)
    return Contacts(strongest * share, strongest * (1.0 - share), np.array(points, dtype=int))


def touch(pose: np.ndarray, wanted: Contacts, rig: LinearRig) -> np.ndarray:
    """The pose (control, channel) with every contact made and no lips through each other."""
    touched = pose * (1.0 - wanted.closure[:, None] * _CLOSURE_LOST - wanted.teeth[:, None] * _TEETH_LOST)
    weight = wanted.closure + wanted.teeth
    teeth_share = np.where(weight > 0.0, wanted.teeth / np.maximum(weight, 1e-12), 0.0)
    target = teeth_share * BELOW_TEETH_METRES + (1.0 - teeth_share) * CLOSURE_GAP_METRES

    def measure() -> np.ndarray:
        return teeth_share * lip_below_teeth(touched, rig) + (1.0 - teeth_share) * middle_gap(touched, rig)

    goal = measure()
    goal += weight * (target - goal)
    for _ in range(2):  # the slopes of the pairs differ by a quarter: the second step takes the rest
        change = np.maximum(goal - measure(), LEAST_GAP_METRES - middle_gap(touched, rig))
        _move_gap(touched, change, rig)
    return touched


def middle_gap(pose: np.ndarray, rig: LinearRig) -> np.ndarray:
    """Signed gap (control,) in metres half way between the widest and the narrowest of the rig's central pairs."""
    gaps = rig.lip_gap_neutral + pose @ rig.lip_gap_deltas
    return 0.5 * (gaps.max(-1) + gaps.min(-1))


def lip_below_teeth(pose: np.ndarray, rig: LinearRig) -> np.ndarray:
    """Height (control,) in metres from the inner lower lip up to the edge of the upper teeth, on the midline."""
    edge, lip = upper_teeth_edge(rig), rig.lip_pairs[0, 1]
    neutral = rig.neutral[edge, 1] - rig.neutral[lip, 1]
    return neutral + pose @ (rig.deltas[:, edge, 1] - rig.deltas[:, lip, 1])


def upper_teeth_edge(rig: LinearRig) -> int:
    """Vertex of the lowest point of the upper incisors."""
    teeth = rig.region("upper_teeth")
    places = rig.neutral[teeth]
    incisors = (np.abs(places[:, 0]) < 0.005) & (places[:, 2] > places[:, 2].max() - 0.004)
    return int(teeth[incisors][places[incisors, 1].argmin()])


def _move_gap(pose: np.ndarray, change: np.ndarray, rig: LinearRig) -> None:
    """Change the gap by `change` (control,) metres in place: by `mouthClose`, and by the jaw where that is used up."""
    close_slope = -rig.lip_gap_deltas[_MOUTH_CLOSE].mean()
    jaw_slope = rig.lip_gap_deltas[_JAW_OPEN].mean()
    closed = pose[:, _MOUTH_CLOSE] - change / close_slope
    pose[:, _MOUTH_CLOSE] = np.clip(closed, 0.0, 1.0)
    pose[:, _JAW_OPEN] += np.maximum(-closed, 0.0) * close_slope / jaw_slope
