"""What a performer corpus will hold: its settings, and the list of its clips before a sound is made."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from deeptalk.corpus.performer import Phone, SpeechEvent
from deeptalk.corpus.performer.event import SILENCE
from deeptalk.corpus.rows import check_held_out
from deeptalk.corpus.sentences import load_sentences, sentences_of_file
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.corpus.synthesis.plan import SHARES, SpeechPlan, plan_speech, speak
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.speech import SAMPLE_RATE, frame_count
from deeptalk.speech.augment import AugmentConfig

SENTENCE_JOINT = "+"
"""Between the names of sentences that are spoken as one."""
REFERENCE_SPLIT = "test"
"""The split that gets reference draws instead of performances to train on, and whose sound is never augmented."""


@dataclass(frozen=True)
class CorpusConfig:
    """What a performer corpus holds."""

    speech: Literal["demo", "synthesis"] = "demo"
    """`demo` is the vendored speech (168 clips); `synthesis` speaks sentences with the extra `voice`."""
    hours: float = 0.0
    """Synthesis: length of the speech in all splits."""
    clips: int = 0
    """Synthesis: sentences spoken in all splits, instead of `hours`; 0 goes by the hours."""
    sentences: str = ""
    """Synthesis: text file with one sentence a line; empty takes the stored ones."""
    affects_per_sentence: int = len(EMOTIONS)
    """Synthesis: tones in which a voice says a sentence, one of each audible class before a second of any."""
    join_sentences: int = 1
    """Synthesis: a piece of speech is of 1 up to so many sentences, by one voice in one tone, with pauses between."""
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    """Synthesis: seconds spoken by each engine, relative to one another."""
    unseen_share: float = 0.0
    """Synthesis: part of the test split spoken by the engine that is never trained on."""
    augmented_share: float = 0.0
    """Part of the clips, of every split but test, whose sound is changed as rooms, noise and channels would."""
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    """What may happen to those."""
    max_clips_per_split: int = 0
    """Keep only so many pieces of speech of each split, the first ones; 0 keeps all."""
    performer: Literal["standard", "one_reading", "judge"] = "standard"
    """Who performs: `one_reading` leaves nothing to be drawn but timing, `judge` is of other parameters."""
    train_performances: int = 4
    """Performances of each piece of training speech."""
    val_performances: int = 4
    """Performances of each piece of validation speech, and of test speech that is no reference."""
    reference_clips: int = 0
    """Pieces of test speech, the first ones, that get reference draws; 0 is all."""
    reference_draws: int = 16
    """Performances of each of them, of each kind: given the speech; given label and speaker too."""
    seed: int = 7
    """Of the plan of the speech, the augmentation and the performances."""

    def __post_init__(self) -> None:
        for name in (
            "affects_per_sentence",
            "join_sentences",
            "train_performances",
            "val_performances",
            "reference_draws",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name in ("seed", "max_clips_per_split", "reference_clips", "clips", "hours"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("unseen_share", "augmented_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"{name} is {getattr(self, name)}; expected 0 to 1.")
        spoken = ("hours", "clips", "sentences", "unseen_share", "affects_per_sentence", "join_sentences")
        changed = [name for name in spoken if getattr(self, name) != getattr(type(self), name)]
        if self.speech == "demo" and changed:
            raise UserError(f"{changed[0]} needs speech=synthesis; the demo's speech is what it is.")
        if self.speech == "synthesis" and not self.hours and not self.clips:
            raise UserError("speech=synthesis needs hours above 0, or clips.")


@dataclass(frozen=True)
class PlannedClip:
    """One piece of speech of a corpus, before it is spoken."""

    name: str
    """Its own in the corpus: speaker, sentence, audible class, and a number from the second on."""
    split: str
    speaker: str
    sentence: str
    expected_seconds: float
    source: SpeechEvent | tuple[SpeechPlan, ...] | int
    """Speech handed in, lines to speak one after the other, or the place of a clip in the vendored speech."""
    is_augmented: bool = False
    is_reference: bool = False
    """Whether it gets reference draws."""

    def speech(self) -> SpeechEvent:
        """Speak it, or read it."""
        if isinstance(self.source, tuple):
            return joined([speak(line) for line in self.source])
        return demo_speech()[self.source] if isinstance(self.source, int) else self.source

    def performances(self, config: CorpusConfig) -> int:
        """How many performances it gets, of all kinds."""
        if self.is_reference:
            return 2 * config.reference_draws
        return config.train_performances if self.split == "train" else config.val_performances


def plan_clips(config: CorpusConfig, events: Sequence[SpeechEvent] | None = None) -> list[PlannedClip]:
    """The clips of a corpus in their order; `events` is speech to use instead of what the config names.

    A clip depends on the seed and its own line, so a corpus with fewer clips is part of the one with more, unless
    sentences are joined: then the last pieces of each voice and tone are shorter.

    Raises UserError where speakers or sentences of one split occur in another.
    """
    clips = list(_first_of_each_split(_sources(config, events), config.max_clips_per_split))
    check_held_out(((clip.speaker, clip.split) for clip in clips), "speaker")
    sentences = ((name, clip.split) for clip in clips for name in clip.sentence.split(SENTENCE_JOINT))
    check_held_out(sentences, "sentence")
    counts: Counter[str] = Counter()
    planned = []
    for clip in clips:
        counts[clip.name] += 1
        name = clip.name if counts[clip.name] == 1 else f"{clip.name}-{counts[clip.name]}"
        chance = seed_of(config.seed, name, "chosen") / 2**63
        counts[f"/{clip.split}"] += 1
        is_reference = clip.split == REFERENCE_SPLIT and (
            not config.reference_clips or counts[f"/{clip.split}"] <= config.reference_clips
        )
        is_augmented = clip.split != REFERENCE_SPLIT and chance < config.augmented_share
        planned.append(replace(clip, name=name, is_reference=is_reference, is_augmented=is_augmented))
    return planned


def seed_of(seed: int, *names: str) -> int:
    """A seed of 63 bits for one use of one clip, whatever the others are."""
    digest = hashlib.sha256("/".join([str(seed), *names]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def expected_bytes(clips: Sequence[PlannedClip], config: CorpusConfig, channels: int, frame_rate: float) -> int:
    """Bytes that the arrays of a corpus will take, as far as the lengths of the clips are as expected."""
    total = 0
    for clip in clips:
        samples = round(clip.expected_seconds * SAMPLE_RATE)
        total += 2 * samples + 4 * channels * frame_count(samples, frame_rate) * clip.performances(config)
    return total


def joined(events: Sequence[SpeechEvent]) -> SpeechEvent:
    """Speech of one speaker in one tone, one piece after the other with the silences that each has at its ends."""
    first = events[0]
    if len(events) == 1:
        return first
    phones: list[Phone] = []
    start = 0.0
    for event in events:
        for phone in event.phones:
            begin, end = start + phone.start_seconds, start + phone.end_seconds
            if phones and phone.symbol == phones[-1].symbol == SILENCE:
                begin = phones.pop().start_seconds
            phones.append(replace(phone, start_seconds=begin, end_seconds=end))
        start += event.seconds
    return replace(
        first,
        samples=np.concatenate([event.samples for event in events]),
        phones=tuple(phones),
        text=" ".join(event.text for event in events),
        sentence=SENTENCE_JOINT.join(event.sentence for event in events),
    )


def _sources(config: CorpusConfig, events: Sequence[SpeechEvent] | None) -> Iterable[PlannedClip]:
    if events is None and config.speech == "synthesis":
        lines = plan_speech(
            hours=None if config.clips else config.hours,
            clips=config.clips or None,
            shares=config.shares,
            unseen_share=config.unseen_share,
            affects_per_sentence=config.affects_per_sentence,
            seed=config.seed,
            sentences=sentences_of_file(config.sentences) if config.sentences else load_sentences(),
        )
        for group in _grouped(lines, config):
            sentence = SENTENCE_JOINT.join(line.sentence for line in group)
            name = f"{group[0].voice}-{sentence}-{group[0].affect.class_name}"
            seconds = sum(line.expected_seconds for line in group)
            yield PlannedClip(name, group[0].split, group[0].voice, sentence, seconds, group)
        return
    for place, event in enumerate(demo_speech() if events is None else events):
        name = "-".join([event.speaker, event.sentence, event.affect.class_name if event.affect else "speech"])
        if event.split is None:
            raise UserError(f"Speech {event.text!r} has no split; give each event train, val or test.")
        source = place if events is None else event
        yield PlannedClip(name, event.split, event.speaker, event.sentence, event.seconds, source)


def _grouped(lines: Sequence[SpeechPlan], config: CorpusConfig) -> Iterable[tuple[SpeechPlan, ...]]:
    """Lines that are spoken as one, of one voice and audible class, all in the tone of the first.

    How many depends on the voice and on how much it has said, not on the tone: every group of sentences comes in all
    tones, as single sentences do.
    """
    said: Counter[tuple[str, str, int]] = Counter()
    groups: dict[tuple[str, int, int], list[SpeechPlan]] = {}
    finished: Counter[tuple[str, int, int]] = Counter()
    for line in lines:
        tone = line.affect.sound_class
        said[line.voice, line.sentence, tone] += 1
        key = line.voice, tone, said[line.voice, line.sentence, tone]
        group = groups.setdefault(key, [])
        group.append(replace(line, affect=group[0].affect) if group else line)
        size = 1 + seed_of(config.seed, line.voice, str(finished[key]), "joined") % config.join_sentences
        if len(group) == size:
            finished[key] += 1
            yield tuple(groups.pop(key))
    yield from map(tuple, groups.values())


def _first_of_each_split(clips: Iterable[PlannedClip], most: int) -> Iterable[PlannedClip]:
    counts: Counter[str] = Counter()
    for clip in clips:
        counts[clip.split] += 1
        if not most or counts[clip.split] <= most:
            yield clip
