"""Equality with numbers of the authors' code (DEEPTalk 37fd026, made with random weights)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dee.emotion2vec import frame_lengths
from dee.gaussian import GaussianEmbedding
from dee.losses import (
    MatchLogits,
    identity_targets,
    match_loss,
    pseudo_match_loss,
    same_label_targets,
    sampled_distance,
    vib_loss,
)
from dee.pooling import GeneralizedPooling
from dee.released import load_released

HERE = Path(__file__).parent / "dee"
SHARED = Path(__file__).parents[3] / "shared" / "goldens" / "dee"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/goldens/dee")
CASES = json.loads((HERE / "sampled_distance.json").read_text())


@pytest.fixture(scope="module")
def pooling():
    golden = load_file(HERE / "gpo.safetensors")
    pool = GeneralizedPooling()
    pool.load_state_dict({key.removeprefix("weight."): golden[key] for key in golden if key.startswith("weight.")})
    return pool, golden


@pytest.mark.parametrize("prefix", ["", "T1.", "T2.", "T60.", "T100."])
def test_pooling(pooling, prefix):
    pool, golden = pooling
    values, expected = golden[f"{prefix}input"], golden[f"{prefix}output"]
    count = values.shape[1]
    with torch.no_grad():
        output = pool(values, torch.full((len(values),), count))
        weights = pool.rank_weights([count])
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights, golden[f"{prefix}pool_weights"][..., 0], rtol=1e-5, atol=1e-6)


def test_pooling_of_all_lengths_in_one_batch(pooling):
    pool, golden = pooling
    lengths = torch.tensor([60, 1, 100, 2])
    values = torch.full((4, 110, 8), 7.0)  # the padding is larger than any value
    for row, count in enumerate(lengths.tolist()):
        values[row, :count] = golden[f"T{count}.input"][0]
    expected = torch.cat([golden[f"T{count}.output"] for count in lengths.tolist()])
    with torch.no_grad():
        torch.testing.assert_close(pool(values, lengths), expected, rtol=1e-5, atol=1e-6)


def check_loss(golden, case, settings, tolerance):
    names = ("exp_mean", "exp_logvar", "audio_mean", "audio_logvar")
    leaves = {name: golden[name].double().requires_grad_() for name in names}
    motion = GaussianEmbedding(leaves["exp_mean"], leaves["exp_logvar"])
    speech = GaussianEmbedding(leaves["audio_mean"], leaves["audio_logvar"])
    match = MatchLogits(settings["negative_scale"], settings["shift"]).double()
    identity = settings["matched"] == "identity"
    targets = identity_targets(len(golden["labels"])) if identity else same_label_targets(golden["labels"])

    logits = match(motion, speech)
    loss = match_loss(logits, targets) + settings["vib_beta"] * (vib_loss(motion) + vib_loss(speech))
    if settings["smoothness_alpha"]:
        loss = loss + settings["smoothness_alpha"] * pseudo_match_loss(logits, targets)
    loss.backward()

    close = {"rtol": tolerance, "atol": tolerance * 1e-2, "check_dtype": False}
    torch.testing.assert_close(loss.detach(), golden[f"{case}.f64.loss"][0], **close)
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, golden[f"{case}.f64.grad_{name}"], **close)
    torch.testing.assert_close(match.scale.grad, golden[f"{case}.f64.grad_negative_scale"], **close)
    torch.testing.assert_close(match.shift.grad, golden[f"{case}.f64.grad_shift"], **close)


@pytest.mark.parametrize("case", sorted(CASES))
def test_loss_and_gradients(case):
    golden = load_file(HERE / "sampled_distance.safetensors")
    check_loss(golden, case, CASES[case], tolerance=1e-6)


def test_distance_in_float32():
    golden = load_file(HERE / "sampled_distance.safetensors")
    distance = sampled_distance(
        GaussianEmbedding(golden["exp_mean"], golden["exp_logvar"]),
        GaussianEmbedding(golden["audio_mean"], golden["audio_logvar"]),
    )
    torch.testing.assert_close(distance.double(), golden["csd_distance_f64"], rtol=1e-6, atol=1e-6)


@pytest.mark.shared
@needs_shared
def test_every_case_of_the_full_fixture():
    golden = load_file(SHARED / "csd.safetensors")
    cases = json.loads((SHARED / "csd_meta.json").read_text())["cases"]
    checked = 0
    for case, settings in cases.items():
        if settings["distance"] == "csd":  # the other one is the Wasserstein distance, which the paper does not use
            check_loss(golden, case, settings, tolerance=1e-6)
            checked += 1
    assert checked == 13


def released_weights():
    """Weights of the released layout from the pool recipe (README of the goldens): 459 tensors, 168 million values."""
    pool = load_file(SHARED / "pool.safetensors")["pool"]
    recipe = json.loads((SHARED / "weight_recipe.json").read_text())["tensors"]
    state = load_file(SHARED / "position_buffers.safetensors")
    for key, entry in recipe.items():
        if entry["kind"] == "pool":
            shape = torch.Size(entry["shape"])
            places = (torch.arange(shape.numel()) + entry["offset"]) % len(pool)
            state[key] = (entry["shift"] + 2.0 ** entry["scale_log2"] * pool[places].float()).reshape(shape)
    assert state.keys() == recipe.keys()
    return state


@pytest.fixture(scope="module")
def released():
    dee, speech = load_released(released_weights(), load_file(SHARED.parent / "fer" / "weights.safetensors"))
    return dee, speech, load_file(SHARED / "io.safetensors")


def check(given, expected):
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize(("side", "prefix"), [("motion", "exp"), ("motion", "exp_T25"), ("speech", "aud")])
@torch.no_grad()
def test_encoder_of_the_released_layout(released, side, prefix):
    dee, _, golden = released
    encoder = dee.motion_encoder if side == "motion" else dee.speech_encoder
    values = golden[f"{prefix}.input"]
    lengths = torch.full((len(values),), values.shape[1])
    embedding = encoder(values, lengths)
    if f"{prefix}.features" in golden:
        check(encoder.hidden(values, lengths), golden[f"{prefix}.features"])
    check(embedding.mean, golden[f"{prefix}.mean"])
    check(embedding.log_variance, golden[f"{prefix}.logvar"])


@pytest.mark.shared
@needs_shared
@torch.no_grad()
def test_emotion2vec_and_the_whole_speech_side(released):
    dee, speech, golden = released
    waveforms, lengths = golden["full.audio_raw"], torch.tensor([32000, 32000])
    local = speech.local_features(waveforms, lengths)
    check(local, golden["full.local_features"])
    check(speech.context(local, frame_lengths(lengths)), golden["full.context_encoder"])
    bias = speech.attention_bias(frame_lengths(lengths), 99)
    check(bias[:1, :, :30, :30], golden["full.alibi_bias_scaled"])
    check(speech(waveforms, lengths)[0], golden["full.emotion2vec"])
    embedding = dee.embed_waveform(waveforms, lengths)
    check(embedding.mean, golden["full.mean"])
    check(embedding.log_variance, golden["full.logvar"])


@pytest.mark.shared
@needs_shared
@torch.no_grad()
def test_recogniser_of_the_released_layout(released):
    recogniser = released[0].recogniser
    golden = load_file(SHARED.parent / "fer" / "io.safetensors")
    check(recogniser(golden["input"]), golden["logits"])
    check(recogniser.frame_features(golden["input"]), golden["feature"])
    check(recogniser.frame_features(golden["sequence_input"]), golden["sequence_feature"])
