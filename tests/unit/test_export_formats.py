"""The list of formats: every one by a real save, what each carries, and what happens when a save cannot be."""

import errno
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from deeptalk.errors import UserError
from deeptalk.export import FORMATS, export, read_live_link_csv, read_take
from deeptalk.export.formats import FOLDER_FORMATS
from deeptalk.take import Take

NEEDS = {"mp4": "av", "webm": "av"}


@pytest.fixture(scope="module")
def take() -> Take:
    rng = np.random.default_rng(0)
    motion = rng.random((5, 52), dtype=np.float32) * 0.5
    samples = (0.1 * rng.normal(size=3200)).astype(np.float32)
    return Take(motion, recipe={"seed": 11, "note": "Grüße"}, samples=samples)


def need(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="needs the extra pictures")
        pytest.importorskip("numba", reason="needs the extra pictures")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_saves_into_a_folder_with_spaces_and_umlauts(take, tmp_path, name):
    need(name)
    folder = tmp_path / "zwei Wörter 你好"
    written = take.save(folder / f"näht {name}.{name}")
    assert written.exists()
    assert [path.name for path in folder.iterdir()] == [written.name]  # nothing half-written, nothing unasked
    files = [written] if written.is_file() else list(written.iterdir())
    assert all(path.stat().st_size > 0 for path in files)
    assert written.is_dir() == (name in FOLDER_FORMATS)


@pytest.mark.parametrize("name", ["npz", "glb", "gltf", "json"])
def test_what_is_read_back_is_the_take(take, tmp_path, name):
    again = Take(**read_take(take.save(tmp_path / f"take.{name}")))
    np.testing.assert_allclose(again.motion, take.motion, atol=1e-6)
    assert (again.rig, again.frame_rate, dict(again.recipe)) == (take.rig, take.frame_rate, dict(take.recipe))
    assert Take.load(tmp_path / f"take.{name}").recipe == again.recipe


def test_csv_is_read_back_to_ten_decimals(take, tmp_path):
    np.testing.assert_allclose(read_live_link_csv(take.save(tmp_path / "take.csv")).motion, take.motion, atol=1e-7)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wrong", ["nan", "empty"])
def test_motions_that_cannot_be_are_refused_and_leave_nothing(take, tmp_path, name, wrong):
    if name == "wav":
        pytest.skip("holds no motion")
    need(name)
    broken = Take(take.motion, samples=take.samples)
    motion = np.full((5, 52), np.nan, np.float32) if wrong == "nan" else np.zeros((0, 52), np.float32)
    object.__setattr__(broken, "motion", motion)
    with pytest.raises(UserError, match=r"nan|NaN|not finite|at least one frame|0 frames|no frame") as caught:
        broken.save(tmp_path / f"take.{name}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_where_the_folder_should_be_is_one_sentence(take, tmp_path, name):
    need(name)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="is a file, not a folder"):
        take.save(tmp_path / "file" / f"take.{name}")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("name", FORMATS)
def test_a_read_only_folder_is_one_sentence(take, tmp_path, name, monkeypatch):
    need(name)

    def refuse(*_, **__):  # root may write anywhere, so the system's answer is played
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(UserError, match=r"Cannot write .*Permission denied"):
        take.save(tmp_path / f"take.{name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(take, tmp_path, name):
    """The system itself cuts every file off after some bytes, whoever writes it: Python, libsndfile or ffmpeg."""
    need(name)
    written = take.save(tmp_path / f"take.{name}")  # also compiles what is compiled at first use
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(UserError, match="File too large") as caught:
            take.save(tmp_path / f"take.{name}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [written.name]
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in FOLDER_FORMATS])
def test_a_folder_where_the_file_should_be_is_one_sentence(take, tmp_path, name):
    (tmp_path / f"take.{name}").mkdir()
    with pytest.raises(UserError, match="is a folder; a file is written there"):
        take.save(tmp_path / f"take.{name}")
    assert [path.name for path in tmp_path.iterdir()] == [f"take.{name}"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("samples", "message"), [
    (np.full(3200, np.nan, np.float32), "holds nan at sample 0"), (np.zeros((3200, 2), np.float32), "one channel")
])  # fmt: skip
def test_sounds_that_cannot_be_are_refused_and_leave_nothing(take, tmp_path, name, samples, message):
    with pytest.raises(UserError, match=message):
        export(replace(take, samples=samples), tmp_path / f"take.{name}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["npz", "glb", "gltf", "json"])
def test_damaged_files_are_never_a_traceback(take, tmp_path, suffix):
    path = take.save(tmp_path / f"take.{suffix}")
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for number in range(36):
        content = bytearray(whole[: rng.integers(len(whole))] if number % 3 == 0 else whole)
        for place in rng.integers(0, max(min(len(content), 800 if number % 2 else len(whole)), 1), 4):
            content[place : place + 1] = bytes([rng.integers(256)])
        path.write_bytes(content)
        try:
            Take.load(path)
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 12


def test_what_a_file_carries_of_its_making(take, tmp_path):
    told = {}
    for name in ("npz", "glb", "gltf", "json", "html"):
        path = take.save(tmp_path / f"take.{name}")
        told[name] = dict(read_take(path)["recipe"]) if name != "html" else None
    assert all(recipe == take.recipe for recipe in told.values() if recipe is not None)
    text = (tmp_path / "take.html").read_text(encoding="utf-8")
    assert "seed: 11" in text
    assert json.loads(json.dumps(take.recipe)) == take.recipe


def test_a_take_without_sound_cannot_be_a_wav(take, tmp_path):
    with pytest.raises(UserError, match="the take holds no sound"):
        Take(take.motion).save(tmp_path / "take.wav")


def test_another_head_is_for_formats_that_show_one(take, tmp_path):
    from deeptalk.face import load_rig

    for name in ("npz", "csv", "glb", "html"):
        export(take, tmp_path / f"take.{name}", load_rig("arkit"))


def test_formats_are_imported_when_they_are_used():
    code = "import sys, deeptalk.export; print([m for m in sys.modules if m.startswith('deeptalk.export.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("gltf", "page", "video", "mesh_sequence"):
        assert f"deeptalk.export.{module}'" not in loaded
