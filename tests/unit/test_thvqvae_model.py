"""The hierarchy: any length, batch = single, padding, gradients, parameter count, saving, errors."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from thvqvae import THVQVAE, Codes, THVQVAEConfig

SMALL = THVQVAEConfig(
    channels=5,
    hidden_size=16,
    heads=4,
    feedforward_size=24,
    decoder_feedforward_size=32,
    top_codes=12,
    bottom_codes=20,
    dropout=0.0,
)


PROJECTED = dataclasses.replace(SMALL, project_bottom=True)


def small_model(config: THVQVAEConfig = SMALL) -> THVQVAE:
    """A model in evaluation mode whose codebooks, batch statistics and standardisation hold varied values."""
    torch.manual_seed(0)
    model = THVQVAE(config)
    model.set_statistics(torch.randn(5), torch.rand(5) + 0.5)
    model.train()
    for _ in range(3):
        model(2 * torch.randn(4, 32, 5))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model() -> THVQVAE:
    return small_model()


def clips(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [2 * torch.randn(1, length, 5, generator=generator) for length in lengths]


def padded(motions: list[torch.Tensor], fill: float) -> torch.Tensor:
    batch = torch.full((len(motions), max(m.shape[1] for m in motions), 5), fill)
    for row, motion in zip(batch, motions):
        row[: motion.shape[1]] = motion[0]
    return batch


def test_published_parameter_count():
    """2,932,789 with 53 channels, less the 147,840 of a linear layer whose result the authors throw away."""
    model = THVQVAE(THVQVAEConfig(channels=53))
    parameters = sum(p.numel() for p in model.parameters())
    codebooks = model.top_quantizer.codebook.numel() + model.bottom_quantizer.codebook.numel()
    assert codebooks == 98_304
    assert parameters + codebooks == 2_932_789 - 147_840


@pytest.mark.parametrize("length", range(1, 71))
def test_any_length(model, length):
    motion = torch.randn(2, length, 5, generator=torch.Generator().manual_seed(length))
    codes = model.encode(motion)
    tops = -(-length // 4)
    assert codes.top.shape == (2, tops)
    assert codes.bottom.shape == (2, 2 * tops)
    assert model.decode(codes, length).shape == motion.shape
    torch.testing.assert_close(model(motion).motion, model.decode(codes, length))
    # filling up to a multiple of 4 means repeating the last frame
    filled = torch.cat([motion, motion[:, -1:].expand(-1, 4 * tops - length, -1)], dim=1)
    assert torch.equal(model.encode(filled).bottom, codes.bottom)


def test_batch_equals_single_whatever_the_padding(model):
    lengths = [32, 1, 2, 7, 13, 20, 31, 30]
    motions = clips(lengths)
    given = torch.tensor(lengths)
    for fill in (0.0, 50.0):
        batch = padded(motions, fill)
        codes = model.encode(batch, given)
        result = model.reconstruct(batch, given)
        for row, (motion, length) in enumerate(zip(motions, lengths)):
            alone = model.encode(motion)
            tops = alone.top.shape[1]
            assert torch.equal(codes.top[row, :tops], alone.top[0])
            assert torch.equal(codes.bottom[row, : 2 * tops], alone.bottom[0])
            assert (codes.top[row, tops:] == -1).all()
            assert (codes.bottom[row, 2 * tops :] == -1).all()
            torch.testing.assert_close(result[row, :length], model.reconstruct(motion)[0], rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing_in_training_either():
    """Batch statistics, codebooks and gradients come from real frames only."""
    lengths = torch.tensor([16, 5, 9])
    results = []
    for fill, extra in ((0.0, 0), (30.0, 0), (-7.0, 8)):
        model = small_model().train().requires_grad_(True)
        batch = torch.cat([padded(clips([16, 5, 9]), fill), torch.full((3, extra, 5), fill)], dim=1)
        result = model(batch, lengths)
        real = torch.arange(batch.shape[1]) < lengths[:, None]
        result.motion[real].square().sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        results.append((result.motion[real], gradient, model.state_dict()))
    for motion, gradient, state in results[1:]:
        torch.testing.assert_close(motion, results[0][0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-3, atol=1e-2)
        for name, value in state.items():
            torch.testing.assert_close(value, results[0][2][name], rtol=1e-4, atol=1e-4)


def test_full_lengths_equal_no_lengths(model):
    motion = torch.randn(3, 14, 5)
    full = torch.tensor([14, 14, 14])
    assert torch.equal(model.encode(motion, full).bottom, model.encode(motion).bottom)
    assert torch.equal(model.reconstruct(motion, full), model.reconstruct(motion))


def test_batch_mates_change_nothing(model):
    motion = torch.randn(6, 24, 5)
    together = model.reconstruct(motion)
    for row in range(6):
        torch.testing.assert_close(together[row], model.reconstruct(motion[row : row + 1])[0], rtol=1e-4, atol=1e-4)


def test_evaluation_equals_training_without_dropout_and_batch_statistics():
    """Guards against the fused attention path, which would read the distance bias as a mask."""
    model = small_model()
    motion = torch.randn(2, 32, 5)
    expected = model(motion).motion
    for module in model.modules():
        if not isinstance(module, torch.nn.BatchNorm1d | type(model.top_quantizer)):
            module.training = True
    torch.testing.assert_close(model(motion).motion, expected)


def test_decode_is_deterministic_and_public_steps_compose(model):
    generator = torch.Generator().manual_seed(0)
    codes = Codes(torch.randint(12, (2, 6), generator=generator), torch.randint(20, (2, 12), generator=generator))
    motion = model.decode(codes)
    assert motion.shape == (2, 24, 5)
    assert torch.equal(motion, model.decode(codes))
    assert torch.equal(motion, model.decode_latents(model.top_vectors(codes.top), model.bottom_vectors(codes.bottom)))
    assert model.decode_top(model.top_vectors(codes.top)).shape == (2, 12, 16)


def test_encode_and_reconstruct_leave_a_training_model_as_it_was():
    model = THVQVAE(dataclasses.replace(SMALL, dropout=0.5))
    model.load_state_dict(small_model().state_dict())
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    motion = torch.randn(2, 16, 5)
    codes = model.encode(motion)
    motion_again = model.reconstruct(motion)
    assert model.training
    assert model.top_quantizer.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(codes.bottom, model.eval().encode(motion).bottom)
    assert torch.equal(motion_again, model.reconstruct(motion))


def test_gradient_reaches_one_hots_through_the_frozen_decoder(model):
    """As the talker trains: one-hots of both levels -> codes -> motion, with clips of different lengths."""
    lengths = torch.tensor([16, 6])
    top = torch.nn.functional.one_hot(torch.randint(12, (2, 4)), 12).float().requires_grad_()
    bottom = torch.nn.functional.one_hot(torch.randint(20, (2, 8)), 20).float().requires_grad_()
    context = model.decode_top(model.top_vectors(top), lengths)
    motion = model.decode_latents(model.top_vectors(top), model.bottom_vectors(bottom), lengths)
    (motion[0].square().sum() + motion[1, :6].square().sum() + context[0].sum()).backward()
    assert (top.grad[0].abs().sum(dim=1) > 0).all()
    assert (bottom.grad[0].abs().sum(dim=1) > 0).all()
    assert (bottom.grad[1, :4].abs().sum(dim=1) > 0).all()
    assert (bottom.grad[1, 4:] == 0).all()
    assert (top.grad[1, 2:] == 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("config", [SMALL, PROJECTED], ids=["paper", "projected"])
def test_gradients_reach_every_parameter(config):
    model = small_model(config).train().requires_grad_(True)
    result = model(torch.randn(3, 32, 5))
    (result.motion * torch.randn(3, 32, 5)).sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert still == []


def test_statistics_standardise_and_restore():
    """The same network on scaled and shifted motion gives the same codes, and motion in the new units."""
    model, other = small_model(), small_model()
    scale, shift = torch.tensor([10.0, 0.1, 3.0, 1.0, 7.0]), torch.tensor([1.0, 2.0, -3.0, 0.0, 5.0])
    other.set_statistics(model.motion_mean * scale + shift, model.motion_std * scale)
    motion = torch.randn(2, 20, 5)
    assert torch.equal(model.encode(motion).bottom, other.encode(motion * scale + shift).bottom)
    torch.testing.assert_close(
        other.reconstruct(motion * scale + shift), model.reconstruct(motion) * scale + shift, rtol=1e-4, atol=1e-4
    )


def test_channels_that_never_move_get_a_floor():
    model = THVQVAE(SMALL)
    model.set_statistics(torch.zeros(5), torch.tensor([0.0, 1e-9, 1e-3, 0.5, 2.0]))
    torch.testing.assert_close(model.motion_std, torch.tensor([1e-3, 1e-3, 1e-3, 0.5, 2.0]))


def test_channels_that_did_not_move_in_training_are_not_encoded():
    """A captured face puffs its cheeks, which the training motion never did: the rest of it is encoded as before."""
    model = small_model()
    model.set_statistics(torch.zeros(5), torch.tensor([0.5, 0.0, 0.5, 0.5, 1e-3]))
    motion = torch.randn(2, 16, 5)
    puffed = motion.index_fill(2, torch.tensor([1, 4]), 0.7)
    assert torch.equal(model.encode(puffed).bottom, model.encode(motion).bottom)
    assert torch.equal(model.reconstruct(puffed), model.reconstruct(motion))
    other = motion.index_fill(2, torch.tensor([0]), 0.7)
    assert not torch.equal(model.encode(other).bottom, model.encode(motion).bottom)


def test_save_and_load_are_equal(model, tmp_path):
    folder = tmp_path / "thvqvae"
    model.save_pretrained(folder)
    model.save_pretrained(folder)  # again, over the first
    loaded = THVQVAE.from_pretrained(folder)
    assert not loaded.training
    assert loaded.config == model.config
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    motion = torch.randn(1, 17, 5)
    assert torch.equal(loaded.reconstruct(motion), model.reconstruct(motion))


def test_a_projected_bottom_level_has_one_linear_map_more_and_is_saved(tmp_path):
    model = small_model(PROJECTED)
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("to_bottom.")}
    assert own.keys() == small_model().state_dict().keys()
    assert model.to_bottom.weight.shape == (32, 32)
    model.save_pretrained(tmp_path)
    loaded = THVQVAE.from_pretrained(tmp_path)
    assert loaded.config.project_bottom
    motion = torch.randn(2, 11, 5)
    assert torch.equal(loaded.reconstruct(motion), model.reconstruct(motion))
    lengths = torch.tensor([11, 6])
    alone = model.encode(motion[1:, :6])
    assert torch.equal(model.encode(motion, lengths).bottom[1, :4], alone.bottom[0])


def test_models_saved_before_a_config_field_was_added_still_load(model, tmp_path):
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["config"]["project_bottom"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    motion = torch.randn(1, 9, 5)
    assert torch.equal(THVQVAE.from_pretrained(tmp_path).reconstruct(motion), model.reconstruct(motion))


def test_loading_names_what_does_not_fit(model, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json does not exist"):
        THVQVAE.from_pretrained(tmp_path / "nothing")
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"has unknown extra\.weight"):
        THVQVAE.from_pretrained(tmp_path)
    save_file({name: value for name, value in weights.items() if name != "output.bias"}, path)
    with pytest.raises(ValueError, match=r"misses output\.bias"):
        THVQVAE.from_pretrained(tmp_path)
    save_file({**weights, "output.bias": torch.zeros(6)}, path)
    with pytest.raises(ValueError, match=r"output\.bias of shape \(6,\) where \(5,\) is expected"):
        THVQVAE.from_pretrained(tmp_path)
    path.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        THVQVAE.from_pretrained(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors does not exist"):
        THVQVAE.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "config": {**config["config"], "colour": 1}}))
    with pytest.raises(ValueError, match="unknown keys: colour"):
        THVQVAE.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "class": "DEE"}))
    with pytest.raises(ValueError, match="holds a 'DEE', not a THVQVAE"):
        THVQVAE.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "lacks the objects"),
        ({"class": "THVQVAE"}, "lacks the objects"),
        ({"class": "THVQVAE", "config": {"channels": "3"}}, r"config\.json: config\.channels is '3', expected int"),
        ({"class": "THVQVAE", "config": {"layers": True}}, r"config\.layers is True"),
        ({"class": "THVQVAE", "config": {"decay": None}}, r"config\.decay is None, expected float"),
        ({"class": "THVQVAE", "config": {"hidden_size": 20}}, r"config\.json: config cannot be built: hidden_size 20"),
        ({"class": "THVQVAE", "config": {"feedforward_size": -1}}, r"config\.json: config cannot be built"),
    ],
)
def test_a_broken_config_is_named(model, tmp_path, content, message):
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        THVQVAE.from_pretrained(tmp_path)


def test_bad_motion_is_refused_with_a_reason(model):
    motion = torch.zeros(2, 8, 5)
    with pytest.raises(ValueError, match="6 channels, this THVQVAE was made for 5"):
        model.encode(torch.zeros(2, 8, 6))
    with pytest.raises(ValueError, match="not finite"):
        model.encode(motion.index_fill(1, torch.tensor([3]), float("nan")))
    with pytest.raises(ValueError, match="is empty"):
        model.encode(torch.zeros(2, 0, 5))
    with pytest.raises(ValueError, match="lengths run from 3 to 9 frames; expected 1 to 8"):
        model.encode(motion, torch.tensor([3, 9]))
    with pytest.raises(ValueError, match="lengths run from 0 to 8"):
        model.encode(motion, torch.tensor([0, 8]))


def test_bad_codes_are_refused_with_a_reason(model):
    top, bottom = torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 6, dtype=torch.int64)
    with pytest.raises(ValueError, match="3 top codes and 5 bottom codes"):
        model.decode(Codes(top, bottom[:, :5]))
    with pytest.raises(ValueError, match="3 top codes hold 9 to 12 frames, but 13"):
        model.decode(Codes(top, bottom), 13)
    with pytest.raises(ValueError, match=r"Top codes run from 12 to 12; expected 0 to 11\."):
        model.decode(Codes(top + 12, bottom))
    with pytest.raises(ValueError, match=r"padding \(-1\) need lengths"):
        model.decode(Codes(top, bottom - 1))


def test_bad_config_is_refused_with_a_reason():
    with pytest.raises(ValueError, match="hidden_size 20 is not a multiple of heads 8"):
        THVQVAEConfig(hidden_size=20)
    with pytest.raises(ValueError, match="top_codes is 0"):
        THVQVAEConfig(top_codes=0)
    with pytest.raises(ValueError, match=r"decay is 1\.0"):
        THVQVAEConfig(decay=1.0)
    with pytest.raises(ValueError, match="motion_mean has shape"):
        THVQVAE(SMALL).set_statistics(torch.zeros(4), torch.ones(4))
