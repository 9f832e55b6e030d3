import pytest
import torch
from torch import nn

from dee.pooling import GeneralizedPooling, MeanPooling
from dee.positions import length_mask, sinusoidal_positions


def slow_pool(pool, values):
    """One clip, without padding, by the definition and the library's own GRU."""
    count = len(values)
    hidden, _ = pool.gru(sinusoidal_positions(count, pool.rank_size)[None])
    half = pool.gru.hidden_size
    scores = pool.linear((hidden[0, :, :half] + hidden[0, :, half:]) / 2)[:, 0] / pool.temperature
    return sum(scores.softmax(0)[rank] * values.sort(dim=0, descending=True).values[rank] for rank in range(count))


@pytest.mark.parametrize("pool", [GeneralizedPooling(), MeanPooling()], ids=["gpo", "mean"])
def test_padding_and_batch_mates_change_nothing(pool):
    torch.manual_seed(0)
    lengths = torch.tensor([1, 5, 9, 5])
    values = torch.randn(4, 9, 6)
    padded = torch.full((4, 14, 6), float("nan"))
    padded[:, :9] = values
    padded.masked_fill_(~length_mask(lengths, 14)[..., None], 1e6)
    together = pool(padded, lengths)
    for row, count in enumerate(lengths.tolist()):
        alone = pool(values[row : row + 1, :count], torch.tensor([count]))
        torch.testing.assert_close(together[row], alone[0], rtol=1e-5, atol=1e-6)


def test_against_a_slow_oracle():
    torch.manual_seed(1)
    pool = GeneralizedPooling()
    values = torch.randn(3, 8, 5)
    lengths = torch.tensor([8, 3, 1])
    expected = torch.stack([slow_pool(pool, values[row, :count]) for row, count in enumerate(lengths.tolist())])
    torch.testing.assert_close(pool(values, lengths), expected, rtol=1e-5, atol=1e-6)


def test_weights_are_a_distribution_over_ranks():
    weights = GeneralizedPooling().rank_weights([3, 7, 1])
    assert weights.shape == (3, 7)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert weights[0, 3:].eq(0).all()
    assert weights[2, 0] == 1


def test_becomes_the_mean_with_flat_scores_and_ignores_the_order_of_frames():
    pool = GeneralizedPooling()
    values = torch.randn(2, 6, 4)
    lengths = torch.tensor([6, 6])
    torch.testing.assert_close(pool(values.flip(1), lengths), pool(values, lengths))
    nn.init.zeros_(pool.linear.weight)
    torch.testing.assert_close(pool(values, lengths), values.mean(dim=1))
    torch.testing.assert_close(MeanPooling()(values, lengths), values.mean(dim=1))


def test_gradients_reach_values_and_weights_but_not_padding():
    pool = GeneralizedPooling()
    values = torch.randn(2, 5, 3, requires_grad=True)
    pool(values, torch.tensor([5, 2])).square().sum().backward()
    assert values.grad[1, 2:].eq(0).all()
    assert values.grad[1, :2].ne(0).all()
    assert all(parameter.grad.abs().sum() > 0 for parameter in pool.parameters())
