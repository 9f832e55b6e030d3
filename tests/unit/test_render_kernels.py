"""The rasteriser against a slow oracle: coverage, depth order, seams, sides."""

import numpy as np
import pytest

pytest.importorskip("numba")

from deeptalk.render import kernels

MIDDLE = np.full((1, 2), 0.5, np.float32)


def rasterise(screen, faces, height=24, width=32, two_sided=True, offsets=MIDDLE, margin=2):
    nearness = np.empty((len(offsets), height + 2 * margin, width + 2 * margin), np.float32)
    face_of = np.empty((len(offsets), height, width), np.int32)
    screen, faces = np.asarray(screen, np.float32), np.asarray(faces, np.int32)
    kernels.rasterise(screen, faces, offsets, margin, two_sided, nearness, face_of)
    return nearness[:, margin:-margin, margin:-margin], face_of


def inside_by_definition(corners, height=24, width=32):
    """Signed distances in pixels of every pixel's middle to the nearest edge, positive inside."""
    y, x = np.mgrid[:height, :width] + 0.5
    distances = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0)):
        edge = b - a
        distances.append((edge[0] * (y - a[1]) - edge[1] * (x - a[0])) / np.linalg.norm(edge))
    distances = np.array(distances)
    return np.maximum(distances.min(axis=0), (-distances).min(axis=0))


@pytest.mark.parametrize("seed", range(20))
def test_a_triangle_covers_the_pixels_whose_middles_lie_in_it(seed):
    corners = np.random.default_rng(seed).uniform([-6, -6], [38, 30], (3, 2))
    _, face_of = rasterise(np.c_[corners, np.ones(3)], [[0, 1, 2]])
    distance = inside_by_definition(corners)
    sure = np.abs(distance) > 0.01
    assert (face_of[0] == 0)[sure].tolist() == (distance > 0)[sure].tolist()


def test_a_right_triangle_covers_half_a_square():
    _, face_of = rasterise([[4, 4, 1], [20.25, 4, 1], [4, 20.25, 1]], [[0, 1, 2]])
    assert (face_of >= 0).sum() == 16 * 17 // 2  # middles on rows of 16, 15, ... 1 pixels


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_face_is_seen_whatever_the_order(order):
    screen = [[2, 2, 1.0], [28, 2, 1.0], [2, 20, 1.0], [2, 2, 2.0], [14, 2, 2.0], [2, 12, 2.0]]
    faces = np.array([[0, 1, 2], [3, 4, 5]])[list(order)]
    nearness, face_of = rasterise(screen, faces)
    assert face_of[0, 4, 4] == order.index(1)
    assert face_of[0, 3, 22] == order.index(0)
    assert nearness[0, 4, 4] == pytest.approx(2.0)
    assert nearness[0, 3, 22] == pytest.approx(1.0)


def test_faces_that_cross_hide_each_other_where_they_are_behind():
    screen = [[0, 0, 1], [32, 0, 3], [0, 24, 1], [0, 0, 3], [32, 0, 1], [0, 24, 3]]
    _, face_of = rasterise(screen, [[0, 1, 2], [3, 4, 5]])
    assert face_of[0, 1, 2] == 1
    assert face_of[0, 1, 26] == 0


def test_nearness_is_interpolated_linearly_in_the_picture():
    nearness, face_of = rasterise([[0, 0, 1], [32, 0, 2], [0, 24, 3]], [[0, 1, 2]])
    y, x = np.nonzero(face_of[0] == 0)
    assert nearness[0, y, x] == pytest.approx(1 + (x + 0.5) / 32 + 2 * (y + 0.5) / 24, abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_neighbours_leave_no_hole_between_them(seed):
    """A fan around a point covers all of its outline, however the edges fall."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    rim = np.c_[16 + 14 * np.cos(angles), 12 + 10 * np.sin(angles)] + rng.normal(0, 0.01, (40, 2))
    screen = np.c_[np.r_[[[16.3, 11.7]], rim], np.ones(41)]
    faces = [[0, 1 + i, 1 + (i + 1) % 40] for i in range(40)]
    seen = rasterise(screen, faces)[1][0] >= 0
    y, x = np.mgrid[:24, :32] + 0.5
    well_inside = ((x - 16) / 12) ** 2 + ((y - 12) / 8) ** 2 < 1
    gap = np.diff(np.r_[angles, angles[0] + 2 * np.pi]).max()
    assert gap < 1, "the fan of this seed is no disc"
    assert seen[well_inside].all()


def test_faces_seen_from_inside_are_drawn_only_if_asked():
    corners = [[4, 4, 1], [4, 20, 1], [20, 4, 1]]  # counter-clockwise as seen, since rows run down
    assert (rasterise(corners, [[0, 1, 2]], two_sided=False)[1] >= 0).any()
    assert not (rasterise(corners, [[0, 2, 1]], two_sided=False)[1] >= 0).any()
    assert (rasterise(corners, [[0, 2, 1]], two_sided=True)[1] >= 0).any()


def test_samples_are_shifted_pictures():
    corners = np.random.default_rng(3).uniform([2, 2], [30, 22], (3, 2)).astype(np.float32)
    offsets = np.array([[0.125, 0.375], [0.625, 0.875]], np.float32)
    together = rasterise(np.c_[corners, np.ones(3)], [[0, 1, 2]], offsets=offsets)[1]
    for sample, offset in enumerate(offsets):
        alone = rasterise(np.c_[corners - offset + 0.5, np.ones(3)], [[0, 1, 2]])[1][0]
        assert (together[sample] == alone).all()


def test_a_plane_has_no_hollows_and_a_pit_has():
    y, x = np.mgrid[:40, :40].astype(np.float32)
    plane = (1 + 0.002 * x + 0.001 * y).astype(np.float32)
    reaches, radii = np.array([3]), np.array([0.01], np.float32)
    hollow = np.empty((30, 30), np.float32)
    kernels.hollows(plane, reaches, radii, 5, hollow)
    assert hollow.max() < 1e-3
    plane[20, 20] = 0.97  # farther away
    kernels.hollows(plane, reaches, radii, 5, hollow)
    assert np.unravel_index(hollow.argmax(), hollow.shape) == (15, 15)
    assert hollow[15, 15] > 0.5
    assert kernels.hollowness(plane, reaches, radii, 20, 20) == pytest.approx(hollow[15, 15], rel=1e-5)
