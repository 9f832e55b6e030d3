"""What is said: the stored sentences, and any text file, with a split for every sentence."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from deeptalk.corpus.performer import SpeechEvent, draw_affect
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError


@dataclass(frozen=True)
class Sentence:
    """One sentence."""

    name: str
    text: str
    split: Literal["train", "val", "test"]
    """Where it is said: splits share no sentence."""


@functools.lru_cache(maxsize=1)
def load_sentences() -> tuple[Sentence, ...]:
    """The stored sentences: our own, CC0, phonetically rich, without emotion in the words.

    Made by `scripts/build_sentences.py`; of every ten, one is for validation and one for test.
    """
    path = Path(str(resources.files("deeptalk"))) / "corpus" / "assets" / "sentences.txt"
    return _with_splits(path.read_text(encoding="utf-8").splitlines(), "s")


def sentences_of_file(path: str | Path) -> tuple[Sentence, ...]:
    """The different sentences of a UTF-8 text file, one a line; of every ten, one is for validation and one for test.

    Raises UserError where the file cannot be read or holds fewer than ten different sentences.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read sentences from {path} ({error}); give a UTF-8 text file.") from error
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(texts) < 10:
        raise UserError(f"{path} holds {len(texts)} different sentences; expected at least 10, one a line.")
    return _with_splits(texts, "line_")


def _with_splits(texts: Sequence[str], prefix: str) -> tuple[Sentence, ...]:
    held_out: dict[int, Literal["val", "test"]] = {8: "val", 9: "test"}
    return tuple(
        Sentence(f"{prefix}{number + 1:05d}", text, held_out.get(number % 10, "train"))
        for number, text in enumerate(texts)
    )


T = TypeVar("T")
Line = tuple[str, str, str, str]
"""Split, voice, name of the sentence, text."""


def demo_events() -> list[SpeechEvent]:
    """The vendored clips: 128 train, 16 val, 24 test."""
    from deeptalk.corpus.synthesis import demo_speech

    return demo_speech()


def demo_lines() -> list[Line]:
    """Who says which sentence in the vendored speech."""
    from deeptalk.corpus.synthesis import demo_speech

    return list(dict.fromkeys((str(e.split), e.speaker, e.sentence, e.text) for e in demo_speech()))


def lines_of_file(path: str | Path) -> list[Line]:
    """Share the sentences of a text file, one a line, among the voices of the demo and thereby among the splits.

    Of every ten sentences one goes to the validation voice, one to the test voice and the others to the training voices
    in turn. Raises UserError where the file cannot be read or holds fewer than ten different sentences.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read sentences from {path} ({error}); give a UTF-8 text file.") from error
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(texts) < 10:
        raise UserError(f"{path} holds {len(texts)} different sentences; expected at least 10, one a line.")
    voices: dict[str, list[str]] = {}
    for split, voice, _, _ in demo_lines():
        if voice not in voices.setdefault(split, []):
            voices[split].append(voice)
    counts = dict.fromkeys(voices, 0)
    shared: list[Line] = []
    for number, text in enumerate(texts):
        split = {8: "val", 9: "test"}.get(number % 10, "train")
        voice = voices[split][counts[split] % len(voices[split])]
        counts[split] += 1
        shared.append((split, voice, f"line_{number + 1:05d}", text))
    return shared


def first_of_each_split(items: Iterable[T], split_of: Callable[[T], str | None], most: int) -> list[T]:
    """The first `most` items of each split, in their order; 0 is no limit."""
    counts: Counter[str | None] = Counter()
    chosen = []
    for item in items:
        counts[split_of(item)] += 1
        if not most or counts[split_of(item)] <= most:
            chosen.append(item)
    return chosen


def synthesised_events(
    sentences: str, affects_per_class: int, seed: int, max_clips_per_split: int = 0, progress: bool = False
) -> list[SpeechEvent]:
    """Speak every sentence `affects_per_class` times in each of the eight audible classes.

    `sentences` is a text file, or empty for the demo's. A clip depends on the seed, its sentence, class and number.
    """
    lines = lines_of_file(sentences) if sentences else demo_lines()
    every = ((line, cls, n) for line in lines for cls in range(len(EMOTIONS)) for n in range(affects_per_class))
    wanted = first_of_each_split(every, lambda clip: clip[0][0], max_clips_per_split)
    console = Console(stderr=True)
    bar = track(wanted, f"synthesis of {len(wanted)} clips", disable=not progress, console=console, transient=True)
    return [_speak(line, [seed, sound_class, number]) for line, sound_class, number in bar]


def _speak(line: Line, seeds: Sequence[int]) -> SpeechEvent:
    from deeptalk.corpus.synthesis import synthesize, voice_named

    split, voice, sentence, text = line
    generator = np.random.default_rng([*seeds, *sentence.encode()])
    affect = draw_affect(seeds[1], generator)
    noise_seed = int(generator.integers(2**31))
    return synthesize(text, affect, voice_named(voice), noise_seed, sentence=sentence, split=split)
