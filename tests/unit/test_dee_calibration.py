import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dee import GaussianEmbedding
from dee.calibration import (
    central_coverage,
    channel_ranks,
    constant_variance,
    coverage,
    coverage_error,
    coverage_ranks,
    draws,
    energy_scores,
    scatter,
)

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]


def gaussians(clips=40, size=6, sigma=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = normalize(torch.randn(clips, size, generator=generator), dim=-1)
    spread = sigma * (0.5 + torch.rand(clips, size, generator=generator))
    return GaussianEmbedding(mean, 2 * spread.log())


def scaled(embedding, factor):
    return GaussianEmbedding(embedding.mean, embedding.log_variance + 2 * np.log(factor))


def of_seed(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("region", ["ball", "ellipsoid"])
def test_a_calibrated_gaussian_lies_on_the_diagonal(region):
    truth = gaussians()
    ranks = coverage_ranks(truth, draws(truth, 200, of_seed(1)), of_seed(2), region=region)
    shares = coverage(ranks, LEVELS)
    np.testing.assert_allclose(shares, LEVELS, atol=0.03)
    assert coverage_error(shares, LEVELS) < 0.03


@pytest.mark.parametrize("region", ["ball", "ellipsoid"])
def test_too_narrow_covers_too_little_and_too_wide_too_much(region):
    truth = gaussians()
    truths = draws(truth, 100, of_seed(1))
    for factor, sign in ((0.5, -1), (2.0, 1)):
        shares = coverage(coverage_ranks(scaled(truth, factor), truths, of_seed(2), region=region), LEVELS)
        assert all(sign * (share - level) > 0.05 for share, level in zip(shares[1:-1], LEVELS[1:-1]))


def test_channel_ranks_are_uniform_and_show_a_shift():
    truth = gaussians()
    truths = draws(truth, 200, of_seed(1))
    ranks = channel_ranks(truth, truths, of_seed(2))
    assert ranks.shape == truths.shape
    np.testing.assert_allclose(central_coverage(ranks, LEVELS), LEVELS, atol=0.02)
    np.testing.assert_allclose(ranks.mean(dim=(0, 1)), 0.5, atol=0.03)
    shifted = truths.clone()
    shifted[..., 2] += 0.3
    assert channel_ranks(truth, shifted, of_seed(2))[..., 2].mean() > 0.8


def test_channel_ranks_against_a_loop():
    truth = gaussians(clips=3, size=2)
    truths = draws(truth, 4, of_seed(1))
    own = draws(truth, 50, of_seed(2))
    ranks = channel_ranks(truth, truths, of_seed(2), count=50)
    for clip, place, channel in np.ndindex(3, 4, 2):
        below = (own[clip, :, channel] < truths[clip, place, channel]).float().mean()
        assert ranks[clip, place, channel] == below


def test_central_coverage_counts_both_tails():
    ranks = torch.tensor([0.05, 0.5, 0.95, 0.3])
    assert central_coverage(ranks, [0.2, 0.5, 0.92]) == pytest.approx([0.25, 0.5, 1.0])
    assert coverage(ranks, [0.1, 0.5, 1.0]) == pytest.approx([0.25, 0.75, 1.0])


def test_energy_score_against_a_loop():
    samples, truths = torch.randn(2, 5, 3), torch.randn(2, 4, 3)
    for clip in range(2):
        to_truths = np.mean([np.linalg.norm(x - y) for x in samples[clip].numpy() for y in truths[clip].numpy()])
        pairs = [
            np.linalg.norm(samples[clip, i].numpy() - samples[clip, j].numpy())
            for i in range(5)
            for j in range(5)
            if i != j
        ]
        assert energy_scores(samples, truths)[clip].item() == pytest.approx(to_truths - np.mean(pairs) / 2, abs=1e-5)


def test_nothing_scores_better_than_the_truth():
    truth = gaussians(clips=200)
    truths = draws(truth, 50, of_seed(1))

    def score(embedding):
        return energy_scores(draws(embedding, 50, of_seed(2)), truths).mean().item()

    own = score(truth)
    rivals = [scaled(truth, 0.4), scaled(truth, 2.5), gaussians(clips=200, seed=3)]
    assert all(own < score(rival) for rival in rivals)
    assert own < energy_scores(truth.mean[:, None], truths).mean().item()  # the point


def test_constant_variance_keeps_the_width_and_forgets_the_clip():
    truth = gaussians()
    constant = constant_variance(truth)
    assert torch.equal(constant.mean, truth.mean)
    assert constant.total_variance.std() < 1e-6
    torch.testing.assert_close(constant.total_variance.mean(), truth.total_variance.mean())


def test_scatter_is_the_total_variance_of_the_truths():
    points = torch.randn(3, 7, 4)
    expected = [np.cov(points[clip].numpy().T).trace() for clip in range(3)]
    np.testing.assert_allclose(scatter(points), expected, rtol=1e-5)


def test_same_seed_same_numbers():
    truth = gaussians(clips=4)
    truths = draws(truth, 5, of_seed(1))
    assert torch.equal(coverage_ranks(truth, truths, of_seed(2)), coverage_ranks(truth, truths, of_seed(2)))
    assert not torch.equal(coverage_ranks(truth, truths, of_seed(2)), coverage_ranks(truth, truths, of_seed(3)))
