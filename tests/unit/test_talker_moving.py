"""A take whose emotion moves: at every moment what a take of that emotion throughout would be."""

import math

import pytest
import torch
from tiny_talker import tiny_batch, tiny_predictor, tiny_prior
from torch.nn import functional

from deeptalk.talker import MostLikely
from deeptalk.talker.moving import POINT_RADIANS, path_points, predict_moving


def vectors(count=2, seed=5):
    return functional.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def circle(angles):
    """Unit vectors at these angles in one plane."""
    angles = torch.as_tensor(angles)
    return functional.pad(torch.stack([angles.cos(), angles.sin()], dim=-1), (0, 6))


def forward(predictor, features, vector):
    lengths, unseen = torch.tensor([features.shape[1]]), torch.tensor([-1])
    with torch.no_grad():
        return predictor(features, vector[None], unseen, lengths, tiny_prior(), MostLikely())


def moving(predictor, features, path, choose=None):
    with torch.no_grad():
        return predict_moving(predictor, features, path, torch.tensor([-1]), tiny_prior(), choose or MostLikely())


class Seen:
    """Chooses the most likely codes and keeps the logits."""

    def __init__(self):
        self.logits = {}

    def __call__(self, logits, level):
        self.logits[level] = logits.clone()
        return MostLikely()(logits, level)


def test_points_lie_at_equal_angles_along_the_path():
    angles = torch.cat([torch.zeros(5), torch.linspace(0, 1.5, 40) ** 2 / 1.5, torch.full((6,), 1.5)])
    points, place = path_points(circle(angles))
    count = math.ceil(1.5 / POINT_RADIANS)
    torch.testing.assert_close(points, circle(torch.linspace(0, 1.5, count + 1)), rtol=0, atol=2e-3)
    torch.testing.assert_close(place, angles.double() / 1.5 * count, rtol=0, atol=1e-3)
    assert place[:5].max() == 0  # it stood still at first
    assert torch.equal(place[-6:], torch.full((6,), float(count), dtype=place.dtype))


def test_a_path_there_and_back_is_as_long_as_it_is():
    angles = torch.cat([torch.linspace(0, 1, 20), torch.linspace(1, 0, 20)])
    points, place = path_points(circle(angles))
    assert len(points) == math.ceil(2 / POINT_RADIANS) + 1
    torch.testing.assert_close(points[0], points[-1], rtol=0, atol=1e-5)
    assert (place.diff() >= 0).all()


@pytest.mark.parametrize("frames", [1, 2, 5, 31, 48])
def test_a_path_that_stands_still_is_one_pass_to_the_bit(frames):
    predictor, features, vector = tiny_predictor(), tiny_batch([frames])["features"], vectors(1)[0]
    points, place = path_points(vector.expand(frames, -1))
    assert len(points) == 1
    assert place.abs().max() == 0
    still = moving(predictor, features, vector.expand(frames, -1))
    assert torch.equal(still, forward(predictor, features, vector).motion[0])


def test_before_and_after_it_moves_codes_are_those_of_its_ends():
    predictor, features = tiny_predictor(), tiny_batch([120])["features"]
    angles = torch.cat([torch.zeros(60), torch.linspace(0, 2.5, 20), torch.full((40,), 2.5)])
    seen = Seen()
    moving(predictor, features, circle(angles), seen)
    for angle, tokens in ((0.0, slice(0, 15)), (2.5, slice(20, 30))):
        whole = forward(predictor, features, circle([angle])[0])
        torch.testing.assert_close(seen.logits[0][0, tokens], whole.top_logits[0, tokens], rtol=1e-4, atol=1e-4)
    middle = forward(predictor, features, circle([1.25])[0]).top_logits[0, 17]
    ends = [forward(predictor, features, circle([angle])[0]).top_logits[0, 17] for angle in (0.0, 2.5)]
    found = seen.logits[0][0, 17]
    assert (found - middle).norm() < 0.3 * min((found - end).norm() for end in ends)


def test_points_far_away_are_not_heard_and_context_is(monkeypatch):
    """Each pass sees its own stretch and `CONTEXT_FRAMES` around it, no more."""
    predictor, features = tiny_predictor(), tiny_batch([400])["features"]
    angles = torch.cat([torch.zeros(20), torch.linspace(0, 1.0, 20), torch.full((360,), 1.0)])
    seen = []
    plain = predictor.face_features
    monkeypatch.setattr(predictor, "face_features", lambda f, *rest: seen.append(f.shape[1]) or plain(f, *rest))
    moving(predictor, features, circle(angles))
    assert len(seen) == 6
    assert max(seen[:4]) <= 40 + 100 + 4
    assert seen[-1] == 400


def test_weights_of_neighbours_add_up():
    predictor, features = tiny_predictor(), tiny_batch([50])["features"]
    predictor.emotion.weight.data.zero_()  # then it does not matter which point is asked
    seen = Seen()
    motion = moving(predictor, features, circle(torch.linspace(0, 3, 50)), seen)
    plain = forward(predictor, features, vectors(1)[0])
    torch.testing.assert_close(seen.logits[0], plain.top_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen.logits[1], plain.bottom_logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(motion, plain.motion[0])


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 30, 33])
def test_any_length(frames):
    features = tiny_batch([frames])["features"]
    motion = moving(tiny_predictor(), features, circle(torch.linspace(0, 1, frames)))
    assert motion.shape == (frames, 52)
    assert torch.isfinite(motion).all()
