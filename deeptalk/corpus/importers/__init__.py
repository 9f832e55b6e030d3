"""Importers: data that people have, checked, mended within limits, reported, and written as a corpus."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deeptalk.config import compose
from deeptalk.corpus.importers.facegood import FacegoodImporter
from deeptalk.corpus.importers.importer import ImportedClip, ImportedMotion, Importer, Note, Refusal, Scan, Take
from deeptalk.corpus.importers.livelink import LiveLinkImporter
from deeptalk.corpus.importers.ravdess import RavdessImporter
from deeptalk.corpus.importers.report import REPORT, ClipResult, ImportReport
from deeptalk.corpus.importers.run import run_import
from deeptalk.errors import UserError

__all__ = [
    "IMPORTERS",
    "REPORT",
    "ClipResult",
    "ImportReport",
    "ImportedClip",
    "ImportedMotion",
    "Importer",
    "Note",
    "Refusal",
    "Scan",
    "Take",
    "import_corpus",
    "importer_named",
]

IMPORTERS: dict[str, Importer] = {one.kind: one for one in (RavdessImporter(), LiveLinkImporter(), FacegoodImporter())}
"""Kind of data to its importer."""


def importer_named(kind: str) -> Importer:
    """The importer of a kind; UserError names those there are."""
    if kind not in IMPORTERS:
        known = ", ".join(f"{name} ({one.summary})" for name, one in IMPORTERS.items())
        raise UserError(f"Unknown kind of data {kind!r}; what can be imported: {known}.")
    return IMPORTERS[kind]


def import_corpus(
    kind: str,
    source: str | Path,
    out: str | Path,
    options: Any = None,
    *,
    words: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = False,
) -> ImportReport:
    """Import a folder of somebody's data into the corpus `out`, with a report of every clip in `out/import.json`.

    Args:
        kind: key of `IMPORTERS`.
        source: folder with the data; it is only read.
        out: folder of the corpus; it appears when all is done.
        options: an instance of the importer's options; None composes one of `words`.
        words: options as `key=value`.
        overwrite: replace a corpus that is already there.
        progress: show a progress bar.

    Raises UserError where nothing could be imported, saying why, and for options that make no sense.
    """
    importer = importer_named(kind)
    if options is None:
        options = compose(importer.options, [], words)
    return run_import(importer, Path(source), Path(out), options, overwrite, progress)
