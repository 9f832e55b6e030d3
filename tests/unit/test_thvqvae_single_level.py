"""The single-level rivals: same bits and size as the hierarchy, any length, padding, learning, saving."""

import pytest
import torch

from thvqvae import THVQVAE, MotionVAE, MotionVAEConfig, ProductVQVAE, ProductVQVAEConfig, THVQVAEConfig
from thvqvae.training import THVQVAETraining, THVQVAETrainingConfig

SIZES = {"channels": 5, "hidden_size": 16, "heads": 4, "feedforward_size": 24, "decoder_feedforward_size": 32}
KINDS = {
    "product, stride 4": lambda **more: ProductVQVAE(ProductVQVAEConfig(**SIZES, codes=12, **more)),
    "product, stride 2": lambda **more: ProductVQVAE(ProductVQVAEConfig(**SIZES, codes=12, stride=2, **more)),
    "vae, stride 4": lambda **more: MotionVAE(MotionVAEConfig(**SIZES, latent_size=6, **more)),
    "vae, stride 2": lambda **more: MotionVAE(MotionVAEConfig(**SIZES, latent_size=6, stride=2, **more)),
}


def build(kind, **more):
    torch.manual_seed(0)
    made = KINDS[kind](**more)
    made.set_statistics(torch.randn(5), torch.rand(5) + 0.5)
    made.train()
    for _ in range(3):
        made(2 * torch.randn(4, 32, 5))
    return made.eval()


def test_same_bits_as_the_hierarchy_and_not_fewer_parameters():
    hierarchy = sum(p.numel() for p in THVQVAE(THVQVAEConfig()).parameters())
    assert ProductVQVAEConfig().bits_per_frame == 8 / 4 + 8 / 2  # top and bottom codes of TH-VQVAE
    for rival in (ProductVQVAE(ProductVQVAEConfig()), MotionVAE(MotionVAEConfig())):
        assert 1.0 < sum(p.numel() for p in rival.parameters()) / hierarchy < 1.2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 2, 5, 32])
@torch.no_grad()
def test_any_length_and_padding(kind, frames):
    model = build(kind)
    motion = torch.randn(1, frames, 5)
    alone = model(motion).motion
    assert alone.shape == motion.shape
    batch = torch.full((2, 37, 5), 50.0)
    batch[0, :frames] = motion[0]
    together = model(batch, torch.tensor([frames, 37])).motion[0, :frames]
    torch.testing.assert_close(together, alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_parameter(kind):
    model = build(kind, dropout=0.0).train()
    result = model(torch.randn(3, 16, 5))
    loss = result.motion.square().sum() + sum(level.commitment_loss for level in result.levels.values())
    (loss + (0.0 if result.kl is None else result.kl)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_saving(kind, tmp_path):
    model = build(kind)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    motion = torch.randn(2, 9, 5)
    assert torch.equal(again(motion).motion, model(motion).motion)


@pytest.mark.parametrize(("kind", "stride"), [("product, stride 4", 4), ("product, stride 2", 2)])
@torch.no_grad()
def test_codes_decode_to_the_reconstruction(kind, stride):
    model = build(kind)
    motion = torch.randn(2, 16, 5)
    codes = model.train().encode(motion)
    assert model.training
    assert codes.shape == (2, 16 // stride, model.config.codebooks)
    torch.testing.assert_close(model.decode(codes), model.eval()(motion).motion)
    short = model.encode(motion, torch.tensor([16, 8]))
    assert (short[1, 8 // stride :] == -1).all()
    assert model.decode(codes, 15).shape == (2, 15, 5)
    with pytest.raises(ValueError, match=r"expected 0 to 11"):
        model.decode(short)
    with pytest.raises(ValueError, match=r"for 17 frames; expected"):
        model.decode(codes, 17)
    with pytest.raises(ValueError, match=r"codebooks and one latent frame"):
        model.decode(codes[..., :1])


@torch.no_grad()
def test_a_draw_of_the_vae_is_random_and_its_mean_is_not():
    model = build("vae, stride 4")
    motion = torch.randn(2, 16, 5)
    assert torch.equal(model(motion).motion, model(motion).motion)
    assert not torch.equal(model(motion, draw=True).motion, model(motion, draw=True).motion)


@torch.no_grad()
def test_kl_is_that_of_torch_per_motion_frame():
    model = build("vae, stride 2")
    motion, lengths = torch.randn(2, 16, 5), torch.tensor([16, 8])
    masks = model.check(motion, lengths)
    mean, log_variance = model.to_latent(model.features(motion, masks)).chunk(2, dim=-1)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(-1)
    expected = (kl[0].sum() + kl[1, :4].sum()) / 12 / 2
    torch.testing.assert_close(model(motion, lengths).kl, expected)


class Coordinates(torch.nn.Module):
    def forward(self, motion):
        return 0.01 * motion


@pytest.mark.parametrize("kind", ["product, stride 4", "vae, stride 4"])
def test_training_lowers_the_loss(kind):
    torch.manual_seed(0)
    config = KINDS[kind](dropout=0.0).config
    module = THVQVAETraining(config, THVQVAETrainingConfig(warmup_steps=0, learning_rate=2e-3), Coordinates())
    time = torch.linspace(0, 6, 32)
    motion = torch.stack([torch.sin(time * k + k) for k in range(1, 6)], dim=-1).expand(8, -1, -1)
    batch = {"motion": motion + 0.05 * torch.randn(8, 32, 5), "lengths": torch.full((8,), 32)}
    optimizer = torch.optim.AdamW(module.model.parameters(), lr=2e-3)
    losses = []
    module.train()
    for _ in range(60):
        result, errors = module.reconstruct(batch)
        loss = module.loss(result, errors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
