"""Blends and tracks on the sphere."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from dee import GaussianEmbedding
from dee.steering import blend, track, window_starts


def gaussians(count, size=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = functional.normalize(torch.randn(count, size, generator=generator), dim=-1)
    return GaussianEmbedding(mean, torch.randn(count, size, generator=generator) - 4)


def angle(a, b):
    return torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)) * 2


def rows(embedding, order):
    return GaussianEmbedding(embedding.mean[order], embedding.log_variance[order])


def test_one_part_is_itself_to_the_bit():
    part = gaussians(1)
    mixed = blend(part, torch.tensor([0.3]))
    assert torch.equal(mixed.mean, part.mean)
    assert torch.equal(mixed.log_variance, part.log_variance)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_two_parts_are_the_point_on_their_arc(share):
    parts = gaussians(2)
    mixed = blend(parts, 5 * torch.tensor([1 - share, share]))
    expected = rows(parts, [0]).interpolate(rows(parts, [1]), share)
    torch.testing.assert_close(mixed.mean, expected.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(mixed.log_variance, expected.log_variance)


def test_the_order_does_not_matter_and_the_result_is_a_unit_vector():
    parts, weights = gaussians(4), torch.tensor([0.5, 0.2, 0.7, 0.1])
    first = blend(parts, weights)
    torch.testing.assert_close(first.mean.norm(), torch.tensor(1.0))
    for order in map(list, itertools.permutations(range(4))):
        again = blend(rows(parts, order), weights[order])
        torch.testing.assert_close(again.mean, first.mean, rtol=0, atol=1e-6)
        torch.testing.assert_close(again.log_variance, first.log_variance)


def test_the_blend_has_the_least_weighted_squared_angle():
    parts, weights = gaussians(3, size=6), torch.tensor([0.2, 0.5, 0.3])

    def cost(point):
        return (weights * angle(point, parts.mean).square()).sum()

    best = blend(parts, weights).mean
    generator = torch.Generator().manual_seed(1)
    for size in (0.3, 0.03, 0.003):
        for _ in range(50):
            near = functional.normalize(best + size * torch.randn(1, 6, generator=generator), dim=-1)
            assert cost(near) > cost(best)


def test_a_growing_weight_moves_towards_its_part():
    parts = gaussians(3)
    far = [angle(blend(parts, torch.tensor([1.0, 1.0, w])).mean, parts.mean[2]).item() for w in (0.1, 1.0, 10.0, 1e4)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-3


def test_bad_weights_and_opposite_means_are_refused():
    parts = gaussians(2)
    for weights in ([1.0, 0.0], [1.0, -0.5], [1.0, math.nan], [1.0]):
        with pytest.raises(ValueError, match="weights must be 2 numbers above 0"):
            blend(parts, torch.tensor(weights))
    opposite = GaussianEmbedding(torch.cat([parts.mean[:1], -parts.mean[:1]]), parts.log_variance)
    with pytest.raises(ValueError, match="opposite each other"):
        blend(opposite, torch.ones(2))


def test_a_track_meets_its_keys_holds_its_ends_and_moves_evenly_between():
    keys, times = gaussians(3), torch.tensor([1.0, 2.0, 4.0])
    path = track(keys, times, torch.linspace(0, 5, 51))
    torch.testing.assert_close(path.mean.norm(dim=-1), torch.ones(51))
    for frame, key in ((0, 0), (5, 0), (10, 0), (20, 1), (40, 2), (50, 2)):
        torch.testing.assert_close(path.mean[frame], keys.mean[key], rtol=0, atol=1e-6)
        torch.testing.assert_close(path.log_variance[frame], keys.log_variance[key], rtol=0, atol=1e-5)
    steps = angle(path.mean[1:], path.mean[:-1])
    torch.testing.assert_close(steps[10:20], (angle(keys.mean[0], keys.mean[1]) / 10).expand(10), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(steps[20:40], (angle(keys.mean[1], keys.mean[2]) / 20).expand(20), rtol=1e-3, atol=1e-5)
    assert steps[:10].max() == 0
    assert steps[40:].max() == 0


def test_what_does_not_move_is_the_key_to_the_bit():
    key = gaussians(1)
    same = rows(key, [0, 0, 0])
    path = track(same, torch.tensor([0.0, 1.0, 2.0]), torch.linspace(0, 3, 31))
    assert torch.equal(path.mean, key.mean)
    assert torch.equal(path.log_variance, key.log_variance)
    keys = rows(gaussians(2), [0, 0, 1])
    path = track(keys, torch.tensor([0.0, 1.0, 2.0]), torch.linspace(0, 3, 31))
    assert torch.equal(path.mean[:11], keys.mean[:1].expand(11, -1))
    assert torch.equal(path.log_variance[:10], keys.log_variance[:1].expand(10, -1))
    assert torch.equal(path.mean[20:], keys.mean[2:].expand(11, -1))


def test_times_must_rise():
    for times in ([0.0, 0.0], [1.0, 0.5], [0.0]):
        with pytest.raises(ValueError, match="times must be 2 rising numbers"):
            track(gaussians(2), torch.tensor(times), torch.zeros(3))


def test_one_noise_for_a_track_is_the_noise_of_a_clip():
    keys = gaussians(2)
    path = track(keys, torch.tensor([0.0, 1.0]), torch.linspace(0, 1, 11))
    drawn = path.sample(torch.Generator().manual_seed(3), spread=0.7, shared_noise=True)
    assert drawn.shape == (11, 16)
    for row, key in ((0, 0), (-1, 1)):
        alone = rows(keys, [key]).sample(torch.Generator().manual_seed(3), spread=0.7)
        torch.testing.assert_close(drawn[row : row + 1 or None], alone, rtol=0, atol=1e-6)
    steps = angle(drawn[1:], drawn[:-1])
    assert steps.max() < 2 * steps.min()
    still = track(rows(keys, [0, 0]), torch.tensor([0.0, 1.0]), torch.linspace(0, 1, 11))
    one = rows(keys, [0]).sample(torch.Generator().manual_seed(3), spread=0.7)
    assert torch.equal(still.sample(torch.Generator().manual_seed(3), spread=0.7, shared_noise=True), one)


def test_tracks_are_differentiable():
    mean = gaussians(2).mean.requires_grad_()
    log_variance = gaussians(2).log_variance.requires_grad_()
    path = track(GaussianEmbedding(mean, log_variance), torch.tensor([0.0, 1.0]), torch.linspace(0, 1, 5))
    path.sample(torch.Generator().manual_seed(0), shared_noise=True)[:, 0].sum().backward()
    for value in (mean, log_variance):
        assert torch.isfinite(value.grad).all()
        assert (value.grad.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(("frames", "window"), [(1, 4), (4, 4), (5, 4), (100, 10), (101, 10), (99, 25), (7, 1)])
def test_windows_cover_everything_and_overlap_by_half(frames, window):
    starts = window_starts(frames, window)
    size = min(frames, window)
    covered = torch.zeros(frames)
    for start in starts.tolist():
        covered[start : start + size] += 1
    assert starts[0] == 0
    assert starts[-1] + size == frames
    assert covered.min() >= 1
    assert (starts.diff() <= max(1, window // 2)).all()
    assert (starts.diff() > 0).all()
