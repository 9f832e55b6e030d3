import math

import pytest
import torch

from deeptalk.baselines import EmoTalk, EmoTalkConfig
from deeptalk.baselines.emotalk import intensity_level, resample
from deeptalk.baselines.emotalk_decoder import alignment_bias, causal_periodic_bias
from deeptalk.errors import UserError

SMALL = EmoTalkConfig(
    speech_features=12,
    channels=6,
    people=3,
    frame_rate=5.0,
    encoder_size=16,
    encoder_layers=2,
    encoder_heads=2,
    encoder_feedforward=32,
    content_size=8,
    emotion_size=8,
    level_size=4,
    person_size=4,
    decoder_heads=4,
    decoder_feedforward=16,
)


def build(seed: int = 0) -> EmoTalk:
    """A model in eval mode whose output layer no longer starts at zero."""
    torch.manual_seed(seed)
    model = EmoTalk(SMALL).eval()
    torch.nn.init.normal_(model.decoder.output.weight)
    model.set_statistics(torch.randn(12), torch.rand(12) + 0.5)
    return model


def inputs(frames: int = 14, batch: int = 3, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, frames, 12, generator=generator)
    lengths = torch.tensor([frames, frames - 5, 1][:batch])
    return features, lengths, torch.tensor([0, 1, 1][:batch]), torch.tensor([0, 2, -1][:batch])


def test_self_attention_bias_matches_its_definition():
    frames, period = 13, 5
    bias = causal_periodic_bias(4, frames, period)
    for head, slope in enumerate([1 / 4, 1 / 16, 1 / 64, 1 / 256]):
        for i in range(frames):
            for j in range(frames):
                expected = -math.inf if j > i else -slope * ((i - j) // period)
                assert bias[head, i, j] == expected


def test_alignment_opens_only_the_same_frame():
    bias = alignment_bias(5)
    assert torch.equal(bias == 0, torch.eye(5, dtype=torch.bool))
    assert bool(torch.isinf(bias[~torch.eye(5, dtype=torch.bool)]).all())


def test_output_starts_at_zero_as_published():
    torch.manual_seed(0)
    assert EmoTalk(SMALL).eval()(*inputs()).abs().max() == 0


def test_batch_equals_single():
    model = build()
    features, lengths, level, person = inputs()
    batched = model(features, lengths, level, person)
    for i, n in enumerate(lengths.tolist()):
        single = model(features[i : i + 1, :n], lengths[i : i + 1], level[i : i + 1], person[i : i + 1])
        torch.testing.assert_close(batched[i, :n], single[0], atol=1e-5, rtol=1e-5)
        assert batched[i, n:].abs().sum() == 0


def test_padding_content_never_matters():
    model = build()
    features, lengths, level, person = inputs()
    spoiled = features.clone()
    for i, n in enumerate(lengths.tolist()):
        spoiled[i, n:] = 1e3
    torch.testing.assert_close(
        model(spoiled, lengths, level, person), model(features, lengths, level, person), atol=1e-5, rtol=1e-5
    )
    logits = [model.encode_emotion(x, lengths)[1] for x in (features, spoiled)]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)


def test_eval_with_and_without_gradients_agree():
    model = build()
    with torch.no_grad():
        without = model(*inputs())
    torch.testing.assert_close(model(*inputs()), without, atol=1e-6, rtol=1e-6)


def test_decoder_is_causal_in_content_and_aligned_in_emotion():
    decoder = build().decoder
    content = torch.randn(1, 9, 16, requires_grad=True)
    emotion = torch.randn(1, 9, 16, requires_grad=True)
    for frame in (0, 4, 8):
        output = decoder(content, emotion, torch.tensor([1]), torch.tensor([1]))[0, frame].sum()
        content_gradient, emotion_gradient = torch.autograd.grad(output, (content, emotion))
        for gradient in (content_gradient, emotion_gradient):
            reached = gradient[0].abs().sum(-1) > 0
            assert reached.tolist() == [t <= frame for t in range(9)]
    # With the emotion out of the query stream, frame t sees the emotion of frame t only, through the alignment mask.
    torch.nn.init.zeros_(decoder.emotion_query.weight)
    output = decoder(content, emotion, torch.tensor([1]), torch.tensor([1]))[0, 4].sum()
    (gradient,) = torch.autograd.grad(output, emotion)
    assert (gradient[0].abs().sum(-1) > 0).tolist() == [t == 4 for t in range(9)]


def test_encoders_hear_the_whole_clip():
    model = build()
    features = torch.randn(1, 9, 12, requires_grad=True)
    hidden = model.encode_content(features, torch.tensor([9]))
    (gradient,) = torch.autograd.grad(hidden[0, 2].square().sum(), features)
    assert bool((gradient[0].abs().sum(-1) > 0).all())


def test_unknown_person_is_the_mean_of_the_embeddings():
    decoder = build().decoder
    known = decoder._person(torch.arange(3)).mean(0)
    torch.testing.assert_close(decoder._person(torch.tensor([-1]))[0], known)


def test_level_and_person_change_the_motion():
    model = build()
    features, lengths, level, person = inputs()
    assert (model(features, lengths, 1 - level, person) - model(features, lengths, level, person)).abs().max() > 1e-3
    other = torch.tensor([1, 1, 1])
    assert (model(features, lengths, level, other) - model(features, lengths, level, person)).abs().max() > 1e-3


def test_emotion_of_another_clip():
    model = build()
    features, lengths, level, person = inputs()
    other, other_lengths = torch.randn(3, 20, 12), torch.tensor([20, 7, 3])
    same = model(features, lengths, level, person, features, lengths)
    torch.testing.assert_close(same, model(features, lengths, level, person))
    crossed = model(features, lengths, level, person, other, other_lengths)
    assert crossed.shape == same.shape
    assert (crossed - same).abs().max() > 1e-3


def test_resample_is_linear_interpolation_over_the_real_frames():
    sequence = torch.randn(2, 7, 3)
    lengths, new_lengths = torch.tensor([7, 4]), torch.tensor([10, 1])
    resampled = resample(sequence, lengths, new_lengths, 10)
    expected = torch.nn.functional.interpolate(sequence[:1].mT, size=10, mode="linear", align_corners=True).mT
    torch.testing.assert_close(resampled[:1], expected)
    torch.testing.assert_close(resampled[1, 0], sequence[1, 0])
    torch.testing.assert_close(resample(sequence, lengths, lengths, 7)[1, :4], sequence[1, :4])


def test_levels():
    assert intensity_level(torch.tensor([0.0, 0.5, 0.75, 0.76, 1.0])).tolist() == [0, 0, 0, 1, 1]


def test_save_and_load(tmp_path):
    model = build()
    model.save_pretrained(tmp_path / "emotalk")
    loaded = EmoTalk.from_pretrained(tmp_path / "emotalk")
    assert loaded.config == SMALL
    assert torch.equal(loaded(*inputs()), model(*inputs()))


def test_loading_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match=r"config\.json does not exist"):
        EmoTalk.from_pretrained(tmp_path)
    build().save_pretrained(tmp_path / "emotalk")
    config = tmp_path / "emotalk" / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"channels": 6', '"channels": 7'))
    with pytest.raises(UserError, match="do not fit each other"):
        EmoTalk.from_pretrained(tmp_path / "emotalk")
    config.write_text(text.replace('"channels"', '"chanels"'))
    with pytest.raises(UserError, match=r"not a config of EmoTalk.*chanels"):
        EmoTalk.from_pretrained(tmp_path / "emotalk")
    config.write_text(text)
    weights = tmp_path / "emotalk" / "model.safetensors"
    weights.write_bytes(b"text")
    with pytest.raises(UserError, match="Cannot read the weights"):
        EmoTalk.from_pretrained(tmp_path / "emotalk")
    weights.unlink()
    with pytest.raises(UserError, match="Cannot read the weights"):
        EmoTalk.from_pretrained(tmp_path / "emotalk")


def test_input_errors_say_what_is_wrong():
    model = build()
    features, lengths, level, person = inputs()
    with pytest.raises(UserError, match="built for 12 speech features a frame, got 11"):
        model(features[..., :11], lengths, level, person)
    with pytest.raises(UserError, match="Lengths must be 1 to 14"):
        model(features, torch.tensor([14, 15, 1]), level, person)
    with pytest.raises(UserError, match="person 0 to 2"):
        model(features, lengths, level, torch.tensor([0, 3, 0]))
    with pytest.raises(UserError, match="level 0 to 1"):
        model(features, lengths, level + 1, person)
    with pytest.raises(UserError, match="Person -2"):
        model(features, lengths, level, torch.tensor([0, -2, 0]))
    with pytest.raises(ValueError, match="decoder_heads 5"):
        EmoTalkConfig(decoder_heads=5)
    with pytest.raises(ValueError, match="encoder_heads 7"):
        EmoTalkConfig(encoder_heads=7)


def test_published_sizes_are_the_defaults():
    config = EmoTalkConfig()
    assert config.decoder_size == 832
    assert (config.content_size, config.emotion_size, config.level_size, config.person_size) == (512, 256, 32, 32)
    assert (config.decoder_heads, config.decoder_feedforward, config.people, config.channels) == (4, 832, 24, 52)
