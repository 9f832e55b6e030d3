"""Contacts of the lips: closures that close, and lips that never pass through each other.

On a linear rig the signed gap between the central inner lips is affine in the channels, so the gap that a sound needs
is solved for, with the emotion active: /p b m/ close the lips, /f v/ bring the lower lip near the upper teeth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.event import Phone
from deeptalk.corpus.performer.mouth import CONTROL_RATE, plateau
from deeptalk.corpus.performer.visemes import channel_indices
from deeptalk.face import CHANNELS, LinearRig

CLOSURE_GAP_METRES = -0.0002
"""Signed gap at /p b m/: the lips press each other a little."""
TEETH_GAP_METRES = 0.0022
"""Gap at /f v/: the lower lip is under the upper teeth."""
LEAST_GAP_METRES = -0.0003
"""Where a pose would press the lips further into each other, the jaw gives way."""
CONTACT_GAPS: dict[str, float] = {
    **dict.fromkeys(("P", "B", "M"), CLOSURE_GAP_METRES),
    **dict.fromkeys(("F", "V"), TEETH_GAP_METRES),
}
CLOSURE_PHONES = ("P", "B", "M")
RAMP_SECONDS = 0.045

TOUCHING_SHARES: dict[str, float] = {
    **dict.fromkeys(("mouthUpperUp", "mouthLowerDown", "mouthFunnel", "mouthShrugUpper", "jawForward"), 0.12),
    **dict(mouthPress=0.6, mouthShrugLower=0.6, mouthSmile=0.85),
}
"""What is left of a channel while the lips touch: the first five part them, the others bend the line between them."""

_SHARES = np.ones(len(CHANNELS))
for _name, _share in TOUCHING_SHARES.items():
    _SHARES[list(channel_indices(_name))] = _share
_JAW_OPEN, _MOUTH_CLOSE = CHANNELS.index("jawOpen"), CHANNELS.index("mouthClose")


@dataclass(frozen=True)
class Contacts:
    """Gaps that a clip asks for."""

    weight: np.ndarray
    """(control,) 0..1, how far the gap is imposed."""
    gap: np.ndarray
    """(control,) metres, the gap imposed there."""
    closure_points: np.ndarray
    """(closure,) control point in the middle of each /p b m/."""


def contacts(phones: Sequence[Phone], times: np.ndarray) -> Contacts:
    """Contacts of the phones at the control points `times`."""
    weights, gaps, points = [np.zeros(len(times))], [0.0], []
    for phone in phones:
        if phone.symbol not in CONTACT_GAPS:
            continue
        middle = round(phone.middle_seconds * CONTROL_RATE)
        margin = 0.2 * (phone.end_seconds - phone.start_seconds)
        start = min(phone.start_seconds + margin, times[middle])
        end = max(phone.end_seconds - margin, times[middle])
        weights.append(plateau(times, start, end, RAMP_SECONDS))
        gaps.append(CONTACT_GAPS[phone.symbol])
        if phone.symbol in CLOSURE_PHONES:
            points.append(middle)
    stacked = np.stack(weights) ** 4  # where two contacts overlap, the nearer one decides
    gap = (stacked * np.array(gaps)[:, None]).sum(0) / np.maximum(stacked.sum(0), 1e-12)
    return Contacts(weight=np.max(weights, axis=0), gap=gap, closure_points=np.array(points, dtype=int))


def touch(pose: np.ndarray, wanted: Contacts, rig: LinearRig) -> np.ndarray:
    """The pose (control, channel) with every contact made and no lips through each other."""
    touched = pose * (1.0 - wanted.weight[:, None] * (1.0 - _SHARES))
    gap = middle_gap(touched, rig)
    goal = np.maximum((1.0 - wanted.weight) * gap + wanted.weight * wanted.gap, LEAST_GAP_METRES)
    for _ in range(2):  # the slopes of the pairs differ by a quarter: the second step takes the rest
        _move_gap(touched, goal - middle_gap(touched, rig), rig)
    return touched


def middle_gap(pose: np.ndarray, rig: LinearRig) -> np.ndarray:
    """Signed gap (control,) in metres half way between the widest and the narrowest of the rig's central pairs."""
    gaps = rig.lip_gap_neutral + pose @ rig.lip_gap_deltas
    return 0.5 * (gaps.max(-1) + gaps.min(-1))


def _move_gap(pose: np.ndarray, change: np.ndarray, rig: LinearRig) -> None:
    """Change the gap by `change` (control,) metres in place: by `mouthClose`, and by the jaw where that is used up."""
    close_slope = -rig.lip_gap_deltas[_MOUTH_CLOSE].mean()
    jaw_slope = rig.lip_gap_deltas[_JAW_OPEN].mean()
    closed = pose[:, _MOUTH_CLOSE] - change / close_slope
    pose[:, _MOUTH_CLOSE] = np.clip(closed, 0.0, 1.0)
    pose[:, _JAW_OPEN] += np.maximum(-closed, 0.0) * close_slope / jaw_slope
