"""What the tables of a corpus say: how much there is, of whom, in which emotion and how strong."""

from collections import Counter
from typing import Any

import numpy as np

from deeptalk.corpus.format import Corpus
from deeptalk.emotions import EMOTIONS
from deeptalk.speech import SAMPLE_RATE

UNKNOWN = "unknown"
INTENSITY_BINS = 10
LENGTH_EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0, float("inf"))
"""Seconds."""


def emotion_name(index: int) -> str:
    """Name of an emotion's index; `unknown` for -1."""
    return EMOTIONS[index] if index >= 0 else UNKNOWN


def counts_of(corpus: Corpus) -> dict[str, Any]:
    """Sizes as a whole and by split."""
    speech, motion = corpus.speech, corpus.performances
    performed = {index for index in motion.column("speech") if index is not None}
    splits = dict.fromkeys([*speech.column("split"), *motion.column("split")])
    return {
        "speech": len(speech),
        "speech_hours": float(speech.numbers("num_samples").sum()) / SAMPLE_RATE / 3600 if len(speech) else 0.0,
        "performances": len(motion),
        "motion_hours": float(motion.numbers("frames").sum()) / corpus.frame_rate / 3600 if len(motion) else 0.0,
        "speakers": len(_speakers(corpus)),
        "sentences": len(set(speech.column("sentence"))),
        "with_phones": sum(bool(row.phones) for row in speech),
        "with_text": sum(bool(text) for text in speech.column("text")),
        "speech_alone": len(speech) - len(performed),
        "motion_alone": sum(index is None for index in motion.column("speech")),
        "disjoint": dict(corpus.manifest["disjoint"]),
        "splits": {split: _split_counts(corpus, split) for split in splits},
    }


def _split_counts(corpus: Corpus, split: str) -> dict[str, Any]:
    speech = [place for place, own in enumerate(corpus.speech.column("split")) if own == split]
    motion = [place for place, own in enumerate(corpus.performances.column("split")) if own == split]
    samples, frames = corpus.speech.column("num_samples"), corpus.performances.column("frames")
    return {
        "speech": len(speech),
        "speech_minutes": sum(samples[place] for place in speech) / SAMPLE_RATE / 60,
        "performances": len(motion),
        "motion_minutes": sum(frames[place] for place in motion) / corpus.frame_rate / 60,
        "speakers": len({corpus.speech.column("speaker")[place] for place in speech}),
        "sentences": len({corpus.speech.column("sentence")[place] for place in speech}),
    }


def _speakers(corpus: Corpus) -> set[str]:
    return {name for table in (corpus.speech, corpus.performances) for name in table.column("speaker") if name}


def balance_of(corpus: Corpus) -> dict[str, Any]:
    """Counts by emotion and split, by speaker, sentence, reading and kind of draw."""
    speech, motion = corpus.speech, corpus.performances
    labels = [emotion_name(index) for index in speech.column("emotion")]
    acted = [emotion_name(index) for index in motion.column("emotion")]
    minutes: Counter[str] = Counter()
    for name, samples in zip(speech.column("speaker"), speech.column("num_samples")):
        minutes[name] += samples / SAMPLE_RATE / 60
    said = Counter(speech.column("sentence")).most_common()
    return {
        "label_by_split": _crossed(labels, speech.column("split")),
        "acted_by_split": _crossed(acted, motion.column("split")),
        "acted_by_label": _crossed(
            [acted[place] for place, own in enumerate(motion.column("speech")) if own is not None],
            [labels[own] for own in motion.column("speech") if own is not None],
        ),
        "speakers": {
            name: {"clips": clips, "minutes": minutes[name]}
            for name, clips in Counter(speech.column("speaker")).most_common()
        },
        "clips_per_sentence": {
            "least": said[-1][1] if said else 0,
            "median": float(np.median([count for _, count in said])) if said else 0.0,
            "most": said[0][1] if said else 0,
        },
        "readings": _crossed(motion.column("reading"), acted) if any(motion.column("reading")) else {},
        "given": dict(Counter(given or "recorded" for given in motion.column("given"))),
    }


def _crossed(rows: list[str], columns: list[str]) -> dict[str, dict[str, int]]:
    """Counts {row: {column: count}}; emotions in their own order, anything else as it first comes up."""
    pairs = Counter(zip(rows, columns))
    order = {name: place for place, name in enumerate((*EMOTIONS, UNKNOWN))}

    def sort(names: list[str]) -> list[str]:
        return sorted(dict.fromkeys(names), key=lambda name: order.get(name, -1))

    return {row: {column: pairs[row, column] for column in sort(columns)} for row in sort(rows)}


def intensities_of(corpus: Corpus) -> dict[str, Any]:
    """Acted intensities by emotion: mean, spread and a histogram over 0..1; and those of the labels of speech."""
    return {
        "edges": np.linspace(0.0, 1.0, INTENSITY_BINS + 1).round(3).tolist(),
        "acted": _by_emotion(corpus.performances.column("emotion"), corpus.performances.column("intensity")),
        "labelled": _by_emotion(corpus.speech.column("emotion"), corpus.speech.column("intensity")),
    }


def _by_emotion(emotions: list[int], intensities: list[float | None]) -> dict[str, Any]:
    found = {}
    for index in sorted(set(emotions) - {-1}):
        own = np.array([i for e, i in zip(emotions, intensities) if e == index and i is not None], float)
        if own.size:
            histogram = np.histogram(own, INTENSITY_BINS, (0.0, 1.0))[0].tolist()
            found[emotion_name(index)] = {
                "clips": int(own.size),
                "mean": float(own.mean()),
                "std": float(own.std()),
                "histogram": histogram,
            }
    return found


def lengths_of(corpus: Corpus) -> dict[str, Any]:
    """Seconds of speech and of motion alone: least, median, most, and a histogram."""
    alone = [
        f for f, own in zip(corpus.performances.column("frames"), corpus.performances.column("speech")) if own is None
    ]
    seconds = {
        "speech": np.array(corpus.speech.column("num_samples"), float) / SAMPLE_RATE,
        "motion_alone": np.array(alone, float) / corpus.frame_rate,
    }
    return {"edges": list(LENGTH_EDGES[:-1])} | {
        kind: {
            "least": float(values.min()),
            "median": float(np.median(values)),
            "most": float(values.max()),
            "histogram": np.histogram(values, LENGTH_EDGES)[0].tolist(),
        }
        for kind, values in seconds.items()
        if values.size
    }
