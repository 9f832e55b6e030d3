"""The preset `paper`: published sizes, published numbers, and a step of training of every stage at that size."""

import dataclasses

import numpy as np
import pytest
import torch
from flame_samples import flame_arrays

from dee import DEE, DEETraining, RecogniserConfig, RecogniserTraining
from dee.emotion2vec import Emotion2Vec
from dee.pooling import GeneralizedPooling
from deeptalk.baselines import EmoTalk, EmoTalkTraining
from deeptalk.config import compose, find_preset
from deeptalk.emotions import EMOTIONS
from deeptalk.face import channels_of, compact_vertices, load_rig
from deeptalk.stages import STAGES
from deeptalk.talker import IndexPredictor, TalkerTraining
from thvqvae import THVQVAE, THVQVAETraining

CHANNELS = len(channels_of("flame"))
WIDTH = 768
FRAMES = 32


def paper(stage, *words):
    return compose(STAGES[stage].config, [find_preset(stage, "paper")], words)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def dee_config():
    """As the stage sets it: wav2vec2 and emotion2vec side by side, the recogniser its parent."""
    return dataclasses.replace(
        paper("dee").model,
        speech_features=2 * WIDTH,
        speech_columns=[WIDTH, 2 * WIDTH],
        motion_channels=CHANNELS,
        recogniser=dataclasses.replace(paper("recogniser").model, motion_channels=CHANNELS),
    )


def talker_config():
    return dataclasses.replace(paper("talker").model, feature_size=2 * WIDTH, content_features=WIDTH)


def thvqvae_config():
    return dataclasses.replace(paper("thvqvae").model, channels=CHANNELS)


def test_sizes_are_the_published_ones():
    with torch.device("meta"):
        prior, dee = THVQVAE(thvqvae_config()), DEE(dee_config())
        predictor, emotalk = IndexPredictor(talker_config()), EmoTalk(paper("emotalk").model)
        pooling, emotion2vec = GeneralizedPooling(), Emotion2Vec()
    codebooks = sum(value.numel() for name, value in prior.named_buffers() if name.endswith("codebook"))
    unused = 147_840  # of the authors' decoder, whose result they throw away
    assert count(prior) + codebooks == 2_932_789 - unused
    assert count(dee.recogniser) == 1_374_024
    assert count(dee.speech_encoder) == 22_278_208  # published: 22.28 M
    assert count(dee.motion_encoder) == 25_441_856  # 25.44 M
    assert count(pooling) == 12_704
    assert count(emotion2vec) == pytest.approx(93.8e6, rel=0.02)
    # The authors' 5.68 M hold a layer that is never used; their one-hot identities are an embedding here.
    assert count(predictor) == 5_680_640 - (43 + 1) * 128 + 32 * 32
    assert count(emotalk.decoder) == 8_570_612


def test_numbers_are_the_published_ones():
    prior, recogniser, dee, talker, emotalk = map(paper, ("thvqvae", "recogniser", "dee", "talker", "emotalk"))
    assert (prior.data.window_frames, prior.data.batch_size, prior.trainer.max_epochs) == (32, 256, 1500)
    training = prior.training
    assert (training.learning_rate, training.warmup_steps, training.weight_decay) == (5e-4, 4000, 0.01)
    assert (training.velocity_weight, training.motion_weight, training.commitment_weight) == (0, 0, 0.25)
    assert training.vertex_weight == pytest.approx(1e6 / 3)
    assert (recogniser.data.batch_size, recogniser.trainer.max_epochs) == (5096, 200)
    assert (recogniser.training.learning_rate, recogniser.training.final_learning_rate) == (1e-3, 1e-6)
    assert (dee.data.batch_size, dee.trainer.max_epochs, dee.training.learning_rate) == (64, 300, 1e-4)
    assert (dee.data.min_seconds, dee.data.max_seconds, dee.trained_blocks) == (2.0, 2.0, 2)
    training = dee.training
    assert (training.targets, training.vib_weight, training.coverage_weight) == ("identity", 1e-6, 0)
    assert (training.label_weight, training.mixed_share, training.pseudo_positive_weight) == (0, 0, 0)
    assert (talker.data.batch_size, talker.trainer_1.max_epochs, talker.trainer_2.max_epochs) == (16, 3, 3)
    assert round(talker.data.min_seconds * 25) == round(talker.data.max_seconds * 25) == 32
    for number, stage in ((1, talker.stage_1), (2, talker.stage_2)):
        assert (stage.stage, stage.learning_rate, stage.velocity_weight, stage.code_weight) == (number, 1e-4, 0, 0)
        assert (stage.start_tau, stage.end_tau, stage.spread, stage.identity_dropout) == (2.0, 0.1, 0, 0)
    assert talker.stage_2.emotion_weight == pytest.approx(1e-4 * 3e6)
    assert (emotalk.data.batch_size, emotalk.trainer.max_epochs, emotalk.training.learning_rate) == (8, 80, 1e-4)
    everything = (prior.trainer, recogniser.trainer, dee.trainer, talker.trainer_1, talker.trainer_2, emotalk.trainer)
    assert {(trainer.seed, trainer.gradient_clip_norm) for trainer in everything} == {(42, 0.0)}


@pytest.fixture(scope="module")
def vertices(tmp_path_factory):
    file = tmp_path_factory.mktemp("flame") / "flame.npz"
    np.savez(file, **flame_arrays())
    return compact_vertices(load_rig("flame", file), paper("thvqvae").region_weights)


def test_every_vertex_counts_the_same(vertices):
    assert vertices.region is None
    assert torch.unique(vertices.scale).numel() == 1
    assert len(vertices.chosen) == len(vertices.rig.neutral)


def test_the_published_weights_of_vertices_fit_the_built_in_head():
    vertices = compact_vertices(load_rig("arkit"), paper("thvqvae").region_weights)
    rig, motion = load_rig("arkit"), torch.rand(2, 52)
    moving = np.union1d(rig.region("skin"), rig.region("eyes"))
    apart = (rig.vertices(motion[:1]) - rig.vertices(motion[1:]))[0, moving].square().sum(-1).mean()
    torch.testing.assert_close((vertices(motion[0]) - vertices(motion[1])).square().sum(), apart, rtol=1e-4, atol=0)


def clips(batch=2, frames=FRAMES):
    """A batch as the data modules give it."""
    generator = torch.Generator().manual_seed(0)
    motion = 0.3 * torch.randn(batch, frames, CHANNELS, generator=generator)
    return {
        "motion": motion,
        "features": torch.randn(batch, frames, 2 * WIDTH, generator=generator),
        "lengths": torch.full((batch,), frames),
        "emotion": torch.arange(batch),
        "intensity": torch.ones(batch),
        "speaker": torch.arange(batch),
        "speech": torch.arange(batch),
    }


def step(module, batch, steps=1):
    """Steps of AdamW; returns the names of the trained weights that the last one did not move."""
    module.log_dict = lambda *given, **words: None
    module.log = lambda *given, **words: None
    module.train()
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3)
    for _ in range(steps):
        before = {name: value.detach().clone() for name, value in trained.items()}
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
    return [name for name, value in trained.items() if value.grad is None or torch.equal(value, before[name])]


def test_a_step_of_the_motion_prior(vertices):
    torch.manual_seed(0)
    module = THVQVAETraining(thvqvae_config(), paper("thvqvae").training, vertices)
    assert step(module, clips(batch=16)) == []


def test_a_step_of_the_recogniser():
    torch.manual_seed(0)
    config = paper("recogniser")
    model = dataclasses.replace(config.model, motion_channels=CHANNELS)
    assert model == RecogniserConfig(motion_channels=CHANNELS)
    module = RecogniserTraining(model, config.training, [1] * 8, EMOTIONS)
    assert step(module, {"motion": 0.3 * torch.randn(64, 1, CHANNELS), "emotion": torch.arange(64) % 8}) == []


@pytest.fixture(scope="module")
def dee():
    torch.manual_seed(0)
    return DEETraining(dee_config(), paper("dee").training)


def test_a_step_of_dee(dee):
    frozen = {name: value.clone() for name, value in dee.model.recogniser.state_dict().items()}
    assert step(dee, clips(frames=50)) == []
    assert all(torch.equal(value, frozen[name]) for name, value in dee.model.recogniser.state_dict().items())


@pytest.mark.parametrize("stage", [1, 2])
def test_a_step_of_the_talker(dee, vertices, stage, monkeypatch):
    torch.manual_seed(0)
    prior, config = THVQVAE(thvqvae_config()), paper("talker")
    prior.encode(clips()["motion"])
    module = TalkerTraining(
        talker_config(), config.stage_1 if stage == 1 else config.stage_2, prior, dee.model, vertices
    )
    monkeypatch.setattr(TalkerTraining, "tau", lambda self: 2.0)
    assert step(module, clips()) == []


def test_a_step_of_emotalk():
    torch.manual_seed(0)
    config = paper("emotalk")
    module = EmoTalkTraining(config.model, config.training)
    assert step(module, quadruples(config.model), steps=2) == []  # the output layer starts at zero, as published


def quadruples(config):
    """A batch as SwappedPairs gives it."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([20, 13])
    batch = {f"motion_{clip}": torch.rand(2, 20, config.channels, generator=generator) for clip in ("11", "22", "12")}
    for clip in ("12", "21"):
        batch[f"features_{clip}"] = torch.randn(2, 20, config.speech_features, generator=generator)
        batch[f"lengths_{clip}"] = lengths
    for clip in (1, 2):
        batch |= {f"emotion_{clip}": torch.tensor([0, 3]) + clip, f"intensity_{clip}": torch.tensor([0.5, 1.0])}
    return batch | {"speaker": torch.tensor([0, 5])}
