import math

import pytest
import torch
from torch.nn import functional

from dee import GaussianEmbedding
from dee.prototypes import Prototypes

NAMES = ["neutral", "happy", "sad", "angry"]
SIZE = 32


def path_point(direction, angle):
    point = torch.zeros(SIZE)
    point[0], point[direction] = math.cos(angle), math.sin(angle)
    return point


def clips(noise=0.0, count=200):
    """Neutral at axis 0; happy goes 1.2 radians towards axis 1 at intensity 1, sad 0.8 towards axis 2; no angry."""
    generator = torch.Generator().manual_seed(0)
    rows = [(0, 0.0, path_point(1, 0.0))] * count
    rows += [(1, i, path_point(1, 1.2 * i)) for i in (0.5, 1.0)] * count
    rows += [(2, 1.0, path_point(2, 0.8))] * count
    rows += [(-1, 0.3, path_point(5, 1.0))] * count
    emotion = torch.tensor([row[0] for row in rows])
    intensity = torch.tensor([row[1] for row in rows])
    means = torch.stack([row[2] for row in rows])
    means = functional.normalize(means + noise * torch.randn(means.shape, generator=generator), dim=-1)
    return GaussianEmbedding(means, torch.full_like(means, -8.0)), emotion, intensity


@pytest.fixture
def fitted():
    prototypes = Prototypes(NAMES, SIZE)
    prototypes.fit(*clips(noise=0.05))
    return prototypes


def test_intensity_moves_along_the_great_circle(fitted):
    intensity = torch.tensor([0.0, 0.25, 0.5, 0.8, 1.0])
    for emotion, full_angle in ((1, 1.2), (2, 0.8)):
        points = fitted(torch.full((5,), emotion), intensity).mean
        expected = torch.stack([path_point(emotion, full_angle * i) for i in intensity.tolist()])
        angles = torch.acos((points * expected).sum(-1).clamp(max=1.0))
        assert angles.max() < 0.08
        torch.testing.assert_close(points.norm(dim=-1), torch.ones(5))
    neutral = fitted(torch.zeros(5, dtype=torch.long), intensity).mean
    torch.testing.assert_close(neutral, neutral[:1].expand(5, -1))
    torch.testing.assert_close(fitted(torch.tensor([1]), torch.tensor([0.0])).mean, neutral[:1])


def test_the_path_bends_where_the_clips_do(fitted):
    """Weak clips of an emotion on one axis, strong ones on another: each intensity leads to its own clips."""
    means = torch.stack([path_point(0, 0.0)] * 4 + [path_point(1, 1.5)] * 4 + [path_point(2, 1.5)] * 4)
    emotion = torch.tensor([0] * 4 + [1] * 8)
    intensity = torch.tensor([0.0] * 4 + [0.4] * 4 + [0.8] * 4)
    prototypes = Prototypes(NAMES, SIZE)
    prototypes.fit(GaussianEmbedding(means, torch.full_like(means, -8.0)), emotion, intensity)
    for strength, axis in ((0.4, 1), (0.8, 2)):
        point = prototypes(torch.tensor([1]), torch.tensor([strength])).mean[0]
        assert point @ path_point(axis, 1.5) > 0.999
    beyond = prototypes(torch.tensor([1]), torch.tensor([1.0])).mean[0]
    assert beyond @ path_point(2, 1.5) > beyond @ path_point(1, 1.5)
    far = prototypes(torch.tensor([1, 1]), torch.tensor([1.3, 5.0])).mean  # one step beyond the strong ones at most
    torch.testing.assert_close(far[0], far[1])
    # clips of one intensity give no direction to go on in
    still = fitted(torch.tensor([2, 2]), torch.tensor([1.0, 1.4])).mean
    torch.testing.assert_close(still[0], still[1])


@pytest.mark.parametrize("strong", [1, 10, 11, 40])
def test_two_levels_are_two_anchors_however_often_each_occurs(strong):
    means = torch.stack([path_point(0, 0.0)] * 4 + [path_point(1, 0.6)] * 10 + [path_point(1, 1.2)] * strong)
    intensity = torch.tensor([0.0] * 4 + [0.5] * 10 + [1.0] * strong)
    prototypes = Prototypes(NAMES, SIZE)
    prototypes.fit(GaussianEmbedding(means, torch.full_like(means, -8.0)), (intensity > 0).long(), intensity)
    torch.testing.assert_close(prototypes.anchor_intensity[1], torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize("intensities", [[0.4, 0.8], [0.5, 0.52], [0.7, 0.7], [0.57, 0.67]])
def test_the_path_has_no_jumps(intensities):
    generator = torch.Generator().manual_seed(0)
    strength = torch.tensor([0.0] * 4 + intensities * 20)
    noise = 0.05 * torch.randn(len(strength), SIZE, generator=generator)
    points = torch.stack([path_point(1, 1.2 * i) for i in strength.tolist()])
    prototypes = Prototypes(NAMES, SIZE)
    embedding = GaussianEmbedding(functional.normalize(points + noise, dim=-1), torch.full_like(points, -8.0))
    prototypes.fit(embedding, (strength > 0).long(), strength)
    way = prototypes(torch.ones(1001, dtype=torch.long), torch.linspace(0, 1, 1001)).mean
    assert (way[1:] - way[:-1]).norm(dim=-1).max() < 0.02


def test_variance_is_that_of_draws_from_the_clips(fitted):
    embedding, emotion, _ = clips(noise=0.05)
    noise = torch.randn(embedding.mean.shape, generator=torch.Generator().manual_seed(1))
    draws = embedding.mean + (embedding.log_variance / 2).exp() * noise
    expected = draws[emotion == 2].var(dim=0).mean()
    own = fitted(torch.tensor([2]), torch.tensor([1.0])).log_variance.exp().mean()
    assert own.item() == pytest.approx(expected.item(), rel=0.05)


def test_clips_of_unknown_emotion_take_no_part():
    embedding, emotion, intensity = clips()
    everything, known = Prototypes(NAMES, SIZE), Prototypes(NAMES, SIZE)
    everything.fit(embedding, emotion, intensity)
    kept = emotion >= 0
    known.fit(GaussianEmbedding(embedding.mean[kept], embedding.log_variance[kept]), emotion[kept], intensity[kept])
    for key, value in everything.state_dict().items():
        assert torch.equal(value, known.state_dict()[key])


def test_sampling_a_label_is_steered_by_spread(fitted):
    label = fitted(torch.tensor([1]), torch.tensor([0.7]))
    torch.testing.assert_close(label.sample(torch.Generator(), spread=0.0), label.mean)
    near = (label.sample(torch.Generator().manual_seed(0), spread=0.3) - label.mean).norm()
    far = (label.sample(torch.Generator().manual_seed(0), spread=2.0) - label.mean).norm()
    assert 0 < near < far


def test_errors_name_the_emotion(fitted):
    half = torch.tensor([0.5])
    with pytest.raises(ValueError, match="No prototype for angry; fitted: neutral, happy, sad"):
        fitted(torch.tensor([3]), half)
    with pytest.raises(ValueError, match=r"must be 0 to 3 .*not \[4\]"):
        fitted(torch.tensor([4]), half)
    with pytest.raises(ValueError, match=r"Intensity must be 0 or more, not -0\.5"):
        fitted(torch.tensor([1]), -half)
    with pytest.raises(ValueError, match="No prototype for happy; fitted: none"):
        Prototypes(NAMES, SIZE)(torch.tensor([1]), half)
    embedding, emotion, intensity = clips()
    with pytest.raises(ValueError, match="No neutral clip"):
        Prototypes(NAMES, SIZE).fit(embedding, emotion.clamp(min=1), intensity)
    with pytest.raises(ValueError, match="Every happy clip has intensity 0"):
        Prototypes(NAMES, SIZE).fit(embedding, emotion, intensity * (emotion != 1))
