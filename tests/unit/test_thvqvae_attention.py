"""Attention against torch's own layer, and what the biases and masks do."""

import math

import pytest
import torch
from torch import nn

from thvqvae.attention import (
    TORCH_LAYER_KEYS,
    TransformerLayer,
    TransformerStack,
    alibi_slopes,
    periodic_alibi_bias,
    symmetric_alibi_bias,
)


def random_layer(dropout: float = 0.0) -> TransformerLayer:
    torch.manual_seed(0)
    layer = TransformerLayer(32, 8, 48, dropout)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer


def torch_layer(layer: TransformerLayer) -> nn.TransformerEncoderLayer:
    """Torch's layer with the same weights, in train mode, where a float mask is really added."""
    theirs = nn.TransformerEncoderLayer(32, 8, 48, dropout=0.0, activation="gelu", batch_first=True)
    state = layer.state_dict()
    theirs.load_state_dict({name: state[ours] for name, ours in TORCH_LAYER_KEYS.items()})
    return theirs.train()


@pytest.mark.parametrize("training", [True, False])
def test_layer_equals_torch_with_bias_and_padding(training):
    layer = random_layer().train(training)
    bias = symmetric_alibi_bias(8, 13)
    mask = torch.arange(13) < torch.tensor([13, 9, 1])[:, None]
    inputs = torch.randn(3, 13, 32)
    blocked = torch.zeros(3, 13).masked_fill(~mask, -math.inf)
    expected = torch_layer(layer)(inputs, src_mask=bias.repeat(3, 1, 1), src_key_padding_mask=blocked)
    with torch.no_grad():
        ours = layer(inputs, bias, mask)
    torch.testing.assert_close(ours[mask], expected[mask], rtol=1e-5, atol=1e-5)


def test_layer_gradient_equals_torch():
    layer = random_layer()
    inputs = torch.randn(2, 7, 32)
    bias = periodic_alibi_bias(8, 7, period=3)
    theirs = torch_layer(layer)
    weight = torch.randn(2, 7, 32)
    (layer(inputs, bias) * weight).sum().backward()
    (theirs(inputs, src_mask=bias.repeat(2, 1, 1)) * weight).sum().backward()
    parameters = dict(layer.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(parameters[TORCH_LAYER_KEYS[name]].grad, parameter.grad, rtol=1e-4, atol=1e-4)


def test_evaluation_without_gradients_equals_training():
    """The fused path of torch's layer fails this: it takes a float bias for a blocking mask."""
    stack = TransformerStack(32, 8, 48, layers=2, dropout=0.0)
    inputs = torch.randn(2, 30, 32)
    trained = stack.train()(inputs)
    with torch.inference_mode():
        torch.testing.assert_close(stack.eval()(inputs), trained)


def test_bias_is_added_not_blocking():
    """Far frames still matter a little, near ones more."""
    torch.manual_seed(0)
    stack = TransformerStack(32, 8, 48, layers=1, dropout=0.0).eval()
    inputs = torch.randn(1, 40, 32, requires_grad=True)
    (stack(inputs)[0, 20] * torch.randn(32)).sum().backward()
    reach = inputs.grad[0].norm(dim=-1)
    assert (reach > 0).all()
    assert reach[18:23].mean() > 3 * reach[:5].mean()


def test_slopes():
    assert torch.equal(alibi_slopes(8), 2.0 ** -torch.arange(1.0, 9.0))
    assert torch.equal(alibi_slopes(1), torch.tensor([2.0**-8]))
    # 6 heads: those of 4, then every second of 8 (ALiBi's published rule)
    torch.testing.assert_close(alibi_slopes(6), torch.tensor([2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]))
    for heads in range(1, 20):
        slopes = alibi_slopes(heads)
        assert len(slopes) == heads == len(set(slopes.tolist()))


def test_bias_by_hand():
    symmetric = symmetric_alibi_bias(8, 5, dtype=torch.float64)
    assert symmetric.dtype == torch.float64
    assert symmetric[1, 0].tolist() == [0, -0.25, -0.5, -0.75, -1]
    assert torch.equal(symmetric, symmetric.transpose(1, 2))
    periodic = periodic_alibi_bias(8, 51, period=25)
    assert periodic[0, 0, [0, 24, 25, 49, 50]].tolist() == [0, 0, -0.5, -0.5, -1]


def test_dropout_acts_in_training_only():
    layer = random_layer(dropout=0.5)
    inputs, bias = torch.randn(1, 6, 32), symmetric_alibi_bias(8, 6)
    assert not torch.equal(layer(inputs, bias), layer(inputs, bias))
    layer.eval()
    assert torch.equal(layer(inputs, bias), layer(inputs, bias))


def test_bfloat16_inputs_get_a_bias_of_their_own_type():
    stack = TransformerStack(32, 4, 48, layers=1, dropout=0.0).eval()
    inputs = torch.randn(2, 9, 32)
    single = stack(inputs)
    half = stack.to(torch.bfloat16)(inputs.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), single, rtol=0.05, atol=0.05)


def test_errors_name_the_numbers():
    with pytest.raises(ValueError, match="size 30 is not a multiple of heads 8"):
        TransformerLayer(30, 8, 16)
    with pytest.raises(ValueError, match="heads is 0"):
        alibi_slopes(0)
    with pytest.raises(ValueError, match="period is 0 frames"):
        periodic_alibi_bias(2, 4, period=0)
