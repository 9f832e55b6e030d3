import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny_talker import FEATURES, tiny_prior, write_tiny_parts

from deeptalk.bundle import Part, SpeechFeatures, read_bundle, read_part, weights_sha256, write_bundle, write_part
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_parts(tmp_path_factory.mktemp("trained"), "key")


@pytest.fixture(scope="module")
def made(trained: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", trained, notes="Tested with **random** weights.")


@pytest.fixture
def folders(trained: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    return {name: Path(shutil.copytree(folder, tmp_path / name)) for name, folder in trained.items()}


def edit_part(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "part.json").read_text())
    (folder / "part.json").write_text(json.dumps({**record, **changes}))


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def test_a_bundle_comes_back_whole(made):
    bundle = read_bundle(made)
    assert bundle.talker.rig == "arkit"
    assert bundle.talker.frame_rate == 25.0
    assert bundle.talker.speakers == ["anna", "ben", "cleo"]
    assert bundle.talker.speech == SpeechFeatures("logmel", FEATURES, "key")
    assert bundle.manifest["channels"] == list(CHANNELS)
    prior = tiny_prior().state_dict()
    assert all(torch.equal(value, prior[name]) for name, value in bundle.motion_prior.state_dict().items())
    assert not any(m.training for m in (bundle.motion_prior, bundle.dee, bundle.predictor))
    assert bundle.manifest["parts"]["talker"]["parents"]["thvqvae"] == weights_sha256(made / "thvqvae")
    assert re.fullmatch(r"[0-9a-f]{64}", bundle.sha256)


def test_the_model_card_and_nothing_unsafe(made):
    card = (made / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    assert "Tested with **random** weights." in card
    assert weights_sha256(made / "dee")[:12] in card
    suffixes = {path.suffix for path in made.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".md", ".safetensors"}


def test_a_part_comes_back_as_written(tmp_path):
    part = Part("thvqvae", "arkit", 30.0, corpus="abc", config={"trainer": {"seed": 1}})
    write_part(tmp_path / "prior", tiny_prior(), part)
    assert read_part(tmp_path / "prior", "thvqvae") == part
    with pytest.raises(UserError, match="holds thvqvae, expected dee"):
        read_part(tmp_path / "prior", "dee")
    with pytest.raises(UserError, match=r"not a trained dee: .*config\.json, model\.safetensors, part\.json"):
        read_part(tmp_path / "nothing", "dee")
    with pytest.raises(UserError, match="A part is named 'voice'; expected one of thvqvae, dee, talker"):
        Part("voice", "arkit", 25.0)


@pytest.mark.parametrize("part", ["thvqvae", "dee", "talker"])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "part.json"])
def test_a_changed_byte_is_found_and_its_part_named(bundle, part, file):
    path = bundle / part / file
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"Part {part} of bundle .* is damaged: {part}/{file} is not the file"):
        read_bundle(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "dee" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks dee/model\.safetensors of its part dee"):
        read_bundle(bundle)


def edit(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/hostname", "dee/../../secret.txt", "..\\secret.txt"])
def test_a_manifest_cannot_point_outside(bundle, name):
    (bundle.parent / "secret.txt").write_text("secret")
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    edit(bundle, files={**files, name: "0"})
    with pytest.raises(UserError, match="outside the bundle; do not use this bundle"):
        read_bundle(bundle)


def test_a_hub_cache_of_links_is_read(bundle, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(p for p in bundle.rglob("*") if p.is_file())):
        os.replace(path, blobs / str(number))
        path.symlink_to(blobs / str(number))
    assert read_bundle(bundle).talker.rig == "arkit"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rig": "flame"}, "is of rig flame, its part talker of arkit"),
        ({"frame_rate": 30.0}, "is of frame_rate 30.0, its part talker of 25.0"),
        ({"channels": ["jawOpen"]}, "another set of channels of rig 'arkit'"),
        ({"format_version": 99}, "has format 99; this version reads 1. Update deeptalk"),
        ({"files": {}}, "does not list dee/config.json"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(bundle, changes, message):
    edit(bundle, **changes)
    with pytest.raises(UserError, match=re.escape(message)):
        read_bundle(bundle)


def test_what_is_no_bundle_says_so(tmp_path):
    with pytest.raises(UserError, match=r"is not a bundle: it has no manifest\.json"):
        read_bundle(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        read_bundle(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(UserError, match="has format None"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dee", {"rig": "flame"}, "dee was trained for rig flame, thvqvae for rig arkit"),
        ("talker", {"frame_rate": 30.0}, "talker was trained for frame rate 30.0, dee for frame rate 25.0"),
        (
            "talker",
            {"speech": {"name": "logmel", "feature_size": FEATURES, "cache_key": "other"}},
            "talker was trained on the speech features logmel (80 channels, other), dee on logmel (80 channels, key)",
        ),
        ("talker", {"parents": {"thvqvae": "f" * 64}}, "on a thvqvae with another codebook (ffffffffffff"),
        ("talker", {"parents": {"dee": "f" * 64}}, "talker was trained on a dee with other weights"),
    ],
)
def test_parts_that_do_not_fit_are_named(folders, tmp_path, name, changes, message):
    edit_part(folders[name], **changes)
    with pytest.raises(UserError, match=re.escape(message)):
        write_bundle(tmp_path / "bundle", folders)
    assert not (tmp_path / "bundle").exists()


def test_a_part_of_other_sizes_is_refused_on_reading(folders, tmp_path):
    edit_part(folders["talker"], parents={})
    write_part(folders["thvqvae"], tiny_prior(codes=20), read_part(folders["thvqvae"], "thvqvae"))
    write_bundle(tmp_path / "bundle", folders)
    with pytest.raises(UserError, match=r"do not fit each other.*top_codes 12, the motion prior has 20"):
        read_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("name", ["thvqvae", "dee", "talker"])
def test_a_part_of_another_version_is_named(folders, tmp_path, name):
    path = folders[name] / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "config": {**content["config"], "mood": 1}}))
    write_bundle(tmp_path / "bundle", folders)
    with pytest.raises(UserError, match=rf"Part {name} of bundle .*another version.*mood.*Train {name} again"):
        read_bundle(tmp_path / "bundle")


def test_a_bundle_replaces_nothing_but_a_bundle(folders, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine holds something else \(manifest\.json is missing\)"):
        write_bundle(tmp_path / "mine", folders)
    with pytest.raises(UserError, match=r"diary\.txt is a file"):
        write_bundle(tmp_path / "mine" / "diary.txt", folders)
    assert (tmp_path / "mine" / "diary.txt").read_text() == "mine"
    with pytest.raises(UserError, match=r"config\.json is missing"):
        write_part(tmp_path / "mine", tiny_prior(), read_part(folders["thvqvae"], "thvqvae"))


def test_a_failed_rename_puts_the_old_bundle_back(bundle, folders, monkeypatch):
    before = (bundle / "manifest.json").read_bytes()
    rename = os.replace

    def fail(source: Path, target: Path) -> None:
        if Path(target) == bundle and "-old-" not in str(source):
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_bundle(bundle, folders)
    assert (bundle / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle", "dee", "talker", "thvqvae"]


def test_a_record_of_another_make_is_refused(folders):
    edit_part(folders["dee"], mood="good")
    with pytest.raises(UserError, match=r"part\.json is not a part's record .*mood"):
        read_part(folders["dee"], "dee")


@pytest.mark.parametrize("names", [(), ("talker",), ("talker", "dee"), ("dee", "emotalk")])
def test_a_talker_needs_all_three_parts(tmp_path, names):
    with pytest.raises(UserError, match="made of thvqvae, dee, talker; given were"):
        write_bundle(tmp_path / "bundle", {name: tmp_path for name in names})


def test_a_failed_write_leaves_the_old_bundle(bundle, folders, monkeypatch):
    before = (bundle / "manifest.json").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("deeptalk.bundle.write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bundle(bundle, folders)
    assert (bundle / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["bundle", "dee", "talker", "thvqvae"]
