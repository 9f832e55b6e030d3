import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
import trimesh

from deeptalk.errors import UserError
from deeptalk.export import mesh_sequence
from deeptalk.export.mesh_sequence import read_mesh_sequence, sequence_folder, write_mesh_sequence
from deeptalk.face import CHANNELS, load_rig
from deeptalk.face.head_pose import head_pivot, turn_head
from deeptalk.take import Take

RECIPE = {"seed": 7, "note": "Ü"}


@pytest.fixture(scope="module")
def rig():
    return load_rig("arkit")


def take(frames=3, head=False, sound=False):
    random = np.random.default_rng(0)
    turned = random.normal(0, 0.2, (frames, 3)).astype(np.float32) if head else None
    samples = random.normal(0, 0.1, 640 * frames).astype(np.float32) if sound else None
    return Take(random.random((frames, 52)).astype(np.float32), "arkit", 25.0, RECIPE, samples, turned)


@pytest.mark.parametrize("suffix", ["obj", "ply"])
@pytest.mark.parametrize("head", [False, True])
def test_vertices_and_take_read_back(tmp_path, rig, suffix, head):
    written = take(head=head)
    write_mesh_sequence(written, tmp_path / f"Zwei Köpfe.{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [f"Zwei Köpfe_{suffix}"]
    vertices, fields = read_mesh_sequence(tmp_path / f"Zwei Köpfe_{suffix}")
    expected = rig.vertices(torch.from_numpy(written.motion)).numpy()
    if head:
        expected = turn_head(expected, written.head_rotation_radians, head_pivot(rig))
    np.testing.assert_allclose(vertices, expected, atol=6e-7 if suffix == "obj" else 1e-8)
    found = Take(**fields)
    np.testing.assert_array_equal(found.motion, written.motion)
    assert (found.rig, found.frame_rate, found.recipe) == ("arkit", 25.0, RECIPE)
    assert (found.head_rotation_radians is not None) == head


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_another_reader_sees_the_same_mesh(tmp_path, rig, suffix):
    written = take()
    write_mesh_sequence(written, tmp_path / f"a.{suffix}")
    mesh = trimesh.load(tmp_path / f"a_{suffix}" / f"a_0002.{suffix}", process=False, force="mesh", maintain_order=True)
    expected = rig.vertices(torch.from_numpy(written.motion[1])).numpy()
    corners = np.asarray(mesh.vertices)[mesh.faces]
    parts = np.concatenate([rig.faces[faces] for faces in rig.face_parts.values()])
    order = parts if suffix == "obj" else rig.faces
    np.testing.assert_allclose(
        np.sort(corners.reshape(-1, 9), axis=0), np.sort(expected[order].reshape(-1, 9), axis=0), atol=1e-6
    )
    assert len(mesh.faces) == len(rig.faces)
    if suffix == "ply":
        away = (mesh.vertex_normals * (mesh.vertices - mesh.vertices.mean(axis=0))).sum(axis=1)
        assert (away[rig.regions["face"]] > 0).mean() > 0.9


def test_folder_holds_what_sequence_importers_expect(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_sequence, "BLOCK_FRAMES", 4)  # frames go on counting over blocks
    written = take(frames=11, sound=True)
    write_mesh_sequence(written, tmp_path / "happy.OBJ")
    folder = sequence_folder(tmp_path / "happy.OBJ")
    assert folder == tmp_path / "happy_obj"
    names = sorted(file.name for file in folder.glob("*.obj"))
    assert names == [f"happy_{number:04d}.obj" for number in range(1, 12)]
    assert sorted(file.name for file in folder.iterdir()) == sorted([*names, "happy.wav", "sequence.json"])
    samples, rate = soundfile.read(folder / "happy.wav", dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(samples, written.samples, atol=1e-4)
    about = json.loads((folder / "sequence.json").read_text(encoding="utf-8"))
    assert (about["unit"], about["frames"], about["vertices"], about["frame_rate"]) == ("metre", 11, 4784, 25.0)
    text = (folder / names[0]).read_text()
    assert {line for line in text.splitlines() if line.startswith("g ")} == {
        f"g {part}" for part in load_rig("arkit").face_parts
    }
    first, last = (read_mesh_sequence(folder)[0][index] for index in (0, -1))
    assert not np.allclose(first, last, atol=1e-3)


def test_written_again_it_replaces_itself_and_nothing_else(tmp_path):
    write_mesh_sequence(take(5), tmp_path / "a.ply")
    write_mesh_sequence(take(2), tmp_path / "a.ply")
    assert len(list((tmp_path / "a_ply").glob("*.ply"))) == 2
    (tmp_path / "b_ply").mkdir()
    (tmp_path / "b_ply" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        write_mesh_sequence(take(1), tmp_path / "b.ply")
    assert (tmp_path / "b_ply" / "thesis.txt").read_text() == "mine"


def test_an_error_leaves_nothing_behind(tmp_path, rig, monkeypatch):
    monkeypatch.setattr(mesh_sequence, "write_json", lambda *_: (_ for _ in ()).throw(RuntimeError("no more")))
    with pytest.raises(RuntimeError, match="no more"):
        write_mesh_sequence(take(1), tmp_path / "a.obj")
    assert not list(tmp_path.iterdir())


def test_another_head_is_moved_instead(tmp_path, rig):
    larger = replace(rig, neutral=2 * rig.neutral, deltas=2 * rig.deltas, provenance={"source": "larger"})
    write_mesh_sequence(take(1), tmp_path / "a.ply", head=larger)
    vertices, _ = read_mesh_sequence(tmp_path / "a_ply")
    np.testing.assert_allclose(vertices[0], 2 * rig.vertices(torch.from_numpy(take(1).motion[0])).numpy(), atol=1e-7)
    other = replace(rig, channels=tuple(reversed(CHANNELS)))
    with pytest.raises(UserError, match="other channels than rig 'arkit'"):
        write_mesh_sequence(take(1), tmp_path / "b.ply", head=other)


def test_what_cannot_be_written_or_read_says_why(tmp_path):
    with pytest.raises(UserError, match=r"\.obj or \.ply, not 'a\.stl'"):
        write_mesh_sequence(take(1), tmp_path / "a.stl")
    with pytest.raises(UserError, match="does not exist"):
        read_mesh_sequence(tmp_path)
    write_mesh_sequence(take(2), tmp_path / "a.ply")
    (tmp_path / "a_ply" / "a_0002.ply").write_bytes(b"ply\n")
    with pytest.raises(UserError, match="does not hold 4784 vertices"):
        read_mesh_sequence(tmp_path / "a_ply")
    (tmp_path / "a_ply" / "a_0002.ply").unlink()
    with pytest.raises(UserError, match=r"lacks 1 of its 2 files, such as a_0002\.ply"):
        read_mesh_sequence(tmp_path / "a_ply")
    (tmp_path / "a_ply" / "sequence.json").write_text("{}")
    with pytest.raises(UserError, match="does not describe a mesh sequence"):
        read_mesh_sequence(tmp_path / "a_ply")
