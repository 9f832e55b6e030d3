"""The functions of benchmarks/dee_ravdess.py and benchmarks/bench_dee.py on data small enough to know."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deeptalk.corpus.rows import SpeechRow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(name):
    sys.path.insert(0, str(BENCHMARKS))  # for timing.py beside it
    try:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@pytest.fixture(scope="module")
def ravdess():
    pytest.importorskip("sklearn", reason="needs scikit-learn (extra dev)")
    return benchmark("dee_ravdess")


@pytest.fixture(scope="module")
def scores(ravdess):
    return sys.modules["ravdess_scores"]


def voice(hertz, amplitude=0.05):
    times = np.arange(20_000) / 16000
    syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * times)
    samples = amplitude * syllables * sum(np.sin(2 * np.pi * k * hertz * times) / k for k in range(1, 20))
    return np.pad(samples, 2000).astype(np.float32)


def row(speaker, emotion, intensity, repetition=1, origin=None):
    origin = {"repetition": repetition} if origin is None else origin
    return SpeechRow(
        f"{speaker}-{emotion}", speaker, "kids", "", emotion, intensity, "train", (), 24_000, 0, None, origin
    )


class Rows(list):
    def column(self, name):
        return [getattr(entry, name) for entry in self]


def corpus_of(rows, waveforms=()):
    return SimpleNamespace(speech=Rows(rows), waveform=lambda index: waveforms[index])


def test_half_of_the_items_are_centred_and_an_item_repeats(ravdess):
    class Base:
        def __len__(self):
            return 1

        def __getitem__(self, draw):
            return {"features": torch.zeros(5, 9), "speech": torch.tensor(0)}

    def offset(value):
        return np.array([0, 0, value, 0, value, value, value, value, value], np.float32)

    # of a speaker's neutral clip the other neutral ones are the reference, which is not the speaker's centre
    corpus = corpus_of([row("a", 0, 0.0), row("a", 4, 1.0)])
    views = ravdess.SpeakerViews(Base(), corpus, {0: offset(99.0), 1: offset(50.0)})
    drawn = torch.stack([views[0, seed]["features"] for seed in range(400)])
    assert (drawn[:, :, :2] == 0).all()  # what is not prosody stays
    assert (drawn[:, :, 3] == 0).all()  # and so does voicing
    assert (drawn == drawn[:, :1]).all()  # the same shift in every frame
    centred = drawn[:, 0, 2] < -25
    assert 0.4 < centred.float().mean() < 0.6
    np.testing.assert_allclose(drawn[centred, 0, 4].mean(), -50, atol=0.5)
    assert drawn[~centred, 0, 4].std() > 1.5 * drawn[centred, 0, 4].std()
    assert torch.equal(views[0, 7]["features"], drawn[7])


def test_speakers_are_split_anew(ravdess, tmp_path):
    import pyarrow as pa

    from deeptalk.corpus.rows import Table, write_rows

    entries = [row("a", 0, 0.0), row("b", 4, 1.0)]
    write_rows(tmp_path / "speech.parquet", entries, SpeechRow)
    table = Table(pa.parquet.read_table(tmp_path / "speech.parquet"), SpeechRow)
    manifest = {"rig": "arkit", "channels": [], "frame_rate": 25.0, "sample_rate": 16000, "hash": "x", "splits": {}}
    whole = SimpleNamespace(folder=tmp_path, manifest=manifest, speech=table)
    people = ravdess.People(whole, {"a": "test", "b": "train"})
    assert people.speech_in("test") == [0]
    assert people.speech_in("train") == [1]
    assert people.speakers("train") == ("b",)
    assert manifest["splits"] == {}


def test_uncertainty_is_compared_within_pairs(scores):
    rows = [row(actor, 4, level) for actor in "abc" for level in (0.5, 1.0)] + [row("a", 0, 0.0), row("a", 5, 0.5)]
    variance = np.array([2.0, 1.0, 4.0, 2.0, 3.0, 6.0, 100.0, 100.0])
    found = scores.by_intensity(corpus_of(rows), np.arange(8), variance)
    assert found["pairs"] == 3
    assert found["share_strong_smaller"] == pytest.approx(2 / 3)
    assert found["log_ratio"]["mean"] == pytest.approx(-np.log(2) / 3)
    assert found["sign_test_p"] == pytest.approx(1.0)


def test_probe_chooses_c_by_speakers_it_was_not_fitted_on(ravdess):
    generator = np.random.default_rng(0)
    labels, speakers = np.tile([0, 1], 60), np.repeat(np.arange(6), 20)
    rows = generator.standard_normal((120, 40))
    rows[:, 0] += 4 * labels
    model, c = ravdess.probe(rows, labels, speakers)
    assert c in ravdess.PROBE_C
    fresh = generator.standard_normal((200, 40))
    fresh[:, 0] += 4 * (np.arange(200) % 2)
    assert (model.predict(fresh) == np.arange(200) % 2).mean() > 0.9


def test_scores_count_what_they_say(scores):
    emotion, speakers = np.arange(16) % 8, np.repeat(["a", "b"], 8)
    predicted = emotion.copy()
    predicted[:4] = 4
    found = scores.score(predicted, emotion, speakers)
    assert found["accuracy"] == pytest.approx(12 / 16)
    assert found["interval"]["mean"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["confusion_percent"][0][4] == 50
    assert found["confusion_percent"][4][4] == 100


def test_rank_weights_anew_for_every_clip_pool_alike():
    bench = benchmark("bench_dee")
    ours, anew = bench.GeneralizedPooling(), bench.PoolingPerClip()
    anew.load_state_dict(ours.state_dict())
    values, lengths = torch.randn(3, 7, 4), torch.tensor([7, 3, 1])
    torch.testing.assert_close(ours(values, lengths), anew(values, lengths))


def test_shares_of_a_step():
    bench = benchmark("bench_dee")
    left, right = torch.randn(200, 200), torch.randn(200, 200)
    seconds, products, attention, largest = bench.shares(lambda: [left @ right for _ in range(20)])
    assert products > 0.5
    assert attention == 0
    assert len(largest) <= 5
    assert seconds > 0
