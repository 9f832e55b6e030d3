"""Writes what a demo measured into README.md and docs/results/demo.md: the tables only, the words stay.

python scripts/refresh_results.py out/demo
"""

import argparse
import json
import re
from pathlib import Path

from deeptalk.benchmark.measures import METRICS
from deeptalk.files import write_text

ROOT = Path(__file__).parents[1]
README_METRICS = ("energy_score", "coverage_error", "diversity", "lve", "eve", "speed")


def table(header: list[str], rows: list[list[str]], right: int = 1) -> str:
    """A Markdown table, columns from `right` on aligned to the right."""
    rule = ["---" if place < right else "---:" for place in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def cell(summary: dict) -> str:
    """Mean and interval as the reports write them."""
    if summary["mean"] is None:
        return "-"

    def number(value: float) -> str:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

    low, high = summary["low"], summary["high"]
    return number(summary["mean"]) + ("" if low is None else f" [{number(low)}, {number(high)}]")


def title(metric: str) -> str:
    """Heading of a metric's column."""
    known = METRICS[metric]
    best = " (low)" if known.better == "lower" else ""
    return f"{known.title}, {known.unit}{best}"


def replace_table(text: str, first_cell: str, new: str) -> str:
    """Replace the first table whose header begins with `first_cell`."""
    pattern = rf"^\| {re.escape(first_cell)} \|.*\n(?:\|.*\n)+"
    changed, count = re.subn(pattern, lambda _: new + "\n", text, count=1, flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"No table begins with {first_cell!r}.")
    return changed


def main() -> None:
    """Rewrite the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a finished demo")
    demo = parser.parse_args().demo
    report = json.loads((demo / "report" / "report.json").read_text(encoding="utf-8"))
    summary = json.loads((demo / "summary.json").read_text(encoding="utf-8"))
    systems = report["systems"]

    readme = ROOT / "README.md"
    rows = [[row["system"], *(cell(row["summary"][metric]) for metric in README_METRICS)] for row in systems]
    shown = table(["system", *map(title, README_METRICS)], rows)
    write_text(readme, replace_table(readme.read_text(encoding="utf-8"), "system", shown))

    page = ROOT / "docs" / "results" / "demo.md"
    text = page.read_text(encoding="utf-8")
    steps = [[name, f"{seconds:.0f}"] for name, seconds in summary["seconds"].items()]
    text = replace_table(text, "step", table(["step", "seconds"], steps))
    text = replace_table(text, "loss", table(["loss", "first", "last", "lowest"], summary["losses"]))
    head, _, _ = text.partition("## Benchmark\n")
    measured = (demo / "report" / "report.md").read_text(encoding="utf-8").strip()
    write_text(page, f"{head}## Benchmark\n\n{measured}\n")
    print(f"peak memory {summary['peak_memory_gigabytes']} GB, {sum(summary['seconds'].values()):.0f} s")


if __name__ == "__main__":
    main()
