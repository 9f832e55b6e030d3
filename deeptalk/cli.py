"""The `deeptalk` command: thin wrappers around the library, with errors as one sentence and exit code 2."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from deeptalk.errors import UserError


class _Commands(TyperGroup):
    """The commands; what stops one from outside is answered here, as Typer would leave with a bare exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command: an interruption becomes one sentence and exit code 130, a closed pipe 141."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            fail("Stopped. Finished work is kept; run the same command again to go on.", 130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python's last flush fails once more
            sys.exit(141)


class _Console(Console):
    """A console that leaves a closed pipe to the commands instead of exiting with 1."""

    def on_broken_pipe(self) -> None:
        """Called while the BrokenPipeError is handled."""
        raise BrokenPipeError


app = typer.Typer(
    name="deeptalk",
    cls=_Commands,
    help="From speech alone: emotionally alive, lip-accurate 3D facial animation, different on every take.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
corpus_app = typer.Typer(help="Build, import and inspect corpora.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
console = _Console()


class Stage(StrEnum):
    """The stages that `deeptalk train` knows, in the order they depend on each other."""

    thvqvae = "thvqvae"
    recogniser = "recogniser"
    dee = "dee"
    talker = "talker"
    emotalk = "emotalk"


Preset = Annotated[
    str,
    typer.Option("--config", help="Preset by word (tiny, base; for a stage of training also paper) or a YAML file."),
]
Words = Annotated[list[str] | None, typer.Argument(help="Changes to the config, as key=value.", metavar="KEY=VALUE...")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the result; made where it is missing.")]
CorpusFolder = Annotated[Path, typer.Option("--corpus", help="Folder made by `deeptalk corpus build`.")]
SpeechWeights = Annotated[
    list[str] | None,
    typer.Option(
        help="Weights of the speech encoder: a local folder or a hub name; KIND=FOLDER, given several times, where a "
        "stack has several (wav2vec2=facebook/wav2vec2-base-960h). Default: the installed Whisper's.",
    ),
]


Formats = Annotated[
    str,
    typer.Option(
        "--format",
        help="Comma list of npz, csv (Live Link Face), glb (animated head with sound), mp4, webm, ..., "
        "html (a page that plays all takes).",
    ),
]


EmotionWords = Annotated[
    str | None,
    typer.Option(
        help="Act this: a label (happy), a blend (happy:0.7,sad:0.3), or one that moves over time (happy@0,sad@4, "
        "in seconds, or @end). Default: what the speech itself sounds like."
    ),
]
IntensityWords = Annotated[
    str | None,
    typer.Option(
        help="Strength of --emotion, from 0 (neutral) over 0.5 (normal) to 1 (strong); one, or one for each time "
        "(0.2,1)."
    ),
]
EmotionFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="Take the emotion of other speech (a sound file) or of a motion (.npz, .json, .glb, Live Link .csv). "
        "Given several times, they are blended: FILE, or FILE:WEIGHT."
    ),
]
EmotionWeight = Annotated[
    float, typer.Option(help="How far to go from the speech's own emotion (0) to the one asked for (1).")
]
EmotionWindows = Annotated[
    float | None,
    typer.Option(help="Hear the speech's own emotion in windows of this many seconds, so that it moves over time."),
]
SpeakerReference = Annotated[
    list[Path] | None,
    typer.Option(
        help="Plain speech of the same speaker, a sound file; several times for more. The speech's own emotion is then "
        "heard relative to it (bundles trained with data.centred_share)."
    ),
]


def _sources(words: list[str] | None) -> Any:
    from deeptalk.speech import read_sources

    return read_sources(words or [])


@app.command()
def sample(
    speech: Annotated[list[Path], typer.Argument(help="One or more sound files; any rate, channels and depth.")],
    takes: Annotated[int, typer.Option(help="How many different performances of each file.")] = 4,
    seed: Annotated[
        int, typer.Option(help="The same seed gives the same takes; take i does not depend on --takes.")
    ] = 0,
    emotion: EmotionWords = None,
    intensity: IntensityWords = None,
    emotion_from: EmotionFiles = None,
    emotion_weight: EmotionWeight = 1.0,
    emotion_windows: EmotionWindows = None,
    speaker_reference: SpeakerReference = None,
    spread: Annotated[
        float, typer.Option(help="How far draws go from the mean emotion; 0 draws the mean itself.")
    ] = 1.0,
    temperature: Annotated[
        float,
        typer.Option(help="How freely motion codes are drawn; 0 takes the likeliest, so spread 0 too is one take."),
    ] = 1.0,
    formats: Formats = "npz,csv,html",
    out: OutFolder = Path("takes"),
    idle: Annotated[
        bool, typer.Option("--idle/--no-idle", help="Add blinks, gaze and slight head motion, drawn apart.")
    ] = True,
    head: Annotated[
        str | None, typer.Option(help="Show the takes on a head of your own: .glb with ARKit's names, or OBJ folder.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Trained bundle: a folder or hub name. Default: the last demo's.")
    ] = None,
    speech_weights: SpeechWeights = None,
) -> None:
    """Make several different animations of the same speech.

    Example: `deeptalk sample speech.wav --takes 4 --emotion happy --intensity 0.8 --out takes/`
    """
    from deeptalk.commands import sample_files
    from deeptalk.emotion_request import parse_references

    written = sample_files(
        speech,
        out,
        formats=formats,
        bundle=bundle,
        speech_source=_sources(speech_weights),
        idle=idle,
        head=head,
        takes=takes,
        seed=seed,
        emotion=emotion,
        intensity=intensity,
        emotion_from=parse_references(emotion_from or []),
        emotion_weight=emotion_weight,
        emotion_windows=emotion_windows,
        speaker_reference=speaker_reference or None,
        spread=spread,
        temperature=temperature,
    )
    for path in written:
        console.print(str(path), soft_wrap=True, highlight=False)


@app.command()
def train(
    stage: Annotated[
        Stage,
        typer.Argument(help="thvqvae and dee first, then talker; a recogniser may come before dee."),
    ],
    corpus: Annotated[list[Path], typer.Option(help="Corpus folder; given several times, all are trained on at once.")],
    out: OutFolder,
    words: Words = None,
    config: Preset = "tiny",
    thvqvae: Annotated[Path | None, typer.Option(help="Run folder of the motion prior (talker only).")] = None,
    dee: Annotated[Path | None, typer.Option(help="Run folder of the emotion embedding (talker only).")] = None,
    recogniser: Annotated[
        Path | None, typer.Option(help="Run folder of the expression recogniser that DEE is to read (dee only).")
    ] = None,
    speech_weights: SpeechWeights = None,
) -> None:
    """Train one stage; run the same command again to resume a killed run.

    Example: `deeptalk train thvqvae --corpus corpus/ --out runs/thvqvae --config tiny trainer.max_epochs=20`
    """
    from deeptalk.stages import train_stage

    given = {"thvqvae": thvqvae, "dee": dee, "recogniser": recogniser}
    parents = {name: folder for name, folder in given.items() if folder is not None}
    folder = train_stage(stage.value, corpus, out, config, words or [], parents, speech_source=_sources(speech_weights))
    console.print(f"{stage.value}: {folder}", soft_wrap=True, highlight=False)


@corpus_app.command("build")
def corpus_build(
    out: OutFolder,
    words: Words = None,
    config: Preset = "tiny",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one for the vendored speech, else one for each core.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another corpus that is there.")] = False,
) -> None:
    """Build a performer corpus: speech whose possible performances, and how likely each is, are known.

    A build that was stopped goes on with the same command; the bytes do not depend on the number of processes.

    Example: `deeptalk corpus build --out corpus/ --config base hours=2 seed=3`
    """
    from deeptalk.commands import build_corpus_folder

    corpus = build_corpus_folder(out, config, words or [], workers, overwrite)
    console.print(f"{out}: {len(corpus.speech)} pieces of speech, {len(corpus.performances)} performances")


@corpus_app.command("import")
def corpus_import(
    kind: Annotated[str, typer.Argument(help="ravdess, livelink or facegood.")],
    source: Annotated[Path, typer.Argument(help="Folder with the data; it is only read.")],
    out: OutFolder,
    words: Words = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a corpus that is there.")] = False,
) -> None:
    """Turn data that you have into a corpus, with a report of every clip.

    Example: `deeptalk corpus import ravdess RAVDESS/ --out corpora/ravdess alignment=pocketsphinx`
    """
    from deeptalk.corpus.importers import import_corpus

    report = import_corpus(kind, source, out, words=words or [], overwrite=overwrite, progress=True)
    console.print(report.text(), soft_wrap=True, highlight=False, markup=False)


@corpus_app.command("inspect")
def corpus_inspect(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option("--out", help="The page; its numbers are written beside it as JSON.")] = Path(
        "inspection.html"
    ),
) -> None:
    """Show what a corpus holds and what is odd about it: text here, a page with faces at --out.

    Example: `deeptalk corpus inspect corpus/ --out inspection.html`
    """
    from deeptalk.corpus.inspect import inspect_corpus

    console.print(inspect_corpus(corpus, out, progress=True).text(), soft_wrap=True, highlight=False, markup=False)
    console.print(str(out), soft_wrap=True, highlight=False)


@app.command()
def benchmark(
    corpus: CorpusFolder,
    emotalk: Annotated[Path, typer.Option(help="Run folder of a trained EmoTalk, the peer to compare with.")],
    out: OutFolder = Path("report"),
    bundle: Annotated[str | None, typer.Option(help="Trained DEEPTalk bundle. Default: the last demo's.")] = None,
    words: Words = None,
    config: Preset = "tiny",
    speech_weights: SpeechWeights = None,
) -> None:
    """Compare DEEPTalk with EmoTalk and the controls on held-out speakers and sentences.

    Example: `deeptalk benchmark --corpus corpus/ --emotalk runs/emotalk --out report/ takes=16`
    """
    from deeptalk.commands import open_bench, run_bench

    bench = open_bench(corpus, config, words or [], bundle, emotalk, speech_source=_sources(speech_weights))
    report = run_bench(bench, out)
    console.print(report.table())
    console.print(f"{out}/report.json, {out}/report.md", highlight=False)


@app.command("import-checkpoint")
def import_checkpoint(
    source: Annotated[list[Path], typer.Argument(help="TH-VQVAE.pth, DEE.pt and the recogniser's file, or a folder.")],
    out: OutFolder,
) -> None:
    """Read the authors' released checkpoints, safely, and write them as a bundle.

    Files are told apart by the tensors they hold. Nothing in them is run; unknown tensors are refused by name.

    Example: `deeptalk import-checkpoint released/ --out released-bundle/`
    """
    from deeptalk.checkpoints import import_checkpoints

    imported = import_checkpoints(source, out)
    for kind, path in imported.files.items():
        console.print(f"{kind}: {path}", soft_wrap=True, highlight=False)
    for kind, names in imported.dead.items():
        # all tensors of one module that is never run are one entry
        modules = sorted({name.split("_layer.")[0] + "_layer.*" if "_layer." in name else name for name in names})
        count = f"{len(names)} tensors that the authors' code never uses"
        console.print(f"{kind}: left out {count}: {', '.join(modules)}", soft_wrap=True, highlight=False)
    for path, reason in imported.skipped.items():
        console.print(f"left alone: {path}: {reason}", soft_wrap=True, highlight=False)
    console.print(str(imported.bundle), soft_wrap=True, highlight=False)


@app.command()
def demo(
    out: OutFolder = Path("out/demo"),
    wav: Annotated[
        Path | None, typer.Option(help="A recording of your own, performed beside the bundled sentence.")
    ] = None,
    config: Preset = "tiny",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the corpus, the trainings and the takes.")] = 7,
) -> None:
    """Run the whole chain: corpus, every stage, four takes, the benchmark, and a page that plays them."""
    from deeptalk.demo import run_demo

    page = run_demo(out, wav, config, seed, show=console.print)
    console.print(f"Open {page} in a browser.", soft_wrap=True, highlight=False)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print one error to stderr and leave."""
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    raise SystemExit(code)


def _raised_by_model(error: ValueError) -> bool:
    """Whether dee or thvqvae, which know no UserError, raised it themselves: then its words are for the user."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return module.split(".")[0] in {"dee", "thvqvae"}


def main() -> None:
    """Entry point: user errors become one sentence and exit code 2."""
    try:
        app(prog_name="deeptalk")
    except UserError as error:
        fail(str(error))
    except ValueError as error:
        if not _raised_by_model(error):
            raise
        fail(str(error))
    except OSError as error:  # no space left, no permission, a file where a folder is needed
        if error.errno is None:
            raise
        fail(f"{error.filename or 'A file'} cannot be used: {error.strerror}.")


if __name__ == "__main__":
    main()
