"""What the commands do: take files, benchmark and corpus, each from folders and words to files."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from deeptalk.baselines import EmoTalk
from deeptalk.benchmark import (
    STANDARD_NAMES,
    BenchmarkConfig,
    NoisyEmoTalkSystem,
    Report,
    System,
    check_names,
    clip_speech,
    run_benchmark,
    standard_systems,
)
from deeptalk.bundle import Part, read_part, weights_sha256
from deeptalk.config import compose, find_preset, save_config
from deeptalk.corpus import Corpus, CorpusConfig, FeatureStore, build_corpus
from deeptalk.emotion_request import read_request
from deeptalk.errors import UserError
from deeptalk.export import check_format
from deeptalk.export.page import Page, PageScene, PageTake, write_page
from deeptalk.face import load_rig
from deeptalk.files import write_json
from deeptalk.pipeline import Talker, check_length, load
from deeptalk.speech import SAMPLE_RATE, Source, SpeechEncoder, Waveform, build_encoder, load_waveform
from deeptalk.stages import part_folder
from deeptalk.take import Take

PAGE = "html"
"""The one format that shows all takes of a recording together."""
SHORT_SECONDS = 30.0
"""Speech times takes that is performed too soon for a bar to be of use."""


def build_corpus_folder(
    out: Path,
    preset: str,
    words: Sequence[str],
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Corpus:
    """Build the corpus that a preset and words describe, or open it where the folder already holds just that one.

    A build that was stopped goes on. `workers` None is one process for the vendored speech, which takes less time than
    starting a second, and one for each core else. Raises UserError where the folder holds another corpus and is not to
    be overwritten.
    """
    config = compose(CorpusConfig, [find_preset("corpus", preset)], words)
    if (out / "corpus.json").exists():
        corpus = Corpus.open(out)
        if corpus.manifest.get("config") == asdict(config):
            return corpus
        if not overwrite:
            raise UserError(
                f"{out} holds a corpus built with another config; give another --out, or --overwrite to replace it."
            )
    if workers is None:
        workers = 1 if config.speech == "demo" else os.cpu_count() or 1
    return build_corpus(out, config, workers=workers, overwrite=overwrite, progress=progress)


def page_scene(title: str, takes: Sequence[Take], note: str = "") -> PageScene:
    """The takes of one recording as a scene of a page."""
    first = takes[0]
    assert first.samples is not None
    labelled = [PageTake(f"take {take.recipe['take'] + 1}", take.motion, take.head_rotation_radians) for take in takes]
    return PageScene(title, first.samples, SAMPLE_RATE, first.frame_rate, labelled, note)


def _check_outputs(speech: Sequence[Path], formats: str) -> list[str]:
    """Names of the formats; raises UserError for an unknown one, or two recordings whose takes would share names."""
    names = [name.strip().lower().removeprefix(".") for name in formats.split(",") if name.strip()]
    if not names:
        raise UserError("--format is empty; give one or more of npz, csv, html, such as npz,csv.")
    for name in names:
        check_format(name)
    stems = [path.stem for path in speech]
    doubled = sorted({stem for stem in stems if stems.count(stem) > 1})
    if doubled:
        raise UserError(
            f"Several recordings are named {doubled[0]!r}, so their takes would overwrite each other; run them apart."
        )
    return names


def _performed(
    talker: Talker, speech: Sequence[Path], waveforms: Sequence[Waveform], settings: dict[str, Any]
) -> Iterator[tuple[Path, list[Take]]]:
    """Each recording with its takes, under a bar that counts the takes where it is worth one."""
    count = len(speech) * settings.get("takes", 4)
    seconds = sum(waveform.seconds for waveform in waveforms) * settings.get("takes", 4)
    short = len(speech) == 1 and seconds < SHORT_SECONDS
    with Progress(console=Console(stderr=True), transient=True, disable=short) as progress:
        bar = progress.add_task("Takes", total=count)
        for path, waveform in zip(speech, waveforms):
            yield path, talker.perform(waveform, **settings, on_take=lambda: progress.advance(bar))


def sample_files(
    speech: Sequence[Path],
    out: Path,
    formats: str = "npz,csv,html",
    bundle: str | None = None,
    speech_source: Source = None,
    idle: bool = True,
    head: str | None = None,
    **settings: Any,
) -> list[Path]:
    """Perform recordings and write every take; returns the files in the order they were written.

    Everything is checked before the first take is made: formats, names, emotions, the recordings themselves. Takes of a
    recording are written as soon as they are there.

    Args:
        speech: sound files.
        out: folder for `NAME_take1.npz`, `NAME_take1.csv`, ..., `NAME.html` and, beside them, `NAME_takes.json` with
            the recipes.
        formats: comma list of `deeptalk.export.FORMATS`; html is one page for all takes of a recording.
        bundle, speech_source: as for `deeptalk.load`.
        idle: add blinks, gaze and slight head motion, which no model here makes; take i has seed + i.
        head: a face of your own to show the takes on, see `load_rig`; it needs the channels of the bundle's rig.
        settings: of `Talker.perform`.

    A bar on stderr counts the takes where there are several recordings or long ones.

    Raises UserError for whatever cannot be done.
    """
    names = _check_outputs(speech, formats)
    asked = ("emotion", "intensity", "emotion_from", "emotion_weight", "emotion_windows", "speaker_reference")
    request = read_request(**{name: settings[name] for name in asked if name in settings})
    waveforms: list[Waveform] = [load_waveform(path) for path in speech]
    for waveform in waveforms:
        check_length(waveform)
        request.check_end(waveform.seconds, str(waveform.path))
    shown_on = None if head is None else load_rig(head)
    talker = load(bundle, speech_source)
    rig = shown_on or talker.rig
    if tuple(rig.channels) != tuple(talker.rig.channels):
        raise UserError(f"The head {head} has other channels than the bundle's rig {talker.rig.name!r}; give another.")
    written = []
    for path, takes in _performed(talker, speech, waveforms, settings):
        if idle:
            takes = [take.with_idle(settings.get("seed", 0) + number) for number, take in enumerate(takes)]
        for number, take in enumerate(takes, start=1):
            written += [take.save(out / f"{path.stem}_take{number}.{name}", shown_on) for name in names if name != PAGE]
        recipes = out / f"{path.stem}_takes.json"
        write_json(recipes, [dict(take.recipe) for take in takes])
        written.append(recipes)
        if PAGE in names:
            page = out / f"{path.stem}.html"
            intro = f"{len(takes)} takes of one recording, seed {settings.get('seed', 0)}. Press play, or space."
            write_page(page, Page(f"Takes of {path.name}", intro, [page_scene(path.name, takes)]), rig)
            written.append(page)
    return written


@dataclass(frozen=True)
class Bench:
    """What a benchmark runs on: the standard systems, trained on one corpus."""

    corpus: Corpus
    encoder: SpeechEncoder
    systems: list[System]
    config: BenchmarkConfig
    origins: dict[str, Any]
    """Hashes of weights and of the corpora they learned from, and what was set on the validation clips."""


def open_bench(
    corpus_folder: Path,
    preset: str,
    words: Sequence[str],
    bundle: str | None,
    emotalk_folder: Path,
    speech_source: Source = None,
    progress: bool = True,
) -> Bench:
    """Open a corpus, a bundle and a trained EmoTalk, and set up the standard systems.

    Raises UserError where one is missing, was made for another rig, frame rate or speech encoder, or learned from a
    speaker it is measured on.
    """
    config = compose(BenchmarkConfig, [find_preset("benchmark", preset)], words)
    corpus = Corpus.open(corpus_folder)
    check_names(STANDARD_NAMES, config)
    clip_speech(corpus, config.split, config.given, config.takes, config.max_clips)
    clip_speech(corpus, "val", "speech", held_out=0)
    part = read_part(part_folder(emotalk_folder), "emotalk")
    _check_part(part, str(emotalk_folder), corpus, config.split)
    if part.speech is None:
        raise UserError(f"{emotalk_folder} does not say on which speech features it was trained; train it again.")
    talker = load(bundle, speech_source)
    for own in talker.bundle.parts.values():
        _check_part(own, f"Part {own.name} of bundle {talker.bundle.folder}", corpus, config.split)
    encoder = build_encoder(part.speech.name, speech_source, corpus.frame_rate)
    if encoder.cache_key() != part.speech.cache_key:
        raise UserError(f"{emotalk_folder} was trained on other features than {encoder.name} gives; train it again.")
    emotalk = EmoTalk.from_pretrained(part_folder(emotalk_folder))
    store = FeatureStore.build(corpus, encoder, progress=progress)
    systems = standard_systems(corpus, store, encoder, talker, emotalk, part.speakers, config, progress)
    noisy = next(system for system in systems if isinstance(system, NoisyEmoTalkSystem))
    parts = [*talker.bundle.parts.values(), part]
    origins = {
        "bundle_sha256": talker.bundle.sha256,
        "emotalk_sha256": weights_sha256(part_folder(emotalk_folder)),
        "corpora": {one.name: one.corpus for one in parts},
        "emotalk_level": noisy.emotalk.level,
        "noise_scale": noisy.noise.scale,
    }
    return Bench(corpus, encoder, systems, config, origins)


def _check_part(part: Part, name: str, corpus: Corpus, split: str) -> None:
    """Raise UserError where a part does not fit a benchmark corpus, or learned from a speaker of the split.

    A part of the corpus itself learned from its training split, whose sentences are in no other: only that is refused.
    """
    for quantity, own, other in (
        ("rig", part.rig, corpus.rig),
        ("frame rate", part.frame_rate, corpus.frame_rate),
    ):
        if own != other:
            raise UserError(
                f"{name} was trained for {quantity} {own}, the corpus is of {quantity} {other}. Use a corpus like "
                "the one it was trained on, or train it again."
            )
    known = sorted(set(part.speakers) & set(corpus.speakers(split)))
    if known and (part.corpus != corpus.hash or split == "train"):
        raise UserError(
            f"{name} was trained on speaker {known[0]!r}, who is in split {split!r} of {corpus.name}: that is not "
            "held out. Use another split, or the corpus it was trained on."
        )


def run_bench(bench: Bench, out: Path, progress: bool = True) -> Report:
    """Run the benchmark and write `report.json`, `report.md` and `config.yaml` into `out`."""
    report = run_benchmark(bench.systems, bench.corpus, bench.encoder, bench.config, progress, bench.origins)
    report.save_json(out / "report.json")
    report.save_markdown(out / "report.md")
    save_config(bench.config, out / "config.yaml")
    return report
