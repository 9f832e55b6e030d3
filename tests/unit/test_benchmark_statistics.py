import numpy as np
import pytest

from deeptalk.benchmark import bootstrap_interval


def test_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        interval = bootstrap_interval(rng.gamma(4.0, 1.0, size=30), resamples=400, confidence=0.9, seed=trial)
        covered += interval.low <= 4.0 <= interval.high
    assert 0.84 <= covered / 300 <= 0.95


def test_interval_of_paired_differences_is_narrower_than_that_of_each():
    rng = np.random.default_rng(1)
    clip_difficulty = rng.normal(10.0, 3.0, size=24)
    first, second = clip_difficulty + rng.normal(0, 0.1, 24), clip_difficulty + 0.5 + rng.normal(0, 0.1, 24)
    settings = {"resamples": 500, "confidence": 0.95, "seed": 0}
    paired, alone = bootstrap_interval(first - second, **settings), bootstrap_interval(first, **settings)
    assert paired.high < 0
    assert paired.high - paired.low < 0.2 * (alone.high - alone.low)


def test_same_seed_same_interval():
    values = np.random.default_rng(2).normal(size=20)
    assert bootstrap_interval(values, 300, 0.95, seed=1) == bootstrap_interval(values, 300, 0.95, seed=1)
    assert bootstrap_interval(values, 300, 0.95, seed=1) != bootstrap_interval(values, 300, 0.95, seed=2)


def test_values_without_spread_or_without_a_second_clip():
    constant = bootstrap_interval(np.zeros(10), 100, 0.95, 0)
    assert (constant.mean, constant.low, constant.high) == (0.0, 0.0, 0.0)
    single = bootstrap_interval(np.array([2.0]), 100, 0.95, 0)
    assert single.mean == 2.0
    assert np.isnan([single.low, single.high]).all()
    missing = bootstrap_interval(np.full(5, np.nan), 100, 0.95, 0)
    assert np.isnan([missing.mean, missing.low, missing.high]).all()


def test_more_confidence_is_wider():
    values = np.random.default_rng(3).normal(size=40)
    wide, narrow = (bootstrap_interval(values, 1000, confidence, 0) for confidence in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert narrow.mean == pytest.approx(values.mean())
