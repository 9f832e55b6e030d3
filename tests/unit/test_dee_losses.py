import math

import pytest
import torch
from torch.nn import functional
from torch.nn.functional import normalize

from dee import GaussianEmbedding
from dee.losses import (
    MatchLogits,
    coverage_loss,
    identity_targets,
    match_loss,
    pseudo_targets,
    same_label_targets,
    sampled_distance,
    vib_loss,
)


def gaussian(count, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = functional.normalize(torch.randn(count, size, generator=generator), dim=-1)
    return GaussianEmbedding(mean, torch.randn(count, size, generator=generator) - 2)


def test_distance_is_the_monte_carlo_mean():
    rows, columns = gaussian(3, seed=1), gaussian(2, seed=2)
    generator = torch.Generator().manual_seed(3)

    def draws(g):
        noise = torch.randn(200_000, *g.mean.shape, generator=generator)
        return g.mean + (g.log_variance / 2).exp() * noise

    drawn = (draws(rows)[:, :, None] - draws(columns)[:, None]).square().sum(-1).mean(0)
    torch.testing.assert_close(sampled_distance(rows, columns), drawn, rtol=0.01, atol=0)


def test_published_start_gives_the_logits_of_the_paper():
    mean = torch.eye(2, 4)
    certain = GaussianEmbedding(mean, torch.full_like(mean, -40.0))
    torch.testing.assert_close(MatchLogits()(certain, certain), torch.tensor([[5.0, -5.0], [-5.0, 5.0]]))


def test_start_with_log_variance_zero_is_hopeless_and_with_minus_five_is_not():
    mean = functional.normalize(torch.randn(64, 128, generator=torch.Generator().manual_seed(0)), dim=-1)
    losses = []
    for start in (0.0, -5.0):
        clips = GaussianEmbedding(mean, torch.full_like(mean, start))
        losses.append(match_loss(MatchLogits()(clips, clips), identity_targets(64)).item())
    assert losses[0] > 35
    assert losses[1] < 1


def test_match_loss_against_a_loop():
    logits, targets = torch.randn(3, 3), identity_targets(3)
    probability = logits.sigmoid()
    terms = [
        -math.log(probability[i, j]) if targets[i, j] else -math.log(1 - probability[i, j])
        for i in range(3)
        for j in range(3)
    ]
    assert match_loss(logits, targets).item() == pytest.approx(2 * sum(terms) / 9, rel=1e-5)


def test_same_label_targets_leave_unknown_labels_alone():
    expected = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1.0]])
    torch.testing.assert_close(same_label_targets(torch.tensor([2, -1, 2, -1])), expected)


def test_pseudo_targets_are_what_fits_as_well_as_the_true_match():
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 2.0], [0.0, 0.0, 9.0]])
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(pseudo_targets(logits, identity_targets(3)), expected)


def test_vib_is_the_divergence_from_the_standard_normal():
    clips = gaussian(4)
    own = torch.distributions.Normal(clips.mean, (clips.log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(vib_loss(clips), expected)


def test_coverage_on_the_sphere_is_least_where_normalised_draws_scatter_as_the_motions_do():
    generator = torch.Generator().manual_seed(0)
    mean = normalize(torch.randn(1, 64, generator=generator), dim=-1).expand(4000, -1)
    width = 0.1  # total variance 0.64
    drawn = GaussianEmbedding(mean, torch.full_like(mean, 2 * math.log(width))).sample(generator)
    motion = GaussianEmbedding(drawn, torch.full_like(mean, -30.0))
    factors = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2)

    def best(on_sphere):
        speech = [GaussianEmbedding(mean, torch.full_like(mean, 2 * math.log(factor * width))) for factor in factors]
        losses = [coverage_loss(own, motion, on_sphere=on_sphere).item() for own in speech]
        return factors[losses.index(min(losses))]

    assert best(on_sphere=True) == 1.0
    assert best(on_sphere=False) < 0.95


def test_coverage_is_the_likelihood_and_is_least_at_the_true_scatter():
    generator = torch.Generator().manual_seed(0)
    speech, motion = gaussian(4), gaussian(4, seed=1)
    own = torch.distributions.Normal(speech.mean, (speech.log_variance / 2).exp())
    draws = motion.mean + (motion.log_variance / 2).exp() * torch.randn(100_000, 4, 6, generator=generator)
    torch.testing.assert_close(coverage_loss(speech, motion), -own.log_prob(draws).mean(), rtol=0.01, atol=0)

    mean = torch.zeros(5_000, 3)
    scattered = GaussianEmbedding(0.16 * torch.randn(5_000, 3, generator=generator), mean + 2 * math.log(0.12))
    widths = torch.tensor([0.1, 0.15, 0.2, 0.25, 0.3])  # 0.16^2 + 0.12^2 = 0.2^2
    losses = [coverage_loss(GaussianEmbedding(mean, mean + 2 * math.log(w)), scattered) for w in widths]
    assert widths[torch.stack(losses).argmin()] == 0.2


def test_losses_stay_in_float32_under_autocast():
    clips = gaussian(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = sampled_distance(clips, gaussian(4, seed=5))
    assert inside.dtype == torch.float32
    assert torch.equal(inside, sampled_distance(clips, gaussian(4, seed=5)))
