"""Mixed motions: what goes in is what the targets say, and padding never does."""

import pytest
import pytorch_lightning as pl
import torch
from test_dee_training import CONFIG, clips, loader, trainer

from dee import DEETraining, DEETrainingConfig, GaussianEmbedding
from dee.losses import coverage_loss, identity_targets, pseudo_targets, same_label_targets
from dee.mixing import Mix, draw_mix
from deeptalk.training import SeededSteps

LENGTHS = torch.tensor([20, 7, 13, 20, 1, 9])


def drawn(seed=0, probability=1.0, lengths=LENGTHS):
    return draw_mix(lengths, int(lengths.max()), probability, torch.Generator().manual_seed(seed))


def numbered(lengths=LENGTHS):
    """Values that say which clip and frame they are of; NaN in the padding."""
    frames = torch.arange(int(lengths.max()))
    values = 100.0 * torch.arange(len(lengths))[:, None] + frames
    return values.masked_fill(frames >= lengths[:, None], float("nan"))[..., None]


def test_no_share_and_no_partner_leave_everything_as_it_is():
    values, targets = numbered(), identity_targets(6)
    for mix in (drawn(probability=0.0), drawn(probability=0.0, seed=1)):
        assert torch.equal(mix.sequences(values).nan_to_num(-1), values.nan_to_num(-1))
        assert torch.equal(mix.targets(targets), targets)
    alone = draw_mix(torch.tensor([4]), 4, 1.0, torch.Generator().manual_seed(0))
    assert alone.share.tolist() == [0.0]
    assert torch.equal(alone.sequences(values[:1, :4]), values[:1, :4])


def test_weight_one_everywhere_is_the_partner():
    lengths = torch.full((4,), 6)
    partner = torch.tensor([1, 2, 3, 0])
    whole = Mix(partner, torch.arange(6).expand(4, -1), torch.ones(4, 6), torch.ones(4))
    values = numbered(lengths)
    assert torch.equal(whole.sequences(values), values[partner])
    assert torch.equal(whole.targets(identity_targets(4)), identity_targets(4)[partner])


@pytest.mark.parametrize("seed", range(20))
def test_share_is_how_much_of_the_partner_is_in_the_clip(seed):
    mix, values = drawn(seed), numbered()
    assert sorted(mix.partner.tolist()) == list(range(6))
    assert not (mix.partner == torch.arange(6)).any()
    mixed = mix.sequences(values)[..., 0]
    for row, length in enumerate(LENGTHS):
        own, other = values[row, :length, 0], values[mix.partner[row], :, 0]
        weight = mix.weight[row, :length]
        assert weight.mean().item() == pytest.approx(mix.share[row].item())
        assert 0 <= mix.share[row] <= 1
        stretch = weight.nonzero()[:, 0]
        assert (stretch.diff() == 1).all()
        place = mix.place[row, :length][stretch]
        assert (place.diff() == 1).all(), "a stretch of the other clip keeps its order and speed"
        assert (place < LENGTHS[mix.partner[row]]).all(), "and holds none of its padding"
        expected = own.clone()
        expected[stretch] = (1 - weight[stretch]) * own[stretch] + weight[stretch] * other[place]
        torch.testing.assert_close(mixed[row, :length], expected)
        assert torch.isfinite(mixed[row, :length]).all()


def test_both_kinds_occur_and_portions_are_beta_of_two_and_two():
    lengths = torch.full((4000,), 50)
    mix = draw_mix(lengths, 50, 1.0, torch.Generator().manual_seed(0))
    is_cut = ((mix.weight == 0) | (mix.weight == 1)).all(dim=1)
    assert 0.45 < is_cut.float().mean() < 0.55
    for share in (mix.share[is_cut], mix.share[~is_cut]):
        assert share.mean().item() == pytest.approx(0.5, abs=0.02)
        assert share.var().item() == pytest.approx(1 / 20, rel=0.1)  # of Beta(2, 2)
    some = draw_mix(lengths, 50, 0.25, torch.Generator().manual_seed(0))
    assert (some.share > 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_targets_hold_both_and_rows_of_one_match_sum_to_one():
    mix = drawn(seed=3)
    targets = mix.targets(identity_targets(6))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(targets.diagonal(), 1 - mix.share)
    torch.testing.assert_close(targets[torch.arange(6), mix.partner], mix.share)
    # two clips of one emotion, mixed, are still wholly of that emotion
    assert torch.equal(mix.targets(same_label_targets(torch.zeros(6, dtype=torch.long))), torch.ones(6, 6))


def test_padding_content_and_wider_padding_change_nothing():
    mix, values = drawn(seed=5), numbered().nan_to_num(0.0)
    wider = draw_mix(LENGTHS, 30, 1.0, torch.Generator().manual_seed(5))
    padded = torch.nn.functional.pad(values, (0, 0, 0, 10), value=float("inf"))
    for row, length in enumerate(LENGTHS):
        assert torch.equal(wider.sequences(padded)[row, :length], mix.sequences(values)[row, :length])
    assert torch.equal(wider.share, mix.share)


def test_pseudo_positives_match_as_much_as_the_true_one():
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 2.5]])
    targets = torch.tensor([[0.7, 0.0, 0.3], [0.0, 0.8, 0.2]])
    expected = torch.tensor([[0.7, 0.7, 0.3], [0.8, 0.8, 0.8]])
    assert torch.equal(pseudo_targets(logits, targets), expected)


def test_mixed_clips_take_no_part_in_the_coverage():
    generator = torch.Generator().manual_seed(0)
    speech, motion = (
        GaussianEmbedding(torch.randn(4, 5, generator=generator), torch.randn(4, 5, generator=generator))
        for _ in range(2)
    )
    counted = torch.tensor([True, False, True, False])
    kept = [GaussianEmbedding(one.mean[counted], one.log_variance[counted]) for one in (speech, motion)]
    torch.testing.assert_close(coverage_loss(speech, motion, counted), coverage_loss(*kept))
    torch.testing.assert_close(coverage_loss(speech, motion, counted | True), coverage_loss(speech, motion))
    assert coverage_loss(speech, motion, counted & False) == 0


def test_losses_with_nothing_mixed_are_those_without():
    torch.manual_seed(0)
    training = DEETraining(CONFIG, DEETrainingConfig(label_weight=0.3, pseudo_positive_weight=0.1))
    content = clips()
    sides = training.model(content)
    nothing = draw_mix(content["lengths"], 12, 0.0, torch.Generator())
    plain = training.losses(sides["speech"], sides["motion"], content)
    for name, value in training.losses(sides["speech"], sides["motion"], content, nothing).items():
        torch.testing.assert_close(value, plain[name])


def test_gradients_of_a_mixed_batch_reach_every_parameter():
    torch.manual_seed(0)
    settings = DEETrainingConfig(mixed_share=1.0, label_weight=0.3, pseudo_positive_weight=0.1, coverage_weight=0.1)
    training, content = DEETraining(CONFIG, settings), clips()
    content["emotion"][3] = -1
    mix = draw_mix(content["lengths"], 12, 0.5, torch.Generator().manual_seed(1))
    content["motion"].requires_grad_()
    sides = training.model({**content, "motion": mix.sequences(content["motion"])})
    training.losses(sides["speech"], sides["motion"], content, mix)["loss"].backward()
    silent = [name for name, parameter in training.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert silent == []
    padding = torch.arange(12) >= content["lengths"][:, None]
    assert content["motion"].grad[padding].abs().sum() == 0
    assert (content["motion"].grad.abs().sum(dim=(1, 2)) > 0).all()


def test_a_resumed_run_mixes_as_the_uninterrupted_one(tmp_path):
    def run(epochs, checkpoint=None):
        pl.seed_everything(3, verbose=False)
        training = DEETraining(CONFIG, DEETrainingConfig(mixed_share=0.5))
        runner = trainer(tmp_path, max_epochs=epochs, limit_val_batches=0, callbacks=[SeededSteps(7)])
        # a schedule that does not depend on how long this leg is
        training.configure_optimizers = lambda: torch.optim.Adam(training.parameters(), lr=1e-3)
        runner.fit(training, loader(clips()), ckpt_path=checkpoint)
        return training, runner

    whole, _ = run(2)
    _, half = run(1)
    half.save_checkpoint(tmp_path / "half.ckpt")
    torch.rand(100)  # whatever was drawn in between
    resumed, _ = run(2, tmp_path / "half.ckpt")
    halfway = DEETraining.load_from_checkpoint(tmp_path / "half.ckpt")
    assert not torch.equal(halfway.model.motion_encoder.input.weight, whole.model.motion_encoder.input.weight)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_the_share_is_checked():
    with pytest.raises(ValueError, match=r"mixed_share is 1\.5; it must lie in 0\.\.1"):
        DEETrainingConfig(mixed_share=1.5)
    with pytest.raises(ValueError, match=r"probability of mixing is -0\.1"):
        drawn(probability=-0.1)


def test_a_mixed_clip_is_embedded_in_its_batch_as_alone():
    torch.manual_seed(0)
    model, content = DEETraining(CONFIG, DEETrainingConfig()).model.eval(), clips()
    mixed = draw_mix(content["lengths"], 12, 1.0, torch.Generator().manual_seed(2)).sequences(content["motion"])
    with torch.no_grad():
        together = model.embed_motion(mixed, content["lengths"])
        for row, length in enumerate(content["lengths"]):
            alone = model.embed_motion(mixed[row : row + 1, :length], length[None])
            torch.testing.assert_close(together.mean[row], alone.mean[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(together.log_variance[row], alone.log_variance[0], rtol=0, atol=1e-4)
