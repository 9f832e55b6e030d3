"""Contact sheets, their labels, legends, and PNG files read back by another reader."""

import os

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from deeptalk.errors import UserError
from deeptalk.render import contact_sheet, with_colour_bar, write_png
from deeptalk.render.heat import STOPS, heat_colours
from deeptalk.render.sheet import INK, PAPER, text_strip


def tiles(count, height=40, width=60):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def find(sheet, tile):
    """Rows and columns where a tile lies in a sheet."""
    windows = np.lib.stride_tricks.sliding_window_view(sheet, tile.shape)[:, :, 0]
    return [tuple(at) for at in np.argwhere((windows == tile).all(axis=(2, 3, 4)))]


def test_pictures_stand_in_rows_in_order():
    images = tiles(5)
    sheet = contact_sheet(images, columns=3)
    places = [find(sheet, image) for image in images]
    assert [len(place) for place in places] == [1] * 5
    rows, columns = np.array(places)[:, 0].T
    assert rows[0] == rows[1] == rows[2] < rows[3] == rows[4]
    assert columns[0] == columns[3] < columns[1] == columns[4] < columns[2]
    assert sheet.shape[1] >= 3 * 60


def test_labels_lie_under_their_pictures():
    images = tiles(2, 100, 120)
    plain, labelled = contact_sheet(images, columns=2), contact_sheet(images, ["anger", "joy"], columns=2)
    assert labelled.shape[0] > plain.shape[0]
    (row, column), *_ = find(labelled, images[0])
    strip = labelled[row + 100 : row + 112, column : column + 120]
    assert (np.abs(strip.astype(int) - INK).max(axis=2) < 60).sum() > 20
    without = contact_sheet(images, ["", "joy"], columns=2)[row + 100 : row + 112, column : column + 120]
    assert (without == PAPER).all()


def test_a_long_label_is_made_smaller_until_it_fits():
    long = text_strip("mouthLowerDownRight with jawOpen", 200, 24)
    ink = np.nonzero((np.abs(long.astype(int) - PAPER).max(axis=2) > 40).any(axis=0))[0]
    assert ink.min() > 0
    assert ink.max() < 199
    assert np.ptp(ink) > 120


def test_columns_default_to_a_sheet_about_as_wide_as_high():
    height, width, _ = contact_sheet(tiles(52, 64, 64)).shape
    assert 0.7 < width / height < 1.4


def test_what_does_not_fit_on_a_sheet_is_refused():
    with pytest.raises(UserError, match="got 0 pictures"):
        contact_sheet([])
    with pytest.raises(UserError, match="2 pictures of 2 sizes"):
        contact_sheet([*tiles(1), *tiles(1, 20, 20)])
    with pytest.raises(UserError, match="2 pictures of 1 sizes and 3 labels"):
        contact_sheet(tiles(2), ["a", "b", "c"])


def test_the_heat_map_goes_from_first_to_last_colour_and_stays_there():
    colours = heat_colours(np.array([0.0, 2.0, 4.0, 99.0]), 4.0)
    assert colours[0].tolist() == STOPS[0].tolist()
    assert colours[1].tolist() == STOPS[4].tolist()
    assert colours[2].tolist() == colours[3].tolist() == STOPS[-1].tolist()
    luminance = heat_colours(np.linspace(0, 1, 50), 1.0) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def test_the_legend_shows_every_colour_beside_the_picture():
    image = tiles(1, 256, 256)[0]
    with_bar = with_colour_bar(image, 3.0)
    assert (with_bar[:, :256] == image).all()
    bar = with_bar[:, 256:].reshape(-1, 3)
    for colour in (STOPS[0], STOPS[4], STOPS[-1]):
        assert np.abs(bar - colour).max(axis=1).min() <= 2


@pytest.mark.parametrize("name", ["plain.png", "ein Bild - zwölf Köpfe.png"])
def test_a_png_reads_back_the_same(tmp_path, name):
    image = tiles(1, 33, 51)[0]
    path = write_png(tmp_path / "new folder" / name, image)
    assert (np.asarray(Image.open(path)) == image).all()
    assert os.listdir(path.parent) == [name]
    first = path.read_bytes()
    write_png(path, image)
    assert path.read_bytes() == first


def test_a_folder_in_the_way_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file, not a folder"):
        write_png(tmp_path / "file" / "a.png", tiles(1)[0])
