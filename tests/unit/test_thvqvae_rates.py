"""The rate-distortion benchmark's own arithmetic: intervals, rates, pairs of rivals, codes drawn anew, the picture."""

import copy
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

REGIONS = ("face", "lips", "upper_face")


def benchmark(name):
    """A module of benchmarks/, whose modules import each other by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def tables():
    return benchmark("rate_tables")


@pytest.fixture(scope="module")
def rates():
    return benchmark("rate_distortion")


def row(family: str, rate: float | None, errors: np.ndarray) -> dict:
    """A row whose (seed, group) root mean squares are `errors` mm in every region, 100 frames a group."""
    seeds = []
    for own in errors:
        groups = {f"speaker {i}": {"frames": 100.0, "kl_bits": 400.0} for i in range(len(own))}
        for group, error in zip(groups.values(), own):
            group |= {region: 100.0 * error**2 for region in REGIONS}
        seeds.append({"sets": {"test": groups}, "code_use": {"top": 0.95, "bottom": 1.0}, "damaged": {}})
    extra = {} if rate is None else {"bits_per_second": rate}
    return {"name": family, "family": family, "parameters": 1e6, "seeds": seeds, **extra}


def test_the_mean_is_over_frames_then_seeds(tables):
    values = tables.millimetres(row("hierarchy", 150.0, np.array([[1.0, 7.0], [5.0, 5.0]])), "test", "lips")
    assert values[0] == pytest.approx((5.0 + 5.0) / 2)  # sqrt((1 + 49) / 2) = 5
    assert values.shape == (tables.RESAMPLES + 1,)
    assert values.min() >= 1.0
    assert values.max() <= 7.0


def test_intervals_hold_what_groups_and_seeds_vary_and_pairs_cancel_it(tables):
    rng = np.random.default_rng(0)
    speakers = rng.uniform(1, 3, 9)
    ours = row("hierarchy", 150.0, speakers + rng.normal(0, 0.01, (3, 9)))
    theirs = row("one level", 150.0, speakers + 0.1 + rng.normal(0, 0.01, (3, 9)))
    single = tables.millimetres(ours, "test", "face")
    difference = single - tables.millimetres(theirs, "test", "face")
    assert np.ptp(np.percentile(single[1:], [2.5, 97.5])) > 0.5
    low, high = np.percentile(difference[1:], [2.5, 97.5])
    assert -0.13 < low < difference[0] < high < -0.06
    assert np.all(single - tables.millimetres(copy.deepcopy(ours), "test", "face") == 0)


def test_rates_and_pairs(tables, rates):
    rows = [row("hierarchy", 150.0, np.ones((2, 3))), row("one level", 150.0, np.ones((2, 3)))]
    rows += [row("one level", 112.5, np.ones((2, 3))), row("VAE", None, np.ones((2, 3)))]
    assert tables.rivals(rows) == [(rows[0], rows[1])]
    assert tables.rate(rows[3], "test") == pytest.approx(25 * 4.0)
    assert tables.used(rows[0]) == "95%"
    for system in rates.systems(16, 5, [6, 8]):
        if system.family != "VAE":
            assert rates.code_bits_per_second(system.config, 25.0) in (112.5, 150.0)


def test_a_share_of_the_codes_is_drawn_anew(rates):
    codes = torch.full((4, 500), 7)
    assert torch.equal(rates.redrawn(codes, 256, 0.0), codes)
    changed = float((rates.redrawn(codes, 256, 0.1) != codes).float().mean())
    assert changed == pytest.approx(0.1, abs=0.02)
    assert torch.equal(rates.redrawn(codes, 256, 0.1), rates.redrawn(codes, 256, 0.1))


def test_the_picture_has_a_panel_for_each_region_and_set():
    pytest.importorskip("PIL")
    drawing = benchmark("rate_picture")
    rows = [row("hierarchy", rate, np.ones((2, 3)) + 50 / rate) for rate in (112.5, 150.0)]
    image = drawing.picture({"rows": [*rows, row("VAE", None, np.ones((2, 3)))]})
    assert image.shape == (drawing.TOP + drawing.PANEL_HEIGHT, len(REGIONS) * drawing.PANEL_WIDTH, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
