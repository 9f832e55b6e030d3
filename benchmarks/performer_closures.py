"""Does the performer's mouth close at /p b m/, meet the teeth at /f v/, rest in pauses, and keep time with the sound?

python benchmarks/performer_closures.py                       # 504 performances of the vendored speech
python benchmarks/performer_closures.py --corpus FOLDER       # speech of a corpus
python benchmarks/performer_closures.py --variant judge

A closure counts where the signed gap of all named central lip pairs lies within -1 to 0.5 mm: at some 100 Hz instant
inside the phone, and at one of the three 25 Hz frames around its middle. Emotion is active throughout: every
performance draws its emotion, intensity and reading.

The lag of the jaw behind the level of the sound is that of the greatest correlation, up to 8 frames either way. A clip
of 2 to 3 s has a dozen syllables, 4 or 5 frames apart, so another syllable may fit a little better than the right one;
of lags whose correlations are nearly the greatest, `deeptalk corpus inspect` takes the smallest; both are printed. The
lips say it without such doubt: when are they nearest to each other, seen from the middle of the closure?
"""

import argparse
from collections.abc import Iterator
from itertools import islice

import numpy as np
from timing import print_table

from deeptalk.corpus.inspect_sound import frame_levels, lag_curve
from deeptalk.corpus.performer import Acting, Performer, SpeechEvent
from deeptalk.corpus.performer.lips import CLOSURE_PHONES, TEETH_PHONES, lip_below_teeth
from deeptalk.corpus.performer.mouth import CONTROL_RATE, control_points, loudness_decibels, rest_curve
from deeptalk.emotions import EMOTIONS
from deeptalk.face import CHANNELS

FRAME_RATE = 25
LEAST_MILLIMETRES, GREATEST_MILLIMETRES = -1.0, 0.5
TEETH_MILLIMETRES = 1.0
LARGEST_LAG_FRAMES = 8
FLOOR_DECIBELS = -55.0
AROUND_SECONDS = 0.06
"""The least gap of a closure is looked for so much before and after the phone."""
NEARLY_LEAST_MILLIMETRES = 0.05


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="folder of a corpus; the vendored speech unless given")
    parser.add_argument("--performances", type=int, default=504)
    parser.add_argument("--variant", default="standard")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    performer = Performer.variant(arguments.variant)
    counts: dict[str, list[bool]] = {"control": [], "frames": [], "teeth": []}
    rests: dict[str, list[float]] = {"neutral": [], "calm": [], "other": []}
    lags, inspected, emotions, pooled = [], [], [], np.zeros(2 * LARGEST_LAG_FRAMES + 1)
    late: list[float] = []
    for event, acting in islice(cast(performer, arguments.corpus, arguments.seed), arguments.performances):
        control, motion = performer.control_motion(event, acting), performer.perform(event, acting).motion
        closures(performer, event, control, motion, counts)
        late += closing_delays(performer, event, control)
        name = EMOTIONS[acting.choice.emotion]
        emotions.append(name)
        rests[name if name in rests else "other"] += rest_openings(performer, event, control)
        jaw = motion[:, CHANNELS.index("jawOpen")]
        correlations = lag_correlations(event, jaw)
        pooled += correlations / arguments.performances
        lags.append(int(correlations.argmax()) - LARGEST_LAG_FRAMES)
        curve = lag_curve("", jaw.astype(np.float64), frame_levels(event.samples, len(jaw)))
        inspected += [] if curve is None else [curve.lag(near=0.0)]
    rows = [
        ["performances, version", f"{len(lags)}, {performer.version}"],
        ["emotions acted", ", ".join(f"{name} {emotions.count(name)}" for name in EMOTIONS)],
        ["closures /p b m/ closed at a 100 Hz instant inside", share(counts["control"])],
        ["closures /p b m/ closed at the nearest 25 Hz frame +-1", share(counts["frames"])],
        [f"/f v/ with the lower lip within {TEETH_MILLIMETRES:g} mm of the teeth's edge", share(counts["teeth"])],
        *([f"gap at rest, {name}: median, 95th percentile", quantiles(gaps)] for name, gaps in rests.items()),
        ["lag of the jaw behind the level, pooled", f"{lag_text(int(pooled.argmax()) - LARGEST_LAG_FRAMES)}"],
        ["clips whose own lag is within one frame", share([abs(lag) <= 1 for lag in lags])],
        ["the same by the measure of `corpus inspect`", share([abs(lag) <= 1 for lag in inspected])],
        ["lips nearest within one frame of the middle of /p b m/", share([abs(delay) <= 0.04 for delay in late])],
        ["lips nearest, less that middle: 5th, 50th, 95th percentile", delays_text(late)],
        ["correlation of jaw and level, pooled, at lag 0", f"{pooled[LARGEST_LAG_FRAMES]:.2f}"],
    ]
    print_table("The performer's mouth", ["what", "found"], rows)


def cast(performer: Performer, corpus: str | None, seed: int) -> Iterator[tuple[SpeechEvent, Acting]]:
    """Speech with a draw of what is acted, endlessly: each round over the speech takes another draw."""
    events = list(speech(corpus))
    for place in range(1000):
        for event in events:
            yield event, performer.draw(event, place + 1, seed=seed)[-1]


def speech(corpus: str | None) -> Iterator[SpeechEvent]:
    """Speech with known affect of a corpus, or the vendored speech."""
    if corpus is None:
        from deeptalk.corpus.synthesis import demo_speech

        yield from demo_speech()
        return
    from deeptalk.corpus import Corpus

    opened = Corpus.open(corpus)
    yield from (event for event in map(opened.event, range(len(opened.speech))) if event.affect is not None)


def closures(
    performer: Performer, event: SpeechEvent, control: np.ndarray, motion: np.ndarray, counts: dict[str, list[bool]]
) -> None:
    """Add to the counts what every closure and every /f v/ of a performance does."""
    rig = performer.rig
    closed_at, closed_frames = (
        fits(1e3 * (rig.lip_gap_neutral + pose @ rig.lip_gap_deltas)) for pose in (control, motion)
    )
    below = 1e3 * lip_below_teeth(control, rig)
    for phone in event.phones:
        inside = slice(int(np.ceil(phone.start_seconds * CONTROL_RATE)), int(phone.end_seconds * CONTROL_RATE) + 1)
        if phone.symbol in CLOSURE_PHONES:
            nearest = int(phone.middle_seconds * FRAME_RATE)
            counts["control"].append(bool(closed_at[inside].any()))
            counts["frames"].append(bool(closed_frames[max(nearest - 1, 0) : nearest + 2].any()))
        elif phone.symbol in TEETH_PHONES:
            counts["teeth"].append(bool((np.abs(below[inside]) <= TEETH_MILLIMETRES).any()))


def closing_delays(performer: Performer, event: SpeechEvent, control: np.ndarray) -> list[float]:
    """Seconds from the middle of every /p b m/ to the instant at which the widest gap of the lips is least."""
    gaps = 1e3 * (performer.rig.lip_gap_neutral + control @ performer.rig.lip_gap_deltas).max(axis=1)
    times, delays = np.arange(len(gaps)) / CONTROL_RATE, []
    for phone in event.phones:
        if phone.symbol in CLOSURE_PHONES:
            near = (times >= phone.start_seconds - AROUND_SECONDS) & (times <= phone.end_seconds + AROUND_SECONDS)
            least = near & (gaps <= gaps[near].min() + NEARLY_LEAST_MILLIMETRES)
            delays.append(float(times[least].mean() - phone.middle_seconds))
    return delays


def fits(millimetres: np.ndarray) -> np.ndarray:
    """Whether all pairs (instant, pair) are closed and none is through the other."""
    return ((millimetres >= LEAST_MILLIMETRES) & (millimetres <= GREATEST_MILLIMETRES)).all(axis=1)


def rest_openings(performer: Performer, event: SpeechEvent, control: np.ndarray) -> list[float]:
    """Widest gap in millimetres at every control point where the mouth is to rest."""
    times = control_points(event)
    resting = rest_curve(event.phones, times, performer.parameters.mouth.rest_seconds) > 0.999
    gaps = performer.rig.lip_gap_neutral + control[resting & (times < event.seconds)] @ performer.rig.lip_gap_deltas
    return (1e3 * gaps.max(axis=1)).tolist() if len(gaps) else []


def lag_correlations(event: SpeechEvent, jaw: np.ndarray) -> np.ndarray:
    """Correlation (lag,) of the jaw with the level so many frames before; frames are compared at the same instants."""
    points = (np.arange(len(jaw)) + 0.5) / FRAME_RATE
    level = loudness_decibels(event.samples, int(np.ceil(event.seconds * CONTROL_RATE)) + 4)
    loud = np.maximum(np.interp(points, np.arange(len(level)) / CONTROL_RATE, level), FLOOR_DECIBELS)
    found = []
    for lag in range(-LARGEST_LAG_FRAMES, LARGEST_LAG_FRAMES + 1):
        late, early = (jaw[lag:], loud[: len(loud) - lag]) if lag >= 0 else (jaw[:lag], loud[-lag:])
        found.append(np.corrcoef(late, early)[0, 1])
    return np.array(found)


def share(values: list[bool]) -> str:
    """`95.0 % (19 of 20)`."""
    return f"{100 * np.mean(values):.1f} % ({sum(values)} of {len(values)})"


def quantiles(millimetres: list[float]) -> str:
    """Median and 95th percentile."""
    if not millimetres:
        return "no rests"
    return f"{np.median(millimetres):.2f} mm, {np.percentile(millimetres, 95):.2f} mm"


def delays_text(seconds: list[float]) -> str:
    """Three percentiles in milliseconds."""
    return ", ".join(f"{1000 * value:+.0f}" for value in np.percentile(seconds, [5, 50, 95])) + " ms"


def lag_text(frames: int) -> str:
    """Frames and milliseconds."""
    return f"{frames} frames ({1000 * frames / FRAME_RATE:.0f} ms)"


if __name__ == "__main__":
    main()
