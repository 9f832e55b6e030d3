"""Released checkpoints in a clone, without the large goldens.

`tests/golden/released` holds the listing of the released files' tensors, slices of the goldens with numbers of the
authors' code, and a few outputs for weights by the pool recipe (`pool_recipe`, TH-VQVAE and recogniser at full size,
DEE with emotion2vec at a small one). These outputs were computed by this project's code when it passed the full goldens
of tests/golden, so that what leaves them here leaves the authors' numbers too. See tests/golden/PROVENANCE.txt.
"""

import json
from pathlib import Path

import pytest
import torch
from pool_recipe import pool, recipe_input, recipe_tensor, recipe_weights
from safetensors.torch import load_file
from test_dee_released import CONFIG, RECOGNISER, SPEECH, small_models, their_layout

from dee import DEE
from dee.emotion2vec import Emotion2Vec
from dee.recogniser import ExpressionRecogniser, RecogniserConfig
from dee.released import (
    _POSITIONS,
    DEAD_PATTERN,
    RELEASED_CONFIG,
    _emotion2vec_pairs,
    _encoder_name,
    load_released,
    load_released_recogniser,
)
from deeptalk.checkpoints import import_checkpoints, importing
from thvqvae import THVQVAE, THVQVAEConfig
from thvqvae.released import DEAD_KEYS, KEY_MAP

FOLDER = Path(__file__).parents[1] / "golden" / "released"


def layout(name):
    return json.loads((FOLDER / f"layout_{name}.json").read_text())


def dee_weights(loaded=False):
    """DEE and its recogniser in the released layout at a small size, by the recipe; loaded: as our modules."""
    dee, recogniser = their_layout(*small_models())
    kept = {key: value for key, value in dee.items() if key in _POSITIONS}
    kept |= {"criterion.negative_scale": torch.tensor([5.0]), "criterion.shift": torch.tensor([4.0])}
    weights = recipe_weights({key: value.shape for key, value in dee.items()}) | kept
    other = recipe_weights({key: value.shape for key, value in recogniser.items()})
    return load_released(weights, other, CONFIG, SPEECH) if loaded else (weights, other)


@torch.no_grad()
def outputs(prior, recogniser, dee, speech):
    """What is compared; a few kilobytes."""
    given = {}
    motion = recipe_input("motion 38", (2, 32, 53))
    codes = prior.encode(motion)
    given["thvqvae.top"], given["thvqvae.bottom"] = codes.top.short(), codes.bottom.short()
    given["thvqvae.decoded"] = prior.reconstruct(motion)[:, ::4].contiguous()
    frames = recipe_input("frames", (6, 53))
    given["recogniser.logits"] = recogniser(frames)
    given["recogniser.features"] = recogniser.frame_features(frames)[:, ::4].contiguous()
    waveforms, lengths = recipe_input("waveforms", (2, 3000), 2.0**-9), torch.tensor([3000, 2100])
    features, counts = speech(waveforms, lengths)
    heard = dee.embed_speech(features, counts)
    given["dee.emotion2vec"] = features[:, : int(counts.min())].contiguous()
    seen = dee.embed_motion(recipe_input("faces", (2, 12, 5)), torch.tensor([12, 7]))
    for side, embedding in (("speech", heard), ("motion", seen)):
        given[f"dee.{side}_mean"], given[f"dee.{side}_log_variance"] = embedding.mean, embedding.log_variance
    given["dee.match"] = dee.match(seen, heard)
    given["dee.recogniser"] = dee.recogniser(recipe_input("small frames", (4, 5)))
    return given


def check(given, expected):
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def test_the_pool_is_the_same_everywhere():
    assert pool()[:6].tolist() == [-49, -88, -106, 49, -24, 49]
    assert (pool().min(), pool().max()) == (-128, 127)
    again = recipe_tensor("some.norm.weight", (3,))
    assert torch.equal(again, recipe_tensor("some.norm.weight", (3,)))
    assert again.tolist() != recipe_tensor("other.norm.weight", (3,)).tolist()


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The three released files, written as their authors' trainers would, imported."""
    folder = tmp_path_factory.mktemp("released")
    torch.save(recipe_weights(layout("thvqvae")), folder / "TH-VQVAE.pth")
    dee, recogniser = dee_weights()
    torch.save({"state_dict": dee}, folder / "DEE.pt")
    torch.save(recogniser, folder / "best.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "load_released_dee", lambda *given: load_released(*given, CONFIG, SPEECH))
        patch.setattr(importing, "load_released_recogniser", lambda one: load_released_recogniser(one, RECOGNISER))
        made = import_checkpoints(folder, folder / "bundle")
    return made


def test_files_made_by_the_recipe_give_the_stored_numbers(imported, tmp_path):
    torch.save(recipe_weights(layout("recogniser")), tmp_path / "best.pth")
    alone = import_checkpoints(tmp_path / "best.pth", tmp_path / "bundle")
    given = outputs(
        THVQVAE.from_pretrained(imported.bundle / "thvqvae"),
        ExpressionRecogniser.from_pretrained(alone.bundle / "recogniser"),
        DEE.from_pretrained(imported.bundle / "dee"),
        Emotion2Vec.from_pretrained(imported.bundle / "speech"),
    )
    expected = load_file(FOLDER / "expected.safetensors")
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == torch.int16:
            assert torch.equal(given[name], value), name
            assert len(value.unique()) > 4, name
        else:
            check(given[name], value)
            assert value.std() > 0.05, name
    assert set(imported.dead["thvqvae"]) == DEAD_KEYS
    assert len(imported.dead["dee"]) == 3


def test_slices_of_the_authors_own_numbers():
    golden = load_file(FOLDER / "slices.safetensors")
    prior = THVQVAE(THVQVAEConfig(channels=53)).eval()
    part = prior.bottom_encoder
    state = {
        KEY_MAP[key.removeprefix("thvqvae.weight.")].removeprefix("bottom_encoder."): value.to(torch.float32)
        for key, value in golden.items()
        if key.startswith("thvqvae.weight.")
    }
    assert part.load_state_dict(state, strict=False).unexpected_keys == []
    seen = []
    part.activate.norm.register_forward_hook(lambda module, given, output: seen.append(output))
    motion = golden["thvqvae.motion"]
    with torch.no_grad():
        prior.encode(motion)
    check(seen[0][..., ::4], golden["thvqvae.squasher"])

    recogniser = ExpressionRecogniser(RecogniserConfig(features="released")).eval()
    theirs = {key.removeprefix("recogniser.weight."): value for key, value in golden.items() if "recogniser.w" in key}
    for number, ours in ((4, 5), (5, 6)):
        for kind in ("weight", "bias"):
            getattr(recogniser.hidden[ours], kind).data.copy_(theirs[f"hidden_layers.{number}.{kind}"])
        recogniser.norms[ours].load_state_dict(
            {key.split(".")[-1]: value for key, value in theirs.items() if key.startswith(f"bn_layers.{ours}.")}
        )
    recogniser.output.load_state_dict({key.split(".")[-1]: theirs[key] for key in theirs if "out_fc" in key})
    with torch.no_grad():
        hidden = golden["recogniser.before"]
        for linear, norm in list(zip(recogniser.hidden, recogniser.norms))[5:]:
            hidden = recogniser.activation(norm(linear(hidden)))
        check(recogniser.output(hidden), golden["recogniser.logits"])
        check(recogniser.hidden[5](golden["recogniser.before_plain"]), golden["recogniser.feature"])


def test_every_tensor_of_the_released_files_has_its_place_and_shape():
    with torch.device("meta"):
        prior, dee, speech = THVQVAE(THVQVAEConfig(channels=53)), DEE(RELEASED_CONFIG), Emotion2Vec()
    ours = {key: list(value.shape) for key, value in prior.state_dict().items()}
    theirs = layout("thvqvae")
    assert len(theirs) == 96
    for key, shape in theirs.items():
        assert key in DEAD_KEYS or ours[KEY_MAP[key]] == shape, key

    ours = {key: list(value.shape) for key, value in dee.state_dict().items()}
    heard = {key: value.numel() for key, value in speech.state_dict().items()}
    pairs, theirs, used = dict(_emotion2vec_pairs(speech.config)), layout("dee"), set()
    assert len(theirs) == 459
    for key, shape in theirs.items():
        if key in pairs:
            used.add(pairs[key])
            assert heard[pairs[key]] == torch.Size(shape).numel(), key
        elif (mine := _encoder_name(key)) is not None:
            used.add(mine)
            assert ours[mine] == shape, key
        else:
            assert key in _POSITIONS or key.startswith("criterion.") or DEAD_PATTERN.match(key), key
    wanted = {*heard, *(key for key in ours if key.startswith(("speech_encoder.", "motion_encoder.")))}
    assert used == wanted
    assert sum(torch.Size(shape).numel() for shape in theirs.values()) == 168_022_158

    with pytest.raises(ValueError, match=r"unknown: surprise"):
        load_released_recogniser(recipe_weights(layout("recogniser")) | {"surprise": torch.zeros(1)})
    weights = recipe_weights(layout("recogniser"))
    weights.pop("bn_layers.3.running_var")
    with pytest.raises(ValueError, match=r"missing: norms\.3\.running_var"):
        load_released_recogniser(weights)
