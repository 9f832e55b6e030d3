"""What an import did: every clip with its outcome, counted; nothing is left out silently."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deeptalk.corpus.importers.importer import Note
from deeptalk.corpus.wording import counted
from deeptalk.files import write_json

REPORT = "import.json"
"""Name of the report in the corpus."""
LISTED = 12
"""Clips named in the printed report; the file has all."""

Outcome = Literal["imported", "refused", "skipped"]


@dataclass(frozen=True)
class ClipResult:
    """What became of one clip or file."""

    name: str
    outcome: Outcome
    kind: str = ""
    """Short reason of a refusal or skip."""
    reason: str = ""
    split: str = ""
    speech_seconds: float = 0.0
    motion_seconds: float = 0.0
    """Of all its motions."""
    notes: tuple[Note, ...] = ()
    """What was mended."""


@dataclass
class ImportReport:
    """The outcome of `import_corpus`."""

    kind: str
    source: Path
    out: Path
    results: list[ClipResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """How many clips ended so."""
        return sum(result.outcome == outcome for result in self.results)

    def reasons(self, outcome: Outcome) -> Counter[str]:
        """Short reasons of refused or skipped clips, counted."""
        return Counter(result.kind for result in self.results if result.outcome == outcome)

    def notes(self) -> Counter[str]:
        """Kinds of notes, with the number of imported clips that have one."""
        return Counter(kind for result in self.results for kind in {note.kind for note in result.notes})

    def text(self) -> str:
        """The report as plain text: a table of splits, what was mended, what was not imported, warnings."""
        lines = [
            f"{self.source}: {counted(self.count('imported'), 'clip')} imported, {self.count('refused')} refused, "
            f"{counted(self.count('skipped'), 'file')} skipped",
            "",
            *_table(("split", "clips", "speech, min", "motion, min"), self._split_rows()),
        ]
        for title, counts in (
            ("imported, but", self.notes()),
            ("refused", self.reasons("refused")),
            ("skipped", self.reasons("skipped")),
        ):
            if counts:
                lines += ["", *_table((title, "clips"), [(kind, str(n)) for kind, n in counts.most_common()])]
        refused = [result for result in self.results if result.outcome == "refused"]
        lines += [""] if refused else []
        lines += [f"  {result.name}: {result.reason}" for result in refused[:LISTED]]
        if len(refused) > LISTED:
            lines.append(f"  ... and {len(refused) - LISTED} more in {self.out / REPORT}")
        lines += [f"\nwarning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _split_rows(self) -> list[tuple[str, ...]]:
        imported = [result for result in self.results if result.outcome == "imported"]
        rows = []
        for split in dict.fromkeys(result.split for result in imported):
            own = [result for result in imported if result.split == split]
            minutes = [sum(getattr(r, name) for r in own) / 60 for name in ("speech_seconds", "motion_seconds")]
            rows.append((split, str(len(own)), *(f"{value:.1f}" for value in minutes)))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """JSON values: counts first, then every clip."""
        return {
            "kind": self.kind,
            "source": self.source.name,
            "imported": self.count("imported"),
            "refused": dict(self.reasons("refused")),
            "skipped": dict(self.reasons("skipped")),
            "notes": dict(self.notes()),
            "warnings": self.warnings,
            "clips": [asdict(result) for result in self.results],
        }

    def save(self, folder: Path) -> None:
        """Write the report into a folder: that in which the corpus is written, so that both appear at once."""
        write_json(folder / REPORT, self.as_dict())


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(row: tuple[str, ...]) -> str:
        first, *others = row
        return "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))])

    return [line(header), *map(line, rows)]
