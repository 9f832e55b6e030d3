import pytest
import torch
from tiny_talker import FEATURES, tiny_batch, tiny_config, tiny_predictor, tiny_prior

from deeptalk.talker import IndexPredictor, IndexPredictorConfig, MostLikely, Prediction


def run(predictor: IndexPredictor, batch: dict, vector: torch.Tensor) -> Prediction:
    with torch.no_grad():
        return predictor(batch["features"], vector, batch["speaker"], batch["lengths"], tiny_prior(), MostLikely())


@pytest.fixture
def vector() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(5)), dim=-1)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 31, 32])
def test_any_length_gives_as_many_frames(frames, vector):
    result = run(tiny_predictor(), tiny_batch([frames] * 4), vector)
    assert result.motion.shape == (4, frames, 52)
    assert result.top_logits.shape == (4, -(-frames // 4), 12)
    assert result.bottom_logits.shape == (4, 2 * -(-frames // 4), 14)
    assert torch.isfinite(result.motion).all()


def test_a_clip_in_a_batch_is_the_clip_alone(vector):
    predictor, lengths = tiny_predictor(), [3, 10, 16, 21]
    batch = tiny_batch(lengths)
    together = run(predictor, batch, vector)
    for row, length in enumerate(lengths):
        alone = {name: value[row : row + 1] for name, value in batch.items()}
        alone["features"] = alone["features"][:, :length]
        single = run(predictor, alone, vector[row : row + 1])
        tops = -(-length // 4)
        torch.testing.assert_close(together.top_logits[row, :tops], single.top_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            together.bottom_logits[row, : 2 * tops], single.bottom_logits[0], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(together.motion[row, :length], single.motion[0], atol=1e-5, rtol=1e-5)


def test_padding_content_changes_nothing(vector):
    predictor, batch = tiny_predictor(), tiny_batch([3, 10, 16, 21])
    before = run(predictor, batch, vector)
    for row, length in enumerate(batch["lengths"]):
        batch["features"][row, length:] = 1e6
    after = run(predictor, batch, vector)
    for row, length in enumerate(batch["lengths"]):
        assert torch.equal(before.motion[row, :length], after.motion[row, :length])


def test_evaluation_equals_training_without_dropout(vector):
    predictor, batch = tiny_predictor(face_dropout=0.0), tiny_batch([12, 12, 12, 9])
    before = run(predictor, batch, vector).top_logits
    after = run(predictor.train(), batch, vector).top_logits
    torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-6)


def test_emotion_speaker_and_features_all_matter(vector):
    predictor, batch = tiny_predictor(), tiny_batch([12] * 4)
    base = run(predictor, batch, vector).top_logits
    assert (run(predictor, batch, -vector).top_logits - base).abs().max() > 1e-2
    changed = {**batch, "speaker": (batch["speaker"] + 1) % 3}
    assert (run(predictor, changed, vector).top_logits - base).abs().max() > 1e-2
    changed = {**batch, "features": batch["features"].flip(1)}
    assert (run(predictor, changed, vector).top_logits - base).abs().max() > 1e-2


def test_bottom_codes_are_told_of_the_chosen_top_codes(vector):
    predictor, prior, batch = tiny_predictor(), tiny_prior(), tiny_batch([12] * 4)
    face = predictor.face_features(batch["features"], vector, batch["speaker"], batch["lengths"])
    logits = []
    for code in (0, 1):
        top = prior.top_vectors(torch.full((4, 3), code))
        logits.append(predictor.bottom_logits(face, prior.decode_top(top), batch["lengths"]))
    assert (logits[0] - logits[1]).abs().max() > 1e-2


def test_statistics_standardise_raw_features(vector):
    batch, mean, std = tiny_batch([8] * 4), torch.full((FEATURES,), 7.0), torch.full((FEATURES,), 3.0)
    plain = run(tiny_predictor(), batch, vector)
    predictor = tiny_predictor()
    predictor.set_statistics(mean, std)
    raw = run(predictor, {**batch, "features": batch["features"] * 3 + 7}, vector)
    torch.testing.assert_close(raw.top_logits, plain.top_logits, atol=1e-3, rtol=1e-3)


def test_unseen_speaker_is_the_mean_identity():
    predictor = tiny_predictor()
    unseen = predictor.identities(torch.tensor([-1]))
    torch.testing.assert_close(unseen[0], predictor.identity.weight.mean(0))
    with pytest.raises(ValueError, match=r"speaker holds -1 to 3; expected -1 \(unseen\) to 2"):
        predictor.identities(torch.tensor([-1, 3]))


def test_errors_say_what_does_not_fit(vector):
    predictor, batch = tiny_predictor(), tiny_batch([8] * 4)
    with pytest.raises(ValueError, match="features have 79 channels, this talker reads 80"):
        run(predictor, {**batch, "features": batch["features"][..., :-1]}, vector)
    with pytest.raises(ValueError, match="lengths run from 8 to 9"):
        run(predictor, {**batch, "lengths": torch.tensor([8, 8, 9, 8])}, vector)
    with pytest.raises(ValueError, match=r"content_size \+ style_size is 17; it must be a multiple of heads \(2\)"):
        tiny_config(style_size=1)
    with pytest.raises(ValueError, match="size is 15"):
        tiny_config(size=15)


def test_save_and_load_give_the_same_predictor(tmp_path, vector):
    predictor, batch = tiny_predictor(), tiny_batch([9] * 4)
    predictor.set_statistics(torch.rand(FEATURES), torch.rand(FEATURES) + 1)
    predictor.save_pretrained(tmp_path / "talker")
    again = IndexPredictor.from_pretrained(tmp_path / "talker")
    assert again.config == predictor.config
    assert torch.equal(run(again, batch, vector).motion, run(predictor, batch, vector).motion)


def test_defaults_are_the_published_sizes():
    predictor = IndexPredictor(IndexPredictorConfig())
    parameters = sum(p.numel() for p in predictor.parameters())
    # facts 3.1: 5.68 M with an unused 43 -> 128 layer; ours has 32 x 32 identities in place of one-hots.
    assert 5.6e6 < parameters < 5.75e6
    top = [*predictor.top_input.parameters(), *predictor.top_stack.parameters(), *predictor.top_output.parameters()]
    assert round(sum(p.numel() for p in top) / 1e6, 2) == 2.57
