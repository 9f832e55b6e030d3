import math

import pytest
import torch
from torch.nn import functional

from dee import GaussianEmbedding
from dee.gaussian import slerp


def embedding(count=3, size=16, log_variance=-3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = functional.normalize(torch.randn(count, size, generator=generator), dim=-1)
    return GaussianEmbedding(mean, torch.full((count, size), log_variance))


def test_draws_are_unit_vectors_seeded_and_spread_zero_is_the_mean():
    gaussian = embedding()
    draw = gaussian.sample(torch.Generator().manual_seed(4))
    torch.testing.assert_close(draw.norm(dim=-1), torch.ones(3))
    assert torch.equal(draw, gaussian.sample(torch.Generator().manual_seed(4)))
    assert not torch.equal(draw, gaussian.sample(torch.Generator().manual_seed(5)))
    torch.testing.assert_close(gaussian.sample(torch.Generator(), spread=0.0), gaussian.mean)


def test_draws_scatter_as_the_variance_says():
    size, spread = 64, 0.5
    log_variance = torch.linspace(-9.0, -5.0, size)[None]
    mean = torch.zeros(1, size)
    mean[0, 0] = 1.0
    many = GaussianEmbedding(mean.expand(20_000, -1), log_variance.expand(20_000, -1))
    draws = many.sample(torch.Generator().manual_seed(0), spread=spread)
    expected = spread * (log_variance[0] / 2).exp()
    # across the mean; along it the normalisation takes the variance away
    torch.testing.assert_close(draws.std(dim=0)[1:], expected[1:], rtol=0.05, atol=0)


def test_total_variance():
    assert embedding(size=10, log_variance=math.log(0.02)).total_variance.tolist() == pytest.approx([0.2] * 3)


def test_interpolation_keeps_to_the_great_circle():
    a, b = embedding(seed=1), embedding(seed=2, log_variance=-5.0)
    for weight, expected in ((0.0, a.mean), (1.0, b.mean)):
        torch.testing.assert_close(a.interpolate(b, weight).mean, expected, rtol=0, atol=1e-6)
    third = a.interpolate(b, 1 / 3)
    angle = torch.acos((a.mean * b.mean).sum(-1))
    torch.testing.assert_close(torch.acos((a.mean * third.mean).sum(-1)), angle / 3, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(third.mean.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(third.log_variance, torch.full_like(third.log_variance, -3 - 2 / 3))


def test_slerp_of_near_points_has_no_nan_value_or_gradient():
    start = embedding(size=8).mean.requires_grad_()
    end = functional.normalize(start.detach() + 1e-6, dim=-1)
    moved = slerp(start, end, torch.tensor([0.0, 0.5, 2.0]))
    moved[:, 0].sum().backward()
    assert torch.isfinite(moved).all()
    torch.testing.assert_close(moved.detach(), start.detach(), rtol=0, atol=1e-5)
    assert torch.isfinite(slerp(start.detach(), start.detach(), torch.ones(3))).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="spread must be 0 or more, not -1"):
        embedding().sample(torch.Generator(), spread=-1.0)
    with pytest.raises(ValueError, match=r"\(2, 4\) and \(2, 3\)"):
        GaussianEmbedding(torch.zeros(2, 4), torch.zeros(2, 3))
