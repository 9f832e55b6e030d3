"""glTF files: read from the specification alone, validated, round trip, sizes, errors."""

import base64
import json
import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
import torch
from bent_rig import BentRig

from deeptalk.errors import UserError
from deeptalk.export import read_take
from deeptalk.export.gltf import write_gltf
from deeptalk.export.morph import LARGEST_ERROR_MM, fit_targets, morph_motion
from deeptalk.face import load_rig
from deeptalk.face.appearance import MATERIALS, drawing_mesh
from deeptalk.face.head_pose import head_pivot, turn_head
from deeptalk.face.idle import idle_life
from deeptalk.take import Take

FRAMES = 60


@pytest.fixture(scope="module")
def take() -> Take:
    rng = np.random.default_rng(0)
    return Take(
        motion=rng.random((FRAMES, 52), dtype=np.float32),
        recipe={"seed": 7, "emotion": "happy", "temperature": [1.0, 0.5], "speaker": None, "note": "Grüße <b>"},
        samples=(0.1 * rng.standard_normal(38400)).astype(np.float32),
        head_rotation_radians=idle_life(FRAMES, 25.0, 1).head_rotation_radians,
    )


@pytest.fixture(scope="module")
def glb(take, tmp_path_factory):
    return take.save(tmp_path_factory.mktemp("glb") / "take.glb")


KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class Reader:
    """A reader of binary glTF written from the specification; it knows nothing of the writer."""

    def __init__(self, content):
        magic, version, length = struct.unpack("<4sII", content[:12])
        assert (magic, version, length) == (b"glTF", 2, len(content))
        size, kind = struct.unpack("<I4s", content[12:20])
        assert kind == b"JSON"
        self.json = json.loads(content[20 : 20 + size])
        binary_size, kind = struct.unpack("<I4s", content[20 + size : 28 + size])
        assert kind == b"BIN\0"
        self.bytes = content[28 + size : 28 + size + binary_size]

    def view(self, number, offset, dtype, count):
        view = self.json["bufferViews"][number]
        start = view.get("byteOffset", 0) + offset
        assert start % np.dtype(dtype).itemsize == 0
        assert offset + count * np.dtype(dtype).itemsize <= view["byteLength"]
        return np.frombuffer(self.bytes, dtype, count, start)

    def accessor(self, number):
        one = self.json["accessors"][number]
        dtype, width = KINDS[one["componentType"]], WIDTHS[one["type"]]
        values = np.zeros((one["count"], width), dtype)
        if "bufferView" in one:
            values = self.view(one["bufferView"], one.get("byteOffset", 0), dtype, one["count"] * width)
            values = values.reshape(-1, width).copy()
        if "sparse" in one:
            sparse = one["sparse"]
            indices, content = sparse["indices"], sparse["values"]
            where = self.view(
                indices["bufferView"],
                indices.get("byteOffset", 0),
                KINDS[indices["componentType"]],
                sparse["count"],
            )
            assert (np.diff(where.astype(int)) > 0).all()
            stored = self.view(content["bufferView"], content.get("byteOffset", 0), dtype, sparse["count"] * width)
            values[where] = stored.reshape(-1, width)
        if "min" in one:
            np.testing.assert_array_equal(values.min(axis=0), np.array(one["min"], dtype))
            np.testing.assert_array_equal(values.max(axis=0), np.array(one["max"], dtype))
        return values / 65535 if one.get("normalized") else values

    def sampled(self, path, time):
        """Value of the animation at a time: linear for weights, spherical for rotations."""
        animation = self.json["animations"][0]
        channel = next(one for one in animation["channels"] if one["target"]["path"] == path)
        sampler = animation["samplers"][channel["sampler"]]
        keys, values = self.accessor(sampler["input"])[:, 0], self.accessor(sampler["output"])
        values = values.reshape(len(keys), -1).astype(float)
        place = np.clip(np.searchsorted(keys, time, side="right") - 1, 0, len(keys) - 2)
        share = np.clip((time - keys[place]) / (keys[place + 1] - keys[place]), 0, 1)
        mixed = (1 - share) * values[place] + share * values[place + 1]
        return mixed / np.linalg.norm(mixed) if path == "rotation" else mixed  # near enough to slerp a frame apart

    def vertices(self, time):
        """Positions of all vertices of all primitives, by the nodes' transforms."""
        head, face = self.json["nodes"]
        weights = self.sampled("weights", time)
        out = []
        for primitive in self.json["meshes"][0]["primitives"]:
            at = self.accessor(primitive["attributes"]["POSITION"]).astype(float)
            for weight, target in zip(weights, primitive["targets"]):
                at += weight * self.accessor(target["POSITION"])
            out.append(at)
        x, y, z, w = self.sampled("rotation", time)
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        return (np.concatenate(out) + face["translation"]) @ turn.T + head["translation"]


def test_a_reader_written_from_the_specification_finds_our_vertices(take, glb):
    rig, reader = load_rig("arkit"), Reader(glb.read_bytes())
    mesh = drawing_mesh(rig, refine_skin=False)
    used = [np.unique(mesh.faces[mesh.materials == number]) for number in range(len(MATERIALS))]
    order = np.concatenate([one for one in used if len(one)])
    own = order < len(rig.neutral)
    assert len(np.unique(order[own])) > 0.99 * len(rig.neutral)
    frames = np.arange(FRAMES)
    for time in np.random.default_rng(1).uniform(0, (FRAMES - 1) / 25, 20):
        motion, turn = (
            np.stack([np.interp(time * 25, frames, column) for column in values.T])[None]
            for values in (take.motion, take.head_rotation_radians)
        )
        ours = turn_head(rig.vertices(torch.from_numpy(motion)).numpy(), turn, head_pivot(rig))[0]
        assert 1000 * np.linalg.norm(reader.vertices(time)[own] - ours[order[own]], axis=1).max() < 0.05


def test_what_the_file_says(take, glb):
    document = Reader(glb.read_bytes()).json
    extras = document["asset"]["extras"]["deeptalk"]
    assert extras["rig"] == "arkit"
    assert extras["recipe"] == take.recipe
    assert document["meshes"][0]["extras"]["targetNames"] == list(load_rig("arkit").channels)
    assert [one["name"] for one in document["materials"]] == list(MATERIALS)
    assert document["asset"]["generator"].startswith("DEEPTalk ")
    assert extras["largest_error_mm"] == 0


def test_normals_and_colours(glb):
    reader = Reader(glb.read_bytes())
    for primitive in reader.json["meshes"][0]["primitives"]:
        normals = reader.accessor(primitive["attributes"]["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        at, faces = reader.accessor(primitive["attributes"]["POSITION"]), reader.accessor(primitive["indices"])
        a, b, c = at[faces.reshape(-1, 3)].transpose(1, 0, 2)
        across = np.cross(b - a, c - a)
        assert np.mean((across * normals[faces.reshape(-1, 3)[:, 0]]).sum(axis=1) > 0) > 0.8  # outward
    materials = {one["name"]: one["pbrMetallicRoughness"] for one in reader.json["materials"]}
    assert "baseColorTexture" in materials["eye"]
    red, green, blue, _ = materials["skin"]["baseColorFactor"]
    assert red > green > blue
    tint = reader.accessor(reader.json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    assert tint.max() == 1.0
    assert tint[:, 1].min() < 0.6  # lips
    jaw = list(load_rig("arkit").channels).index("jawOpen")
    assert np.abs(reader.accessor(reader.json["meshes"][0]["primitives"][0]["targets"][jaw]["NORMAL"])).max() > 0.2


@pytest.mark.parametrize("suffix", ["glb", "gltf"])
def test_round_trip(take, tmp_path, suffix):
    again = Take(**read_take(take.save(tmp_path / f"take.{suffix}")))
    np.testing.assert_array_equal(again.motion, take.motion)
    np.testing.assert_allclose(again.head_rotation_radians, take.head_rotation_radians, atol=1e-6)
    np.testing.assert_allclose(again.samples, take.samples, atol=1 / 32767)
    assert (again.rig, again.frame_rate, again.recipe) == (take.rig, take.frame_rate, take.recipe)


def test_plain_takes_round_trip(tmp_path):
    for rate, frames in ((29.97, 1), (60.0, 2)):
        plain = Take(np.full((frames, 52), 0.25, np.float32), frame_rate=rate)
        again = Take(**read_take(plain.save(tmp_path / "take.glb")))
        np.testing.assert_array_equal(again.motion, plain.motion)
        assert (again.frame_rate, again.samples, again.head_rotation_radians) == (rate, None, None)


def test_same_take_same_bytes(take, tmp_path):
    first, second = (take.save(tmp_path / f"{n}.glb").read_bytes() for n in "ab")
    assert first == second


def test_sparse_targets_are_at_least_four_times_smaller(take, tmp_path):
    sizes = {}
    for name, sparse in (("sparse", True), ("dense", False)):
        write_gltf(take, tmp_path / f"{name}.glb", sparse=sparse)
        document = Reader((tmp_path / f"{name}.glb").read_bytes()).json
        views = set()
        for primitive in document["meshes"][0]["primitives"]:
            for number in {one for target in primitive["targets"] for one in target.values()}:
                accessor = document["accessors"][number]
                views.add(accessor.get("bufferView"))
                views.update(part["bufferView"] for key, part in accessor.get("sparse", {}).items() if key != "count")
        sizes[name] = sum(document["bufferViews"][view]["byteLength"] for view in views - {None})
    assert sizes["dense"] > 4 * sizes["sparse"]
    assert (tmp_path / "sparse.glb").stat().st_size < 3.2e6


def test_the_khronos_validator_finds_nothing(glb, take, tmp_path):
    modules = os.environ.get("DEEPTALK_GLTF_VALIDATOR")
    if modules is None or shutil.which("node") is None:
        pytest.skip("needs node and DEEPTALK_GLTF_VALIDATOR, the folder node_modules of `npm install gltf-validator`")
    take.save(tmp_path / "take.gltf")
    Take(take.motion[:1]).save(tmp_path / "one.glb")
    write_gltf(take, tmp_path / "dense.glb", sparse=False)
    script = """const validator = require("gltf-validator"), fs = require("fs");
    (async () => { for (const file of process.argv.slice(1)) {
      const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)));
      console.log(JSON.stringify(report.issues)); } })();"""
    files = [glb, tmp_path / "take.gltf", tmp_path / "one.glb", tmp_path / "dense.glb"]
    done = subprocess.run(
        ["node", "-e", script, *map(str, files)],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        issues = json.loads(line)
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), line
    assert len(done.stdout.splitlines()) == len(files)


def test_a_rig_that_is_not_linear_is_fitted_within_the_error(tmp_path):
    rig, rng = BentRig(), np.random.default_rng(3)
    motion = np.stack([np.sin(np.linspace(0, 7, 90)), rng.random(90)], axis=1).astype(np.float32)
    morph = morph_motion(rig, motion)
    assert 0 < morph.error_mm <= LARGEST_ERROR_MM
    assert 2 < len(morph.mesh.names) < 8
    assert np.abs(morph.weights).max() <= 1.0 + 1e-6
    count = len(rig.neutral)
    rebuilt = morph.mesh.positions[:count] + np.einsum(
        "ft,tvc->fvc", morph.weights, morph.mesh.position_deltas[:, :count]
    )
    distance = 1000 * np.linalg.norm(rebuilt - rig.vertices(torch.from_numpy(motion)).numpy(), axis=2).max()
    assert distance == pytest.approx(morph.error_mm, abs=0.005)
    path = tmp_path / "bent.glb"
    write_gltf(Take(motion, rig="bent"), path, head=rig)
    document = Reader(path.read_bytes()).json
    assert document["asset"]["extras"]["deeptalk"]["largest_error_mm"] == pytest.approx(morph.error_mm, abs=1e-5)
    np.testing.assert_array_equal(read_take(path)["motion"], motion)


def test_fit_takes_the_fewest_targets():
    rng = np.random.default_rng(0)
    neutral, shapes = rng.random((50, 3)), rng.normal(0, 0.01, (3, 50, 3))
    vertices = (neutral + np.einsum("ft,tvc->fvc", rng.random((40, 3)), shapes)).astype(np.float32)
    deltas, weights, error_mm = fit_targets(neutral.astype(np.float32), vertices)
    assert len(deltas) == 3
    assert error_mm < 0.001
    still = np.tile(neutral.astype(np.float32), (5, 1, 1))
    assert len(fit_targets(neutral.astype(np.float32), still)[0]) == 0


def test_errors_of_writing(take, tmp_path):
    broken = Take(take.motion)
    object.__setattr__(broken, "motion", np.full((2, 52), np.nan, np.float32))
    with pytest.raises(UserError, match="holds nan at frame 0, channel 0"):
        broken.save(tmp_path / "take.glb")
    object.__setattr__(broken, "motion", np.zeros((0, 52), np.float32))
    with pytest.raises(UserError, match="at least one frame"):
        broken.save(tmp_path / "take.glb")
    with pytest.raises(UserError, match="has 2 channels, rig 'arkit' has 52"):
        write_gltf(Take(np.zeros((3, 2), np.float32)), tmp_path / "take.glb")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_reading(glb, tmp_path):
    content = glb.read_bytes()
    outside = json.dumps(
        {"asset": {"version": "2.0", "extras": {}}, "buffers": [{"uri": "/etc/passwd", "byteLength": 1}]}
    )
    bad = {
        "half.glb": content[: len(content) // 2],
        "empty.glb": b"",
        "text.glb": b"hello world, this is no glTF",
        "other.gltf": b'{"asset": {"version": "2.0"}}',
        "text.gltf": b"hello",
        "outside.gltf": outside.encode(),
        "views.glb": content.replace(b'"byteOffset":', b'"byteOffset":9', 40),
    }
    for name, wrong in bad.items():
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(UserError, match="is not a take saved as glTF"):
            read_take(tmp_path / name)
    with pytest.raises(UserError, match=r"nothing\.glb does not exist"):
        read_take(tmp_path / "nothing.glb")
    with pytest.raises(UserError, match=r"expected .npz, .glb, .gltf or .json"):
        read_take(tmp_path / "take.csv")


def test_the_gltf_json_holds_its_bytes(take, tmp_path):
    document = json.loads(take.save(tmp_path / "take.gltf").read_text(encoding="utf-8"))
    (buffer,) = document["buffers"]
    head, content = buffer["uri"].split(",", 1)
    assert head.startswith("data:application/")
    assert len(base64.b64decode(content)) == buffer["byteLength"]
