"""The recogniser's frames, its stage, and DEE on top of it."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from corpus_samples import write_corpus
from safetensors.torch import load_file

from dee import DEE, ExpressionRecogniser
from deeptalk.bundle import read_part, weights_sha256
from deeptalk.corpus import CorpusWriter, MotionFrames, MotionFramesConfig
from deeptalk.errors import UserError
from deeptalk.files import read_json
from deeptalk.stages import train_stage

SHORT = ["trainer.loggers=[csv]", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
RECOGNISER = [
    *SHORT,
    "data.batch_size=32",
    "data.samples_per_epoch=640",
    "model.hidden_sizes=[32,12,8]",
    "training.learning_rate=0.01",
]
DEE_WORDS = [
    *(*SHORT, "speech=logmel", "data.batch_size=8", "data.samples_per_epoch=16"),
    *("model.motion_encoder.width=16", "model.speech_encoder.width=16", "model.embedding_size=8"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "c")


@pytest.fixture(scope="module")
def recogniser(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "recogniser"
    train_stage("recogniser", [corpus.folder], out, "tiny", RECOGNISER, progress=False)
    return out


def labelled(folder, performances):
    with CorpusWriter(folder, provenance="made for a test", license="CC0-1.0") as writer:
        for number, (split, emotion, intensity, given) in enumerate(performances):
            motion = np.zeros((40, 52), np.float32)
            motion[:, 0] = np.arange(40) / 40
            writer.add_performance(
                f"p{number}", motion, split=split, emotion=emotion, intensity=intensity, given=given, reading=""
            )
    return writer.corpus


def test_frames_come_from_the_middle_and_repeat_by_seed(corpus):
    config = MotionFramesConfig(batch_size=50, samples_per_epoch=500, seed=3, margin_seconds=0.2)
    data = MotionFrames(corpus, config)
    batches = list(data.train_dataloader())
    again = list(MotionFrames(corpus, config).train_dataloader())
    assert all(torch.equal(one["motion"], other["motion"]) for one, other in zip(batches, again))
    other_seed = next(iter(MotionFrames(corpus, dataclasses.replace(config, seed=4)).train_dataloader()))
    assert not torch.equal(batches[0]["motion"], other_seed["motion"])
    assert batches[0]["motion"].shape == (50, 1, 52)

    allowed = {}
    for index in corpus.performances_in("train"):
        row = corpus.performances[index]
        if row.emotion >= 0:
            allowed.setdefault(row.emotion, []).append(corpus.motion(index)[5:-5])
    allowed = {emotion: np.concatenate(motions) for emotion, motions in allowed.items()}
    seen = set()
    for batch in batches:
        for motion, emotion in zip(batch["motion"][:, 0].numpy(), batch["emotion"].tolist()):
            distance = np.abs(allowed[emotion] - motion).max(axis=1)
            assert distance.min() == 0
            seen.add((emotion, int(distance.argmin())))
    assert len(seen) > 150  # frames all over the clips, not one of each


def test_labels_are_what_the_face_shows(tmp_path):
    corpus = labelled(
        tmp_path / "c",
        [
            *(("train", 0, 0.0, ""), ("train", 2, 0.0, ""), ("train", 2, 0.5, "speech"), ("train", -1, 0.0, "")),
            *(("train", 4, 1.0, "speech+label+speaker"), ("val", 2, 1.0, "speech"), ("val", 0, 0.0, "speech")),
        ],
    )
    data = MotionFrames(corpus, MotionFramesConfig(val_frames=3, margin_seconds=0.4))
    assert data.counts == [2, 0, 1, 0, 0, 0, 0, 0]  # intensity 0 is neutral; unknown emotions and references stay out
    (batch,) = data.val_dataloader()
    assert batch["emotion"].tolist() == [2, 0]
    assert (batch["motion"][0, :, 0] * 40).round().tolist() == [10, 20, 29]  # first, middle and last within the margin
    every = MotionFrames(corpus, MotionFramesConfig(val_frames=40, margin_seconds=0.0))
    (batch,) = every.val_dataloader()
    assert (batch["motion"][0, :, 0] * 40).round().tolist() == list(range(40))


def test_frames_that_cannot_be_had(tmp_path, corpus):
    with pytest.raises(UserError, match="leave a batch of one frame"):
        MotionFramesConfig(batch_size=64, samples_per_epoch=65)
    unlabelled = labelled(tmp_path / "c", [("train", -1, 0.0, ""), ("val", 0, 0.0, "")])
    with pytest.raises(UserError, match="no performance of known emotion in split 'train'"):
        MotionFrames(unlabelled, MotionFramesConfig())
    one = labelled(tmp_path / "d", [("train", 2, 1.0, ""), ("val", 0, 0.0, "")])
    with pytest.raises(UserError, match="of one emotion only; a recogniser needs at least two"):
        train_stage("recogniser", [one.folder], tmp_path / "run", "tiny", RECOGNISER, progress=False)
    assert not (tmp_path / "run").exists()


def test_the_stage_leaves_a_part_a_report_and_the_same_bytes_again(corpus, recogniser, tmp_path):
    part = read_part(recogniser / "model", "recogniser")
    assert (part.rig, part.frame_rate, part.speech, part.corpus) == ("arkit", 25.0, None, corpus.hash)
    report = read_json(recogniser / "confusion.json")
    assert report["accuracy"] > 0.5  # the sample's brow says the emotion
    assert sum(report["acted"]["happy"]) == 2 * 8
    assert report["recognised_as"][2] == "happy"
    model = ExpressionRecogniser.from_pretrained(recogniser / "model")
    assert model.motion_std.min() >= 1e-3
    train_stage("recogniser", [corpus.folder], tmp_path / "again", "tiny", RECOGNISER, progress=False)
    assert weights_sha256(tmp_path / "again" / "model") == weights_sha256(recogniser / "model")


def test_a_run_stopped_after_an_epoch_ends_with_the_same_weights(corpus, recogniser, tmp_path, monkeypatch):
    from dee import RecogniserTraining

    step, done = RecogniserTraining.training_step, []

    def failing(self, batch, index):
        done.append(index)
        if len(done) == 25:  # in the second epoch of 20 steps
            raise RuntimeError("killed")
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(RecogniserTraining, "training_step", failing)
        with pytest.raises(RuntimeError, match="killed"):
            train_stage("recogniser", [corpus.folder], tmp_path / "run", "tiny", RECOGNISER, progress=False)
    torch.manual_seed(123)
    train_stage("recogniser", [corpus.folder], tmp_path / "run", "tiny", RECOGNISER, progress=False)
    assert weights_sha256(tmp_path / "run" / "model") == weights_sha256(recogniser / "model")


@pytest.fixture(scope="module")
def dee(corpus, recogniser, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "dee"
    train_stage("dee", [corpus.folder], out, "tiny", DEE_WORDS, {"recogniser": recogniser}, progress=False)
    return out


def test_dee_holds_its_recogniser_frozen(dee, recogniser):
    inside = {
        key.removeprefix("recogniser."): value
        for key, value in load_file(dee / "model" / "model.safetensors").items()
        if key.startswith("recogniser.")
    }
    before = load_file(recogniser / "model" / "model.safetensors")
    assert inside.keys() == before.keys()
    assert all(torch.equal(inside[key], before[key]) for key in before)  # batch statistics too
    model = DEE.from_pretrained(dee / "model")
    assert model.config.recogniser == ExpressionRecogniser.from_pretrained(recogniser / "model").config
    assert model.motion_encoder.input.in_features == 12
    assert read_part(dee / "model", "dee").parents == {"recogniser": weights_sha256(recogniser / "model")}


def test_the_authors_features_are_an_option_of_the_recogniser(corpus, recogniser, tmp_path):
    words = [*RECOGNISER, "model.features=released", "trainer.max_epochs=1"]
    train_stage("recogniser", [corpus.folder], tmp_path / "released", "tiny", words, progress=False)
    parents = {"recogniser": tmp_path / "released"}
    train_stage("dee", [corpus.folder], tmp_path / "dee", "tiny", DEE_WORDS, parents, progress=False)
    model = DEE.from_pretrained(tmp_path / "dee" / "model")
    assert model.config.recogniser.features == "released"
    linear = model.recogniser
    motion = linear.motion_mean + linear.motion_std * torch.randn(1, 4, 52) * (linear.motion_std > 1e-3)
    expected = linear.hidden[1](linear.activation(linear.hidden[0]((motion - linear.motion_mean) / linear.motion_std)))
    torch.testing.assert_close(linear.frame_features(motion), expected)


def test_parents_that_do_not_fit(corpus, recogniser, dee, tmp_path):
    def train(parent=None, words=()):
        parents = {} if parent is None else {"recogniser": parent}
        train_stage("dee", [corpus.folder], tmp_path / "out", "tiny", [*DEE_WORDS, *words], parents, progress=False)

    with pytest.raises(UserError, match="holds dee, expected recogniser"):
        train(dee)
    with pytest.raises(UserError, match=r"model\.recogniser is set, but no trained one was given"):
        train(words=["model.recogniser.motion_channels=52"])
    paper = [*DEE_WORDS, "trained_blocks=0", "reads=logmel"]
    with pytest.raises(UserError, match=r"model\.recogniser is set, but no trained one was given"):
        train_stage("dee", [corpus.folder], tmp_path / "out", "paper", paper, progress=False)
    for key, value, words in (
        ("rig", "flame", "dee was trained for rig arkit, recogniser for rig flame"),
        ("frame_rate", 30.0, "dee was trained for frame rate 25.0, recogniser for frame rate 30.0"),
    ):
        other = tmp_path / key
        shutil.copytree(recogniser / "model", other)
        part = json.loads((other / "part.json").read_text())
        (other / "part.json").write_text(json.dumps({**part, key: value}))
        with pytest.raises(UserError, match=words):
            train(other)
    with pytest.raises(
        UserError, match="stage recogniser does not stand on what --recogniser gives; it takes no other"
    ):
        train_stage("recogniser", [corpus.folder], tmp_path / "out", "tiny", SHORT, {"recogniser": recogniser})
    with pytest.raises(UserError, match="stage dee does not stand on what --thvqvae gives; it takes --recogniser"):
        train_stage("dee", [corpus.folder], tmp_path / "out", "tiny", SHORT, {"thvqvae": recogniser})
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_resumed_on_another_recogniser(corpus, dee, tmp_path):
    words = [*RECOGNISER, "trainer.seed=1", "trainer.max_epochs=1"]
    train_stage("recogniser", [corpus.folder], tmp_path / "other", "tiny", words, progress=False)
    with pytest.raises(UserError, match="another weights of recogniser"):
        train_stage("dee", [corpus.folder], dee, "tiny", DEE_WORDS, {"recogniser": tmp_path / "other"}, progress=False)
