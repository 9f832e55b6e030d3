"""Tables of what `rate_distortion.py` measured.

    python benchmarks/rate_tables.py rate.json

Intervals are 95 % by bootstrap: seeds and groups (the speakers of a corpus with several, the clips of another) are
drawn with replacement, each at once, 2,000 times. A difference between two systems uses the same draw for both.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from timing import print_table

REGIONS = ("face", "lips", "upper_face")
RESAMPLES = 2000


def sums(row: dict, name: str, key: str) -> np.ndarray:
    """(seed, group) sums of a row on a set."""
    return np.array([[group[key] for group in seed["sets"][name].values()] for seed in row["seeds"]])


def draws(row: dict, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Drawn seeds (draw, seed) and groups (draw, group), the same for all rows; the first draw is everything once."""
    seeds, groups = sums(row, name, "frames").shape
    rng = np.random.default_rng(0)
    first = (np.arange(seeds)[None], np.arange(groups)[None])
    counts = ((RESAMPLES, seeds), (RESAMPLES, groups))
    drawn = [rng.integers(0, shape[1], shape) for shape in counts]
    return np.concatenate([first[0], drawn[0]]), np.concatenate([first[1], drawn[1]])


def millimetres(row: dict, name: str, region: str) -> np.ndarray:
    """Root mean square distance over frames, mean over seeds, of every draw (draw,)."""
    seeds, groups = draws(row, name)
    squares = sums(row, name, region)[seeds[:, :, None], groups[:, None, :]].sum(axis=2)
    frames = sums(row, name, "frames")[seeds[:, :, None], groups[:, None, :]].sum(axis=2)
    return np.sqrt(squares / frames).mean(axis=1)


def with_interval(values: np.ndarray, sign: str = "") -> str:
    """The first value with the 95 % interval of the others."""
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return f"{values[0]:{sign}.3f} ({low:{sign}.3f}..{high:{sign}.3f})"


def rate(row: dict, name: str) -> float:
    """Bits a second: of the codes, or of a VAE's divergence on a set."""
    if "bits_per_second" in row:
        return row["bits_per_second"]
    return 25.0 * float(sums(row, name, "kl_bits").sum() / sums(row, name, "frames").sum())


def used(row: dict) -> str:
    """Least used codebook of the worst seed."""
    shares = [share for seed in row["seeds"] for share in seed["code_use"].values()]
    return f"{min(shares):.0%}" if shares else "-"


def rivals(rows: Sequence[dict]) -> list[tuple[dict, dict]]:
    """Each hierarchy with each system of codes of the same bits."""
    codes = [row for row in rows if "bits_per_second" in row]
    own, others = ([row for row in codes if (row["family"] == "hierarchy") == wanted] for wanted in (True, False))
    return [(a, b) for a in own for b in others if abs(a["bits_per_second"] - b["bits_per_second"]) < 1]


def print_tables(content: dict) -> None:
    """One table of distances and one of paired differences for each set of clips."""
    rows = content["rows"]
    for name in rows[0]["seeds"][0]["sets"]:
        header = ["system", "bit/s", "parameters", "codes used", *(f"{region}, mm" for region in REGIONS)]
        table = []
        for row in rows:
            cells = [with_interval(millimetres(row, name, region)) for region in REGIONS]
            start = [row["name"], f"{rate(row, name):.0f}", f"{row['parameters'] / 1e6:.2f} M", used(row)]
            table.append(start + cells)
        print_table(name, header, table)
        table = []
        for own, rival in rivals(rows):
            cells = [
                with_interval(millimetres(own, name, region) - millimetres(rival, name, region), "+")
                for region in REGIONS
            ]
            table.append([f"({own['name']}) - ({rival['name']})", f"{rate(own, name):.0f}", *cells])
        print_table(f"{name}: differences", ["", "bit/s", *(f"{region}, mm" for region in REGIONS)], table)

    kinds = ("none", "all", "top", "bottom")
    table = []
    for row in rows:
        found = [seed["damaged"] for seed in row["seeds"] if seed["damaged"]]
        means = [
            f"{np.mean([one[kind] for one in found]):.3f}" if found and kind in found[0] else "-" for kind in kinds
        ]
        table.append([row["name"], f"{row.get('bits_per_second', 0):.0f}", *means])
    title = "A tenth of the codes drawn anew: face, mm, of some test clips"
    print_table(title, ["system", "bit/s", *kinds], [line for line in table if line[2] != "-"])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    print_tables(json.loads(options.results.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
