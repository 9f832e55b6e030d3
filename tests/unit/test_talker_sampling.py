import torch

from deeptalk.talker import MostLikely, StraightThrough, take_generator
from deeptalk.talker.sampling import Drawn, choose_codes, gumbel_noise


def test_a_take_has_its_own_noise():
    def noise(seed: int, take: int) -> torch.Tensor:
        return gumbel_noise(5, 7, take_generator(seed, take))

    assert torch.equal(noise(0, 3), noise(0, 3))
    assert not torch.equal(noise(0, 3), noise(0, 2))
    assert not torch.equal(noise(0, 1), noise(1, 0))
    take_generator(-5, 0)


def test_temperature_zero_is_the_most_likely_code():
    logits = torch.randn(3, 50, 9, generator=torch.Generator().manual_seed(0))
    noise = gumbel_noise(50, 9, take_generator(0, 0)).expand(3, -1, -1)
    assert torch.equal(choose_codes(logits, noise, 0.0), logits.argmax(-1))
    chosen = Drawn((noise, noise), (0.0, 5.0))
    assert torch.equal(chosen(logits, 0), MostLikely()(logits, 0))
    assert not torch.equal(chosen(logits, 1), MostLikely()(logits, 1))


def test_draws_follow_the_softmax_at_the_temperature():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    draws = 40_000
    noise = gumbel_noise(draws, 4, take_generator(1, 0))[None]
    for temperature in (0.5, 1.0, 2.0):
        codes = choose_codes(logits.expand(1, draws, 4), noise, temperature)
        share = torch.bincount(codes[0], minlength=4) / draws
        # four standard deviations of a share of 40,000 draws
        torch.testing.assert_close(share, (logits / temperature).softmax(-1), atol=0.01, rtol=0)


def test_straight_through_is_hard_forward_and_soft_backward():
    logits = torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(2), requires_grad=True)
    choices = {}
    for tau in (2.0, 0.1):
        torch.manual_seed(0)
        choices[tau] = StraightThrough(tau)(logits, 0)
        assert torch.equal(choices[tau].sum(-1), torch.ones(2, 30))
        assert set(choices[tau].detach().unique().tolist()) <= {0.0, 1.0}
    # tau shapes the gradient, not the draw
    assert torch.equal(choices[2.0], choices[0.1])
    values = torch.arange(6.0)
    gradients = [torch.autograd.grad((choice @ values).sum(), logits)[0] for choice in choices.values()]
    assert all((gradient.abs().sum() > 0) for gradient in gradients)
    assert not torch.allclose(*gradients)
