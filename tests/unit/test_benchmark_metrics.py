import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance

from deeptalk.benchmark import metrics
from deeptalk.errors import UserError
from deeptalk.face import compact_vertices, load_rig


def gaussian(count: int, generator: torch.Generator, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    """Motions of 2 frames and 3 coordinates, in metres."""
    return mean + std * torch.randn(count, 2, 3, generator=generator, dtype=torch.float64)


def test_distances_on_the_head_equal_those_of_its_vertices():
    rig = load_rig("arkit")
    generator = torch.Generator().manual_seed(0)
    takes, references = (torch.rand(n, 6, 52, generator=generator) for n in (3, 2))
    compact = compact_vertices(rig, {"face": 1.0})
    distances = metrics.motion_distances(compact(takes), compact(references))
    for i, j in itertools.product(range(3), range(2)):
        difference = rig.vertices(takes[i], "face") - rig.vertices(references[j], "face")
        expected = 1000 * difference.square().sum(-1).mean().sqrt()
        assert float(distances[i, j]) == pytest.approx(float(expected), rel=1e-4)


def test_errors_match_slow_loops_and_broadcast():
    generator = torch.Generator().manual_seed(1)
    takes, references = (torch.randn(n, 4, 5, 3, generator=generator).double() for n in (3, 2))
    errors = metrics.maximum_vertex_error(takes[:, None], references)
    squared = metrics.maximum_squared_vertex_error(takes[:, None], references)
    assert errors.shape == squared.shape == (3, 2)
    for i, j in itertools.product(range(3), range(2)):
        largest = [
            max(math.dist(takes[i, t, v].tolist(), references[j, t, v].tolist()) for v in range(5)) for t in range(4)
        ]
        assert float(errors[i, j]) == pytest.approx(1000 * sum(largest) / 4)
        assert float(squared[i, j]) == pytest.approx(1e6 * sum(x * x for x in largest) / 4)


def test_dynamics_deviation_is_positive_where_the_prediction_moves_less():
    neutral = torch.zeros(5, 3)
    moving = torch.randn(20, 5, 3, generator=torch.Generator().manual_seed(2))
    assert metrics.dynamics_deviation(0.5 * moving, moving, neutral) > 0
    assert metrics.dynamics_deviation(2.0 * moving, moving, neutral) < 0
    assert metrics.dynamics_deviation(moving, moving, neutral) == 0


def test_identical_takes_have_no_diversity_at_all():
    take = torch.rand(1, 50, 40) * 1e-2
    assert metrics.diversity(take.repeat(8, 1, 1)) == 0.0


def test_a_point_mass_scores_zero_on_itself():
    motion = torch.rand(1, 5, 4)
    assert metrics.energy_score(motion.repeat(3, 1, 1), motion) == 0.0
    assert metrics.coverage_error(motion.repeat(3, 1, 1), motion) == 0.0
    assert metrics.mean_estimate_error(motion.repeat(3, 1, 1), motion) == pytest.approx(0.0, abs=1e-12)


def test_energy_score_matches_scipy_in_one_dimension():
    """Of the three parts of the energy distance, scipy's square is 2 E|x-y| - E|x-x'| - E|y-y'| with equal pairs in."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=7), rng.normal(1.0, 2.0, size=9)
    takes, references = (torch.from_numpy(z)[:, None, None] for z in (x, y))
    fair = metrics.energy_score(takes, references) / 1000
    spread_x = np.abs(x[:, None] - x).mean()
    spread_y = np.abs(y[:, None] - y).mean()
    expected = 0.5 * (energy_distance(x, y) ** 2 + spread_x + spread_y) - 0.5 * spread_x * 7 / 6
    assert fair == pytest.approx(expected)


def test_energy_score_is_unbiased_in_the_number_of_takes():
    generator = torch.Generator().manual_seed(3)
    references = gaussian(64, generator)
    few = [metrics.energy_score(gaussian(2, generator), references) for _ in range(3000)]
    many = [metrics.energy_score(gaussian(40, generator), references) for _ in range(100)]
    error = math.hypot(np.std(few) / 3000**0.5, np.std(many) / 100**0.5)
    assert abs(np.mean(few) - np.mean(many)) < 4 * error


def test_energy_score_is_proper():
    """The true distribution scores lower than the same one shifted, narrowed or widened, and than its mean alone."""
    generator = torch.Generator().manual_seed(4)
    references = gaussian(400, generator)
    score = {
        name: metrics.energy_score(gaussian(400, generator, **change), references)
        for name, change in {
            "true": {},
            "shifted": {"mean": 0.4},
            "narrowed": {"std": 0.5},
            "widened": {"std": 1.6},
            "mean": {"std": 0.0},
        }.items()
    }
    assert min(score, key=lambda name: score[name]) == "true"
    assert all(score[name] > score["true"] + 20 for name in score if name != "true")


def test_coverage_and_mean_estimate_match_slow_loops():
    generator = torch.Generator().manual_seed(5)
    takes, references = gaussian(4, generator), gaussian(3, generator)

    def distance(a, b):
        return 1000 * math.sqrt(float((a - b).square().sum()) / len(a))

    nearest = [min(distance(take, reference) for take in takes) for reference in references]
    assert metrics.coverage_error(takes, references) == pytest.approx(sum(nearest) / 3)
    expected = distance(takes.mean(0), references.mean(0))
    assert metrics.mean_estimate_error(takes, references) == pytest.approx(expected)
    pairs = [distance(a, b) for a, b in itertools.combinations(takes, 2)]
    assert metrics.diversity(takes) == pytest.approx(sum(pairs) / len(pairs))


def test_unequal_frame_counts_are_refused():
    with pytest.raises(UserError, match="10 frames and its reference 7"):
        metrics.energy_score(torch.rand(2, 10, 3), torch.rand(2, 7, 3))
    with pytest.raises(UserError, match="10 frames and its reference 7"):
        metrics.maximum_vertex_error(torch.rand(10, 4, 3), torch.rand(7, 4, 3))


def test_one_take_has_no_diversity_to_measure():
    with pytest.raises(UserError, match="Diversity needs at least 2 takes, got 1"):
        metrics.diversity(torch.rand(1, 10, 3))
    with pytest.raises(UserError, match="energy score needs at least 2 takes"):
        metrics.energy_score(torch.rand(1, 10, 3), torch.rand(2, 10, 3))
