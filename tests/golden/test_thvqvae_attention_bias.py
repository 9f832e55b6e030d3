"""Distance biases equal those of the authors' code (fixture cut from the talker's goldens)."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from thvqvae.attention import periodic_alibi_bias, symmetric_alibi_bias

GOLDEN = load_file(Path(__file__).parent / "thvqvae_attention_bias.safetensors")


def test_periodic_bias_equals_the_authors():
    assert torch.equal(periodic_alibi_bias(8, 60, period=25), GOLDEN["mask.periodic_bias_60"])


def test_symmetric_bias_equals_the_authors():
    assert torch.equal(symmetric_alibi_bias(8, 20), GOLDEN["mask.alibi_bias_20"])
