"""Recorded motion made fit for a corpus: every defect is either mended within named limits and noted, or refused."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from deeptalk.corpus.importers.importer import Note, Refusal
from deeptalk.corpus.resample import resample_motion
from deeptalk.speech import FRAME_RATE, SAMPLE_RATE, frame_count

SMALL_EXCESS = 0.05
"""Coefficients so far outside 0..1 are set to the limit and counted; ARKit itself gives 1.003."""
ROUNDING = 1e-6
LONGEST_GAP_SECONDS = 0.25
"""Missing frames are bridged up to here; nobody knows what the mouth did in a longer gap."""
LARGEST_DIFFERENCE_SECONDS = 1.0
"""Sound and motion that differ by more in length do not belong together."""
COMMON_RATES = (24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0, 100.0, 120.0)
SAMPLES_PER_FRAME = round(SAMPLE_RATE / FRAME_RATE)


def bridged(
    motion: Float32[np.ndarray, "frame channel"],
    seconds: Float[np.ndarray, " frame"],
    frame_rate: float,
    notes: list[Note],
) -> tuple[np.ndarray, np.ndarray]:
    """Frames that are finite and go forwards in time, and when they are, from the start of the recording.

    The gaps are left to the resampling, which interpolates. Raises Refusal for a gap over `LONGEST_GAP_SECONDS`.
    """
    if not len(motion):
        raise Refusal("no frames", "it holds no frames.")
    finite = np.isfinite(motion).all(axis=1)
    forwards = np.diff(np.maximum.accumulate(seconds), prepend=-np.inf) > 0
    step = 1.0 / frame_rate
    for good, kind, text in (
        (finite, "frames with NaN bridged", "hold NaN or infinity"),
        (forwards, "repeated frames dropped", "repeat the time of an earlier one"),
    ):
        if not good.all():
            first = int(np.flatnonzero(~good)[0])
            notes.append(Note(kind, f"{np.count_nonzero(~good)} frames {text}, the first is frame {first}"))
    kept = np.flatnonzero(finite & forwards)
    if not kept.size:
        raise Refusal("NaN", f"all {len(motion)} frames hold NaN or infinity.")
    times = seconds[kept] - seconds[0]
    gaps = np.diff(np.concatenate([[-step], times, [max(seconds) - seconds[0] + step]])) - step
    longest = float(gaps.max())
    if longest > LONGEST_GAP_SECONDS:
        place = kept[min(int(gaps.argmax()), len(kept) - 1)]
        kind = "NaN" if not finite.all() else "frames missing"
        raise Refusal(
            kind, f"{longest:.2f} s of motion are missing before frame {place}; cut it there, or record again."
        )
    missing = round(float(gaps[gaps > 0.5 * step].sum()) / step) - int(np.count_nonzero(~finite))
    if missing > 0:
        notes.append(Note("missing frames bridged", f"{missing} frames are missing by the timecodes: interpolated"))
    return motion[kept], times + 0.5 * step


def limited(
    values: Float32[np.ndarray, "frame channel"], names: Sequence[str], notes: list[Note]
) -> Float32[np.ndarray, "frame channel"]:
    """Coefficients in 0..1: a small excess is set to the limit and noted, a large one refused. NaN stays NaN."""
    excess = np.nan_to_num(np.maximum(values - 1.0, -values), nan=-1.0)
    worst = float(excess.max(initial=-1.0))
    if worst <= 0.0:
        return values
    frame, channel = divmod(int(excess.argmax()), excess.shape[1])
    place = f"{names[channel]} is {values[frame, channel]:.4f} at frame {frame}"
    if worst > SMALL_EXCESS:
        hint = " If they are percent, divide them by 100." if np.nanmax(values) > 5.0 else ""
        raise Refusal("out of range", f"{place}; expected 0..1.{hint}")
    if worst > ROUNDING:
        count = int(np.count_nonzero(excess > ROUNDING))
        notes.append(Note("values set to 0 or 1", f"{count} values lie outside 0..1, the worst: {place}"))
    return np.clip(values, 0.0, 1.0)


def at_corpus_rate(
    motion: Float32[np.ndarray, "frame channel"],
    times: Float[np.ndarray, " frame"],
    frame_rate: float,
    samples: Float32[np.ndarray, " sample"] | None,
    notes: list[Note],
) -> tuple[np.ndarray | None, np.ndarray]:
    """Samples and motion of one length, the motion at 25 Hz with its closures kept.

    Where both are there, the longer is cut to the shorter. Raises Refusal where they differ by over a second, or as
    they would if the frame rate were another.
    """
    motion_seconds = float(times[-1]) + 0.5 / frame_rate
    frames = max(1, round(motion_seconds * FRAME_RATE))
    if samples is not None:
        _check_lengths(len(samples) / SAMPLE_RATE, motion_seconds, frame_rate)
        difference = len(samples) / SAMPLE_RATE - motion_seconds
        if difference > 0.5 / FRAME_RATE:
            samples = samples[: frames * SAMPLES_PER_FRAME]
            notes.append(Note("sound cut to its motion", f"the sound ran on for {difference:.3f} s"))
        elif -difference > 0.5 / FRAME_RATE:
            notes.append(Note("motion cut to its sound", f"the motion ran on for {-difference:.3f} s"))
        frames = frame_count(len(samples))
    return samples, resample_motion(motion, frame_rate, FRAME_RATE, frames, times=times)


def _check_lengths(sound_seconds: float, motion_seconds: float, frame_rate: float) -> None:
    difference = abs(sound_seconds - motion_seconds)
    if difference <= 0.1:
        return
    lengths = (
        f"its motion lasts {motion_seconds:.2f} s at {frame_rate:g} frames a second, its sound {sound_seconds:.2f} s"
    )
    others = [rate for rate in COMMON_RATES if abs(rate - frame_rate) > 0.02 * frame_rate]
    likely = min(others, key=lambda rate: abs(motion_seconds * frame_rate / rate - sound_seconds))
    if abs(motion_seconds * frame_rate / likely - sound_seconds) < 1.5 / likely:
        raise Refusal("wrong frame rate", f"{lengths}; at {likely:g} frames a second they would fit: correct its rate.")
    if difference > LARGEST_DIFFERENCE_SECONDS:
        raise Refusal("lengths differ", f"{lengths}; cut both to the same start and end, or give the right sound.")


def cuts(samples: Float32[np.ndarray, " sample"], frames: int, longest_seconds: float) -> Sequence[tuple[int, int]]:
    """Parts (first frame, end frame) of at most so many seconds, cut where the sound is quietest; 0 cuts nothing.

    A part is at least half as long, the last one a quarter. Frames begin at whole multiples of 640 samples, so sound
    and motion stay together.
    """
    longest = int(longest_seconds * FRAME_RATE)
    if longest < 2 or frames <= longest:
        return [(0, frames)]
    whole = np.resize(np.append(samples, np.zeros(SAMPLES_PER_FRAME, np.float32)), frames * SAMPLES_PER_FRAME)
    power = (whole.reshape(frames, SAMPLES_PER_FRAME) ** 2).mean(axis=1)
    loudness = np.convolve(power, np.ones(5) / 5, mode="same")  # a pause, not the closure of a stop
    edges = [0]
    while frames - edges[-1] > longest:
        first = edges[-1] + longest // 2
        last = min(edges[-1] + longest, frames - longest // 4)
        edges.append(first + int(loudness[first:last].argmin()))
    edges.append(frames)
    return list(itertools.pairwise(edges))
