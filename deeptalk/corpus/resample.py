"""Resampling of motion between frame rates in which every closing of the lips survives.

A closure lasts one or two frames of 25 Hz. A low-pass filter opens it, and so does a plain interpolation whose instants
fall beside it: both average the closed frame with its open neighbours. Here each target frame still shows one instant
of the source, but where the lips close and open again within the time of a frame, it shows the instant at which they
are closest: at most half a frame from its own.
"""

import numpy as np
from jaxtyping import Float, Float32
from scipy.interpolate import PchipInterpolator
from scipy.signal import find_peaks

from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, LinearRig, load_rig

LEAST_CLOSING_METRES = 0.0002
"""Lips that come nearer by less than this before they part again do not close: it is noise of the recording."""
SAME_GAP_METRES = 0.00002
"""A frame that shows the lips this near to the closest stays where it is."""


def resample_motion(
    motion: Float32[np.ndarray, "source_frame channel"],
    source_rate: float,
    target_rate: float,
    frames: int | None = None,
    *,
    times: Float[np.ndarray, " _"] | None = None,
    lip_gap_metres: Float[np.ndarray, " _"] | None = None,
) -> Float32[np.ndarray, "frame channel"]:
    """Motion at another frame rate; target frame j shows the source about the instant (j + 0.5) / target_rate seconds.

    Between source frames the curves are monotone cubics (Fritsch and Carlson 1980), which never leave the range of the
    two frames around: no coefficient overshoots, and the least lip gaps are those of source frames. Instants before
    the first or after the last source frame take that frame.

    Args:
        motion: frames of the source; axis-angle channels are interpolated as they are, which small rotations allow.
        source_rate: frames a second of the source.
        target_rate: frames a second wanted.
        frames: how many; None gives the source's duration times the target rate, rounded half up.
        times: seconds at which the source frames lie, rising, where they are not (j + 0.5) / source_rate.
        lip_gap_metres: the distance of the lips in every source frame; None takes that of the built-in head, for
            motion of the 52 ARKit channels.

    Raises UserError where rates, times or shapes make no sense, a value is NaN or infinite, or `frames` would go more
    than one frame beyond the source.
    """
    _check(motion, source_rate, target_rate, times)
    if times is None:
        times = (np.arange(len(motion)) + 0.5) / source_rate
    seconds = float(times[-1]) + 0.5 / source_rate
    count = max(1, int(np.floor(seconds * target_rate + 0.5))) if frames is None else frames
    if count < 1 or count / target_rate > seconds + 1.0 / min(source_rate, target_rate):
        raise UserError(
            f"{count} frames at {target_rate:g} frames a second asked of motion that lasts {seconds:.2f} s; ask for at "
            f"least 1 and at most {int(seconds * target_rate) + 1}."
        )
    if len(motion) == 1:
        return np.repeat(motion, count, axis=0)
    instants = (np.arange(count) + 0.5) / target_rate
    gap = arkit_lip_gap(motion) if lip_gap_metres is None else lip_gap_metres
    if gap.shape != (len(motion),):
        raise UserError(f"lip_gap_metres has shape {gap.shape} for {len(motion)} source frames; give one a frame.")
    if source_rate != target_rate or not np.allclose(np.diff(times), 1.0 / source_rate, atol=1e-6):
        move_to_closings(instants, gap, times, times * target_rate)
    curves = PchipInterpolator(times, motion.astype(np.float64), axis=0)
    return curves(np.clip(instants, times[0], times[-1])).astype(np.float32)


def closings(gap_metres: Float[np.ndarray, " frame"]) -> np.ndarray:
    """Frames (closing,) in which the lips are nearest before they part again, by at least `LEAST_CLOSING_METRES`."""
    # With open lips before the start and after the end, a clip that begins or ends closed counts too.
    padded = np.concatenate([[np.inf], gap_metres, [np.inf]])
    found, _ = find_peaks(-np.minimum(padded, 1.0), prominence=LEAST_CLOSING_METRES)
    return found - 1


def arkit_lip_gap(
    motion: Float32[np.ndarray, "frame channel"], rig: LinearRig | None = None
) -> Float[np.ndarray, " frame"]:
    """Signed gap in metres of the central lip pair that is widest apart, on the built-in head unless a rig is given.

    Raises UserError where the motion has other channels.
    """
    if rig is None and motion.shape[1] != len(CHANNELS):
        raise UserError(
            f"Motion of {motion.shape[1]} channels is not of the 52 ARKit channels; give lip_gap_metres (frame,), the "
            "distance of the lips on its own rig."
        )
    rig = rig or load_rig("arkit")
    return (rig.lip_gap_neutral + motion.astype(np.float64) @ rig.lip_gap_deltas).max(axis=1)


def move_to_closings(
    instants: Float[np.ndarray, " frame"],
    gap_metres: Float[np.ndarray, " source_frame"],
    times: Float[np.ndarray, " source_frame"],
    target_places: Float[np.ndarray, " source_frame"],
) -> None:
    """Move each instant, in place, to the tightest closing within the time of its frame, if it does not show it.

    Args:
        instants: time in the source that each target frame shows; changed.
        gap_metres: distance of the lips in every source frame.
        times: when the source frames are.
        target_places: where they lie in the target, in frames: frame j is from j to j + 1.
    """
    closed = closings(gap_metres)
    closed = closed[np.argsort(-gap_metres[closed], kind="stable")]  # the tightest comes last and stays
    frames = np.floor(target_places[closed]).astype(np.int64)
    closed, frames = closed[frames < len(instants)], frames[frames < len(instants)]
    is_lost = np.interp(instants[frames], times, gap_metres) > gap_metres[closed] + SAME_GAP_METRES
    instants[frames[is_lost]] = times[closed[is_lost]]


def _check(motion: np.ndarray, source_rate: float, target_rate: float, times: np.ndarray | None) -> None:
    if not (0 < source_rate < np.inf and 0 < target_rate < np.inf):
        raise UserError(f"Frame rates {source_rate} and {target_rate}; expected numbers above 0.")
    if not len(motion) or not np.isfinite(motion).all():
        raise UserError(f"Motion of shape {motion.shape} has no frames, or holds NaN or infinity; leave it out.")
    if times is None:
        return
    if times.shape != (len(motion),) or not np.isfinite(times).all() or (np.diff(times) <= 0).any() or times[0] < 0:
        raise UserError(f"{times.size} times for {len(motion)} frames; expected one a frame, rising, from 0 on.")
