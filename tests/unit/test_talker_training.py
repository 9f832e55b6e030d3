import dataclasses

import pytest
import pytorch_lightning as pl
import torch
from tiny_talker import tiny_batch, tiny_config, tiny_dee, tiny_prior
from torch import nn
from torch.utils.data import DataLoader

from deeptalk.face import compact_vertices, load_rig
from deeptalk.talker import MostLikely, StraightThrough, TalkerTraining, TalkerTrainingConfig
from deeptalk.talker.losses import masked_mean, velocity_loss, vertex_loss
from thvqvae import Codes


def training(source: str = "motion", **changes: object) -> TalkerTraining:
    torch.manual_seed(0)
    vertices = compact_vertices(load_rig("arkit"), {"face": 1.0})
    config = tiny_config(emotion_source=source)
    return TalkerTraining(config, TalkerTrainingConfig(**changes), tiny_prior(), tiny_dee(), vertices)


def terms_of(module: TalkerTraining, batch: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    source = module.emotion_source(batch)
    vector = source.sample(torch.default_generator)
    return module.terms(batch, module.predict(batch, vector, batch["speaker"], StraightThrough(1.0)), source)


@pytest.mark.parametrize("source", ["motion", "speech"])
@pytest.mark.parametrize("changes", [{"stage": 1}, {"stage": 2}, {"stage": 2, "consistency": "csd"}])
def test_gradient_reaches_the_whole_predictor_and_no_parent(source, changes):
    module, batch = training(source, **changes), tiny_batch([16, 12, 9])
    terms_of(module, batch)["loss"].backward()
    silent = [name for name, p in module.model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    for parent in (module.motion_prior, module.dee):
        assert all(p.grad is None and not p.requires_grad for p in parent.parameters())


def test_emotion_consistency_alone_teaches_through_both_frozen_models():
    module, batch = training(stage=2), tiny_batch([16, 16])
    terms_of(module, batch)["emotion"].backward()
    # a constant shift of all logits of a token cannot matter, everything else does
    assert module.model.top_output.weight.grad.abs().sum() > 0
    assert module.model.bottom_output.weight.grad.abs().sum() > 0
    assert module.model.emotion.weight.grad.abs().sum() > 0


def test_parents_are_outside_the_module_and_stay_in_evaluation():
    module = training()
    assert all(name.startswith("model.") for name in module.state_dict())
    assert {id(p) for p in module.parameters()} == {id(p) for p in module.model.parameters()}
    module.train()
    assert module.model.training
    assert not module.motion_prior.training
    assert not module.dee.training
    module.double()
    assert next(module.dee.parameters()).dtype == torch.float64
    assert module.vertices.factor.dtype == torch.float64


def test_only_stage_two_has_the_emotion_term():
    batch = tiny_batch([16, 16])
    assert "emotion" not in terms_of(training(stage=1), batch)
    two = terms_of(training(stage=2, emotion_weight=10.0), batch)
    expected = two["vertex"] + two["velocity"] + two["top_code"] + two["bottom_code"] + 10 * two["emotion"]
    torch.testing.assert_close(two["loss"], expected)


def test_the_wanted_emotion_is_the_one_the_predictor_was_told():
    batch = tiny_batch([16, 12])
    for source, embed, key in (("motion", "embed_motion", "motion"), ("speech", "embed_speech", "features")):
        module = training(source)
        expected = getattr(module.dee, embed)(batch[key], batch["lengths"])
        torch.testing.assert_close(module.emotion_source(batch).mean, expected.mean)


def test_csd_is_the_negative_log_probability_of_a_match():
    module, batch = training(stage=2, consistency="csd"), tiny_batch([16, 12, 8])
    source = module.emotion_source(batch)
    felt = module.dee.embed_motion(batch["motion"], batch["lengths"])
    distance = (felt.mean - source.mean).square().sum(-1) + felt.total_variance + source.total_variance
    logits = -module.dee.match.scale * distance + module.dee.match.shift
    expected = nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(3))
    actual = module.emotion_consistency(batch["motion"], batch["lengths"], source)
    torch.testing.assert_close(actual, expected)


def test_terms_ignore_padding():
    module, batch = training(stage=2), tiny_batch([16, 9, 5])
    source = module.emotion_source(batch)

    def terms(padding: float) -> dict[str, torch.Tensor]:
        changed = {**batch, "features": batch["features"].clone(), "motion": batch["motion"].clone()}
        for row, length in enumerate(batch["lengths"]):
            changed["features"][row, length:] = padding
            changed["motion"][row, length:] = padding
        module.eval()
        prediction = module.predict(changed, source.mean, batch["speaker"], MostLikely())
        return module.terms(changed, prediction, source)

    before, after = terms(0.0), terms(0.9)
    for name in before:
        torch.testing.assert_close(before[name], after[name], msg=name)


def test_vertex_loss_is_in_square_millimetres_of_the_rig():
    rig = load_rig("arkit")
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.rand(2, 5, 52, generator=generator) for _ in range(2))
    vertices = compact_vertices(rig, {"face": 1.0})
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    distance = (rig.vertices(one, "face") - rig.vertices(two, "face")).square().sum(-1).mean(-1) * 1e6
    expected = (distance[0].sum() + distance[1, :3].sum()) / 8
    torch.testing.assert_close(vertex_loss(vertices(one), vertices(two), mask), expected, rtol=1e-4, atol=0)
    steps = (rig.vertices(one - two, "face").diff(dim=1)).square().sum(-1).mean(-1) * 1e6
    expected = (steps[0].sum() + steps[1, :2].sum()) / 6
    torch.testing.assert_close(velocity_loss(vertices(one), vertices(two), mask), expected, rtol=1e-4, atol=0)


def test_velocity_of_single_frames_is_zero_and_finite():
    one = torch.rand(2, 1, 4, requires_grad=True)
    loss = velocity_loss(one, torch.zeros(2, 1, 4), torch.ones(2, 1, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(one.grad).all()
    assert masked_mean(torch.full((1, 2), torch.nan), torch.tensor([[False, False]])) == 0


def learnable_batch(module: TalkerTraining) -> dict[str, torch.Tensor]:
    """A batch whose motions the motion prior can make."""
    batch = tiny_batch([16, 12, 9])
    generator = torch.Generator().manual_seed(6)
    top, bottom = (torch.randint(0, size, (3, tokens), generator=generator) for size, tokens in ((12, 4), (14, 8)))
    return {**batch, "motion": module.motion_prior.decode(Codes(top, bottom)).clone()}


def fit(module: TalkerTraining, batches: list[dict], epochs: int) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=epochs,
        log_every_n_steps=1,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None), DataLoader(batches[:1], batch_size=None))
    return trainer


@pytest.mark.parametrize(
    ("weights", "learnt"),
    [
        ({"stage": 1, "code_weight": 0.0, "velocity_weight": 0.0, "vertex_weight": 10.0}, ["vertex"]),  # the paper's
        ({"stage": 2, "vertex_weight": 0.0, "velocity_weight": 0.0}, ["top_code", "bottom_code"]),
    ],
)
def test_lightning_learns_one_batch_and_leaves_the_parents_alone(weights, learnt):
    module = training(**weights, learning_rate=5e-3, identity_dropout=0.0, spread=0.0)
    parents = nn.ModuleDict({"motion_prior": module.motion_prior, "dee": module.dee})
    before = {name: value.clone() for name, value in parents.state_dict().items()}
    batch = learnable_batch(module)

    def terms() -> dict[str, torch.Tensor]:
        source = module.emotion_source(batch)
        return module.terms(batch, module.predict(batch, source.mean, batch["speaker"], MostLikely()), source)

    first = terms()
    trainer = fit(module, [batch] * 80, 1)
    last = terms()
    for name in learnt:
        assert float(last[name].detach()) < 0.6 * float(first[name].detach()), name
    assert all(torch.equal(before[name], value) for name, value in parents.state_dict().items())
    for name in ("loss", "vertex", "velocity", "vertex_error_mm", "top_accuracy", "bottom_accuracy", "emotion"):
        assert torch.isfinite(trainer.callback_metrics[f"val/{name}"]), name
    assert trainer.callback_metrics["train/tau"] == pytest.approx(2.0 - 1.9 * 79 / 80)


def test_the_same_seed_trains_the_same_weights():
    weights = []
    for seed in (1, 1, 2):
        module = training(stage=2)
        torch.manual_seed(seed)
        fit(module, [tiny_batch([16, 12, 9])] * 3, 1)
        weights.append(torch.cat([p.detach().flatten() for p in module.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_parents_of_other_sizes_are_refused():
    vertices = nn.Identity()
    with pytest.raises(ValueError, match="built for top_codes 12, the motion prior has 20; set top_codes=20"):
        TalkerTraining(tiny_config(), TalkerTrainingConfig(), tiny_prior(codes=20), tiny_dee(), vertices)
    with pytest.raises(ValueError, match="built for feature_size 80, the DEE has 33"):
        TalkerTraining(tiny_config(), TalkerTrainingConfig(), tiny_prior(), tiny_dee(features=33), vertices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": 3}, "stage is 3"),
        ({"end_tau": 3.0}, "end_tau is 3.0 and start_tau 2.0"),
        ({"identity_dropout": 1.0}, "identity_dropout is 1.0"),
        ({"spread": -1.0}, "spread is -1.0"),
        ({"vertex_weight": 0.0, "code_weight": 0.0}, "vertex_weight and code_weight are both 0"),
    ],
)
def test_configs_refuse_what_no_run_can_use(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TalkerTrainingConfig(), **changes)
