"""The whole chain on one command: corpus, every stage, takes, benchmark, and a page that shows them."""

import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from deeptalk.benchmark import BenchmarkClip, Report, benchmark_clips
from deeptalk.commands import Bench, build_corpus_folder, open_bench, page_scene, run_bench
from deeptalk.corpus import SpeechRow
from deeptalk.emotions import emotion_index
from deeptalk.export.page import Page, PageScene, PageTable, write_page
from deeptalk.files import write_json
from deeptalk.pipeline import Talker, load, remember_demo
from deeptalk.speech import SAMPLE_RATE, Waveform, load_waveform
from deeptalk.stages import train_stage
from deeptalk.take import Take
from deeptalk.training import read_history

TAKES = 4
SHOWN_CLASS = "happy"
"""The bundled sentence is the first of the test split that sounds like this."""
LABELS = ("happy", "sad", "angry", "surprised")
LOSS_NOTE = (
    "The weights with the lowest val loss (EmoTalk: val motion) are kept. Stage 2 starts from the weights of stage 1: "
    "what it adds is the emotion term."
)
T = TypeVar("T")


@dataclass
class Steps:
    """Runs the steps of the demo, says what it does, and keeps the times."""

    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self, name: str, work: Callable[[], T]) -> T:
        """Run one step and note how long it took."""
        self.console.print(f"[bold]{name}[/]")
        started = time.perf_counter()
        result = work()
        self.seconds[name] = round(time.perf_counter() - started, 1)
        self.console.print(f"  {self.seconds[name]:.0f} s")
        return result


def peak_memory_gigabytes() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def _losses(out: Path) -> list[list[str]]:
    """First and last value of every stage's training and validation loss."""
    rows = []
    shown = [("thvqvae", "loss"), ("dee", "loss"), ("talker/stage_1", "loss"), ("talker/stage_2", "loss")]
    for folder, key in [*shown, ("talker/stage_2", "emotion"), ("emotalk", "total"), ("emotalk", "motion")]:
        history = read_history(out / folder)
        for phase in ("train", "val"):
            values = [value for _, value in history.get(f"{phase}/{key}", [])]
            if values:
                name = f"{folder} {key}, {phase}"
                rows.append([name, f"{values[0]:.4g}", f"{values[-1]:.4g}", f"{min(values):.4g}"])
    return rows


def _shown_clip(bench: Bench) -> BenchmarkClip:
    clips = benchmark_clips(bench.corpus, bench.encoder, split="test", held_out=TAKES)
    shown = emotion_index(SHOWN_CLASS)
    happy = {row.speech_id for row in bench.corpus.speech if row.emotion == shown}
    return next((clip for clip in clips if clip.speech_id in happy), clips[0])


def introduction(speech: Sequence[SpeechRow]) -> str:
    """What the page says of the training on this speech, of which it counts the training split."""
    speech = [row for row in speech if row.split == "train"]
    minutes = sum(row.num_samples for row in speech) / SAMPLE_RATE / 60
    amount = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"
    voices = len({row.speaker for row in speech})
    return (
        f"Trained from nothing by this demo on {amount} of speech in {voices} synthetic voice{'s'[: voices - 1]}: "
        "expect the mouth and the mood to be right in kind, not in detail."
    )


def _scenes(
    talker: Talker, bench: Bench, clip: BenchmarkClip, wav: Waveform | None, takes: dict[str, list[Take]], seed: int
) -> list[PageScene]:
    emotalk = next(system for system in bench.systems if system.name == "EmoTalk")
    text = next(row.text for row in bench.corpus.speech if row.speech_id == clip.speech_id)
    compared = [("DEEPTalk", takes["bundled"][0].motion), ("EmoTalk", emotalk.perform(clip, 1, seed)[0])]
    compared += [(f"truth {i + 1}", motion) for i, motion in enumerate(clip.held_out[:2])]
    asked = [(label, takes[label][0].motion) for label in LABELS]
    held_out = f'"{text}", a voice and a sentence held out from training.'
    scenes = [
        page_scene(
            "Four takes", takes["bundled"], f"{held_out} The emotion is drawn from what the speech sounds like."
        ),
        PageScene(
            "Beside EmoTalk and the truth",
            clip.samples,
            clip.sample_rate,
            talker.frame_rate,
            compared,
            "EmoTalk gives one performance only. The true ones are two of the many that this speech allows.",
        ),
        PageScene(
            "Asked for an emotion",
            clip.samples,
            clip.sample_rate,
            talker.frame_rate,
            asked,
            "The same speech, acted by label at intensity 1.",
        ),
    ]
    if wav is not None:
        name = wav.path.name if wav.path else "your recording"
        scenes.insert(0, page_scene(name, takes["wav"], f"Four takes of {name}."))
    return scenes


def _perform(talker: Talker, clip: BenchmarkClip, wav: Waveform | None, out: Path, seed: int) -> dict[str, list[Take]]:
    speech = (clip.samples, SAMPLE_RATE)
    takes = {"bundled": talker.perform(speech, takes=TAKES, seed=seed)}
    for label in LABELS:
        takes[label] = talker.perform(speech, takes=1, seed=seed, emotion=label, intensity=1.0)
    if wav is not None:
        takes["wav"] = talker.perform(wav, takes=TAKES, seed=seed)
    shutil.rmtree(out, ignore_errors=True)
    for name, made in takes.items():
        for number, take in enumerate(made, start=1):
            take.save(out / f"{name}_take{number}.npz")
            take.save(out / f"{name}_take{number}.csv")
    return takes


def _tables(report: Report, losses: list[list[str]], seconds: dict[str, float]) -> list[PageTable]:
    header, *rows = report.headline_cells()
    return [
        PageTable("Benchmark", header, rows, report.caption()),
        PageTable("Losses", ["stage", "first", "last", "lowest"], losses, LOSS_NOTE),
        PageTable("Time", ["step", "seconds"], [[name, f"{value:.0f}"] for name, value in seconds.items()]),
    ]


def run_demo(
    out: Path,
    wav: Path | None = None,
    preset: str = "tiny",
    seed: int = 7,
    words: dict[str, list[str]] | None = None,
    show: Callable[[Table], object] = lambda table: None,
) -> Path:
    """Run the chain into `out` and return the page; what is already there and fits is used again.

    Args:
        out: folder for corpus, runs, takes, report and `index.html`.
        wav: a recording to perform beside the bundled sentence.
        preset: preset of every stage.
        seed: of corpus, trainings and takes.
        words: stage (or `corpus`, `benchmark`) to further key=value words.
        show: is given the benchmark's table as soon as it is there.

    Raises UserError, before any work, where the recording cannot be read.
    """
    words = words or {}
    waveform = load_waveform(wav) if wav is not None else None
    steps = Steps(Console(stderr=True))
    corpus = out / "corpus"
    steps.run(
        "Build the corpus", lambda: build_corpus_folder(corpus, preset, [f"seed={seed}", *words.get("corpus", [])])
    )

    def train(stage: str, keys: tuple[str, ...], **parents: Path) -> Path:
        seeds = [f"{key}.seed={seed}" for key in (*keys, "data")]
        work: dict[str, Any] = {"parents": parents}
        return steps.run(
            f"Train {stage}",
            lambda: train_stage(stage, [corpus], out / stage, preset, [*seeds, *words.get(stage, [])], **work),
        )

    train("thvqvae", ("trainer",))
    train("dee", ("trainer",))
    bundle = train("talker", ("trainer_1", "trainer_2"), thvqvae=out / "thvqvae", dee=out / "dee")
    train("emotalk", ("trainer",))
    remember_demo(bundle)
    bench = open_bench(corpus, preset, words.get("benchmark", []), str(bundle), out / "emotalk", progress=False)
    talker = load(bundle)
    clip = _shown_clip(bench)
    takes = steps.run("Perform", lambda: _perform(talker, clip, waveform, out / "takes", seed))
    report = steps.run("Benchmark", lambda: run_bench(bench, out / "report"))
    show(report.table())
    losses = _losses(out)
    page = out / "index.html"
    scenes = _scenes(talker, bench, clip, waveform, takes, seed)
    write_page(
        page,
        Page("DEEPTalk demo", introduction(bench.corpus.speech), scenes, _tables(report, losses, steps.seconds)),
        talker.rig,
    )
    summary = {"seconds": steps.seconds, "peak_memory_gigabytes": round(peak_memory_gigabytes(), 2), "losses": losses}
    write_json(out / "summary.json", summary)
    return page
