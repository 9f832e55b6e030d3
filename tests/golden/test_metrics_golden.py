"""Metrics against published definitions: a committed slice with slow-loop values, and the full shared goldens.

`metrics_slice` is synthetic: 55 vertices of random motion cut from shared/goldens/metrics; its expected values were
computed with plain float64 loops over the definitions that stand beside them.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from deeptalk.benchmark import metrics

HERE = Path(__file__).parent
GOLDENS = HERE.parents[2] / "shared" / "goldens" / "metrics"


def coordinates(vertices: torch.Tensor) -> torch.Tensor:
    """(..., vertex, 3) -> (..., coordinate) whose squared differences sum to the mean over vertices."""
    return vertices.double().flatten(-2) / vertices.shape[-2] ** 0.5


def test_committed_slice():
    data = load_file(HERE / "metrics_slice.safetensors")
    expected = {name: entry["value"] for name, entry in json.loads((HERE / "metrics_slice.json").read_text()).items()}
    template, reference, takes, references = (
        data[name].double() for name in ("template", "reference", "takes", "references")
    )
    lips, upper = data["lip_indices"], data["upper_indices"]
    take_coordinates, reference_coordinates = coordinates(takes), coordinates(references)
    actual = {
        "lve_mm": metrics.maximum_vertex_error(takes[0][:, lips], reference[:, lips]),
        "lve_squared_mm2": metrics.maximum_squared_vertex_error(takes[0][:, lips], reference[:, lips]),
        "eve_mm": metrics.maximum_vertex_error(takes[0][:, upper], reference[:, upper]),
        "fdd_signed_mm2": metrics.dynamics_deviation(takes[0][:, upper], reference[:, upper], template[upper]),
        "rms_mm": metrics.motion_distances(take_coordinates[:1], coordinates(reference)[None]),
        "diversity_mm": metrics.diversity(take_coordinates),
        "mean_estimate_error_mm": metrics.mean_estimate_error(take_coordinates, reference_coordinates),
        "coverage_error_mm": metrics.coverage_error(take_coordinates, reference_coordinates),
        "energy_score_mm": metrics.energy_score(take_coordinates, reference_coordinates),
    }
    assert set(actual) == set(expected)
    for name, value in actual.items():
        assert float(value) == pytest.approx(expected[name], rel=1e-9), name


@pytest.mark.shared
@pytest.mark.skipif(not GOLDENS.is_dir(), reason="shared/goldens/metrics is not there")
def test_full_goldens():
    data = load_file(GOLDENS / "data.safetensors")
    values = json.loads((GOLDENS / "values.json").read_text())["metrics"]
    expected = {name: entry["value"] for name, entry in values.items()}
    truth, samples = data["seq_a.gt"].double(), data["seq_a.pred_samples"].double()
    lips, upper = data["lip_indices"], data["upper_indices"]
    template = data["template"].double()[upper]

    def check(name, value, scale=1.0):
        assert float(value) * scale == pytest.approx(expected[name], rel=1e-6), name

    lve = metrics.maximum_vertex_error(samples[:, :, lips], truth[:, lips])
    check("textbook.A.lve_max_l2_mm", lve[0])
    check("textbook.A.lve_average_over_samples_mm", lve.mean())
    check("textbook.A.lve_best_of_samples_mm", lve.min())
    check(
        "textbook.A.lve_of_sample_mean_mm",
        metrics.maximum_vertex_error(samples.mean(0)[:, lips], truth[:, lips]),
    )
    check("textbook.A.eve_max_l2_mm", metrics.maximum_vertex_error(samples[0][:, upper], truth[:, upper]))
    squared = metrics.maximum_squared_vertex_error(samples[0][:, lips], truth[:, lips])
    check("textbook.A.lve_max_sq_mm2", squared)
    check("codetalker.A.lve.float64", squared, 1e-6)
    check("torchmetrics.A.lip_vertex_error.float64", squared, 1e-6)
    eve_squared = metrics.maximum_squared_vertex_error(samples[0][:, upper], truth[:, upper])
    check("textbook.A.eve_max_sq_mm2", eve_squared)
    deviation = metrics.dynamics_deviation(samples[0][:, upper], truth[:, upper], template)
    check("codetalker.A.fdd.float64", deviation, 1e-6)
    distance = metrics.motion_distances(coordinates(samples[:1]), coordinates(truth)[None])
    check("textbook.A.rms_all_mm", distance)
