"""Small diagrams drawn with Pillow: points, lines, tables of shares. No plotting library is a dependency."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#7f7f7f", "#17becf", "#e6a700", "#1f77b4", "#d62728", "#9467bd", "#2ca02c", "#ff7f0e")
"""One for each of the eight emotions, in their order."""
INK, GRID, PAPER = "#202020", "#dddddd", "#ffffff"
LEGEND = 205
"""Pixels kept for it, right of the axes."""
SCALE = 2
"""Pixels drawn for each pixel kept, and kept again for dense screens."""


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


class Diagram:
    """Axes with a title; what is drawn lies in the units of the axes."""

    def __init__(
        self,
        title: str,
        x_label: str,
        y_label: str,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        size: tuple[int, int] = (640, 380),
    ):
        self.x_range, self.y_range = x_range, y_range
        self.image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.box = (62 * SCALE, 34 * SCALE, (size[0] - LEGEND) * SCALE, (size[1] - 52) * SCALE)
        self.legend_row = 0
        left, top, right, bottom = self.box
        self.draw.text((left, 8 * SCALE), title, INK, _font(13))
        for value in ticks(*x_range):
            x, _ = self.place(value, y_range[0])
            self.draw.line((x, top, x, bottom), GRID, SCALE)
            self.draw.text((x, bottom + 6 * SCALE), f"{value:g}", INK, _font(10), anchor="ma")
        for value in ticks(*y_range):
            _, y = self.place(x_range[0], value)
            self.draw.line((left, y, right, y), GRID, SCALE)
            self.draw.text((left - 6 * SCALE, y), f"{value:g}", INK, _font(10), anchor="rm")
        self.draw.rectangle(self.box, outline=INK, width=SCALE)
        self.draw.text(((left + right) / 2, bottom + 26 * SCALE), x_label, INK, _font(11), anchor="ma")
        self._upright(y_label, (top + bottom) / 2)

    def _upright(self, text: str, middle: float) -> None:
        width = int(self.draw.textlength(text, _font(11))) + 4 * SCALE
        strip = Image.new("RGB", (width, 18 * SCALE), PAPER)
        ImageDraw.Draw(strip).text((2 * SCALE, 0), text, INK, _font(11))
        self.image.paste(strip.rotate(90, expand=True), (8 * SCALE, int(middle - width / 2)))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of a point."""
        left, top, right, bottom = self.box
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, width: int = 2) -> None:
        """A line through points."""
        self.draw.line([self.place(x, y) for x, y in zip(xs, ys)], colour, width * SCALE, joint="curve")

    def points(self, xs: Sequence[float], ys: Sequence[float], colour: str, radius: float = 3.0, hollow: bool = False):
        """A dot at each point, or a ring."""
        for x, y in zip(xs, ys):
            px, py = self.place(x, y)
            r = radius * SCALE
            box = (px - r, py - r, px + r, py + r)
            if hollow:
                self.draw.ellipse(box, outline=colour, width=SCALE)
            else:
                self.draw.ellipse(box, fill=colour)

    def legend(self, text: str, colour: str) -> None:
        """One more line of the legend, right of the axes."""
        _, top, right, _ = self.box
        x, y = right + 10 * SCALE, top + 15 * SCALE * self.legend_row
        self.draw.ellipse((x, y + 2 * SCALE, x + 8 * SCALE, y + 10 * SCALE), fill=colour)
        self.draw.text((x + 14 * SCALE, y), text, INK, _font(10))
        self.legend_row += 1


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends, four to eight of them."""
    step = 10 ** math.floor(math.log10(high - low))
    while (high - low) / step < 4:
        step /= 2
    first = math.ceil(low / step - 1e-9)
    return [round(step * place, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def share_table(title: str, names: Sequence[str], shares: np.ndarray, rows: str, columns: str) -> Image.Image:
    """A square of shares (0..1), darker where larger; each row sums to 1."""
    cell, left, top = 44, 92, 76
    count = len(names)
    image = Image.new("RGB", ((left + count * cell + 14) * SCALE, (top + count * cell + 12) * SCALE), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((12 * SCALE, 8 * SCALE), title, INK, _font(13))
    draw.text((12 * SCALE, 28 * SCALE), f"rows: {rows}; columns: {columns}; per cent", INK, _font(10))
    for row, name in enumerate(names):
        y = top + row * cell
        draw.text(((left - 6) * SCALE, (y + cell / 2) * SCALE), name, INK, _font(10), anchor="rm")
        draw.text(((left + (row + 0.5) * cell) * SCALE, (top - 8) * SCALE), name[:7], INK, _font(9), anchor="md")
        for column in range(count):
            share = float(shares[row, column])
            x = left + column * cell
            shade = tuple(round(255 - share * (255 - channel)) for channel in (23, 78, 121))
            box = (x * SCALE, y * SCALE, (x + cell - 1) * SCALE, (y + cell - 1) * SCALE)
            draw.rectangle(box, fill=shade)
            text = f"{100 * share:.0f}"
            ink = PAPER if share > 0.5 else INK
            draw.text(((x + cell / 2) * SCALE, (y + cell / 2) * SCALE), text, ink, _font(10), anchor="mm")
    return image


def save_row(images: Sequence[Image.Image], path: Path) -> None:
    """Write pictures side by side as one PNG."""
    height = max(image.height for image in images)
    whole = Image.new("RGB", (sum(image.width for image in images), height), PAPER)
    x = 0
    for image in images:
        whole.paste(image, (x, 0))
        x += image.width
    whole.quantize(64).save(path, optimize=True)
