"""What the voices do, engine by engine: speed, phone times against an aligner, and what each affect setting changes.

    python benchmarks/bench_voices.py [--clips 40] [--engines hibari,joe,praat,flite]

Needs the extras voice, voice-gpl, align and the program flite for their rows. Prints Markdown tables (docs/voices.md).
"""

import argparse
import sys
import time
from dataclasses import replace

import numpy as np
import swift_f0

from deeptalk.corpus.alignment import align
from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, VOWELS, SpeechEvent
from deeptalk.corpus.sentences import load_sentences
from deeptalk.corpus.synthesis import speak, synthesize, voices_of
from deeptalk.corpus.synthesis.plan import SpeechPlan, plan_speech
from deeptalk.errors import UserError

NEUTRAL = AffectCode(0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)
SETTINGS = (
    {"pitch_semitones": 6.0},
    {"pitch_semitones": -3.0},
    {"pitch_range_factor": 1.6},
    {"pitch_range_factor": 0.6},
    {"rate_factor": 0.8},
    {"rate_factor": 1.25},
    {"level_decibels": 8.0},
    {"breath_decibels": 6.0},
    {"tilt_decibels_per_octave": 1.5},
    {"tilt_decibels_per_octave": -1.5},
)
STOPS = ("P", "T", "K")
SENTENCES_PER_SETTING = 6


def decibels(samples: np.ndarray) -> float:
    """Mean power in dB relative to full scale."""
    return float(10.0 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12))


def planned(engine: str, clips: int) -> list[SpeechPlan]:
    """Lines of one engine, each with another sentence, in training's voices (test's for the unseen engine)."""
    if engine == "flite":
        lines = plan_speech(clips=20 * clips, unseen_share=1.0, affects_per_sentence=1)
        return [line for line in lines if line.split == "test"][:clips]
    return plan_speech(clips=2 * clips + 10, shares={engine: 1.0}, affects_per_sentence=1)[:clips]


def speed(engine: str, clips: int) -> tuple[list[SpeechEvent], float]:
    """Speech and its seconds for each second of one core."""
    lines = planned(engine, clips)
    speak(lines[0])  # loads the engine
    start = time.process_time() + children_seconds()
    events = [speak(line) for line in lines]
    return events, sum(event.seconds for event in events) / (time.process_time() + children_seconds() - start)


def children_seconds() -> float:
    """Processor seconds of finished child processes."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def level_ratios(events: list[SpeechEvent]) -> dict[str, float]:
    """Level of vowels, voiceless stops and silences relative to the spoken part of their clip, dB, medians."""
    found: dict[str, list[float]] = {"vowels": [], "stops": [], "silences": []}
    for event in events:
        first, last = (round(t * SAMPLE_RATE) for t in (event.phones[0].end_seconds, event.phones[-1].start_seconds))
        whole = decibels(event.samples[first:last])
        for phone in event.phones:
            kind = "vowels" if phone.symbol in VOWELS else "stops" if phone.symbol in STOPS else "silences"
            if phone.symbol in (*VOWELS, *STOPS, SILENCE):
                part = event.samples[round(phone.start_seconds * SAMPLE_RATE) : round(phone.end_seconds * SAMPLE_RATE)]
                found[kind].append(decibels(part) - whole)
    return {kind: float(np.median(values)) for kind, values in found.items()}


def boundary_errors(events: list[SpeechEvent]) -> tuple[np.ndarray, int]:
    """Starts of equal phones in the engine's times less those of the aligner, seconds; and clips that did not align."""
    from difflib import SequenceMatcher

    errors: list[float] = []
    failed = 0
    for event in events:
        try:
            aligned = [phone for phone in align(event.samples, event.text) if phone.symbol != SILENCE]
        except UserError:
            failed += 1
            continue
        own = [phone for phone in event.phones if phone.symbol != SILENCE]
        matcher = SequenceMatcher(None, [p.symbol for p in own], [p.symbol for p in aligned], autojunk=False)
        for block in matcher.get_matching_blocks():
            for here, there in zip(own[block.a : block.a + block.size], aligned[block.b : block.b + block.size]):
                errors.append(here.start_seconds - there.start_seconds)
    return np.asarray(errors), failed


def heard(detector: swift_f0.SwiftF0, event: SpeechEvent) -> dict[str, float]:
    """What an ear would measure: F0 in semitones, its spread, spoken seconds, level, tilt, noise at 2 to 4 kHz."""
    found = detector.detect(event.samples, SAMPLE_RATE, fmin=50, fmax=800)
    semitones = 12.0 * np.log2(found.pitch_hz[found.confidence > 0.6])
    begin, end = event.phones[0].end_seconds, event.phones[-1].start_seconds
    spoken = event.samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    power = np.abs(np.fft.rfft(spoken)) ** 2
    hertz = np.fft.rfftfreq(len(spoken), 1.0 / SAMPLE_RATE)

    def band(low: float, high: float) -> float:
        return float(10.0 * np.log10(power[(hertz >= low) & (hertz < high)].sum() + 1e-12))

    rests = sum(p.end_seconds - p.start_seconds for p in event.phones[1:-1] if p.symbol == SILENCE)
    return {
        "F0, st": float(semitones.mean()),
        "F0 spread, st": float(semitones.std()),
        "spoken, s": end - begin - rests,
        "level, dB": decibels(spoken),
        "1-5 kHz less below 1 kHz, dB": band(1000, 5000) - band(50, 1000),
        "peak": float(np.abs(event.samples).max()),
    }


def realised(engine: str) -> str:
    """A row for each setting: what changes, as a mean over two voices."""
    detector = swift_f0.SwiftF0(threads=1, spin=False)
    voices = voices_of(engine)[:: max(len(voices_of(engine)) // 2, 1)][:2]
    texts = [s.text for s in load_sentences() if "," not in s.text][:SENTENCES_PER_SETTING]

    def measured(affect: AffectCode) -> dict[str, float]:
        rows = [heard(detector, synthesize(text, affect, voice, 3)) for voice in voices for text in texts]
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    base = measured(NEUTRAL)
    lines = [
        f"\n{engine} ({', '.join(voice.name for voice in voices)})\n",
        "| setting | F0, st | F0 spread | rate | level, dB | 1-5 kHz over below 1 kHz, dB | peak |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for setting in SETTINGS:
        now = measured(replace(NEUTRAL, **setting))
        name, value = next(iter(setting.items()))
        lines.append(
            f"| {name} {value:g} | {now['F0, st'] - base['F0, st']:+.1f} "
            f"| x {now['F0 spread, st'] / base['F0 spread, st']:.2f} | x {base['spoken, s'] / now['spoken, s']:.2f} "
            f"| {now['level, dB'] - base['level, dB']:+.1f} "
            f"| {now['1-5 kHz less below 1 kHz, dB'] - base['1-5 kHz less below 1 kHz, dB']:+.1f} | {now['peak']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--engines", default="hibari,joe,praat,flite")
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    say = sys.stdout.write
    say("| engine | x real time on one core | vowels, stops, silences, dB | phone starts less the aligner's, ms: ")
    say("median, 50 %, 90 % of the sizes | phones compared | not aligned |\n| --- | --- | --- | --- | --- | --- |\n")
    for engine in engines:
        events, factor = speed(engine, arguments.clips)
        levels = ", ".join(f"{value:+.1f}" for value in level_ratios(events).values())
        errors, failed = boundary_errors(events)
        middle, half, most = 1000 * np.array(
            [np.median(errors), np.median(np.abs(errors)), np.percentile(np.abs(errors), 90)]
        )
        say(
            f"| {engine} | {factor:.1f} | {levels} | {middle:+.0f}, {half:.0f}, {most:.0f} | {len(errors)} | "
            f"{failed} of {len(events)} |\n"
        )
        sys.stdout.flush()
    for engine in engines:
        say(realised(engine) + "\n")


if __name__ == "__main__":
    main()
