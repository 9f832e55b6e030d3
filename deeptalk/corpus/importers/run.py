"""Importing: every clip that an importer finds is written into a corpus or refused with a reason."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from deeptalk.corpus.importers.importer import ImportedClip, Importer, Note, Refusal, Scan, Take
from deeptalk.corpus.importers.report import ClipResult, ImportReport
from deeptalk.corpus.writer import CorpusWriter
from deeptalk.errors import UserError
from deeptalk.speech import FRAME_RATE, SAMPLE_RATE


def run_import(
    importer: Importer, source: Path, out: Path, options: Any, overwrite: bool = False, progress: bool = False
) -> ImportReport:
    """Import a folder; see `deeptalk.corpus.importers.import_corpus`."""
    if not source.is_dir():
        state = "is a file" if source.exists() else "does not exist"
        raise UserError(f"{source} {state}; give the folder with the data to import.")
    scan = importer.scan(source, options)
    report = ImportReport(importer.kind, source, out, warnings=scan.warnings)
    report.results += _skipped(scan.skipped)
    writer = CorpusWriter(
        out,
        provenance=scan.provenance,
        license=scan.license,
        performer=scan.performer,
        config={"importer": importer.kind, "options": asdict(options)},
        overwrite=overwrite,
    )
    title = f"import of {len(scan.takes)} recordings"
    with writer:
        seen: set[str] = set()
        for take in track(scan.takes, title, disable=not progress, console=Console(stderr=True), transient=True):
            report.results += _import_take(take, writer, seen)
        report.results += _skipped(scan.finish())
        if not report.count("imported"):
            raise UserError(_nothing(report, scan))
        report.save(writer.folder)
    return report


def _skipped(files: Sequence[tuple[str, Note]]) -> list[ClipResult]:
    return [ClipResult(name, "skipped", note.kind, note.text) for name, note in files]


def _import_take(take: Take, writer: CorpusWriter, seen: set[str]) -> list[ClipResult]:
    try:
        clips = take.read()
        doubled = next((clip.name for clip in clips if clip.name in seen), None)
        if doubled is not None:
            raise Refusal("name used twice", f"a clip named {doubled} was imported already; give each its own name.")
    except Refusal as refusal:
        return [ClipResult(take.name, "refused", refusal.kind, str(refusal))]
    except UserError as error:
        return [ClipResult(take.name, "refused", "not readable", str(error))]
    seen.update(clip.name for clip in clips)
    return [_write(clip, writer) for clip in clips]


def _write(clip: ImportedClip, writer: CorpusWriter) -> ClipResult:
    speech = None
    if clip.samples is not None:
        speech = writer.add_speech(
            clip.name,
            clip.samples,
            speaker=clip.speaker,
            sentence=clip.sentence,
            split=clip.split,
            text=clip.text,
            emotion=clip.emotion,
            intensity=clip.intensity,
            phones=clip.phones,
            origin=clip.origin,
        )
    for place, one in enumerate(clip.motions):
        writer.add_performance(
            "/".join(filter(None, (clip.name, one.given or "motion", str(place)))),
            one.motion,
            speech=speech,
            split=clip.split if speech is None else None,
            speaker=clip.speaker,
            emotion=one.emotion,
            intensity=one.intensity,
            reading=one.reading,
            given=one.given,
            style=one.style,
        )
    return ClipResult(
        clip.name,
        "imported",
        split=clip.split,
        speech_seconds=0.0 if clip.samples is None else len(clip.samples) / SAMPLE_RATE,
        motion_seconds=sum(len(one.motion) for one in clip.motions) / FRAME_RATE,
        notes=tuple(clip.notes),
    )


def _nothing(report: ImportReport, scan: Scan) -> str:
    counts = ", ".join(f"{n} x {kind}" for kind, n in report.reasons("refused").most_common(4))
    first = next(result for result in report.results if result.outcome == "refused")
    return (
        f"Nothing was imported from {report.source}: all {len(scan.takes)} recordings were refused ({counts}); the "
        f"first is {first.name}: {first.reason}"
    )
