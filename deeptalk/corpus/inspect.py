"""Looking into a corpus: its numbers, what is odd about them, a contact sheet, as text, JSON and one HTML page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from deeptalk.corpus.format import MANIFEST, Corpus
from deeptalk.corpus.inspect_counts import balance_of, counts_of, intensities_of, lengths_of
from deeptalk.corpus.inspect_entropy import entropies_of
from deeptalk.corpus.inspect_faces import Face, chosen_faces, face_pictures
from deeptalk.corpus.inspect_findings import findings_of
from deeptalk.corpus.inspect_motion import ChannelStatistics, Closures
from deeptalk.corpus.inspect_sound import LagCurve, frame_levels, is_clipped, lag_curve, lags_as_dict, levels_as_dict
from deeptalk.corpus.wording import counted, duration
from deeptalk.errors import UserError
from deeptalk.files import read_json, write_json

JAW = "jawOpen"
IMPORT_REPORT = "import.json"
MEASURED_MOST = 3000
"""Performances, and pieces of speech, that are read at most, evenly spaced; tables are always counted whole."""


@dataclass(frozen=True)
class Inspection:
    """What was found in a corpus."""

    values: dict[str, Any]
    """All numbers by topic; JSON values."""
    faces: list[tuple[Face, bytes]]
    """Faces of each emotion as JPEG files; empty where they could not be drawn, which `values["faces"]` explains."""

    @property
    def findings(self) -> list[dict[str, str]]:
        """What is odd, and what was checked: `level` (problem, note, good) and `text`."""
        return self.values["findings"]

    def text(self) -> str:
        """The findings and the sizes as plain text."""
        counts = self.values["counts"]
        lines = [
            f"{self.values['corpus']['name']}: {_pieces(counts)} ({duration(counts['speech_hours'])}), "
            f"{counted(counts['performances'], 'performance')} ({duration(counts['motion_hours'])}), "
            f"{counted(counts['speakers'], 'speaker')}, {counted(counts['sentences'], 'sentence')}",
            *(
                f"  {name}: {_pieces(split)}, {counted(split['performances'], 'performance')}"
                for name, split in counts["splits"].items()
            ),
            *(f"{one['level']}: {one['text']}" for one in self.findings),
        ]
        return "\n".join(lines)


def _pieces(counts: Mapping[str, Any]) -> str:
    return counted(counts["speech"], "piece of speech", "pieces of speech")


def inspect_corpus(corpus: Corpus | str | Path, out: str | Path | None = None, progress: bool = False) -> Inspection:
    """Inspect a corpus and, with `out`, write the HTML page there and its numbers as JSON beside it.

    Motion and sound are measured on at most `MEASURED_MOST` performances and pieces of speech, evenly spaced.

    Raises UserError where the corpus cannot be opened or the page not be written.
    """
    if out is not None:
        _check_name(Path(out))
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.open(corpus)
    values = {
        "corpus": _identity(corpus),
        "counts": counts_of(corpus),
        "balance": balance_of(corpus),
        "intensity": intensities_of(corpus),
        "lengths": lengths_of(corpus),
        **_measured(corpus, progress),
        "entropy": entropies_of(corpus),
        "import": _import_report(corpus),
    }
    values["findings"] = findings_of(values)
    faces = chosen_faces(corpus)
    pictures: list[bytes] = []
    try:
        pictures = face_pictures(corpus, faces)
        values["faces"] = f"{len(faces)} faces"
    except UserError as error:
        values["faces"] = f"No faces: {error}"
    inspection = Inspection(values, list(zip(faces, pictures)))
    if out is not None:
        write_inspection(inspection, Path(out))
    return inspection


def write_inspection(inspection: Inspection, path: Path) -> None:
    """Write the page (`.html`) and, beside it, the numbers (`.json`)."""
    from deeptalk.corpus.inspect_page import write_page

    _check_name(path)
    write_json(path.with_suffix(".json"), inspection.values)
    write_page(path, inspection.values, inspection.faces)


def _check_name(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path} is not the name of a page; give a name that ends in .html.")
    numbers = path.with_suffix(".json").name
    if numbers in (MANIFEST, IMPORT_REPORT):
        raise UserError(
            f"The numbers of {path} would be written as {numbers}, the name of a file of corpora; give another name."
        )


def _identity(corpus: Corpus) -> dict[str, Any]:
    manifest = corpus.manifest
    return {
        "name": corpus.folder.resolve().name,
        "rig": corpus.rig,
        "channels": len(corpus.channels),
        "frame_rate": corpus.frame_rate,
        "provenance": manifest["provenance"],
        "license": manifest["license"],
        "performer": (manifest.get("performer") or {}).get("version"),
        "hash": corpus.hash,
    }


def _import_report(corpus: Corpus) -> dict[str, Any]:
    """Counts of the import that made the corpus; empty for any other corpus."""
    if not (corpus.folder / IMPORT_REPORT).is_file():
        return {}
    report = read_json(corpus.folder / IMPORT_REPORT)
    return {key: value for key, value in report.items() if key != "clips"}


def _measured(corpus: Corpus, progress: bool) -> dict[str, Any]:
    """Channels, closures, lag and sound."""
    channels, closures = ChannelStatistics(corpus.channels), Closures(corpus)
    performances = _spaced(len(corpus.performances))
    for place in _bar(performances, f"motion of {len(performances)} performances", progress):
        row = corpus.performances[place]
        motion = corpus.motion(place, blink_and_gaze=True)
        channels.add(motion)
        if row.speech is not None:
            closures.add(row.performance_id, motion, corpus.speech[row.speech].phones)
    speech = _spaced(len(corpus.speech))
    lags: list[LagCurve] = []
    peaks, levels, clipped, still = [], [], [], 0
    for place in _bar(speech, f"sound of {len(speech)} clips", progress):
        name, samples = corpus.speech[place].speech_id, corpus.waveform(place)
        peaks.append(float(np.abs(samples).max()))
        levels.append(10 * np.log10(max(float((samples**2).mean()), 1e-8)))
        clipped += [name] if is_clipped(samples) else []
        own = corpus.performances_of(place)
        if own and JAW in corpus.channels:
            motion = corpus.motion(own[0])
            jaw = motion[:, corpus.channels.index(JAW)].astype(np.float64)
            lag = lag_curve(name, jaw, frame_levels(samples, len(motion), corpus.frame_rate))
            lags += [lag] if lag else []
            still += lag is None
    return {
        "measured": {"performances": len(performances), "speech": len(speech), "frames": channels.frames},
        "channels": channels.as_dict(),
        "closures": closures.as_dict(),
        "sound": levels_as_dict(peaks, levels, clipped),
        "lag": lags_as_dict(lags, still),
    }


def _spaced(count: int) -> list[int]:
    """At most `MEASURED_MOST` of `count` places, evenly spaced."""
    if count <= MEASURED_MOST:
        return list(range(count))
    return np.linspace(0, count - 1, MEASURED_MOST).round().astype(int).tolist()


def _bar(places: list[int], title: str, progress: bool) -> Iterable[int]:
    return track(places, title, disable=not progress, console=Console(stderr=True), transient=True)
