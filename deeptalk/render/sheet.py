"""Pictures beside each other with labels, and the PNG file they end in. Text and files by Pillow."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from deeptalk.errors import UserError
from deeptalk.files import atomic_path
from deeptalk.render.heat import heat_colours

if TYPE_CHECKING:
    from PIL import ImageFont

PAPER, INK = (247, 248, 250), (28, 32, 40)
GAP_PIXELS = 4
SYSTEM_FONTS = ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf", "Arial Unicode.ttf")
"""Tried for labels beyond ASCII, which the font inside Pillow lacks."""


def contact_sheet(
    images: Sequence[UInt8[np.ndarray, "height width 3"]] | UInt8[np.ndarray, "image height width 3"],
    labels: Sequence[str] | None = None,
    columns: int | None = None,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """Pictures of one size in rows, each with its label below, all in one picture.

    `columns` defaults to what makes the sheet about as wide as high. A label too wide for its picture is drawn smaller.
    Raises UserError for no pictures, several sizes or another number of labels.
    """
    labels = [""] * len(images) if labels is None else list(labels)
    shapes = {image.shape for image in images}
    if len(shapes) != 1 or len(labels) != len(images):
        raise UserError(
            f"A contact sheet got {len(images)} pictures of {len(shapes)} sizes and {len(labels)} labels; "
            "expected pictures of one size and a label for each."
        )
    height, width, _ = images[0].shape
    columns = columns or max(1, round(math.sqrt(len(images) * height / width)))
    rows = math.ceil(len(images) / columns)
    strip = label_height(width) if any(labels) else 0
    step_x, step_y = width + GAP_PIXELS, height + strip + GAP_PIXELS
    sheet = np.full((rows * step_y + GAP_PIXELS, columns * step_x + GAP_PIXELS, 3), PAPER, np.uint8)
    for number, (image, label) in enumerate(zip(images, labels)):
        top, left = GAP_PIXELS + number // columns * step_y, GAP_PIXELS + number % columns * step_x
        sheet[top : top + height, left : left + width] = image
        if strip:
            sheet[top + height : top + height + strip, left : left + width] = text_strip(label, width, strip)
    return sheet


def with_colour_bar(
    image: UInt8[np.ndarray, "height width 3"], maximum_millimetres: float, title: str = "error, mm"
) -> UInt8[np.ndarray, "height wider 3"]:
    """The picture of an error map, or a sheet of several, with the legend of its colours at the right side."""
    from PIL import Image, ImageDraw

    height = image.shape[0]
    unit = max(12, min(28, height // 16))  # of text
    canvas = Image.new("RGB", (6 * unit, height), PAPER)
    draw, font = ImageDraw.Draw(canvas), _font(title, round(0.8 * unit))
    draw.text((unit, unit), title, fill=INK, font=font, anchor="lm")
    top, bottom = 2 * unit, min(height - unit, 14 * unit)
    shares = np.linspace(1, 0, bottom - top)
    bar = np.repeat(heat_colours(shares, 1.0)[:, None], unit, axis=1)
    canvas.paste(Image.fromarray(bar), (unit, top))
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - top)
        draw.line([(2 * unit, y), (2.3 * unit, y)], fill=INK)
        text = f"{share * maximum_millimetres:.3g}"
        draw.text((2.6 * unit, y), text, fill=INK, font=font, anchor="lm")
    return np.concatenate([image, np.asarray(canvas)], axis=1)


def label_height(width: int) -> int:
    """Pixels of the strip for a label below a picture of this width."""
    return max(16, round(0.11 * width))


def text_strip(text: str, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    """One line of text in the middle of a strip, as large as fits."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    size = max(8, round(0.62 * height))
    while size > 8 and draw.textlength(text, _font(text, size)) > width - 4:
        size -= 1
    draw.text((width / 2, height / 2), text, fill=INK, font=_font(text, size), anchor="mm")
    return np.asarray(image)


def _font(text: str, size: int) -> "ImageFont.ImageFont | ImageFont.FreeTypeFont":
    from PIL import ImageFont

    if not text.isascii():
        for name in SYSTEM_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def write_png(path: str | Path, image: UInt8[np.ndarray, "height width 3"]) -> Path:
    """Write a picture atomically, losslessly; returns the path."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("Pillow, which writes pictures, is missing: pip install 'deeptalk[pictures]'.") from error
    path = Path(path)
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
    return path
