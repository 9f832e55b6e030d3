"""Building a performer corpus: speech in, and for each piece of it several performances from a known distribution."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from rich.console import Console
from rich.progress import track

from deeptalk.corpus.format import INT16_SCALE, Corpus
from deeptalk.corpus.performer import AffectCode, Given, Performance, Performer, SpeechEvent
from deeptalk.corpus.rows import SpeechRow
from deeptalk.corpus.sentences import demo_events, first_of_each_split, synthesised_events
from deeptalk.corpus.writer import CorpusWriter, quantise
from deeptalk.errors import UserError
from deeptalk.face import load_rig

REFERENCE_SPLIT = "test"
"""The split that gets reference draws instead of performances to train on."""

_SOURCES = {
    "demo": ("the vendored demo speech", "CC0-1.0"),
    "synthesis": (
        "speech synthesised by hibari-tts (Apache-2.0)",
        "That of the sentences (the demo's are CC0-1.0); motion CC0-1.0.",
    ),
}
"""Provenance and licence of each kind of speech."""


@dataclass(frozen=True)
class CorpusConfig:
    """What a performer corpus holds."""

    speech: Literal["demo", "synthesis"] = "demo"
    """`demo` is the vendored speech (168 clips); `synthesis` speaks sentences with the extra `voice`."""
    sentences: str = ""
    """Text file with one sentence a line, for synthesis; empty takes the sentences of the demo."""
    affects_per_class: int = 1
    """Synthesis: how often each sentence is spoken in each of the eight audible classes, each time in another tone."""
    max_clips_per_split: int = 0
    """Keep only so many pieces of speech of each split, the first ones; 0 keeps all."""
    train_performances: int = 4
    """Performances of each piece of training speech."""
    val_performances: int = 4
    """Performances of each piece of validation speech."""
    reference_draws: int = 16
    """Performances of each piece of test speech, of each kind: given the speech; given label and speaker too."""
    seed: int = 7
    """Of the performances, and of the tone of synthesised speech."""

    def __post_init__(self) -> None:
        for name in ("affects_per_class", "train_performances", "val_performances", "reference_draws"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; expected 0 or more.")
        if self.max_clips_per_split < 0:
            raise UserError(f"max_clips_per_split is {self.max_clips_per_split}; expected 0 (all) or more.")
        if self.speech == "demo" and (self.sentences or self.affects_per_class != 1):
            raise UserError("sentences and affects_per_class need speech=synthesis; the demo's speech is what it is.")


@runtime_checkable
class Performs(Protocol):
    """What a performer does, so that a corpus can be built with another one than ours."""

    @property
    def version(self) -> str:
        """Name of the distribution; results name it."""

    def performances(
        self,
        event: SpeechEvent,
        k: int,
        given: Given = "speech",
        seed: int = 0,
        like: Performance | None = None,
    ) -> list[Performance]:
        """Draw k performances of a piece of speech; the i-th depends on (event, seed, i), not on k."""


def build_corpus(
    out: str | Path,
    config: CorpusConfig,
    *,
    events: Sequence[SpeechEvent] | None = None,
    performer: Performs | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Corpus:
    """Build a corpus in the folder `out` and open it.

    A performance depends on (its speech, config.seed, its place) only, so a smaller corpus is part of a larger one, and
    `corpus.event(index)` and that seed draw it again. Test speech gets `reference_draws` performances given the speech,
    then as many that share the label and the speaker of the first, which is the target where a metric needs one.

    Args:
        out: folder to write; it appears when all is done.
        config: what to build.
        events: speech to use instead of what `config.speech` names; each with its split.
        performer: draws the performances; None is the built-in one.
        overwrite: replace a corpus that is already there.
        progress: show a progress bar.

    Raises UserError where speakers or sentences of one split occur in another, or `out` cannot be written.
    """
    performer = performer or Performer(load_rig("arkit"))
    speech = events if events is not None else _events(config, progress)
    chosen = first_of_each_split(speech, lambda event: event.split, config.max_clips_per_split)
    _check_held_out(chosen)
    spoken, license = _SOURCES[config.speech] if events is None else ("speech handed in", "That of the speech.")
    writer = CorpusWriter(
        out,
        provenance=f"Motion drawn by the deeptalk performer, version {performer.version}, to {spoken}.",
        license=license,
        performer={"version": performer.version},
        config=asdict(config),
        overwrite=overwrite,
    )
    title = f"performances of {len(chosen)} clips"
    with writer:
        for name, event in track(
            list(_named(chosen)), title, disable=not progress, console=Console(stderr=True), transient=True
        ):
            _add(writer, name, event, performer, config)
    assert writer.corpus is not None
    return writer.corpus


def _events(config: CorpusConfig, progress: bool) -> list[SpeechEvent]:
    if config.speech == "demo":
        return demo_events()
    return synthesised_events(
        config.sentences, config.affects_per_class, config.seed, config.max_clips_per_split, progress
    )


def _check_held_out(events: Sequence[SpeechEvent]) -> None:
    for kind in ("speaker", "sentence"):
        homes: dict[str, str | None] = {}
        for event in events:
            value = getattr(event, kind)
            if event.split is None:
                raise UserError(f"Speech {event.text!r} has no split; give each event train, val or test.")
            if homes.setdefault(value, event.split) != event.split:
                raise UserError(
                    f"The {kind} {value!r} is in the splits {homes[value]} and {event.split}; held out means that "
                    f"every {kind} is in one split only."
                )


def _named(events: Iterable[SpeechEvent]) -> Iterable[tuple[str, SpeechEvent]]:
    """Give each event a name of its own: speaker, sentence, audible class, and a number from the second on."""
    counts: dict[str, int] = {}
    for event in events:
        name = "-".join([event.speaker, event.sentence, event.affect.class_name if event.affect else "speech"])
        counts[name] = counts.get(name, 0) + 1
        yield (name if counts[name] == 1 else f"{name}-{counts[name]}"), event


def _add(writer: CorpusWriter, name: str, event: SpeechEvent, performer: Performs, config: CorpusConfig) -> None:
    """Add one piece of speech and its performances."""
    assert event.split is not None
    # Perform to what the corpus will hold, so that the same performances can be drawn from it again.
    heard = replace(event, samples=quantise(event.samples).astype(np.float32) / np.float32(INT16_SCALE))
    speech = writer.add_speech(
        name,
        event.samples,
        speaker=event.speaker,
        sentence=event.sentence,
        split=event.split,
        text=event.text,
        emotion=event.affect.sound_class if event.affect else -1,
        phones=event.phones,
        affect=asdict(event.affect) if event.affect else None,
    )
    counts = {"train": config.train_performances, REFERENCE_SPLIT: config.reference_draws}
    draws = performer.performances(
        heard, counts.get(event.split, config.val_performances), given="speech", seed=config.seed
    )
    _add_draws(writer, name, speech, "speech", draws)
    if event.split == REFERENCE_SPLIT:
        given: Given = "speech+label+speaker"
        same = performer.performances(heard, config.reference_draws, given=given, seed=config.seed, like=draws[0])
        _add_draws(writer, name, speech, given, same)


def _add_draws(writer: CorpusWriter, name: str, speech: int, given: str, draws: Sequence[Performance]) -> None:
    for place, drawn in enumerate(draws):
        writer.add_performance(
            f"{name}/{given}/{place}",
            drawn.motion,
            speech=speech,
            emotion=drawn.emotion,
            intensity=drawn.intensity,
            reading=drawn.reading,
            given=given,
            style=dict(drawn.style),
        )


def event_of_row(row: SpeechRow, samples: np.ndarray) -> SpeechEvent:
    """A row of the speech table and its samples as the performer takes them; UserError where phones are unknown."""
    affect = AffectCode(**row.affect) if row.affect is not None else None
    return SpeechEvent(
        samples=samples,
        phones=row.phones,
        text=row.text,
        speaker=row.speaker,
        sentence=row.sentence,
        affect=affect,
        split=row.split,
    )
