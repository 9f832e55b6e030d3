"""Other pitch for a waveform, at the same speed and with the same formants: pitch-synchronous overlap-add.

TD-PSOLA after Moulines and Charpentier 1990, "Pitch-synchronous waveform processing techniques for text-to-speech
synthesis using diphones", Speech Communication 9(5/6): windows of two periods around pitch marks are added up again at
the wanted periods. F0 comes from pip `swift-f0`.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from deeptalk.corpus.performer.event import SAMPLE_RATE
from deeptalk.corpus.synthesis.movement import HIGHEST_F0_HERTZ, LOWEST_F0_HERTZ

if TYPE_CHECKING:
    from swift_f0 import SwiftF0

DETECTED_HERTZ = (55.0, 600.0)
VOICED_CONFIDENCE = 0.5
UNVOICED_STEP = SAMPLE_RATE // 200
"""Samples between the marks of unvoiced parts, which are put back where they were."""
_SHORTEST_VOICED_FRAMES = 3

F0Edit = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(log F0 (frame,), voiced (frame,) bool) -> log F0 (frame,)."""


@functools.lru_cache(maxsize=1)
def _detector() -> "SwiftF0":
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1, spin=False)


def track(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times in samples, log F0 and whether voiced, (frame,) each; log F0 is interpolated where unvoiced."""
    found = _detector().detect(samples, SAMPLE_RATE, fmin=DETECTED_HERTZ[0], fmax=DETECTED_HERTZ[1])
    voiced = _without_blips(np.asarray(found.confidence) > VOICED_CONFIDENCE)
    places = np.asarray(found.timestamps) * SAMPLE_RATE
    if not voiced.any():
        return places, np.full(len(places), np.log(100.0)), voiced
    log_f0 = np.interp(places, places[voiced], np.log(np.asarray(found.pitch_hz)[voiced]))
    return places, log_f0, voiced


def _without_blips(voiced: np.ndarray) -> np.ndarray:
    kept = voiced.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(int), [0]])))
    for start, end in edges.reshape(-1, 2):
        if end - start < _SHORTEST_VOICED_FRAMES:
            kept[start:end] = False
    return kept


def with_pitch(samples: np.ndarray, edit: F0Edit) -> np.ndarray:
    """The samples (sample,) with the F0 that `edit` makes of theirs, held within 55..760 Hz."""
    places, log_f0, voiced = track(samples)
    if not voiced.any():
        return samples
    wanted = np.clip(edit(log_f0, voiced), np.log(LOWEST_F0_HERTZ), np.log(HIGHEST_F0_HERTZ))
    every = np.arange(len(samples))
    period = SAMPLE_RATE / np.exp(np.interp(every, places, log_f0))
    wanted_period = SAMPLE_RATE / np.exp(np.interp(every, places, wanted))
    is_voiced = np.interp(every, places, voiced.astype(float)) > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_voiced.astype(int), [0]]))).reshape(-1, 2)
    source, target = _marks(samples, edges, period, wanted_period)
    return _overlap_add(samples, source, target)


def _marks(
    samples: np.ndarray, segments: np.ndarray, period: np.ndarray, wanted_period: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (source mark, target mark), in samples: what stands around the source is put around the target."""
    source: list[int] = []
    target: list[int] = []
    place = 0

    def copy_until(end: int) -> None:
        for mark in range(place, end, UNVOICED_STEP):
            source.append(mark)
            target.append(mark)

    for start, end in segments:
        copy_until(int(start))
        marks = _pitch_marks(samples, int(start), int(end), period)
        middles = 0.5 * (marks[1:] + marks[:-1])
        at = float(marks[0])
        while at < end:
            nearest = int(marks[np.searchsorted(middles, at)])
            source.append(nearest)
            target.append(round(at))
            at += float(wanted_period[min(round(at), len(wanted_period) - 1)])
        place = target[-1] + UNVOICED_STEP
    copy_until(len(samples))
    return np.asarray(source), np.asarray(target)


def _pitch_marks(samples: np.ndarray, start: int, end: int, period: np.ndarray) -> np.ndarray:
    """Marks one period apart (mark,), from the highest peak outwards: where the waveform is most like at the last."""
    inner = samples[start:end]
    first = start + int(np.abs(inner).argmax())
    forward, backward = [first], []
    while (mark := _next_mark(samples, forward[-1], period, 1)) < end:
        forward.append(mark)
    mark = first
    while (mark := _next_mark(samples, mark, period, -1)) >= start:
        backward.append(mark)
    return np.asarray([*reversed(backward), *forward])


def _next_mark(samples: np.ndarray, mark: int, period: np.ndarray, direction: int) -> int:
    length = float(period[min(max(mark, 0), len(period) - 1)])
    half, reach = round(0.5 * length), max(round(0.18 * length), 1)
    guess = mark + direction * round(length)
    low = guess - reach - half
    if mark - half < 0 or mark + half > len(samples) or low < 0 or guess + reach + half > len(samples):
        return guess
    template = samples[mark - half : mark + half]
    found = np.correlate(samples[low : guess + reach + half], template, mode="valid")
    found = found * (1.0 - 0.3 * (np.abs(np.arange(len(found)) - reach) / reach) ** 2) if found.max() > 0 else found
    return guess - reach + int(found.argmax())


def _overlap_add(samples: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Add up windows between neighbouring marks; where source and target marks agree, what was there comes back."""
    source_gaps, target_gaps = np.diff(source), np.diff(target)
    out = np.zeros(len(samples) + 2 * SAMPLE_RATE // 10, np.float64)
    pad = SAMPLE_RATE // 10
    padded = np.pad(samples.astype(np.float64), pad)
    for number, (here, there) in enumerate(zip(source, target)):
        left = _width(source_gaps, target_gaps, number - 1)
        right = _width(source_gaps, target_gaps, number)
        window = np.concatenate([_rise(left), _rise(right)[::-1]])
        out[there + pad - left : there + pad + right] += window * padded[here + pad - left : here + pad + right]
    return out[pad:-pad].astype(np.float32)


def _width(source_gaps: np.ndarray, target_gaps: np.ndarray, gap: int) -> int:
    """Half a window: the shorter of the two distances, so that raised pitch does not pile windows up."""
    if not 0 <= gap < len(target_gaps):
        return UNVOICED_STEP
    wanted = int(target_gaps[gap])
    own = int(source_gaps[gap])
    return max(min(wanted, own) if own > 0 else wanted, 1)


@functools.lru_cache(maxsize=2048)
def _rise(length: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
