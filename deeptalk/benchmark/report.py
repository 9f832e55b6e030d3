"""A benchmark's result: per-clip values kept, intervals over clips, as terminal table, JSON and Markdown."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from deeptalk.benchmark.measures import METRICS
from deeptalk.benchmark.statistics import Interval
from deeptalk.files import write_json, write_text


@dataclass(frozen=True, eq=False)
class Row:
    """One system's results."""

    system: str
    values: dict[str, np.ndarray]
    """Metric -> (clip,) values; NaN where a metric does not apply."""
    intervals: dict[str, Interval]
    """Metric -> mean over clips and its interval."""
    differences: dict[str, Interval] = field(default_factory=dict)
    """Metric -> mean per-clip difference to the row compared with; empty for that row, or where none is."""


@dataclass(frozen=True, eq=False)
class Report:
    """Rows in the order of the systems, the clips they were measured on, and how."""

    rows: list[Row]
    clips: list[str]
    """Speech ids, in the order of the per-clip values."""
    settings: dict[str, Any]
    """JSON values: corpus and its hash, given, takes, references, seed, versions and so on."""

    def row(self, system: str) -> Row:
        """The row of a system by name; KeyError where there is none."""
        return {row.system: row for row in self.rows}[system]

    def definitions(self) -> dict[str, str]:
        """Metric -> definition, naming the references it uses."""
        given = self.settings["given"]
        return {
            name: f"{metric.definition}; {_references(metric.uses_references, given)}"
            for name, metric in METRICS.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON values; NaN becomes None."""
        definitions = self.definitions()
        return {
            "settings": self.settings,
            "metrics": {
                name: {"title": m.title, "unit": m.unit, "better": m.better, "definition": definitions[name]}
                for name, m in METRICS.items()
            },
            "clips": self.clips,
            "systems": [_row_dict(row) for row in self.rows],
        }

    def save_json(self, path: str | Path) -> None:
        """Write everything, per-clip values included."""
        write_json(path, self.to_dict())

    def save_markdown(self, path: str | Path) -> None:
        """Write the table with its definitions."""
        write_text(path, self.to_markdown())

    def to_markdown(self) -> str:
        """Headline table of means and intervals, paired differences where asked for, further metrics, definitions."""
        headline = [name for name, metric in METRICS.items() if metric.headline]
        further = [name for name in METRICS if name not in headline]
        parts = [self.caption(), "", self._markdown_table("intervals", headline)]
        if self.settings.get("compare_with"):
            against = self.settings["compare_with"]
            title = f"Paired differences to {against} (row minus {against}, mean over clips):"
            parts += ["", title, "", self._markdown_table("differences", headline)]
        parts += ["", "Further metrics:", "", self._markdown_table("intervals", further)]
        parts += ["", *(f"- **{METRICS[n].title}**: {text}." for n, text in self.definitions().items()), ""]
        return "\n".join(parts)

    def headline_cells(self) -> list[list[str]]:
        """Headline metrics as text: the header, then a row for each system."""
        headline = [name for name, metric in METRICS.items() if metric.headline]
        return [["system", *map(_title, headline)], *self._cells("intervals", headline)]

    def table(self) -> Table:
        """Headline metrics for the terminal (rich); narrow enough for 80 columns."""
        cells = [[text.replace(" ", "\n") for text in row] for row in self.headline_cells()]
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
        table.caption = self.caption()
        for number, column in enumerate(zip(*cells)):
            width = max(len(line) for text in column for line in text.split("\n"))
            table.add_column(escape(column[0]), justify="right" if number else "left", width=width)
        for row in cells[1:]:
            table.add_row(*map(escape, row))
        return table

    def _cells(self, kind: Literal["intervals", "differences"], names: list[str]) -> list[list[str]]:
        rows = [(row.system, getattr(row, kind)) for row in self.rows]
        return [[system, *(_cell(intervals[name]) for name in names)] for system, intervals in rows if intervals]

    def _markdown_table(self, kind: Literal["intervals", "differences"], names: list[str]) -> str:
        head, *body = ["system", *map(_title, names)], *self._cells(kind, names)
        lines = ["| " + " | ".join(row) + " |" for row in (head, *body)]
        return "\n".join([lines[0], "| --- |" + " ---: |" * len(names), *lines[1:]])

    def caption(self) -> str:
        """What was measured, on what and how, in one paragraph."""
        s = self.settings
        return (
            f"{len(self.clips)} clips of split {s['split']}, {s['takes']} takes and {s['references']} references each; "
            f"references given={s['given']!r}; seed {s['seed']}; mean over clips [{s['confidence']:.0%} bootstrap "
            f"interval]; corpus {s['corpus_hash'][:12]}. Intervals treat clips as independent; they are of "
            f"{_count(s['voices'], 'voice')} and {_count(s['sentences'], 'sentence')}; one training each. "
            f"Millimetres on rig {s['rig']}: not comparable with published "
            "tables, which are of another mesh and other data."
        )


def _references(uses: bool, given: str) -> str:
    return f"references given={given!r}" if uses else "uses no references"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _title(name: str) -> str:
    metric = METRICS[name]
    best = {"lower": " (low)", "higher": " (high)", "neither": ""}[metric.better]
    return f"{metric.title}, {metric.unit}{best}"


def _cell(interval: Interval) -> str:
    if math.isnan(interval.mean):
        return "-"
    text = _number(interval.mean)
    return text if math.isnan(interval.low) else f"{text} [{_number(interval.low)}, {_number(interval.high)}]"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "system": row.system,
        "summary": {name: _plain(asdict(interval)) for name, interval in row.intervals.items()},
        "difference": {name: _plain(asdict(interval)) for name, interval in row.differences.items()},
        "per_clip": {name: list(map(_finite, values.tolist())) for name, values in row.values.items()},
    }


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
