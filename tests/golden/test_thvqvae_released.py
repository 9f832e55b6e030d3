"""The released architecture: every tensor has its place, and the numbers are the authors'."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from thvqvae import THVQVAE, Codes, THVQVAEConfig
from thvqvae.quantizer import perplexity
from thvqvae.released import DEAD_KEYS, KEY_MAP, load_released

FOLDER = Path(__file__).parents[3] / "shared" / "goldens" / "thvqvae"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="needs shared/goldens/thvqvae beside the repository"),
]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "weights.safetensors")


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "io.safetensors")


@pytest.fixture(scope="module")
def model(weights) -> THVQVAE:
    return load_released(weights).requires_grad_(False)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def capture(model: THVQVAE, motion: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs of the submodules whose goldens are stored, under the goldens' names."""
    modules = {
        "enc_b": model.bottom_encoder,
        "enc_t": model.top_encoder,
        "dec_t": model.top_decoder,
        "upsample_t": model.upsample_top,
        "intermediate.encoder_b.squasher": model.bottom_encoder.activate.norm,
        "intermediate.encoder_b.encoder_linear_embedding": model.bottom_encoder.activate.projection,
        "intermediate.decoder_b.decoder_linear_embedding": model.bottom_decoder.activate.projection,
        "intermediate.decoder_b.decoder_transformer": model.bottom_decoder.transformer,
    }
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.__setitem__(name, output))
        for name, module in modules.items()
    ]
    hooks.append(
        model.bottom_quantizer.register_forward_pre_hook(lambda _m, i: seen.__setitem__("latent_bottom", i[0]))
    )
    model(motion)
    for hook in hooks:
        hook.remove()
    seen["upsample_t"] = seen["upsample_t"].transpose(1, 2)
    return seen


@pytest.mark.parametrize("case", ["a", "b"])
def test_every_intermediate_equals_the_authors(model, golden, case):
    seen = capture(model, golden[f"{case}.motion"])
    assert len(seen) == 9
    for name, ours in seen.items():
        close(ours, golden[f"{case}.{name}"])


@pytest.mark.parametrize("case", ["a", "b"])
def test_codes_reconstruction_and_losses_equal_the_authors(model, golden, case):
    result = model(golden[f"{case}.motion"])
    assert torch.equal(result.top.indices, golden[f"{case}.indices_top"])
    assert torch.equal(result.bottom.indices, golden[f"{case}.indices_bottom"])
    close(result.top.vectors, golden[f"{case}.quant_top"])
    close(result.bottom.vectors, golden[f"{case}.quant_bottom"])
    close(result.motion, golden[f"{case}.decoded"])
    close(0.25 * result.top.commitment_loss[None], golden[f"{case}.commit_loss_top"])
    close(0.25 * result.bottom.commitment_loss[None], golden[f"{case}.commit_loss_bottom"])
    close(perplexity(result.top.counts)[None], golden[f"{case}.perplexity_top"])
    close(perplexity(result.bottom.counts)[None], golden[f"{case}.perplexity_bottom"])
    close(model.reconstruct(golden[f"{case}.motion"]), golden[f"{case}.decoded"])


@pytest.mark.parametrize("case", ["c", "d"])
def test_decoding_random_codes_equals_the_authors(model, golden, case):
    codes = Codes(golden[f"{case}.indices_top"], golden[f"{case}.indices_bottom"])
    close(model.decode(codes), golden[f"{case}.decoded"])


def test_every_released_tensor_is_used_or_known_dead(weights):
    assert set(weights) == set(KEY_MAP) | DEAD_KEYS
    ours = set(THVQVAE(THVQVAEConfig(channels=53)).state_dict())
    not_theirs = {"motion_mean", "motion_std", "top_quantizer.updates", "bottom_quantizer.updates"}
    assert set(KEY_MAP.values()) == ours - not_theirs
    assert len(set(KEY_MAP.values())) == len(KEY_MAP)


def test_unknown_and_missing_tensors_are_refused_by_name(weights):
    with pytest.raises(ValueError, match=r"has unknown decoder_c\.weight"):
        load_released({**weights, "decoder_c.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"misses upsample_t\.bias"):
        load_released({name: value for name, value in weights.items() if name != "upsample_t.bias"})
