"""The picture of what `rate_distortion.py` measured: distance against rate, rows for sets, columns for regions.

    python benchmarks/rate_picture.py rate.json docs/images/rate_distortion.png

Bars are the intervals of `rate_tables.py`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rate_tables import REGIONS, millimetres, rate

from deeptalk.render.sheet import INK, PAPER, write_png

SCALE = 3
"""Drawn so many times larger, then reduced: smooth lines."""
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, BOTTOM = 300, 200, 46, 62, 40
GRID = (218, 222, 228)
STYLES = {"hierarchy": ((0, 114, 178), "disc"), "one level": ((213, 94, 0), "square"), "VAE": ((0, 140, 100), "star")}
"""Colour and mark of each family, safe for the colour-blind."""


class Plot:
    """A canvas in unscaled pixels."""

    def __init__(self, width: int, height: int):
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float = 1.0) -> None:
        """A line through points."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(width * SCALE), joint="curve")

    def text(self, place: tuple[float, float], text: str, anchor: str, size: int = 11) -> None:
        """Text at a place."""
        font = ImageFont.load_default(size * SCALE)
        self.draw.text((place[0] * SCALE, place[1] * SCALE), text, fill=INK, font=font, anchor=anchor)

    def mark(self, place: tuple[float, float], colour: tuple[int, int, int], kind: str) -> None:
        """A disc, a square, a triangle; a ring or a hollow square for variants."""
        x, y, r = place[0] * SCALE, place[1] * SCALE, 4.0 * SCALE
        if kind in ("disc", "ring"):
            fill = PAPER if kind == "ring" else colour
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=colour, width=round(1.5 * SCALE))
        elif kind == "star":
            self.draw.polygon([(x, y - 1.2 * r), (x + 1.1 * r, y + r), (x - 1.1 * r, y + r)], fill=colour)
        else:
            fill = PAPER if kind == "hollow" else colour
            self.draw.rectangle((x - r, y - r, x + r, y + r), fill=fill, outline=colour, width=round(1.5 * SCALE))

    def array(self) -> np.ndarray:
        """(height, width, 3) uint8."""
        size = (self.image.width // SCALE, self.image.height // SCALE)
        return np.asarray(self.image.resize(size, Image.Resampling.LANCZOS))


def lines_of(rows: Sequence[dict]) -> list[tuple[str, str, list[dict]]]:
    """(label, mark, rows) of the lines: rows of one name, in the order of the table."""
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        mark = STYLES[own[0]["family"]][1]
        alone = len(own) == 1 or name.endswith("projected")
        lines.append((name, "ring" if alone and own[0]["family"] == "hierarchy" else "hollow" if alone else mark, own))
    return lines


def nice_steps(low: float, high: float, count: int) -> np.ndarray:
    """Round values from `low` to `high`, about so many."""
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough))
    values = np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step
    return values.round(6)


def limits(values: Sequence[float]) -> tuple[float, float]:
    """A range somewhat wider than that of the values."""
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 0.1 * high
    return max(0.0, low - margin), high + margin


def panel(plot: Plot, rows: Sequence[dict], name: str, region: str, corner: tuple[int, int]) -> None:
    """One set and region: axes, lines, bars and marks."""
    left, top = corner[0] + LEFT, corner[1] + 22
    width, height = PANEL_WIDTH - LEFT - 12, PANEL_HEIGHT - 22 - BOTTOM
    drawn = {id(row): millimetres(row, name, region) for row in rows}
    bounds = {key: (values[0], *np.percentile(values[1:], [2.5, 97.5])) for key, values in drawn.items()}
    low_x, high_x = limits([rate(row, name) for row in rows])
    low_y, high_y = limits([value for values in bounds.values() for value in values])

    def place(x: float, y: float, shift: float = 0.0) -> tuple[float, float]:
        right, up = (x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)
        return left + width * right + shift, top + height * (1 - up)

    for y in nice_steps(low_y, high_y, 4):
        plot.line([place(low_x, y), place(high_x, y)], GRID)
        plot.text((left - 5, place(low_x, y)[1]), f"{y:g}", "rm", 10)
    for x in nice_steps(low_x, high_x, 5):
        plot.text((place(x, low_y)[0], top + height + 5), f"{x:g}", "mt", 10)
    plot.line([place(low_x, low_y), place(high_x, low_y)], INK)
    plot.text((left, corner[1] + 12), f"{name}: {region.replace('_', ' ')}, mm", "lm", 11)
    for number, (_, mark, own) in enumerate(lines_of(rows)):
        colour, shift = STYLES[own[0]["family"]][0], 5.0 * (number - 1.5) * ("bits_per_second" in own[0])
        plot.line([place(rate(row, name), bounds[id(row)][0], shift) for row in own], colour, 1.5)
        for row in own:
            middle, low, high = bounds[id(row)]
            plot.line([place(rate(row, name), low, shift), place(rate(row, name), high, shift)], colour)
            plot.mark(place(rate(row, name), middle, shift), colour, mark)


def picture(content: dict) -> np.ndarray:
    """(height, width, 3) uint8 of all sets and regions."""
    rows = content["rows"]
    sets = list(rows[0]["seeds"][0]["sets"])
    plot = Plot(PANEL_WIDTH * len(REGIONS), TOP + PANEL_HEIGHT * len(sets))
    text = "Root mean square vertex distance against rate in bit/s; 95 % intervals; marks of the same rate stand apart"
    plot.text((LEFT, 16), text, "lm", 12)
    x = float(LEFT)
    for label, mark, own in lines_of(rows):
        plot.mark((x + 5, 40), STYLES[own[0]["family"]][0], mark)
        plot.text((x + 15, 40), label, "lm")
        x += 40 + plot.draw.textlength(label, ImageFont.load_default(11 * SCALE)) / SCALE
    for row, name in enumerate(sets):
        for column, region in enumerate(REGIONS):
            panel(plot, rows, name, region, (column * PANEL_WIDTH, TOP + row * PANEL_HEIGHT))
    return plot.array()


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    write_png(options.picture, picture(json.loads(options.results.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
