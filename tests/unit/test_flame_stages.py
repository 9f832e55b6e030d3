"""Every stage on motion of a FLAME rig, with a FLAME file given by path: the published system, at a small size."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus_samples import phones_of
from flame_samples import flame_arrays
from pool_recipe import recipe_weights
from safetensors.torch import load_file
from tiny_speech import write_tiny

from dee import DEE
from dee.released import RELEASED_CONFIG
from deeptalk.bundle import read_bundle, read_part
from deeptalk.checkpoints import import_checkpoints
from deeptalk.corpus import CorpusWriter
from deeptalk.errors import UserError
from deeptalk.face import load_rig
from deeptalk.pipeline import load
from deeptalk.stages import train_stage
from deeptalk.training import read_history
from thvqvae import THVQVAE

RELEASED = Path(__file__).parents[1] / "golden" / "released"
SHORT = ["trainer.loggers=[csv]", "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.log_every_steps=1"]
SIZES = {
    "thvqvae": [*SHORT, "data.samples_per_epoch=64", "data.batch_size=16", "training.warmup_steps=2"],
    "recogniser": [*SHORT, "data.samples_per_epoch=256", "data.batch_size=32", "model.hidden_sizes=[16,12,8]"],
    "dee": [
        *(*SHORT, "data.samples_per_epoch=16", "data.batch_size=8", "data.min_seconds=0.8", "data.max_seconds=0.8"),
        *("model.speech_encoder.width=32", "model.motion_encoder.width=32", "model.motion_encoder.layers=1"),
    ],
    "talker": [
        *(word.replace("trainer.", f"trainer_{stage}.") for word in SHORT for stage in (1, 2)),
        *("data.samples_per_epoch=16", "data.batch_size=8", "model.layers=1"),
    ],
}
"""Smaller than the preset `paper`, whose kind they are."""


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    path = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(path, **flame_arrays())
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Speech of two voices and one to validate on, with motion of 53 channels that says the emotion."""
    folder = tmp_path_factory.mktemp("corpus") / "flame"
    generator = np.random.default_rng(0)
    with CorpusWriter(folder, rig="flame", provenance="made for a test", license="CC0-1.0") as writer:
        for speaker, sentence, split in (("ann", "s1", "train"), ("bob", "s2", "train"), ("cat", "s3", "val")):
            for emotion in (0, 2, 4):
                phones = phones_of(sentence, emotion)
                samples = round(phones[-1].end_seconds * 16000)
                frames = int(np.floor(samples * 25 / 16000 + 0.5))
                sound = 0.1 * generator.standard_normal(samples).astype(np.float32)
                name = f"{speaker}-{emotion}"
                speech = writer.add_speech(
                    name, sound, speaker=speaker, sentence=sentence, phones=phones, emotion=emotion, split=split
                )
                motion = 0.3 * generator.standard_normal((frames, 53)).astype(np.float32)
                motion[:, emotion] += 2.0
                motion[:, 50] = 0.1 + 0.1 * np.sin(np.arange(frames))
                labels = {"emotion": emotion, "intensity": float(emotion > 0), "reading": "plain", "given": "speech"}
                writer.add_performance(f"{name}/0", motion, speech=speech, **labels)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Small wav2vec2 and emotion2vec with random weights."""
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: write_tiny(folder / kind, kind) for kind in ("wav2vec2", "emotion2vec")}


@pytest.fixture(scope="module")
def chain(corpus, flame, encoders, tmp_path_factory):
    """The published system whole, stage by stage."""
    out = tmp_path_factory.mktemp("runs")

    def train(stage, *words, **parents):
        work = {"parents": {name: out / name for name in parents}, "progress": False}
        if stage in ("dee", "talker"):  # the talker's emotion2vec is the one that was trained with DEE
            kinds = encoders if stage == "dee" else ["wav2vec2"]
            work["speech_source"] = {kind: encoders[kind] for kind in kinds}
        train_stage(stage, [corpus], out / stage, "paper", [*SIZES[stage], *words], **work)

    train("thvqvae", f"flame={flame}")
    train("recogniser")
    train("dee", recogniser=True)
    train("talker", f"flame={flame}", thvqvae=True, dee=True)
    return out


def test_the_motion_prior_learns_in_millimetres_of_flame(chain, flame):
    errors = [value for _, value in read_history(chain / "thvqvae")["train/vertex_rms_mm"]]
    assert errors[-1] < errors[0]
    rig, prior = load_rig("flame", flame), THVQVAE.from_pretrained(chain / "thvqvae" / "model")
    assert prior.config.channels == len(rig.channels) == 53
    motion = torch.zeros(1, 8, 53)
    assert rig.vertices(prior.reconstruct(motion)).shape == (1, 8, len(rig.neutral), 3)
    assert read_part(chain / "thvqvae" / "model", "thvqvae").rig == "flame"


def test_the_bundle_performs_flame(chain, flame, encoders, monkeypatch):
    monkeypatch.setenv("DEEPTALK_FLAME", str(flame))
    bundle = read_bundle(chain / "talker" / "bundle")
    assert bundle.talker.speech.name == "wav2vec2+emotion2vec"
    assert bundle.predictor.config.content_columns == slice(0, 32)
    assert bundle.dee.config.speech_columns == [32, 64]
    assert isinstance(bundle.dee.speech_encoder.input, torch.nn.Identity)
    assert bundle.dee.recogniser is not None
    before = load_file(encoders["emotion2vec"] / "model.safetensors")
    after = load_file(chain / "talker" / "bundle" / "speech" / "model.safetensors")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"blocks"}  # the last two
    sound = 0.1 * np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    (take,) = load(chain / "talker" / "bundle", {"wav2vec2": encoders["wav2vec2"]}).perform(
        (sound, 16000), takes=1, seed=3
    )
    assert take.motion.shape == (25, 53)
    assert np.isfinite(take.motion).all()


def test_another_flame_file_is_another_run(chain, corpus, flame, tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPTALK_FLAME", raising=False)

    def again(out, words):
        train_stage("thvqvae", [corpus], out, "paper", [*SIZES["thvqvae"], *words], progress=False)

    with pytest.raises(UserError, match="Rig 'flame' needs your own FLAME file"):
        again(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()
    np.savez(tmp_path / "other.npz", **flame_arrays(seed=1))
    monkeypatch.setenv("DEEPTALK_FLAME", str(flame))
    again(tmp_path / "run", [])
    monkeypatch.setenv("DEEPTALK_FLAME", str(tmp_path / "other.npz"))
    with pytest.raises(UserError, match=r"holds another run .*another FLAME file"):
        again(tmp_path / "run", [])


def test_a_dee_learns_on_the_released_recogniser(corpus, tmp_path):
    layout = json.loads((RELEASED / "layout_recogniser.json").read_text())
    torch.save(recipe_weights(layout), tmp_path / "fer.pth")
    parent = import_checkpoints(tmp_path / "fer.pth", tmp_path / "released").bundle / "recogniser"
    words = [*SHORT, "trainer.max_epochs=1", "data.samples_per_epoch=16", "data.batch_size=8", "speech=logmel"]
    train_stage("dee", [corpus], tmp_path / "dee", "tiny", words, {"recogniser": parent}, progress=False)
    model = DEE.from_pretrained(tmp_path / "dee" / "model")
    assert model.config.recogniser == RELEASED_CONFIG.recogniser
    assert torch.equal(model.recogniser.output.bias, recipe_weights(layout)["out_fc.bias"])
    assert model.motion_encoder.input.in_features == 128
