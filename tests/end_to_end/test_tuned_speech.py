"""DEE with the last block of a Whisper trained: killed and resumed, a talker on it, and a bundle that needs no more."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from smallest_chain import SEED, WORDS, command, speech_like
from test_resume import kill_after_checkpoint, seeds

from deeptalk import load
from deeptalk.bundle import read_part, weights_sha256
from deeptalk.errors import UserError
from deeptalk.files import read_json
from deeptalk.speech import whisper_weights

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from corpus_samples import write_corpus
from tiny_speech import write_whisper

pytestmark = pytest.mark.slow
SHORT = ["data.batch_size=8", "data.samples_per_epoch=32", "trainer.loggers=[csv]", "data.min_seconds=0.5"]
TUNED = [
    *("speech=whisper:1s+logmel", "trained_blocks=1", "training.speech_learning_rate=0.003", "trainer.max_epochs=8"),
    *("model.motion_encoder.width=16", "model.speech_encoder.width=16", "model.embedding_size=8"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A corpus of noise and a Whisper of random weights."""
    folder = tmp_path_factory.mktemp("tuned")
    write_corpus(folder / "corpus")
    write_whisper(folder / "whisper", positions=60)
    return folder


def dee_words(root, out):
    words = ["train", "dee", "--corpus", root / "corpus", "--out", out, "--speech-weights", root / "whisper"]
    return [*words, *SHORT, *TUNED, *seeds("trainer")]


@pytest.fixture
def dee(root, deeptalk):
    """The uninterrupted run, made once."""
    if not (root / "dee" / "model").exists():
        assert deeptalk(*dee_words(root, root / "dee")).code == 0
    return root / "dee"


def test_a_killed_run_resumes_to_the_same_encoder(deeptalk, root, dee, tmp_path):
    out = tmp_path / "dee"
    words = dee_words(root, out)
    kill_after_checkpoint(command(*words), out / "checkpoints" / "last.ckpt", tmp_path / "log")
    assert not (out / "speech").exists()
    assert deeptalk(*words).code == 0
    assert len(list((out / "csv").glob("version_*"))) == 2
    for part in ("speech", "model"):
        name = f"{part}/model.safetensors"
        assert (out / name).read_bytes() == (dee / name).read_bytes()


def test_a_talker_and_its_bundle_stand_on_the_tuned_encoder(deeptalk, root, dee, tmp_path, monkeypatch):
    def no_other_weights(*_, **__):
        raise AssertionError("weights from elsewhere")

    monkeypatch.setattr(whisper_weights, "_from_package", no_other_weights)
    monkeypatch.setattr("huggingface_hub.snapshot_download", no_other_weights)
    corpus, prior, out = root / "corpus", tmp_path / "thvqvae", tmp_path / "talker"
    assert deeptalk("train", "thvqvae", "--corpus", corpus, "--out", prior, *WORDS["thvqvae"]).code == 0
    words = ["train", "talker", "--corpus", corpus, "--out", out, "--thvqvae", prior, "--dee", dee]
    words += ["speech=whisper:1s+logmel", "data.samples_per_epoch=16", "data.batch_size=8", "data.min_seconds=0.5"]
    words += [f"trainer_{stage}.{word}" for stage in (1, 2) for word in ("max_epochs=1", "loggers=[csv]")]
    assert deeptalk(*words).code == 0

    bundle = tmp_path / "elsewhere"
    shutil.move(out / "bundle", bundle)
    shutil.rmtree(out)
    tuned = weights_sha256(dee / "speech")
    assert read_json(bundle / "manifest.json")["files"]["speech/model.safetensors"] == tuned
    assert read_part(bundle / "talker", "talker").parents["speech"] == tuned
    talker = load(bundle)
    assert talker.encoder.cache_key() == read_part(dee / "model", "dee").speech.cache_key
    soundfile.write(tmp_path / "speech.wav", speech_like(1.3), 16000)
    takes = talker.perform(tmp_path / "speech.wav", takes=2, seed=SEED)
    assert len(takes[0].motion) == 33
    assert np.isfinite(takes[0].motion).all()

    (bundle / "speech" / "config.json").unlink()
    with pytest.raises(UserError, match=r"lacks speech/config\.json of its part speech"):
        load(bundle)
