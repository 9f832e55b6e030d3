import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, compact_vertices, load_rig


@pytest.fixture(scope="module")
def rig():
    return load_rig("arkit")


def motions(seed, shape=(2, 5, 52)):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


def full_distance(rig, first, second, region_weights):
    """Weighted mean over vertices of the squared vertex distance, in double precision, vertex by vertex."""
    weight = np.zeros(len(rig.neutral))
    for name, value in region_weights.items():
        weight[rig.regions[name]] += value
    difference = (rig.vertices(first.double()) - rig.vertices(second.double())).numpy()
    return (np.square(difference).sum(axis=-1) * weight).sum(axis=-1) / weight.sum()


@pytest.mark.parametrize(
    "region_weights",
    [
        {"face": 1.0},
        {"face": 1.0, "lips": 5.0},
        {"lips": 0.2},
        {"upper_face": 3.0, "jaw": 0.5},
        {"skin": 1.0, "eyes": 0.0},
    ],
)
def test_squared_distances_equal_those_of_all_vertices(rig, region_weights):
    compact = compact_vertices(rig, region_weights)
    first, second = motions(0)
    found = (compact(first) - compact(second)).square().sum(dim=-1)
    np.testing.assert_allclose(found, full_distance(rig, first, second, region_weights), rtol=2e-5)


def test_small_movements_keep_their_distance(rig):
    compact = compact_vertices(rig, {"face": 1.0})
    for channel in range(52):
        motion = torch.zeros(1, 52)
        motion[0, channel] = 1e-3
        expected = full_distance(rig, motion, torch.zeros(1, 52), {"face": 1.0})
        np.testing.assert_allclose(compact(motion).square().sum(dim=-1), expected, rtol=1e-4, atol=1e-16)


@pytest.mark.parametrize("region", ["lips", "jaw", "left_eye", "lower_teeth", "tongue"])
def test_regions_that_few_channels_move_give_few_coordinates(rig, region):
    compact = compact_vertices(rig, {region: 1.0})
    deltas = rig.deltas[:, rig.regions[region]].reshape(52, -1).astype(np.float64)
    rank = np.linalg.matrix_rank(deltas, tol=1e-9 * np.linalg.norm(deltas))
    first, second = motions(1)
    assert compact(first).shape == (2, 5, rank)
    assert rank < 52
    found = (compact(first) - compact(second)).square().sum(dim=-1)
    np.testing.assert_allclose(found, full_distance(rig, first, second, {region: 1.0}), rtol=2e-5)


def test_a_region_that_never_moves_gives_zero_distance(rig):
    compact = compact_vertices(rig, {"upper_teeth": 1.0})
    first, second = motions(2)
    assert rig.deltas[:, rig.regions["upper_teeth"]].any() == bool(compact(first).shape[-1])
    found = (compact(first) - compact(second)).square().sum(dim=-1)
    np.testing.assert_allclose(found, full_distance(rig, first, second, {"upper_teeth": 1.0}), rtol=2e-5)

    still = replace(rig, deltas=np.zeros_like(rig.deltas))
    assert compact_vertices(still, {"face": 1.0})(first).square().sum() == 0


def test_gradients_equal_those_through_all_vertices(rig):
    compact = compact_vertices(rig, {"lips": 1.0})
    first, second = motions(3, (4, 52))
    through_compact = first.clone().requires_grad_()
    (compact(through_compact) - compact(second)).square().sum(dim=-1).mean().backward()
    through_vertices = first.clone().requires_grad_()
    difference = rig.vertices(through_vertices, "lips") - rig.vertices(second, "lips")
    difference.square().sum(dim=-1).mean(dim=-1).mean().backward()
    torch.testing.assert_close(through_compact.grad, through_vertices.grad, rtol=1e-3, atol=1e-9)


def test_it_is_no_state_of_a_model_but_moves_with_it(rig):
    holder = nn.Sequential(compact_vertices(rig, {"face": 1.0}))
    assert not holder.state_dict()
    assert not list(holder.parameters())
    assert holder.double()(torch.zeros(1, 52, dtype=torch.float64)).dtype == torch.float64


def test_it_is_much_cheaper_than_all_vertices(rig):
    compact = compact_vertices(rig, {"face": 1.0})
    motion = torch.rand(64, 32, 52, generator=torch.Generator().manual_seed(4))

    def fastest(function):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function(motion)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest(compact) * 10 < fastest(rig.vertices)


@pytest.mark.parametrize(
    ("region_weights", "text"),
    [
        ({"nose": 1.0}, "no region 'nose'"),
        ({"lips": -1.0}, "'lips' has weight -1.0"),
        ({"lips": float("nan")}, "'lips' has weight nan"),
        ({"lips": 0.0}, "leave no vertex"),
        ({}, "leave no vertex"),
    ],
)
def test_bad_weights_are_refused(rig, region_weights, text):
    with pytest.raises(UserError, match=text):
        compact_vertices(rig, region_weights)


def test_channel_names_stay_in_order(rig):
    compact = compact_vertices(rig, {"upper_face": 1.0})
    reach = compact.factor.norm(dim=1)
    assert reach[CHANNELS.index("browInnerUp")] > 10 * reach[CHANNELS.index("mouthRollLower")]
