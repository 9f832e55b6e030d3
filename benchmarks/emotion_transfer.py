"""Does emotion learned from the performer's affect codes alone carry over to people? A linear classifier on `prosody`.

    python benchmarks/emotion_transfer.py DATA/ravdess16k --out out/emotion_transfer

Logistic regression on statistics of one clip's frames of the encoder `prosody` (at 50 Hz, not normalised), trained on
synthetic speech of the eight audible classes, tested as it is on an engine that it has not heard (flite) and on
RAVDESS. Two tests each: `one wav` knows the clip only, and leaves out the three statistics of absolute level, which are
the recording's; `reference` subtracts the mean of the speaker's neutral clips (a neutral clip is compared with the
others). RAVDESS's actors 01 to 14 are for tuning; `--actors 15-18` is for the one report at the end.

As a ceiling, the same classifier trained on people: on actors 01 to 14 by folds of actors, or on them for others.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from scipy.signal import find_peaks
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from deeptalk.corpus.performer import affect
from deeptalk.corpus.synthesis import plan_speech, speak
from deeptalk.corpus.synthesis.plan import SHARES
from deeptalk.emotions import EMOTIONS, NEUTRAL
from deeptalk.files import file_sha256, write_json, write_text
from deeptalk.speech import frame_counts, load_waveform, pad_waveforms
from deeptalk.speech.augment import AugmentConfig, augment
from deeptalk.speech.prosody import HIGH_BAND, IRREGULARITY, LEVEL, LOG_F0, LOW_BAND, SEMITONES, TILT, VOICING, prosody

FRAME_RATE = 50.0
SPEECH_DECIBELS = 25.0
"""Frames further below the clip's loud ones are not speech: echo and noise."""
LARGEST_GAP_SECONDS = 0.45
"""A pause this long parts a clip; what is left of it by a short part is a noise, not speech."""
OCTAVE_ERROR_SEMITONES = 14.0
LEVELS = ("level_mean", "level_p95", "level_power")
"""Statistics of absolute level: the recording's, unless a reference says how loud the speaker usually is."""
REGULARISATION = 0.03


@dataclass
class Clips:
    """Statistics of many clips."""

    values: np.ndarray
    """(clip, statistic), as measured."""
    emotion: np.ndarray
    """(clip,) index in `EMOTIONS`; of synthetic speech, the audible class."""
    speaker: np.ndarray
    strength: np.ndarray
    """(clip,) 0..1."""
    names: tuple[str, ...]

    def relative(self) -> np.ndarray:
        """Values less the mean of the speaker's neutral clips, the clip itself left out of them."""
        relative = np.empty_like(self.values)
        for speaker in set(self.speaker):
            own = np.flatnonzero(self.speaker == speaker)
            neutral = own[self.emotion[own] == NEUTRAL]
            if len(neutral) < 2:
                raise SystemExit(
                    f"Speaker {speaker} has {len(neutral)} neutral clips, a reference needs 2: take more clips."
                )
            for clip in own:
                relative[clip] = self.values[clip] - self.values[neutral[neutral != clip]].mean(axis=0)
        return relative

    def part(self, chosen: np.ndarray) -> "Clips":
        """The clips of a mask."""
        columns = (self.values[chosen], self.emotion[chosen], self.speaker[chosen], self.strength[chosen])
        return Clips(*columns, self.names)


def clip_statistics(samples: np.ndarray) -> dict[str, float]:
    """Statistics of one recording (16 kHz mono)."""
    waveforms, lengths = pad_waveforms([np.asarray(samples, np.float32)])
    frames = prosody(waveforms, lengths, frame_counts(lengths, FRAME_RATE), FRAME_RATE)[0]
    return frame_statistics(frames.double().numpy())


def frame_statistics(frames: np.ndarray) -> dict[str, float]:
    """Statistics of raw frames (frame, 7) of prosody: pitch in semitones, the rest in dB, ratios or logarithms."""
    voiced = voiced_places(frames)
    first, last = max(voiced[0] - 4, 0), min(voiced[-1] + 5, len(frames))
    pitch, level = frames[voiced, LOG_F0] * SEMITONES, frames[first:last, LEVEL]
    return {
        **pitch_statistics(pitch, voiced),
        **_irregularity(frames[voiced, IRREGULARITY]),
        "level_mean": frames[voiced, LEVEL].mean(),
        "level_p95": np.percentile(level, 95),
        "level_power": 10 * np.log10(np.mean(10 ** (level / 10))),
        "level_std": frames[voiced, LEVEL].std(),
        "level_range": level.std(),
        "level_change": np.log(np.abs(np.diff(level)).mean() + 0.1),
        "tilt": np.nanmean(frames[voiced, TILT]),
        "tilt_std": np.nanstd(frames[voiced, TILT]),
        "tilt_p90": np.nanpercentile(frames[voiced, TILT], 90),
        "low": np.nanmean(frames[voiced, LOW_BAND]),
        "low_p10": np.nanpercentile(frames[voiced, LOW_BAND], 10),
        "high": np.nanmean(frames[voiced, HIGH_BAND]),
        "voicing": frames[voiced, VOICING].mean(),
        "voiced_share": len(voiced) / (last - first),
        "pause": np.mean(level < np.percentile(frames[:, LEVEL], 98) - SPEECH_DECIBELS),
        "syllable_rate": np.log(max(_nuclei(level), 1) / len(level)),
        "segment": np.log(np.diff(np.flatnonzero(np.diff(np.r_[-9, voiced, 10**6]) > 1)).mean()),
    }


def voiced_places(frames: np.ndarray) -> np.ndarray:
    """Places of the voiced frames of the speech in a clip, without distant noises and errors of an octave; 3 or more.

    Raises ValueError where pitch is found in fewer.
    """
    defined = np.isfinite(frames[:, [LOG_F0, TILT]]).all(axis=1)
    loud = frames[:, LEVEL] > np.percentile(frames[:, LEVEL], 98) - SPEECH_DECIBELS
    places = np.flatnonzero((frames[:, VOICING] >= 0.5) & loud & defined)
    if len(places) < 5:  # a whisper or a murmur: the frames that come nearest to voice
        places = np.sort(np.argsort(np.where(defined, frames[:, VOICING], -1.0))[-5:])
        places = places[defined[places]]
    if len(places) < 3:
        raise ValueError("pitch is found in fewer than 3 frames")
    parts = np.split(places, np.flatnonzero(np.diff(places) > LARGEST_GAP_SECONDS * FRAME_RATE) + 1)
    longest = max(len(part) for part in parts)
    places = np.concatenate([part for part in parts if len(part) >= max(min(4, longest), 0.15 * longest)])
    pitch = frames[places, LOG_F0] * SEMITONES
    return places[np.abs(pitch - np.median(pitch)) < OCTAVE_ERROR_SEMITONES]


def pitch_statistics(pitch: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """Of pitch in semitones at the voiced places: where it is, how wide, where it goes, how fast it moves."""
    low, lower, median, upper, high = np.percentile(pitch, [5, 25, 50, 75, 95])
    time_share = (places - places[0]) / max(places[-1] - places[0], 1)
    steps = np.abs(np.diff(pitch))[np.diff(places) == 1]
    steps = steps[steps < 4.0]
    return {
        "pitch_mean": pitch.mean(),
        "pitch_p5": low,
        "pitch_p50": median,
        "pitch_p95": high,
        "pitch_std": pitch.std(),
        "pitch_range": high - low,
        "pitch_iqr": upper - lower,
        "pitch_slope": np.polyfit(time_share, pitch, 1)[0] if len(pitch) > 3 else 0.0,
        "pitch_start": pitch[time_share < 0.3].mean() - median,
        "pitch_end": pitch[time_share > 0.75].mean() - median,
        "pitch_change": np.log(steps.mean() + 0.02) if len(steps) else -2.0,
    }


def _irregularity(values: np.ndarray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    known = known if len(known) else np.array([-2.0])
    return {"irregularity": known.mean(), "irregularity_p75": np.percentile(known, 75)}


def _nuclei(level: np.ndarray) -> int:
    """Syllable nuclei: peaks of the smoothed level that stand out by 2 dB."""
    window = np.hanning(7)[1:-1]
    smooth = np.convolve(level, window / window.sum(), "same")
    return len(find_peaks(smooth, prominence=2.0, height=level.max() - 22.0, distance=4)[0])


def gathered(rows: Sequence[tuple[dict[str, float], int, str, float]]) -> Clips:
    """Clips from (statistics, emotion, speaker, strength)."""
    names = tuple(rows[0][0])
    values = np.array([[row[0][name] for name in names] for row in rows])
    return Clips(values, *(np.array(column) for column in list(zip(*rows))[1:]), names)


def synthetic_clips(lines: Sequence[Any], seed: int, augmented: bool) -> Clips:
    """Speak the planned lines and measure them; if `augmented`, each voice in a room and through a line of its own."""
    rows = []
    voices = sorted({line.voice for line in lines})
    for line in track(lines, description="synthetic speech"):
        event = speak(line)
        place = seed + voices.index(line.voice)
        samples = augment(event.samples, place, RECORDING) if augmented else event.samples
        rows.append((clip_statistics(samples), line.affect.sound_class, line.voice, line.affect.strength))
    return gathered(rows)


RECORDING = AugmentConfig(room=0.5, noise=1.0, least_snr_decibels=25.0, most_snr_decibels=60.0, level=0.0)
"""Rooms, lines and faint noise; the level stays, or a reference from another recording would mislead."""


def real_clips(folder: Path, actors: range) -> Clips:
    """RAVDESS's clips of some actors."""
    paths = [path for path in sorted(folder.glob("03-01-*.flac")) if int(path.stem[-2:]) in actors]
    rows = []
    for path in track(paths, description="RAVDESS"):
        _, _, emotion, intensity, _, _, actor = path.stem.split("-")
        rows.append((clip_statistics(load_waveform(path).samples), int(emotion) - 1, actor, float(intensity) - 1))
    return gathered(rows)


def classifier(values: np.ndarray, emotion: np.ndarray) -> Pipeline:
    """Logistic regression on standardised statistics, every class weighing the same."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=3000, class_weight="balanced")
    )
    return model.fit(values, emotion)


def views(clips: Clips) -> dict[str, np.ndarray]:
    """What the two tests see of the clips."""
    level = np.isin(clips.names, LEVELS)
    return {"one wav": clips.values[:, ~level], "reference": clips.relative()}


def score(predicted: np.ndarray, clips: Clips) -> dict[str, Any]:
    """Share of right answers, its mean over classes and over speakers' spread, and the confusion matrix in per cent."""
    right = predicted == clips.emotion
    by_speaker = [right[clips.speaker == speaker].mean() for speaker in sorted(set(clips.speaker))]
    confusion = confusion_matrix(clips.emotion, predicted, labels=range(len(EMOTIONS)), normalize="true")
    return {
        "clips": len(right),
        "accuracy": float(right.mean()),
        "mean_recall": float(np.mean([right[clips.emotion == emotion].mean() for emotion in set(clips.emotion)])),
        "least_and_most_of_speakers": [float(min(by_speaker)), float(max(by_speaker))],
        "confusion_percent": (100 * confusion).round(1).tolist(),
    }


def transfer(train: Clips, tests: dict[str, Clips]) -> dict[str, dict[str, Any]]:
    """Scores by test set and view of the classifier trained on `train`."""
    models = {view: classifier(values, train.emotion) for view, values in views(train).items()}
    return {
        name: {view: score(models[view].predict(values), clips) for view, values in views(clips).items()}
        for name, clips in tests.items()
    }


def ceiling(tuning: Clips, test: Clips | None, folds: int = 4) -> dict[str, Any]:
    """The same classifier trained on people: on `tuning` for `test`, or on `tuning` by folds of its speakers."""
    if test is not None:
        return transfer(tuning, {"people": test})["people"]
    fold = np.array([int(speaker) % folds for speaker in tuning.speaker])
    scores = {}
    for view, values in views(tuning).items():
        predicted = np.empty_like(tuning.emotion)
        for held in range(folds):
            model = classifier(values[fold != held], tuning.emotion[fold != held])
            predicted[fold == held] = model.predict(values[fold == held])
        scores[view] = score(predicted, tuning)
    return scores


def class_means(clips: Clips) -> dict[str, dict[str, list[float]]]:
    """Mean of each relative statistic, by emotion, of weak and strong clips."""
    relative = clips.relative()
    means: dict[str, dict[str, list[float]]] = {}
    for index, emotion in enumerate(EMOTIONS):
        halves = [(clips.emotion == index) & ((clips.strength >= 0.5) == strong) for strong in (False, True)]
        means[emotion] = {
            name: [round(float(relative[half, column].mean()), 3) if half.any() else float("nan") for half in halves]
            for column, name in enumerate(clips.names)
        }
    return means


def markdown(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["| trained on | tested on | view | clips | accuracy | mean recall | speakers |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: | --- |"]
    for source, tests in report["scores"].items():
        for test, by_view in tests.items():
            for view, row in by_view.items():
                least, most = (f"{100 * share:.0f}" for share in row["least_and_most_of_speakers"])
                shares = f"{100 * row['accuracy']:.1f} % | {100 * row['mean_recall']:.1f} % | {least}..{most} %"
                lines.append(f"| {source} | {test} | {view} | {row['clips']} | {shares} |")
    people = next(name for name in report["scores"]["performer"] if name.startswith("RAVDESS"))
    for view, row in report["scores"]["performer"][people].items():
        lines += ["", f"{people}, {view}: rows are what was acted, columns what was said, per cent.", ""]
        lines += ["| | " + " | ".join(EMOTIONS) + " |", "| --- |" + " ---: |" * len(EMOTIONS)]
        for emotion, shares in zip(EMOTIONS, row["confusion_percent"]):
            lines.append(f"| {emotion} | " + " | ".join(f"{share:.0f}" for share in shares) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train on the performer, test on another engine and on people, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ravdess", type=Path, help="folder with RAVDESS's speech as 16 kHz files")
    parser.add_argument("--clips", type=int, default=2000, help="synthetic clips to learn from")
    parser.add_argument("--unseen", type=int, default=512, help="clips of the engine that was not heard")
    mix = ",".join(f"{engine}={share:g}" for engine, share in SHARES.items())
    parser.add_argument("--shares", default=mix, help="seconds by engine; those of a corpus unless given")
    parser.add_argument("--actors", default="1-14", help="RAVDESS actors tested; 15-18 once, at the end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/emotion_transfer"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    shares = {name: float(value) for name, value in (part.split("=") for part in args.shares.split(","))}
    plans = plan_speech(clips=max(args.clips, 24 * args.unseen), shares=shares, unseen_share=1.0, seed=args.seed)
    lines = {split: [line for line in plans if line.split == split] for split in ("train", "test")}
    train = synthetic_clips(lines["train"][: args.clips], args.seed, augmented=True)
    unseen = synthetic_clips(lines["test"][: args.unseen], args.seed, augmented=False)
    first, last = (int(actor) for actor in args.actors.split("-"))
    people = real_clips(args.ravdess, range(first, last + 1))
    tuning = people if (first, last) == (1, 14) else real_clips(args.ravdess, range(1, 15))
    name = f"RAVDESS {args.actors}"
    report = {
        "settings": {key: str(value) for key, value in vars(args).items()},
        "script": file_sha256(Path(__file__)),
        "affect": file_sha256(Path(affect.__file__)),
        "train_clips": len(train.emotion),
        "scores": {
            "performer": transfer(train, {"flite": unseen, name: people}),
            "people": {name: ceiling(tuning, None if people is tuning else people)},
        },
        "relative_means": {"performer": class_means(train), "RAVDESS 01-14": class_means(tuning)},
        "seconds": time.perf_counter() - started,
    }
    write_json(args.out / "emotion_transfer.json", report)
    write_text(args.out / "emotion_transfer.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
