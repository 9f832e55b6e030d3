import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus_samples import BLINK, JAW, write_corpus

from deeptalk.corpus import FeatureStore, feature_statistics, features, motion_statistics
from deeptalk.errors import UserError
from deeptalk.speech import SpeechEncoder, build_encoder, frame_count


class Counting(SpeechEncoder):
    """Counts its batches; feature 0 is the mean level of the clip, feature 1 its frame number."""

    def __init__(self, scale=1.0, rate=25.0):
        super().__init__("counting", 2, rate)
        self.scale, self.sizes = scale, []

    def encode(self, waveforms, sample_lengths, frame_lengths):
        self.sizes.append([int(size) for size in sample_lengths])
        out = torch.zeros(len(waveforms), int(frame_lengths.max()), 2)
        for row, (samples, frames) in enumerate(zip(sample_lengths.tolist(), frame_lengths.tolist())):
            out[row, :frames, 0] = waveforms[row, :samples].abs().mean() * self.scale
            out[row, :frames, 1] = torch.arange(frames)
        return out

    def identity(self):
        return {"name": self.name, "scale": self.scale}


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus")


def test_features_are_of_the_right_clip_and_computed_once(corpus):
    encoder = Counting()
    store = corpus.features(encoder)
    computed = len(encoder.sizes)
    for index, row in enumerate(corpus.speech):
        features = store.get(index)
        assert features.dtype == np.float32
        assert features.shape == (frame_count(row.num_samples), 2) == (store.frames(index), 2)
        assert np.allclose(features[:, 0], np.abs(corpus.waveform(index)).mean(), rtol=1e-3)
        assert np.array_equal(features[:, 1], np.arange(len(features)))
    again = corpus.features(encoder)
    assert len(encoder.sizes) == computed
    assert np.array_equal(again.get(2), store.get(2))
    assert np.array_equal(pickle.loads(pickle.dumps(again)).get(2), store.get(2))


def test_batches_are_sorted_and_limited(corpus):
    encoder = Counting()
    FeatureStore.build(corpus, encoder, batch_seconds=4.0)
    flat = [size for sizes in encoder.sizes for size in sizes]
    assert flat == sorted(flat, reverse=True)
    assert len(flat) == len(corpus.speech)
    assert all(len(sizes) == 1 or sizes[0] * len(sizes) <= 4.0 * 16000 for sizes in encoder.sizes)
    assert max(len(sizes) for sizes in encoder.sizes) > 1


def test_batching_does_not_change_features(corpus, tmp_path):
    encoder = build_encoder("logmel")
    single = FeatureStore.build(corpus, encoder, storage="float32", batch_seconds=0.1, cache_folder=tmp_path / "a")
    batched = FeatureStore.build(corpus, encoder, storage="float32", batch_seconds=100.0, cache_folder=tmp_path / "b")
    for index in range(len(corpus.speech)):
        assert np.allclose(single.get(index), batched.get(index), atol=1e-4)


def test_other_encoder_and_storage_have_their_own_features(corpus):
    one, two = corpus.features(Counting(1.0)), corpus.features(Counting(2.0))
    assert one.folder != two.folder
    assert np.allclose(2 * one.get(0)[:, 0], two.get(0)[:, 0], rtol=1e-3)
    exact = FeatureStore.build(corpus, Counting(1.0), storage="float32")
    assert exact.folder != one.folder
    assert np.allclose(exact.get(0), one.get(0), rtol=1e-3)


def test_values_beyond_float16_are_refused(corpus):
    with pytest.raises(UserError, match=r"not finite as float16; use storage='float32'"):
        corpus.features(Counting(1e7))
    assert np.isfinite(FeatureStore.build(corpus, Counting(1e7), storage="float32").get(0)).all()


def test_an_interrupted_computation_leaves_nothing(corpus, monkeypatch):
    encoder = Counting()
    monkeypatch.setattr(encoder, "encode", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    with pytest.raises(RuntimeError, match="killed"):
        corpus.features(encoder)
    assert list((corpus.folder / "features").iterdir()) == []


class Failing(Counting):
    """Fails when it is asked for its batch number `at`."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def encode(self, waveforms, sample_lengths, frame_lengths):
        if len(self.sizes) == self.at:
            raise KeyboardInterrupt
        return super().encode(waveforms, sample_lengths, frame_lengths)


def test_a_stopped_computation_goes_on(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_SECONDS", 4.0)
    settings = {"batch_seconds": 2.5}
    whole = Counting()
    expected = FeatureStore.build(corpus, whole, cache_folder=tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore.build(corpus, Failing(at=5), **settings)
    rest = Counting()
    store = FeatureStore.build(corpus, rest, **settings)
    assert 0 < len(whole.sizes) - len(rest.sizes) <= 5
    assert (store.folder / "features.npy").read_bytes() == (expected.folder / "features.npy").read_bytes()
    assert [path.name for path in store.folder.parent.iterdir()] == [store.folder.name]


def test_of_two_that_want_the_same_one_computes(corpus):
    class Slow(Counting):
        def encode(self, *arguments):
            time.sleep(0.2)
            return super().encode(*arguments)

    encoders = Slow(), Slow()
    with ThreadPoolExecutor() as pool:
        stores = list(pool.map(corpus.features, encoders))
    assert sorted(len(encoder.sizes) > 0 for encoder in encoders) == [False, True]
    assert np.array_equal(stores[0].get(3), stores[1].get(3))


def test_two_processes_compute_what_one_computes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_SECONDS", 4.0)
    encoder = build_encoder("logmel")
    one, two = (
        FeatureStore.build(corpus, encoder, workers=count, cache_folder=tmp_path / str(count), batch_seconds=2.5)
        for count in (1, 2)
    )
    assert np.allclose(np.load(one.folder / "features.npy"), np.load(two.folder / "features.npy"), atol=1e-2)


def test_part_of_a_clip(corpus):
    store = corpus.features(Counting())
    assert np.array_equal(store.get(1, slice(3, 7)), store.get(1)[3:7])


def test_frame_rate_must_fit(corpus):
    with pytest.raises(UserError, match=r"gives 50.0 frames a second .* has 25.0"):
        corpus.features(Counting(rate=50.0))


def test_read_only_corpus(corpus, tmp_path, monkeypatch):
    # Root may write anywhere, so the question itself is answered: no.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != corpus.folder)
    with pytest.raises(UserError, match="read-only"):
        corpus.features(Counting())
    store = corpus.features(Counting(), cache_folder=tmp_path / "cache")
    assert tmp_path / "cache" in store.folder.parents
    assert len(store.get(0)) == store.frames(0)


def test_damaged_features_are_found(corpus):
    store = corpus.features(Counting())
    content = (store.folder / "features.npy").read_bytes()
    (store.folder / "features.npy").write_bytes(content[:-40])
    with pytest.raises(UserError, match=r"Delete .* it is computed again"):
        corpus.features(Counting())


def test_features_of_another_corpus_are_refused(corpus, tmp_path):
    other = write_corpus(tmp_path / "other", amount=0.5)
    store = corpus.features(Counting())
    with pytest.raises(UserError, match="belong to another corpus"):
        FeatureStore(other, store.folder)


def test_motion_statistics_equal_a_slow_loop(corpus):
    frames = [
        frame
        for index in corpus.performances_in("train")
        for frame in corpus.motion(index, blink_and_gaze=True).tolist()
    ]
    mean, std = motion_statistics(corpus, "train", include_blinks_and_gaze=True)
    assert mean.dtype == std.dtype == torch.float32
    for channel in (0, 1, BLINK, JAW):
        values = [frame[channel] for frame in frames]
        expected = sum(values) / len(values)
        variance = sum((value - expected) ** 2 for value in values) / len(values)
        assert mean[channel].item() == pytest.approx(expected, abs=1e-6)
        assert std[channel].item() == pytest.approx(variance**0.5, abs=1e-6)
    idle_mean, idle_std = motion_statistics(corpus, "train")
    assert idle_mean[BLINK] == idle_std[BLINK] == 0
    assert idle_mean[JAW] == mean[JAW]


def test_feature_statistics_equal_numpy_far_from_zero(corpus):
    encoder = Counting(3e4)  # a mean a thousand times the spread must not cost the spread its digits
    store = FeatureStore.build(corpus, encoder, storage="float32")
    mean, std = feature_statistics(store, corpus, "val")
    values = np.concatenate([store.get(index) for index in corpus.speech_in("val")]).astype(np.float64)
    assert np.allclose(mean, values.mean(0), rtol=1e-6)
    assert np.allclose(std, values.std(0), rtol=1e-5)


def test_statistics_need_data(corpus):
    with pytest.raises(UserError, match="no split 'test'"):
        motion_statistics(corpus, "test")
