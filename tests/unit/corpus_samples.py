"""A small corpus for the tests of deeptalk.corpus: noise for speech, motion that says which phone it belongs to."""

from pathlib import Path

import numpy as np

from deeptalk.corpus import Corpus, CorpusWriter
from deeptalk.corpus.performer import Phone

WORDS = {
    "s1": ("SIL", "B", "AA", "T", "SIL"),
    "s2": ("SIL", "M", "IY", "P", "AH", "SIL"),
    "s3": ("SIL", "K", "AE", "T", "SIL"),
    "s4": ("SIL", "F", "UW", "D", "SIL"),
}
JAW, BLINK = 24, 8


def phones_of(sentence: str, emotion: int, words: tuple[str, ...] | None = None) -> tuple[Phone, ...]:
    """Phones whose durations depend on the emotion, about a second in all."""
    generator = np.random.default_rng([emotion, int(sentence[1:])])
    symbols = words or WORDS[sentence]
    edges = np.concatenate([[0.0], np.cumsum(generator.uniform(0.12, 0.4, len(symbols)))])
    return tuple(Phone(symbol, float(a), float(b)) for symbol, a, b in zip(symbols, edges, edges[1:]))


def motion_of(phones: tuple[Phone, ...], frames: int, emotion: int, take: int) -> np.ndarray:
    """Jaw: number of the phone at the frame's centre (knots at phone middles); brow: emotion; blink: always 1."""
    motion = np.zeros((frames, 52), np.float32)
    centres = (np.arange(frames) + 0.5) / 25.0
    motion[:, JAW] = np.interp(centres, [phone.middle_seconds for phone in phones], np.arange(len(phones))) / 10
    motion[:, BLINK] = 1.0
    motion[:, 0] = emotion / 10
    motion[:, 1] = take / 100
    return motion


def add_clip(writer: CorpusWriter, speaker: str, sentence: str, emotion: int, split: str, takes: int = 3) -> int:
    """One piece of speech with `takes` performances: the last acts another emotion than the label says."""
    phones = phones_of(sentence, emotion)
    samples = round(phones[-1].end_seconds * 16000)
    name = f"{speaker}-{sentence}-{emotion}"
    generator = np.random.default_rng(list(name.encode()))
    speech = writer.add_speech(
        name,
        (generator.standard_normal(samples) * 0.1).astype(np.float32),
        speaker=speaker,
        sentence=sentence,
        split=split,
        text=sentence,
        emotion=emotion,
        phones=phones,
        affect={"sound_class": emotion, "strength": 0.25},
    )
    frames = max(1, int(np.floor(samples * 25 / 16000 + 0.5)))
    for take in range(takes):
        acted = emotion if take < takes - 1 or takes == 1 else (emotion + 1) % 8
        writer.add_performance(
            f"{name}/{take}",
            motion_of(phones, frames, acted, take),
            speech=speech,
            emotion=acted,
            intensity=0.5 if take % 2 else 1.0,
            reading="plain",
            given="speech",
            style={"gain": 1.0 + take},
        )
    return speech


def write_corpus(folder: Path, amount: float = 1.0) -> Corpus:
    """2 training speakers x 2 sentences x 3 emotions, 1 validation speaker x 2 x 2, speech and motion alone."""
    with CorpusWriter(folder, provenance="made for a test", license="CC0-1.0") as writer:
        for speaker in ("ann", "bob"):
            for sentence in ("s1", "s2"):
                for emotion in (0, 2, 4):
                    add_clip(writer, speaker, sentence, emotion, "train")
        for sentence in ("s3", "s4"):
            for emotion in (0, 2):
                add_clip(writer, "cat", sentence, emotion, "val", takes=1)
        writer.add_speech(
            "audio-only", np.full(8000, 0.25 * amount, np.float32), speaker="ann", sentence="s1", split="train"
        )
        writer.add_performance("motion-only", np.full((40, 52), 0.5, np.float32), split="train")
    assert writer.corpus is not None
    return writer.corpus
