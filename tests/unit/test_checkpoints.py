"""Importing released checkpoints: whatever a file is, its code never runs, and every tensor is accounted for."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_dee_released import CONFIG, RECOGNISER, SPEECH, small_models, their_layout

from dee import DEE
from dee.emotion2vec import Emotion2Vec
from dee.released import load_released, load_released_recogniser
from deeptalk.bundle import read_bundle
from deeptalk.checkpoints import import_checkpoints, importing, read_weights
from deeptalk.errors import UserError
from thvqvae import THVQVAE, THVQVAEConfig
from thvqvae.released import DEAD_KEYS, KEY_MAP


def thvqvae_weights():
    torch.manual_seed(1)
    own = THVQVAE(THVQVAEConfig(channels=53)).state_dict()
    weights = {theirs: own[ours].clone() for theirs, ours in KEY_MAP.items()}
    return weights | {key: torch.zeros(3) for key in DEAD_KEYS}


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A folder as a user has it, with a DEE of small size."""
    monkeypatch.setattr(importing, "load_released_dee", lambda *given: load_released(*given, CONFIG, SPEECH))
    monkeypatch.setattr(
        importing, "load_released_recogniser", lambda given: load_released_recogniser(given, RECOGNISER)
    )
    folder = tmp_path / "released"
    (folder / "DEE").mkdir(parents=True)
    models = small_models()
    dee, recogniser = their_layout(*models)
    torch.save(thvqvae_weights(), folder / "TH-VQVAE.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in dee.items()}}, folder / "DEE" / "DEE.pt")
    save_file({key: value.contiguous() for key, value in recogniser.items()}, folder / "fer.safetensors")
    torch.save({"sequence_decoder.weight": torch.zeros(2)}, folder / "DEEPTalk.pth")
    return folder, models


@torch.no_grad()
def test_a_folder_becomes_a_bundle_with_the_same_weights(released, tmp_path):
    folder, (_, speech, recogniser) = released
    imported = import_checkpoints(folder, tmp_path / "bundle")
    assert {kind: path.name for kind, path in imported.files.items()} == {
        "thvqvae": "TH-VQVAE.pth",
        "dee": "DEE.pt",
        "recogniser": "fer.safetensors",
    }
    assert imported.dead["thvqvae"] == sorted(DEAD_KEYS)
    assert "audio_encoder.audio_mean_layer.norm1.bias" in imported.dead["dee"]
    assert imported.skipped == {folder / "DEEPTalk.pth": "a talker, which is not imported yet"}
    prior = THVQVAE.from_pretrained(tmp_path / "bundle" / "thvqvae")
    assert torch.equal(prior.output.weight, thvqvae_weights()["decoder_b.cross_smooth_layer.weight"])
    again = Emotion2Vec.from_pretrained(tmp_path / "bundle" / "speech")
    dee = DEE.from_pretrained(tmp_path / "bundle" / "dee", speech=again)
    waveform, length = torch.randn(1, 900), torch.tensor([900])
    assert torch.equal(again(waveform, length)[0], speech(waveform, length)[0])
    assert dee.embed_waveform(waveform, length).mean.shape == (1, CONFIG.embedding_size)
    assert torch.equal(dee.recogniser(torch.ones(1, 5)), recogniser(torch.ones(1, 5)))
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "TH-VQVAE.pth" in card
    assert "license: other" in card
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert (manifest["rig"], len(manifest["channels"])) == ("flame", 53)


def test_a_bundle_without_a_talker_says_that_it_cannot_perform(released, tmp_path):
    import_checkpoints([released[0] / "TH-VQVAE.pth"], tmp_path / "bundle")
    with pytest.raises(UserError, match="holds thvqvae and no talker, so it cannot perform"):
        read_bundle(tmp_path / "bundle")


def test_dee_needs_its_recogniser(released, tmp_path):
    with pytest.raises(UserError, match="put the recogniser's file"):
        import_checkpoints([released[0] / "DEE" / "DEE.pt"], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_the_same_model_twice_is_refused(released, tmp_path):
    folder, _ = released
    shutil.copy(folder / "TH-VQVAE.pth", folder / "copy.pth")
    with pytest.raises(UserError, match=r"TH-VQVAE.pth and .*copy.pth both hold a thvqvae"):
        import_checkpoints(folder, tmp_path / "bundle")


@pytest.mark.parametrize("change", [lambda w: w.pop("upsample_t.bias"), lambda w: w.update(extra=torch.zeros(1))])
def test_tensors_that_do_not_fit_are_named(tmp_path, change):
    weights = thvqvae_weights()
    change(weights)
    torch.save(weights, tmp_path / "TH-VQVAE.pth")
    with pytest.raises(UserError, match=r"TH-VQVAE.pth cannot be imported.*(misses upsample_t.bias|unknown extra)"):
        import_checkpoints(tmp_path, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    canary = tmp_path / "canary"
    for write in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))):
        write({"state_dict": Canary(canary)}, tmp_path / "evil.pth")
        with pytest.raises(UserError, match="it was not opened further"):
            read_weights(tmp_path / "evil.pth")
        assert not canary.exists()


def test_broken_files_get_one_sentence(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save(thvqvae_weights(), whole)
    contents = {
        "empty.pth": (b"", "is empty"),
        "cut.pth": (whole.read_bytes()[:50_000], "cannot be read as a checkpoint|no checkpoint"),
        "text.pt": (b"hello, this is no checkpoint\n", "no checkpoint|cannot be read"),
        "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        "cut.safetensors": (b"\x10\x00\x00\x00\x00\x00\x00\x00{", "cannot be read as a checkpoint"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            read_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        read_weights(tmp_path / "none.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    with pytest.raises(UserError, match="holds no tensors"):
        read_weights(tmp_path / "numbers.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds list; expected weights by name"):
        read_weights(tmp_path / "list.pth")


def test_nothing_to_import_says_so(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="holds no file with weights"):
        import_checkpoints(tmp_path / "folder", tmp_path / "bundle")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "folder" / "other.pt")
    with pytest.raises(UserError, match="no released TH-VQVAE, DEE or recogniser"):
        import_checkpoints(tmp_path / "folder", tmp_path / "bundle")
