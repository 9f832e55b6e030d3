"""The released DEE's layout at a small size: every tensor mapped, dead ones left out, others refused by name."""

import pytest
import torch

from dee import DEE, DEEConfig, EncoderConfig
from dee.emotion2vec import Emotion2Vec, Emotion2VecConfig, frame_lengths
from dee.positions import sinusoidal_positions
from dee.recogniser import ExpressionRecogniser, RecogniserConfig
from dee.released import _emotion2vec_pairs, load_released

SPEECH = Emotion2VecConfig(
    convolution_size=8, width=24, heads=6, feedforward=16, context_blocks=1, blocks=2, extra_tokens=3, position_groups=4
)
RECOGNISER = RecogniserConfig(motion_channels=5, hidden_sizes=[7, 6, 4], emotions=8, features="released")
CONFIG = DEEConfig(
    speech_features=24,
    motion_channels=5,
    embedding_size=10,
    recogniser=RECOGNISER,
    speech_encoder=EncoderConfig(width=24, layers=1, heads=2, feedforward=8, project_input=False),
    motion_encoder=EncoderConfig(width=12, layers=2, heads=2, feedforward=8),
)
ENCODER_NAMES = {
    "input.": "{short}_map.",
    "layers.": "{short}_encoder.layers.",
    "mean_head.layer.": "{short}_mean_encoder.layers.0.",
    "mean_head.linear.": "mean_feature_map.",
    "mean_head.pool.": "mean_pool.",
    "log_variance_head.layer.": "{short}_uncertainty_encoder.layers.0.",
    "log_variance_head.linear.": "std_feature_map.",
    "log_variance_head.pool.": "std_pool.",
}


def small_models():
    torch.manual_seed(3)
    models = DEE(CONFIG).eval(), Emotion2Vec(SPEECH).eval(), ExpressionRecogniser(RECOGNISER).eval()
    for model in models:
        for parameter in model.parameters():
            parameter.data.uniform_(-0.5, 0.5)
    return models


def their_layout(dee, speech, recogniser):
    """The same weights under the names of the released files."""
    pairs = {ours: theirs for theirs, ours in _emotion2vec_pairs(SPEECH)}
    weights = {pairs[key]: value for key, value in speech.state_dict().items()}
    prefix = "audio_encoder.embedding_model.modality_encoders.AUDIO."
    weights[f"{prefix}extra_tokens"] = speech.extra_tokens.data[None]
    weights[f"{prefix}alibi_scale"] = speech.alibi_scale.data[None, None, :, None, None]
    for short, encoder in (("audio", dee.speech_encoder), ("exp", dee.motion_encoder)):
        for key, value in encoder.state_dict().items():
            ours = next(name for name in ENCODER_NAMES if key.startswith(name))
            theirs = ENCODER_NAMES[ours].format(short=short) + key.removeprefix(ours)
            weights[f"{short}_encoder.{theirs}"] = value
        weights[f"{short}_encoder.{short}_mean_layer.norm1.bias"] = torch.zeros(4)
        weights[f"{short}_encoder.{short}_pos_encoder.pos_enc"] = sinusoidal_positions(30, encoder.width)[None]
    weights["criterion.negative_scale"], weights["criterion.shift"] = dee.match.scale.data, dee.match.shift.data
    weights[f"{prefix}decoder.proj.bias"] = torch.zeros(3)
    theirs = {}
    for key, value in recogniser.state_dict().items():
        kind, _, rest = key.partition(".")
        number, _, leaf = rest.partition(".")
        if kind == "hidden":
            theirs[f"in_fc.{leaf}" if number == "0" else f"hidden_layers.{int(number) - 1}.{leaf}"] = value
        elif kind in ("norms", "output"):
            theirs[key.replace("norms", "bn_layers").replace("output", "out_fc")] = value
    return weights, theirs


@torch.no_grad()
def test_every_tensor_arrives():
    dee, speech, recogniser = small_models()
    loaded, loaded_speech = load_released(*their_layout(dee, speech, recogniser), CONFIG, SPEECH)
    waveforms, lengths = torch.randn(2, 3000), torch.tensor([3000, 2000])
    torch.testing.assert_close(loaded_speech(waveforms, lengths), speech(waveforms, lengths))
    features, counts = speech(waveforms, lengths)
    given = loaded.embed_waveform(waveforms, lengths)
    torch.testing.assert_close(given.mean, dee.embed_speech(features, counts).mean)
    motion = torch.randn(2, 9, 5)
    dee.recogniser.load_state_dict(recogniser.state_dict())
    counts = torch.tensor([9, 4])
    torch.testing.assert_close(
        loaded.embed_motion(motion, counts).log_variance, dee.embed_motion(motion, counts).log_variance
    )
    torch.testing.assert_close(loaded.recogniser(motion[0]), recogniser(motion[0]))
    assert loaded.match.scale.item() == dee.match.scale.item()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.update({"exp_encoder.surprise": torch.zeros(1)}), "unknown exp_encoder.surprise"),
        (lambda w: w.pop("exp_encoder.exp_map.weight"), "missing: motion_encoder.input.weight"),
        (lambda w: w.update({"criterion.shift": torch.zeros(2)}), r"match.shift has shape \(2,\), expected \(1,\)"),
        (
            lambda w: w.update({"exp_encoder.exp_pos_encoder.pos_enc": torch.ones(1, 30, 12)}),
            "exp_encoder.exp_pos_encoder.pos_enc is not the table",
        ),
    ],
)
def test_other_tensors_are_named(change, words):
    weights, recogniser = their_layout(*small_models())
    change(weights)
    with pytest.raises(ValueError, match=words):
        load_released(weights, recogniser, CONFIG, SPEECH)


@torch.no_grad()
def test_emotion2vec_alone_and_in_a_padded_batch():
    speech = small_models()[1]
    waveforms = torch.randn(3, 4000)
    lengths = torch.tensor([4000, 400, 2345])
    together, counts = speech(waveforms, lengths)
    assert counts.tolist() == frame_lengths(lengths).tolist() == [12, 1, 7]
    for row, (length, count) in enumerate(zip(lengths.tolist(), counts.tolist())):
        alone, own = speech(waveforms[row : row + 1, :length], torch.tensor([length]))
        assert own.tolist() == [count]
        torch.testing.assert_close(together[row, :count], alone[0], rtol=1e-5, atol=1e-5)
    louder, _ = speech(0.3 + 7 * waveforms[:1], torch.tensor([4000]))  # normalised per clip
    torch.testing.assert_close(louder, speech(waveforms[:1], torch.tensor([4000]))[0], rtol=1e-3, atol=1e-3)


def test_emotion2vec_refuses_clips_without_a_frame():
    with pytest.raises(ValueError, match="at least 400"):
        small_models()[1](torch.zeros(1, 500), torch.tensor([399]))


def test_recogniser_inside_dee_is_frozen_saved_and_differentiable(tmp_path):
    model = DEE(CONFIG)
    model.train()
    assert not model.recogniser.training
    assert not any(parameter.requires_grad for parameter in model.recogniser.parameters())
    motion = torch.randn(2, 6, 5, requires_grad=True)
    model.eval()
    model.embed_motion(motion, torch.tensor([6, 3])).mean.sum().backward()
    assert motion.grad[0].abs().min() > 0
    assert motion.grad[1, 3:].abs().max() == 0
    model.save_pretrained(tmp_path / "dee")
    again = DEE.from_pretrained(tmp_path / "dee")
    assert again.config == model.config
    with torch.no_grad():
        given, expected = (one.embed_motion(motion, torch.tensor([6, 3])).mean for one in (again, model))
    assert torch.equal(given, expected)


def test_recogniser_features_of_both_kinds_differ_only_in_norms_and_activation():
    recogniser = small_models()[2]
    normalised = ExpressionRecogniser(RecogniserConfig(**{**RECOGNISER.__dict__, "features": "normalised"})).eval()
    normalised.load_state_dict(recogniser.state_dict())
    for norm in normalised.norms:  # norms that change nothing
        norm.weight.data.fill_(1.0)
        norm.bias.data.zero_()
        norm.eps = 0.0
    motion = torch.randn(4, 5)
    with torch.no_grad():
        expected = torch.nn.functional.leaky_relu(recogniser.frame_features(motion), 0.01)
        torch.testing.assert_close(normalised.frame_features(motion), expected)
