"""Our articulation beside openfacefx (MIT) on the same phones and the same head.

pip install openfacefx==0.24.0        # for this comparison only; nothing in the project imports it
python benchmarks/performer_openfacefx.py

Both give ARKit curves at 100 Hz: openfacefx's viseme curves through its own ARKit preset, ours without emotion
(`at_rest`, average actor). With emotion: the emotion's part of a performance is added to theirs; ours is `perform`.
"""

import importlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from performer_closures import fits, lag_correlations
from timing import median_seconds, print_table

from deeptalk.corpus.performer import Acting, Performer, Phone, SpeechEvent
from deeptalk.corpus.performer.distribution import Choice
from deeptalk.corpus.performer.emotion import emotion_pose
from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, VOWELS
from deeptalk.corpus.performer.lips import CLOSURE_PHONES, TEETH_PHONES, lip_below_teeth
from deeptalk.corpus.performer.mouth import CONTROL_RATE, mouth_curves, vowel_slice
from deeptalk.corpus.performer.style import Style
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.face import CHANNELS

AVERAGE = Style(upper_gain=1.0, lower_gain=1.0, articulation_gain=1.0, emphasis=0.2, asymmetry=0.0)
ROUNDED, OPEN_TO_ROUNDING = ("UW", "W", "OW", "AO", "UH"), ("T", "D", "S", "K", "N", "L")
ROUNDING = [CHANNELS.index(name) for name in ("mouthPucker", "mouthFunnel")]
STRETCHES = (0.5, 2.0)

Articulate = Callable[[SpeechEvent], np.ndarray]


def main() -> None:
    """Measure and print."""
    performer, events = Performer.variant("standard"), demo_speech()[::2]
    ours, theirs = our_articulation(performer), openfacefx_articulation()
    acted = {id(event): replace(performer.draw(event, 1, seed=3)[0], style=AVERAGE) for event in events}

    def our_acted(event: SpeechEvent) -> np.ndarray:
        return performer.control_motion(event, acted[id(event)])

    def their_acted(event: SpeechEvent) -> np.ndarray:
        acting, mouth = acted[id(event)], mouth_curves(event, performer.parameters.mouth)
        emotion = emotion_pose(acting.choice, AVERAGE, acting.timing, event, mouth, performer.parameters.acting)
        pose = theirs(event)
        return np.clip(pose + emotion[: len(pose)], 0.0, 1.0)

    def row(what: str, measure: Callable[[Articulate], str], pair: tuple[Articulate, Articulate]) -> list[str]:
        return [what, *(measure(one) for one in pair)]

    plain, active = (ours, theirs), (our_acted, their_acted)
    rows = [
        row("/p b m/ closed, no emotion", lambda one: closed(performer, events, one), plain),
        row("/p b m/ closed, emotion active", lambda one: closed(performer, events, one), active),
        row("/f v/ within 1 mm of the teeth's edge", lambda one: meets_teeth(performer, events, one), plain),
        row("vowel opening at twice, half the rate / at rate 1", lambda one: rates(performer, events, one), plain),
        row("rounding of /t d s k n l/ before rounded, before other sounds", lambda one: rounding(events, one), plain),
        row("correlation of the jaw with the level; lag of the best", lambda one: timing(events, one), plain),
        row("articulation, x real time", lambda one: speed(events, one), plain),
    ]
    print_table(f"Articulation of {len(events)} clips", ["what", "ours", "openfacefx"], rows)


def our_articulation(performer: Performer) -> Articulate:
    """Ours, of an average actor at rest."""
    at_rest = performer.parameters.truth.readings[0]

    def articulate(event: SpeechEvent) -> np.ndarray:
        drawn = performer.draw(event, 1, seed=3)[0]
        return performer.control_motion(event, Acting(Choice(0, 0.0, at_rest), AVERAGE, drawn.timing, 0))

    return articulate


def openfacefx_articulation() -> Articulate:
    """Theirs: (control, channel)."""
    library, retarget = importlib.import_module("openfacefx"), importlib.import_module("openfacefx.retarget")
    visemes = importlib.import_module("openfacefx.visemes").VISEMES
    silence = importlib.import_module("openfacefx.phonemes").SILENCE
    matrix = np.zeros((len(visemes), len(CHANNELS)))
    for row, viseme in zip(matrix, visemes):
        for channel, weight in retarget._ARKIT.get(viseme, ()):
            row[CHANNELS.index(channel)] = weight

    def articulate(event: SpeechEvent) -> np.ndarray:
        segments = []
        for phone in event.phones:
            stress = str(phone.stress) if phone.symbol in VOWELS else ""
            name = silence if phone.symbol == SILENCE else phone.symbol + stress
            segments.append(library.PhonemeSegment(name, phone.start_seconds, phone.end_seconds))
        _, curves = library.build_viseme_curves(segments, fps=float(CONTROL_RATE))
        return np.clip(curves @ matrix, 0.0, 1.0)

    return articulate


def inside(phone: Phone) -> slice:
    """Control points within a phone."""
    return slice(int(np.ceil(phone.start_seconds * CONTROL_RATE)), int(phone.end_seconds * CONTROL_RATE) + 1)


def closed(performer: Performer, events: list[SpeechEvent], articulate: Articulate) -> str:
    """Share of closures with an instant at which all central pairs are closed."""
    found = []
    for event in events:
        gaps = performer.rig.lip_gap_neutral + articulate(event) @ performer.rig.lip_gap_deltas
        shut = fits(1e3 * gaps)
        found += [shut[inside(phone)].any() for phone in event.phones if phone.symbol in CLOSURE_PHONES]
    return f"{100 * np.mean(found):.0f} % of {len(found)}"


def meets_teeth(performer: Performer, events: list[SpeechEvent], articulate: Articulate) -> str:
    """Share of /f v/ with an instant at which the inner lower lip is near the edge of the upper teeth."""
    found = []
    for event in events:
        near = np.abs(lip_below_teeth(articulate(event), performer.rig)) <= 1e-3
        found += [near[inside(phone)].any() for phone in event.phones if phone.symbol in TEETH_PHONES]
    return f"{100 * np.mean(found):.0f} % of {len(found)}"


def rates(performer: Performer, events: list[SpeechEvent], articulate: Articulate) -> str:
    """Mean peak opening of vowels of speech played faster and slower, relative to that of the speech as it is."""
    means = []
    for stretch in (1.0, *STRETCHES):
        peaks = []
        for event in events[::2]:
            heard = stretched(event, stretch)
            gap = articulate(heard) @ performer.rig.lip_gap_deltas[:, 0]
            peaks += [gap[vowel_slice(phone)].max() for phone in heard.phones if phone.symbol in VOWELS]
        means.append(np.mean(peaks))
    return ", ".join(f"{mean / means[0]:.2f}" for mean in means[1:])


def stretched(event: SpeechEvent, factor: float) -> SpeechEvent:
    """The speech with all its phones this many times as long; its sound is interpolated, only its level is used."""
    count = round(len(event.samples) * factor)
    samples = np.interp(np.arange(count) / factor, np.arange(len(event.samples)), event.samples).astype(np.float32)
    phones = [replace(one, start_seconds=one.start_seconds * factor, end_seconds=one.end_seconds * factor)
              for one in event.phones]  # fmt: skip
    phones[-1] = replace(phones[-1], end_seconds=count / SAMPLE_RATE)
    return replace(event, samples=samples, phones=phones)


def rounding(events: list[SpeechEvent], articulate: Articulate) -> str:
    """Mean pucker and funnel in the middle of consonants that do not care, by what follows."""
    values: dict[bool, list[float]] = {True: [], False: []}
    for event in events:
        rounded = articulate(event)[:, ROUNDING].sum(1)
        for phone, following in zip(event.phones, event.phones[1:]):
            if phone.symbol in OPEN_TO_ROUNDING:
                values[following.symbol in ROUNDED].append(rounded[round(phone.middle_seconds * CONTROL_RATE)])
    return f"{np.mean(values[True]):.2f}, {np.mean(values[False]):.2f}"


def timing(events: list[SpeechEvent], articulate: Articulate) -> str:
    """Pooled correlation at 25 Hz at lag 0, and where it is largest."""
    pooled = np.mean(
        [
            lag_correlations(event, articulate(event)[2 : 4 * int(event.seconds * 25) : 4, CHANNELS.index("jawOpen")])
            for event in events
        ],
        axis=0,
    )
    middle = len(pooled) // 2
    return f"{pooled[middle]:.2f}; {40 * (int(pooled.argmax()) - middle)} ms"


def speed(events: list[SpeechEvent], articulate: Articulate) -> str:
    """Seconds of speech articulated in a second."""
    lap = median_seconds({"all": lambda: [articulate(event) for event in events[:20]]}, 1.0)["all"]
    return f"{sum(event.seconds for event in events[:20]) / lap:.0f}"


if __name__ == "__main__":
    main()
