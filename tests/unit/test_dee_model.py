import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dee import DEE, DEEConfig, EncoderConfig
from dee.positions import length_mask
from dee.recogniser import RecogniserConfig

SMALL = EncoderConfig(width=16, layers=2, heads=2, feedforward=32, dropout=0.0)
CONFIG = DEEConfig(speech_features=7, motion_channels=5, embedding_size=12, speech_encoder=SMALL, motion_encoder=SMALL)


def batch(count=5, frames=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "features": 3 + 2 * torch.randn(count, frames, 7, generator=generator),
        "motion": torch.rand(count, frames, 5, generator=generator),
        "lengths": torch.randint(1, frames + 1, (count,), generator=generator),
        "emotion": torch.arange(count) % 2,
        "intensity": (torch.arange(count) % 2).float(),
    }


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = DEE(CONFIG)
    model.set_statistics(torch.full((7,), 3.0), torch.full((7,), 2.0), torch.full((5,), 0.5), torch.full((5,), 0.3))
    return model


def test_shapes_and_start(model):
    clips = batch()
    for embedding in model(clips).values():
        assert embedding.mean.shape == embedding.log_variance.shape == (5, 12)
        torch.testing.assert_close(embedding.mean.norm(dim=-1), torch.ones(5))
        assert -6.5 < embedding.log_variance.mean() < -3.5


def test_published_size():
    model = DEE(DEEConfig(motion_channels=128))
    motion = sum(parameter.numel() for parameter in model.motion_encoder.parameters())
    assert motion == pytest.approx(25.44e6, rel=1e-3)
    speech = sum(parameter.numel() for parameter in model.speech_encoder.parameters())
    assert speech - 768 * 769 == pytest.approx(22.28e6, rel=1e-3)  # the released speech side has no input projection
    assert sum(p.numel() for p in model.motion_encoder.mean_head.pool.parameters()) == 12_704


@pytest.mark.parametrize("pooling", ["gpo", "mean"])
def test_padding_and_batch_mates_change_nothing(pooling):
    torch.manual_seed(0)
    encoder = dataclasses.replace(SMALL, pooling=pooling)
    model = DEE(dataclasses.replace(CONFIG, speech_encoder=encoder, motion_encoder=encoder)).eval()
    clips = batch()
    padding = ~length_mask(clips["lengths"], 20)[..., None]
    changed = {**clips, **{key: clips[key].masked_fill(padding, float("nan")) for key in ("features", "motion")}}
    with torch.no_grad():
        together = model(changed)
        for row, count in enumerate(clips["lengths"].tolist()):
            alone = model(
                {
                    "features": clips["features"][row : row + 1, :count],
                    "motion": clips["motion"][row : row + 1, :count],
                    "lengths": torch.tensor([count]),
                }
            )
            for side in ("speech", "motion"):
                torch.testing.assert_close(together[side].mean[row], alone[side].mean[0], rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(
                    together[side].log_variance[row], alone[side].log_variance[0], rtol=1e-4, atol=1e-5
                )


def test_evaluation_without_gradients_equals_training_without_dropout(model):
    clips = batch()
    trained = model.train()(clips)
    with torch.no_grad():  # the fused path of the transformer layers
        evaluated = model.eval()(clips)
    for side in ("speech", "motion"):
        torch.testing.assert_close(trained[side].mean, evaluated[side].mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(trained[side].log_variance, evaluated[side].log_variance, rtol=1e-4, atol=1e-5)


def test_the_order_of_frames_counts(model):
    clips = batch()
    lengths = torch.full((5,), 20)
    forward = model.embed_motion(clips["motion"], lengths).mean
    assert (forward - model.embed_motion(clips["motion"].flip(1), lengths).mean).abs().max() > 1e-3


def test_layers_start_different(model):
    first, second = model.motion_encoder.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_statistics_standardise_and_are_saved_buffers(model):
    clips = batch()
    plain = DEE(CONFIG)
    plain.load_state_dict(model.state_dict())
    plain.set_statistics(torch.zeros(7), torch.ones(7), torch.zeros(5), torch.ones(5))
    standardised = plain.embed_speech((clips["features"] - 3) / 2, clips["lengths"])
    torch.testing.assert_close(model.embed_speech(clips["features"], clips["lengths"]).mean, standardised.mean)

    plain.set_statistics(torch.zeros(7), torch.ones(7), torch.zeros(5), torch.zeros(5))
    assert plain.motion_std.tolist() == pytest.approx([1e-3] * 5)


@pytest.mark.parametrize("recogniser", [None, RecogniserConfig(motion_channels=5, hidden_sizes=[8, 6, 4])])
def test_motion_in_channels_that_never_moved_is_not_read(recogniser):
    torch.manual_seed(0)
    model = DEE(dataclasses.replace(CONFIG, recogniser=recogniser)).eval()
    still = torch.tensor([0.3, 0.3, 0.0, 0.3, 0.3])
    model.set_statistics(torch.zeros(7), torch.ones(7), torch.full((5,), 0.5), still)
    if model.recogniser is not None:
        model.recogniser.set_statistics(torch.full((5,), 0.5), still)
    motion, lengths = batch()["motion"], torch.full((5,), 20)
    before = model.embed_motion(motion, lengths)
    for channel, is_read in ((2, False), (1, True)):
        changed = motion.clone()
        changed[..., channel] += 0.4
        assert torch.equal(model.embed_motion(changed, lengths).mean, before.mean) != is_read


def test_gradient_reaches_motion_through_a_frozen_model(model):
    model.requires_grad_(False).eval()
    motion = batch()["motion"].requires_grad_()
    lengths = torch.tensor([20, 4, 7, 1, 2])
    model.embed_motion(motion, lengths).mean[:, 0].sum().backward()
    real = length_mask(lengths, 20)
    assert motion.grad[~real].eq(0).all()
    assert motion.grad[0].abs().sum(-1).gt(0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_save_and_load_are_equal(model, tmp_path):
    model.fit_prototypes([batch(), batch(seed=1)])
    model.save_pretrained(tmp_path / "dee")
    loaded = DEE.from_pretrained(tmp_path / "dee")
    assert loaded.config == model.config
    assert not loaded.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    model.save_pretrained(tmp_path / "dee")  # over itself
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dee"]
    label = (torch.tensor([1]), torch.tensor([0.5]))
    assert torch.equal(loaded.emotion_vector(*label).mean, model.emotion_vector(*label).mean)


def test_weights_that_do_not_fit_are_refused_by_name(model, tmp_path):
    model.save_pretrained(tmp_path / "dee")
    state = load_file(tmp_path / "dee" / "model.safetensors")
    del state["match.scale"]
    state["surplus"] = torch.zeros(1)
    state["motion_mean"] = torch.zeros(6)
    save_file(state, tmp_path / "dee" / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: match.scale; unknown: surplus; motion_mean has shape \(6,\)"):
        DEE.from_pretrained(tmp_path / "dee")


def test_folders_that_hold_no_dee_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        DEE.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path / "dee")
    config = tmp_path / "dee" / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "model": "thvqvae"}))
    with pytest.raises(ValueError, match="holds a thvqvae, expected dee"):
        DEE.from_pretrained(tmp_path / "dee")
    config.write_text(json.dumps({"model": "dee", "config": {"speech_feature": 7}}))
    with pytest.raises(ValueError, match=r"config\.json: config has an unknown key: speech_feature;"):
        DEE.from_pretrained(tmp_path / "dee")
    config.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        DEE.from_pretrained(tmp_path / "dee")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([], r"config\.json lacks the object 'config'"),
        ({"model": "dee"}, r"config\.json lacks the object 'config'"),
        ({"model": "dee", "config": []}, r"config\.json lacks the object 'config'"),
        ({"motion_channels": "5"}, r"config\.json: config\.motion_channels is '5', expected int"),
        ({"motion_channels": True}, r"config\.motion_channels is True"),
        ({"emotions": ["calm", 3]}, r"config\.emotions is \['calm', 3\], expected list"),
        ({"speech_encoder": 3}, r"config\.speech_encoder is 3, expected an object"),
        ({"speech_encoder": {"widht": 16}}, r"config\.json: config\.speech_encoder has an unknown key: widht"),
        ({"speech_encoder": {"pooling": "max"}}, r"config\.speech_encoder\.pooling is 'max'"),
        ({"speech_encoder": {"heads": 0}}, r"config\.json: config cannot be built"),
        ({"motion_channels": -1}, r"config\.json: config cannot be built"),
    ],
)
def test_a_broken_config_is_named(model, tmp_path, changed, message):
    model.save_pretrained(tmp_path / "dee")
    path = tmp_path / "dee" / "config.json"
    content = json.loads(path.read_text())
    whole = isinstance(changed, list) or "model" in changed
    path.write_text(json.dumps(changed if whole else {**content, "config": {**content["config"], **changed}}))
    with pytest.raises(ValueError, match=message):
        DEE.from_pretrained(tmp_path / "dee")


def test_saving_replaces_nothing_but_models(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file is a file"):
        model.save_pretrained(tmp_path / "file")
    (tmp_path / "notes").mkdir()
    model.save_pretrained(tmp_path / "notes")  # empty
    (tmp_path / "notes" / "config.json").unlink()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(ValueError, match="notes holds something that is no saved model"):
        model.save_pretrained(tmp_path / "notes")
    assert (tmp_path / "file").read_text() == (tmp_path / "notes" / "diary.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "notes"]


def test_a_failed_rename_puts_the_old_model_back(model, tmp_path, monkeypatch):
    model.save_pretrained(tmp_path / "dee")
    before = (tmp_path / "dee" / "model.safetensors").read_bytes()
    rename = os.replace

    def fail(source, target):
        if Path(target) == tmp_path / "dee" and "-old-" not in str(source):
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        model.save_pretrained(tmp_path / "dee")
    assert (tmp_path / "dee" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["dee"]


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 7)

    def forward(self, waveforms, sample_lengths):
        return self.linear(waveforms.unflatten(1, (-1, 4))), sample_lengths // 4


def test_speech_module_is_used_but_not_owned(model, tmp_path):
    speech = Features()
    model.save_pretrained(tmp_path / "dee")
    loaded = DEE.from_pretrained(tmp_path / "dee", speech=speech)
    assert not any("speech.linear" in key for key in loaded.state_dict())
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert not set(map(id, speech.parameters())) & set(map(id, loaded.parameters()))
    waveforms, lengths = torch.randn(2, 40), torch.tensor([40, 24])
    direct = loaded.embed_speech(*speech(waveforms, lengths))
    assert torch.equal(loaded.embed_waveform(waveforms, lengths).mean, direct.mean)
    with pytest.raises(ValueError, match="hand one in"):
        model.embed_waveform(waveforms, lengths)


def test_bad_input_is_named(model):
    clips = batch()
    with pytest.raises(ValueError, match=r"lengths must be 1 to 20 .* not 0 to 21"):
        model.embed_motion(clips["motion"], torch.tensor([0, 1, 2, 3, 21]))
    with pytest.raises(ValueError, match="motion have 7 channels, this DEE was built for 5"):
        model.embed_motion(clips["features"], clips["lengths"])
    with pytest.raises(ValueError, match=r"motion_mean has shape \(4,\), expected \(5,\)"):
        model.set_statistics(torch.zeros(7), torch.ones(7), torch.zeros(4), torch.ones(4))
    with pytest.raises(ValueError, match="feature_std must be finite, and not negative"):
        model.set_statistics(torch.zeros(7), -torch.ones(7), torch.zeros(5), torch.ones(5))
    with pytest.raises(ValueError, match="width 10 must be even and a multiple of heads 4"):
        EncoderConfig(width=10, heads=4)
    no_projection = dataclasses.replace(SMALL, project_input=False)
    with pytest.raises(ValueError, match=r"input channels \(7\) as width \(16\)"):
        DEE(dataclasses.replace(CONFIG, speech_encoder=no_projection))
