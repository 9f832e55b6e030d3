"""A DEE that reads a part of the speech features that it shares with the talker."""

import dataclasses

import pytest
import torch
from corpus_samples import write_corpus
from tiny_talker import tiny_config

from dee import DEE, DEEConfig, EncoderConfig
from deeptalk.bundle import read_part
from deeptalk.errors import UserError
from deeptalk.stages import train_stage
from deeptalk.talker import IndexPredictor

SMALL = EncoderConfig(width=16, layers=1, heads=2, feedforward=32, dropout=0.0)
CONFIG = DEEConfig(
    speech_features=7,
    speech_columns=[2, 5],
    motion_channels=5,
    embedding_size=8,
    speech_encoder=SMALL,
    motion_encoder=SMALL,
)


def test_only_its_own_columns_are_read():
    torch.manual_seed(0)
    model = DEE(CONFIG).eval()
    model.set_statistics(torch.arange(7.0), torch.arange(1.0, 8.0), torch.zeros(5), torch.ones(5))
    features, lengths = torch.randn(2, 9, 7, requires_grad=True), torch.tensor([9, 4])
    model.embed_speech(features, lengths).mean.square().sum().backward()
    model.embed_speech(features, lengths).log_variance.sum().backward()
    assert features.grad[0].abs().sum(0).bool().tolist() == [False, False, True, True, True, False, False]
    alone = DEE(dataclasses.replace(CONFIG, speech_features=3, speech_columns=[])).eval()
    state = {key: value[2:5] if key.startswith("feature_") else value for key, value in model.state_dict().items()}
    alone.load_state_dict(state)
    with torch.no_grad():
        given = alone.embed_speech(features[..., 2:5], lengths)
        torch.testing.assert_close(given.mean, model.embed_speech(features, lengths).mean)


def test_columns_are_saved_and_checked(tmp_path):
    DEE(CONFIG).save_pretrained(tmp_path / "dee")
    assert DEE.from_pretrained(tmp_path / "dee").config == CONFIG
    for columns in ([3], [5, 2], [2, 2], [-1, 3], [2, 8]):
        with pytest.raises(ValueError, match=r"speech_columns is \[.*\]; expected two ascending numbers in 0..7"):
            dataclasses.replace(CONFIG, speech_columns=columns)


def test_the_stage_finds_the_columns_of_an_encoder(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    words = [
        *("speech=logmel+prosody", "reads=prosody", "trainer.max_epochs=1", "trainer.loggers=[csv]"),
        *("data.batch_size=8", "data.samples_per_epoch=8", "trainer.accelerator=cpu"),
    ]
    train_stage("dee", [corpus.folder], tmp_path / "dee", "tiny", words, progress=False)
    part = read_part(tmp_path / "dee" / "model", "dee")
    assert part.speech.name == "logmel+prosody"
    model = DEE.from_pretrained(tmp_path / "dee" / "model")
    assert model.config.speech_columns == [80, part.speech.feature_size]
    assert model.speech_encoder.input.in_features == part.speech.feature_size - 80
    with pytest.raises(UserError, match="reads is 'whisper'; expected one of the speech encoders logmel, prosody"):
        train_stage("dee", [corpus.folder], tmp_path / "no", "tiny", [*words, "reads=whisper"], progress=False)


def test_the_talker_reads_its_own_columns():
    torch.manual_seed(0)
    predictor = IndexPredictor(tiny_config(content_first=30, content_features=20)).eval()
    assert predictor.content.in_features == 20
    features = torch.randn(1, 8, 80, requires_grad=True)
    face = predictor.face_features(features, torch.randn(1, 8), torch.tensor([0]), torch.tensor([8]))
    face.square().sum().backward()
    read = features.grad[0].abs().sum(0).bool()
    assert read[30:50].all()
    assert not read[:30].any()
    assert not read[50:].any()
    assert IndexPredictor(tiny_config(content_first=30)).content.in_features == 50
    for wrong in ({"content_first": 80}, {"content_first": -1}, {"content_first": 70, "content_features": 11}):
        with pytest.raises(ValueError, match="leave the 80 channels of feature_size; lower one"):
            tiny_config(**wrong)
