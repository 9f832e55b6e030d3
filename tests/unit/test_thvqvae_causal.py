"""The causal option: no frame depends on motion after its own four frames, and none of those is lost."""

import dataclasses

import pytest
import torch
from test_thvqvae_model import SMALL

from thvqvae import THVQVAE

CAUSAL = dataclasses.replace(SMALL, causal=True)


def model(config):
    torch.manual_seed(0)
    made = THVQVAE(config)
    made.train()
    for _ in range(3):
        made(2 * torch.randn(4, 32, 5))
    return made.eval()


def reach(config, output_frame, frames=24):
    """Input frames that one output frame depends on, by gradient (straight-through quantisers pass it on)."""
    made = model(config)
    motion = torch.randn(1, frames, 5, requires_grad=True)
    made(motion).motion[0, output_frame].square().sum().backward()
    return (motion.grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist()


@pytest.mark.parametrize("output_frame", [0, 3, 4, 9, 15])
def test_a_frame_sees_the_past_and_its_own_four(output_frame):
    seen = reach(CAUSAL, output_frame)
    own = 4 * (output_frame // 4)
    assert max(seen) <= own + 3
    assert set(range(own, own + 2)) <= set(seen)
    assert min(seen) == 0  # attention reaches back to the start


def test_the_usual_model_sees_the_future():
    assert max(reach(SMALL, 9)) == 23


def test_codes_of_the_past_do_not_change_when_motion_goes_on():
    made = model(CAUSAL)
    motion = torch.randn(1, 40, 5)
    whole, start = made.encode(motion), made.encode(motion[:, :20])
    assert torch.equal(whole.top[:, :5], start.top)
    assert torch.equal(whole.bottom[:, :10], start.bottom)
    torch.testing.assert_close(made.decode(whole)[:, :20], made.decode(start))


def test_causal_models_have_the_same_parameters_and_are_saved(tmp_path):
    made = model(CAUSAL)
    assert {k: v.shape for k, v in made.state_dict().items()} == {
        k: v.shape for k, v in model(SMALL).state_dict().items()
    }
    made.save_pretrained(tmp_path)
    again = THVQVAE.from_pretrained(tmp_path)
    assert again.config.causal
    motion = torch.randn(2, 13, 5)
    assert torch.equal(again(motion).motion, made(motion).motion)


def test_causal_padding_changes_nothing():
    made = model(CAUSAL)
    motion = torch.randn(1, 10, 5)
    batch = torch.full((2, 21, 5), 9.0)
    batch[0, :10] = motion[0]
    together = made(batch, torch.tensor([10, 21])).motion[0, :10]
    torch.testing.assert_close(together, made(motion).motion[0], rtol=1e-4, atol=1e-5)
