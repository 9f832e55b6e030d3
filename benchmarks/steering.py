"""Does steering do what it says? Asks a bundle for emotions in every way there is and lets a judge look at the takes.

    python benchmarks/steering.py --corpus out/demo/corpus out/demo/talker/bundle

The judge is a logistic regression from mean and deviation of each channel in windows of one second, trained on the true
performances of the training split; it never sees DEE. Recordings are sentences of the split measured, one after the
other. `share of the way` is where a take lies between takes of the two ends on the judge's log-odds of one emotion
against the other, at the same seeds: 0 is as the first, 1 as the second.
"""

import argparse
import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptalk.corpus import Corpus
from deeptalk.emotions import EMOTIONS
from deeptalk.face import compact_vertices, load_rig
from deeptalk.pipeline import Talker, load
from deeptalk.render import contact_sheet, render_frames, write_png
from deeptalk.speech import SAMPLE_RATE
from deeptalk.take import Take

WINDOW_FRAMES = 25
PAUSE_SECONDS = 0.2
NEAR_FRAMES = 5
"""Frames on either side of a key point that count as near it."""
SHEET_COLUMNS, SHEET_PIXELS = 8, 160
Speech = tuple[np.ndarray, int]


class Judge:
    """Log-probabilities of the emotions, from a motion alone."""

    def __init__(self, corpus: Corpus):
        model: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        self.model = model.fit(*_windows_of(corpus, "train"))

    def accuracy(self, corpus: Corpus, split: str) -> float:
        """Share of windows of true performances that it names right."""
        return float(self.model.score(*_windows_of(corpus, split)))

    def log_probabilities(self, motion: np.ndarray) -> np.ndarray:
        """(emotion,) mean over the windows of a motion."""
        return np.asarray(self.model.predict_log_proba(_windows(motion))).mean(axis=0)

    def says(self, motion: np.ndarray) -> int:
        """Emotion it names."""
        return int(self.log_probabilities(motion).argmax())


def _windows(motion: np.ndarray) -> np.ndarray:
    starts = range(0, max(1, len(motion) - WINDOW_FRAMES + 1), WINDOW_FRAMES // 2)
    parts = [motion[start : start + WINDOW_FRAMES] for start in starts]
    return np.stack([np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in parts])


def _windows_of(corpus: Corpus, split: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [(_windows(corpus.motion(i)), corpus.performances[i].emotion) for i in corpus.performances_in(split)]
    return np.concatenate([row[0] for row in rows]), np.repeat([row[1] for row in rows], [len(row[0]) for row in rows])


def remembered(encode: Callable[..., Any]) -> Callable[..., Any]:
    """An encoder that does not encode the same recording twice."""
    known: dict[str, Any] = {}

    def encoded(waveforms: Any, sample_lengths: Any) -> Any:
        key = hashlib.sha256(waveforms.numpy().tobytes()).hexdigest()
        if key not in known:
            known[key] = encode(waveforms, sample_lengths)
        return known[key]

    return encoded


class Bench:
    """What all measurements share."""

    def __init__(self, talker: Talker, corpus: Corpus, split: str, intensity: float):
        self.talker, self.corpus, self.split, self.intensity = talker, corpus, split, intensity
        self.judge = Judge(corpus)
        talker.encoder.forward = remembered(talker.encoder.forward)  # nearly all the time a take of ours needs
        self.rows = {(corpus.speech[i].emotion, corpus.speech[i].sentence): i for i in corpus.speech_in(split)}
        self.sentences = sorted({sentence for _, sentence in self.rows})

    def recording(self, *parts: tuple[int, str]) -> Speech:
        """Sentences as they sound in an emotion, one after the other."""
        pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
        pieces = [[np.asarray(self.corpus.waveform(self.rows[part]), np.float32), pause] for part in parts]
        return np.concatenate([piece for pair in pieces for piece in pair]), SAMPLE_RATE

    def recordings(self) -> list[Speech]:
        """All sentences in a row, once for each of three ways to sound."""
        return [
            self.recording(*[(EMOTIONS.index(name), sentence) for sentence in self.sentences])
            for name in ("neutral", "happy", "sad")
        ]

    def act(self, speech: Speech, seed: int, **asked: Any) -> Take:
        """One take."""
        return self.talker.perform(speech, takes=1, seed=seed, **asked)[0]

    def ends(self, speeches: Sequence[Speech]) -> dict[tuple[int, int], Take]:
        """(emotion, recording) to a take of that label from start to end."""
        return {
            (label, seed): self.act(speech, seed, emotion=name, intensity=self.intensity)
            for seed, speech in enumerate(speeches)
            for label, name in enumerate(EMOTIONS)
        }

    def odds(self, motion: np.ndarray, start: int, end: int) -> float:
        """Log-odds of one emotion against another."""
        judged = self.judge.log_probabilities(motion)
        return float(judged[end] - judged[start])


def thirds(motion: np.ndarray) -> list[np.ndarray]:
    """Three parts in time."""
    return np.array_split(motion, 3)


def vertex_steps(bench: Bench) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a motion to the mean distance in mm that face vertices go from frame to frame."""
    import torch

    vertices = compact_vertices(load_rig(bench.talker.rig.name), {"face": 1.0})

    def steps(motion: np.ndarray) -> np.ndarray:
        points = vertices(torch.from_numpy(motion)).reshape(len(motion), -1, 3).numpy()
        return np.linalg.norm(np.diff(points, axis=0), axis=-1).mean(axis=-1) * 1000

    return steps


def measure_tracks(bench: Bench) -> None:
    """From one label to another within a take: over all of it, and only in its middle third."""
    speeches = bench.recordings()
    ends, steps = bench.ends(speeches), vertex_steps(bench)
    shares: dict[str, list[list[tuple[float, float]]]] = {}
    obeyed: dict[str, list[tuple[bool, bool]]] = {}
    near: dict[str, list[np.ndarray]] = {"constant": [], "moving": []}
    for start, end in itertools.permutations(range(len(EMOTIONS)), 2):
        for seed, speech in enumerate(speeches):
            seconds = len(speech[0]) / SAMPLE_RATE
            asked = {
                "from start to end": [(0, EMOTIONS[start]), ("end", EMOTIONS[end])],
                "in the middle third": [(seconds / 3, EMOTIONS[start]), (2 * seconds / 3, EMOTIONS[end])],
            }
            for name, keys in asked.items():
                take = bench.act(speech, seed, emotion=keys, intensity=bench.intensity)
                shares.setdefault(name, []).append(_share(bench, take, ends, start, end, seed))
                said = [bench.judge.says(third) for third in thirds(take.motion)]
                obeyed.setdefault(name, []).append((said[0] == start, said[2] == end))
            keyed = [round(part * len(take.motion) / 3) for part in (1, 2)]
            for kind, motion in (("moving", take.motion), ("constant", ends[start, seed].motion)):
                near[kind] += [steps(motion)[key - NEAR_FRAMES : key + NEAR_FRAMES] for key in keyed]
    held = [[bench.judge.says(third) == label for third in thirds(take.motion)] for (label, _), take in ends.items()]
    print("\n| label moves | share of the way in thirds 1, 2, 3 | first label named in third 1 | last one in third 3 |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| not at all | | {np.mean(held, axis=0)[0]:.0%} | {np.mean(held, axis=0)[2]:.0%} |")
    for name in shares:
        way = np.array(shares[name]).sum(axis=0)
        first, last = np.mean(obeyed[name], axis=0)
        print(f"| {name} | {', '.join(f'{a / b:.2f}' for a, b in way)} | {first:.0%} | {last:.0%} |")
    print(f"\nVertex steps within {NEAR_FRAMES} frames of a key point, mm a frame: mean, 99th percentile")
    for kind, parts in near.items():
        values = np.concatenate(parts)
        print(f"{kind}: {values.mean():.3f}, {np.percentile(values, 99):.3f}")


def _share(
    bench: Bench, take: Take, ends: dict[tuple[int, int], Take], start: int, end: int, seed: int
) -> list[tuple[float, float]]:
    """For each third: how far the take went in log-odds, and how far the ends are apart."""
    parts = zip(thirds(take.motion), thirds(ends[start, seed].motion), thirds(ends[end, seed].motion))
    odds = [[bench.odds(motion, start, end) for motion in part] for part in parts]
    return [(own - low, high - low) for own, low, high in odds]


def measure_blends(bench: Bench) -> None:
    """Weights between two labels, and between the speech itself and a label."""
    speeches, weights = bench.recordings(), (0.25, 0.5, 0.75)
    ends = bench.ends(speeches)
    own = {seed: bench.act(speech, seed) for seed, speech in enumerate(speeches)}
    found: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for (start, end), (seed, speech), weight in itertools.product(
        itertools.combinations(range(len(EMOTIONS)), 2), enumerate(speeches), weights
    ):
        mixed = {EMOTIONS[start]: 1 - weight, EMOTIONS[end]: weight}
        take = bench.act(speech, seed, emotion=mixed, intensity=bench.intensity)
        odds = [bench.odds(one.motion, start, end) for one in (take, ends[start, seed], ends[end, seed])]
        found.setdefault(("two labels", weight), []).append((odds[0] - odds[1], odds[2] - odds[1]))
    for label, (seed, speech), weight in itertools.product(range(len(EMOTIONS)), enumerate(speeches), weights):
        take = bench.act(speech, seed, emotion=EMOTIONS[label], intensity=bench.intensity, emotion_weight=weight)
        judged = [bench.judge.log_probabilities(one.motion)[label] for one in (take, own[seed], ends[label, seed])]
        found.setdefault(("speech and label", weight), []).append((judged[0] - judged[1], judged[2] - judged[1]))
    print("\n| between | " + " | ".join(f"weight {weight:g}" for weight in weights) + " |")
    print("| --- |" + " ---: |" * len(weights))
    for kind in ("two labels", "speech and label"):
        ways = [np.sum(found[kind, weight], axis=0) for weight in weights]
        print(f"| {kind} | " + " | ".join(f"{way[0] / way[1]:.2f}" for way in ways) + " |")


def measure_sources(bench: Bench, per_emotion: int = 3) -> None:
    """One emotion in every way to ask for it, to speech that sounds neutral; what does the judge say of the takes?"""
    speech = bench.recording(*[(0, sentence) for sentence in bench.sentences[:-1]])
    other = bench.sentences[-1]
    right: dict[str, list[bool]] = {"label": [], "reference motion": [], "other speech": [], "that speech itself": []}
    for label, name in enumerate(EMOTIONS):
        acted = [i for i in bench.corpus.performances_in(bench.split) if bench.corpus.performances[i].emotion == label]
        acted = [i for i in acted if bench.corpus.speech[bench.corpus.performances[i].speech].sentence == other]
        strongest = sorted(acted, key=lambda i: -bench.corpus.performances[i].intensity)[:per_emotion]
        heard = bench.recording((label, other))
        for seed in range(per_emotion):
            motion = bench.corpus.motion(strongest[seed % len(strongest)])
            reference = Take(np.ascontiguousarray(motion, np.float32), bench.corpus.rig, bench.corpus.frame_rate)
            takes = {
                "label": bench.act(speech, seed, emotion=name, intensity=bench.intensity),
                "reference motion": bench.act(speech, seed, emotion_from=reference),
                "other speech": bench.act(speech, seed, emotion_from=heard),
                "that speech itself": bench.act(heard, seed),
            }
            for kind, take in takes.items():
                right[kind].append(bench.judge.says(take.motion) == label)
    print("\n| emotion asked for by | judge names it |\n| --- | ---: |")
    for kind, found in right.items():
        print(f"| {kind} | {np.mean(found):.0%} |")


def measure_windows(bench: Bench) -> None:
    """Speech that changes in its middle: does the face follow, heard as a whole and in windows?"""
    ways: dict[str, dict[str, float | None]] = {"as a whole": {}, "windows of 4 s": {"emotion_windows": 4.0}}
    ways["windows of 2 s"] = {"emotion_windows": 2.0}
    change: dict[str, list[float]] = {}
    first, *rest = bench.sentences
    for seed, (start, end) in enumerate(itertools.permutations(range(len(EMOTIONS)), 2)):
        halves = [[(label, sentence) for sentence in (first, *rest)] for label in (start, end)]
        speech = bench.recording(*halves[0], *halves[1])
        middle = round(len(bench.recording(*halves[0])[0]) / SAMPLE_RATE * bench.talker.frame_rate)
        motions = {name: bench.act(speech, seed, **asked).motion for name, asked in ways.items()}
        apart = [bench.act(bench.recording(*half), seed).motion for half in halves]
        motions["each half alone"] = np.concatenate(apart)
        for name, motion in motions.items():
            odds = [bench.odds(half, start, end) for half in (motion[:middle], motion[middle:])]
            change.setdefault(name, []).append(odds[1] - odds[0])
    print("\n| speech heard | log-odds gained from first to second half |\n| --- | ---: |")
    for name, values in change.items():
        error = np.std(values, ddof=1) / len(values) ** 0.5
        print(f"| {name} | {np.mean(values):.2f} +- {error:.2f} |")


SHEET: dict[str, dict[str, Any]] = {
    "happy": {"emotion": "happy"},
    "happy@0,sad@end": {"emotion": "happy@0,sad@end"},
    "sad": {"emotion": "sad"},
    "happy:0.5,sad:0.5": {"emotion": "happy:0.5,sad:0.5"},
    "surprised, 0 to 1": {"emotion": "surprised@0,surprised@end", "intensity": "0,1"},
}
"""What the picture shows, one row each."""


def draw_sheet(bench: Bench, path: Path) -> None:
    """Stills of one take for each of `SHEET`, of one recording and seed; time runs to the right."""
    speech, rig = bench.recordings()[0], load_rig(bench.talker.rig.name)
    images, labels = [], []
    for name, asked in SHEET.items():
        strength = {} if "intensity" in asked else {"intensity": bench.intensity}
        take = bench.act(speech, 0, **asked, **strength)
        frames = np.linspace(0, len(take.motion) - 1, SHEET_COLUMNS + 2)[1:-1].round().astype(int)
        images += list(render_frames(rig, take.motion[frames], SHEET_PIXELS))
        labels += [name, *(f"{(frame + 0.5) / take.frame_rate:.1f} s" for frame in frames[1:])]
    print(write_png(path, contact_sheet(images, labels, SHEET_COLUMNS)))


MEASUREMENTS = {
    "tracks": measure_tracks,
    "blends": measure_blends,
    "sources": measure_sources,
    "windows": measure_windows,
}


def main() -> None:
    """Print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--intensity", type=float, default=0.8, help="at which labels are asked for")
    parser.add_argument("--only", choices=MEASUREMENTS, action="append")
    parser.add_argument("--sheet", type=Path, help="draw stills of some takes into this PNG instead")
    arguments = parser.parse_args()
    corpus = Corpus.open(arguments.corpus)
    bench = Bench(load(arguments.bundle, device="cpu"), corpus, arguments.split, arguments.intensity)
    if arguments.sheet:
        draw_sheet(bench, arguments.sheet)
        return
    print(f"Judge: right on {bench.judge.accuracy(corpus, arguments.split):.0%} of windows of true performances.")
    for name in arguments.only or MEASUREMENTS:
        MEASUREMENTS[name](bench)


if __name__ == "__main__":
    main()
