"""What a corpus will say, decided before a sound is made: a cheap list of lines that workers can speak in any order."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode, draw_affect
from deeptalk.corpus.performer.event import SpeechEvent
from deeptalk.corpus.sentences import Sentence, load_sentences
from deeptalk.corpus.synthesis.engines import ENGINES, synthesize
from deeptalk.corpus.synthesis.sound import (
    LEAST_PAUSE_SECONDS,
    LEAST_REST_SECONDS,
    MOST_PAUSE_SECONDS,
    MOST_REST_SECONDS,
    PAUSE_SHARE,
)
from deeptalk.corpus.synthesis.voices import VOICES, Split, Voice, voices_of
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError

SHARES: dict[str, float] = {"hibari": 0.85, "joe": 0.15}
"""Of the seconds, by engine: joe is one man at a tenth of hibari's speed, so he is capped."""
HELD_OUT_SHARE = 0.05
"""Of the clips or hours, for validation and for test each."""
UNSEEN_ENGINE = "flite"
T = TypeVar("T")

SECONDS_PER_LETTER: dict[str, float] = {"hibari": 0.0504, "joe": 0.0492, "praat": 0.0661, "flite": 0.0491}
"""Of the spoken part at rate 1, over the stored sentences."""

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class SpeechPlan:
    """One line to speak. `speak` gives the same bytes for it in any process and order."""

    sentence: str
    """Name of the sentence."""
    text: str
    voice: str
    """Name in `VOICES`."""
    affect: AffectCode
    seed: int
    """Of the engine's noise."""
    split: Split

    @property
    def engine(self) -> str:
        """The engine that speaks it."""
        return VOICES[self.voice].engine

    @property
    def expected_seconds(self) -> float:
        """Length to expect, from the text and the rates; right to a few per cent over many lines."""
        rate = self.affect.rate_factor * VOICES[self.voice].rate_factor
        rests = LEAST_REST_SECONDS + MOST_REST_SECONDS
        pauses = 0.5 * (LEAST_PAUSE_SECONDS + MOST_PAUSE_SECONDS) * PAUSE_SHARE * self.text.count(",")
        return rests + pauses + SECONDS_PER_LETTER[self.engine] * len(self.text) / rate


def plan_speech(
    *,
    hours: float | None = None,
    clips: int | None = None,
    shares: Mapping[str, float] = SHARES,
    unseen_share: float = 0.0,
    affects_per_sentence: int = len(EMOTIONS),
    seed: int = 7,
    sentences: Sequence[Sentence] | None = None,
) -> list[SpeechPlan]:
    """Plan speech of so many hours or so many clips; train first, then val and test, 5 % each.

    A voice says a sentence in `affects_per_sentence` tones, one of each audible class before a second of any, so that
    text and voice tell nothing about the tone. Voices and sentences are disjoint between splits. A longer plan begins,
    in each split, with the shorter one of the same settings.

    Args:
        hours: length in all, as expected from the texts.
        clips: number of lines in all, instead of hours.
        shares: seconds by engine, relative to one another.
        unseen_share: part of the test split's seconds that flite speaks, the engine never trained on.
        affects_per_sentence: tones in which a voice says a sentence.
        seed: of everything drawn.
        sentences: what to say instead of the stored sentences.

    Raises UserError for an amount, share or count out of range, an engine that is unknown or never trained on, or a
    split without sentences.
    """
    _check(hours, clips, shares, unseen_share, affects_per_sentence, seed)
    bank = load_sentences() if sentences is None else sentences
    lines: list[SpeechPlan] = []
    for number, split in enumerate(_SPLITS):
        mix = {engine: share for engine, share in shares.items() if share > 0.0}
        if split == "test" and unseen_share > 0.0:
            seen = {engine: share * (1.0 - unseen_share) / sum(mix.values()) for engine, share in mix.items()}
            mix = {engine: share for engine, share in {**seen, UNSEEN_ENGINE: unseen_share}.items() if share > 0.0}
        own = [sentence for sentence in bank if sentence.split == split]
        if not own:
            raise UserError(f"No sentence is in the split {split}; give at least ten sentences.")
        source = _lines_of_split(split, own, mix, affects_per_sentence, (seed, number))
        if clips is not None:
            held_out = max(round(HELD_OUT_SHARE * clips), 1)
            lines += itertools.islice(source, clips - 2 * held_out if split == "train" else held_out)
        elif hours is not None:
            part = 1.0 - 2 * HELD_OUT_SHARE if split == "train" else HELD_OUT_SHARE
            lines += _of_length(source, part * hours * 3600.0)
    return lines


def speak(plan: SpeechPlan) -> SpeechEvent:
    """Speak a planned line; depends on the line only."""
    return synthesize(plan.text, plan.affect, plan.voice, plan.seed, sentence=plan.sentence, split=plan.split)


def _check(
    hours: float | None,
    clips: int | None,
    shares: Mapping[str, float],
    unseen_share: float,
    affects_per_sentence: int,
    seed: int,
) -> None:
    if (hours is None) == (clips is None):
        raise UserError("Give either hours or clips, the length of the speech to plan.")
    if hours is not None and not 0.0 < hours <= 10_000.0:
        raise UserError(f"hours is {hours}; expected above 0 and at most 10000.")
    if clips is not None and clips < 3:
        raise UserError(f"clips is {clips}; expected at least 3, one for each split.")
    for engine, share in shares.items():
        if engine not in ENGINES or not ENGINES[engine].trained_on:
            known = ", ".join(name for name, entry in ENGINES.items() if entry.trained_on)
            raise UserError(f"shares names the engine {engine!r}; expected some of {known} (flite: unseen_share).")
        if not 0.0 <= share <= 1.0:
            raise UserError(f"The share of {engine} is {share}; expected 0 to 1.")
    if not sum(shares.values()) > 0.0:
        raise UserError("All shares are 0; give at least one engine a share.")
    if not 0.0 <= unseen_share <= 1.0:
        raise UserError(f"unseen_share is {unseen_share}; expected 0 to 1.")
    if affects_per_sentence < 1:
        raise UserError(f"affects_per_sentence is {affects_per_sentence}; expected at least 1.")
    if seed < 0:
        raise UserError(f"seed is {seed}; expected 0 or more.")


def _lines_of_split(
    split: Split, sentences: Sequence[Sentence], mix: Mapping[str, float], affects: int, seeds: tuple[int, int]
) -> Iterator[SpeechPlan]:
    """Endless lines: whoever is furthest behind its engine's share says the next sentence, in all its tones."""
    said = _in_shuffled_rounds(sentences, [*seeds, 0])
    speakers = {engine: _in_shuffled_rounds(voices_of(engine, split), [*seeds, 1, *engine.encode()]) for engine in mix}
    seconds = dict.fromkeys(mix, 0.0)
    for block in itertools.count():
        engine = min(mix, key=lambda name: seconds[name] / mix[name])
        sentence, voice = next(said), next(speakers[engine])
        for line in _tones(sentence, voice, affects, [*seeds, 2, block]):
            seconds[engine] += line.expected_seconds
            yield line


def _tones(sentence: Sentence, voice: Voice, affects: int, seeds: Sequence[int]) -> Iterator[SpeechPlan]:
    generator = np.random.default_rng(seeds)
    classes = _in_shuffled_rounds(range(len(EMOTIONS)), [*seeds, 0])
    for sound_class in itertools.islice(classes, affects):
        affect = draw_affect(sound_class, generator)
        noise = int(generator.integers(2**31))
        yield SpeechPlan(sentence.name, sentence.text, voice.name, affect, noise, voice.split)


def _in_shuffled_rounds(items: Sequence[T], seeds: Sequence[int]) -> Iterator[T]:
    """Every item once in random order, then again in another."""
    generator = np.random.default_rng(seeds)
    while True:
        yield from (items[int(place)] for place in generator.permutation(len(items)))


def _of_length(lines: Iterator[SpeechPlan], seconds: float) -> Iterator[SpeechPlan]:
    """Lines up to the one that completes so many expected seconds."""
    so_far = 0.0
    while so_far < seconds:
        line = next(lines)
        so_far += line.expected_seconds
        yield line
