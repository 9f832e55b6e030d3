import itertools

import numpy as np
import pytest
import torch

from deeptalk.baselines import EmoTalk, EmoTalkConfig, MeanFace, MotionNoise, NearestNeighbour
from deeptalk.baselines.trivial import emotalk_motion, limited
from deeptalk.baselines.warping import warp, warp_path
from deeptalk.errors import UserError

CONFIG = EmoTalkConfig(
    speech_features=6,
    channels=4,
    people=2,
    encoder_size=8,
    encoder_layers=1,
    encoder_heads=2,
    encoder_feedforward=8,
    content_size=8,
    emotion_size=8,
    level_size=4,
    person_size=4,
    decoder_feedforward=8,
)

WIDE = np.tile(np.array([-1e6, 1e6], np.float32), (4, 1))
UNIT = np.tile(np.array([0.0, 1.0], np.float32), (4, 1))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def emotalk() -> EmoTalk:
    torch.manual_seed(0)
    model = EmoTalk(CONFIG).eval()
    torch.nn.init.normal_(model.decoder.output.weight)
    return model


def all_paths(rows: int, columns: int):
    """Every monotone path from (0, 0) to the last pair."""
    if rows == 1 and columns == 1:
        yield [(0, 0)]
        return
    for di, dj in ((1, 0), (0, 1), (1, 1)):
        if rows - di >= 1 and columns - dj >= 1:
            for path in all_paths(rows - di, columns - dj):
                yield [*path, (rows - 1, columns - 1)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 4), (5, 3), (3, 6)])
def test_warp_path_is_the_cheapest_of_all(rng, shape):
    query, reference = rng.normal(size=(shape[0], 2)), rng.normal(size=(shape[1], 2))

    def cost(path):
        return sum(np.linalg.norm(query[i] - reference[j]) for i, j in path)

    found = list(zip(*warp_path(query, reference)))
    assert found in list(all_paths(*shape))
    assert cost(found) == pytest.approx(min(cost(path) for path in all_paths(*shape)))


def test_warping_undoes_a_change_of_tempo(rng):
    sequence = rng.normal(size=(20, 3))
    slower = np.repeat(sequence, 2, axis=0)
    motion = rng.normal(size=(20, 4))
    np.testing.assert_allclose(warp(motion, *warp_path(slower, sequence)), np.repeat(motion, 2, axis=0))
    np.testing.assert_allclose(warp(np.repeat(motion, 2, axis=0), *warp_path(sequence, slower)), motion)


def test_warping_long_clips_is_quick_and_covers_every_frame(rng):
    query, reference = rng.normal(size=(700, 40)), rng.normal(size=(500, 40))
    query_steps, reference_steps = warp_path(query, reference)
    assert set(query_steps) == set(range(700))
    assert set(reference_steps) == set(range(500))


def test_mean_face_is_the_mean_over_frames_not_clips(rng):
    motions = [rng.normal(size=(n, 4)).astype(np.float32) for n in (3, 50)]
    motion = MeanFace(motions).motion(7)
    assert motion.shape == (7, 4)
    np.testing.assert_allclose(motion, np.tile(np.concatenate(motions).mean(0), (7, 1)), atol=1e-6)


def test_nearest_neighbour_finds_a_training_clip_spoken_slower(rng):
    # Two frames each, so that spoken slower the clips keep their mean and standard deviation.
    features = [rng.normal(size=(12, 6)) + 3 * rng.normal(size=6) for _ in range(9)]
    motions = [rng.normal(size=(12, 4)).astype(np.float32) for _ in range(9)]
    baseline = NearestNeighbour(features, motions)
    for clip in range(9):
        slower = np.repeat(features[clip], 2, axis=0)
        assert baseline.nearest(slower) == clip
        np.testing.assert_allclose(baseline.motion(slower), np.repeat(motions[clip], 2, axis=0), atol=1e-6)


def test_nearest_neighbour_weighs_features_by_their_spread(rng):
    quiet = [np.column_stack([np.full(10, level), 1e4 * rng.normal(size=10)]) for level in (0.0, 1.0)]
    baseline = NearestNeighbour(quiet, [np.zeros((10, 4)), np.ones((10, 4))])
    query = np.column_stack([np.full(10, 0.9), quiet[0][:, 1] * 0.5 + quiet[1][:, 1] * 0.5])
    assert baseline.nearest(query) == 1


def test_nearest_neighbour_errors(rng):
    with pytest.raises(UserError, match="2 features and 1 motions"):
        NearestNeighbour([rng.normal(size=(4, 6))] * 2, [rng.normal(size=(4, 4))])
    baseline = NearestNeighbour([rng.normal(size=(4, 6))], [rng.normal(size=(4, 4))])
    with pytest.raises(UserError, match="knows 6 speech features a frame, got 5"):
        baseline.motion(rng.normal(size=(4, 5)))


def test_noise_has_the_training_spread_and_is_smooth(rng):
    std = np.array([0.1, 0.2, 0.0, 0.4], np.float32)
    noise = MotionNoise(std, WIDE, frame_rate=25.0).noise(400, 60, seed=3)
    np.testing.assert_allclose(noise.std(axis=(0, 1)), std, rtol=0.05, atol=1e-9)
    # The same at the edges of a clip as in its middle.
    np.testing.assert_allclose(noise[:, [0, -1]].std(axis=(0, 1)), std, rtol=0.35, atol=1e-9)
    x = noise[..., 3]
    neighbours = (x[:, 1:] * x[:, :-1]).mean() / (x**2).mean()
    far = (x[:, 50:] * x[:, :-50]).mean() / (x**2).mean()
    assert neighbours > 0.9
    assert abs(far) < 0.1


def test_a_noisy_take_depends_on_seed_and_place_only(rng):
    noise = MotionNoise(np.full(4, 0.1, np.float32), WIDE, frame_rate=25.0)
    motion = rng.normal(size=(30, 4)).astype(np.float32)
    eight, two = noise.takes(motion, 8, seed=5), noise.takes(motion, 2, seed=5)
    np.testing.assert_array_equal(eight[:2], two)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.combinations(eight, 2))
    assert np.abs(noise.takes(motion, 2, seed=6) - two).max() > 1e-3


def test_noisy_takes_stay_within_the_limits(rng):
    takes = MotionNoise(np.full(4, 0.4, np.float32), UNIT, frame_rate=25.0).takes(
        rng.random((30, 4)).astype(np.float32), 8, seed=0
    )
    assert takes.min() == 0.0
    assert takes.max() == 1.0
    np.testing.assert_array_equal(limited(np.array([[-1.0, 0.25, 1.0, 7.0]]), UNIT), [[0.0, 0.25, 1.0, 1.0]])


def mean_distance(takes: np.ndarray) -> float:
    pairs = itertools.combinations(takes.astype(np.float64), 2)
    return float(np.mean([np.sqrt(((a - b) ** 2).sum(-1).mean()) for a, b in pairs]))


def test_calibration_reaches_the_diversity_that_is_left_within_the_limits(rng):
    noise = MotionNoise(np.array([0.1, 0.2, 0.3, 0.4], np.float32), UNIT, frame_rate=25.0)
    # Near the lower limit, as blendshapes are: about half of the noise is cut away there.
    motions = [(0.05 * rng.random((n, 4))).astype(np.float32) for n in (20, 45, 70)]
    assert noise.calibrate(0.5, motions, mean_distance, takes=6, seed=2) == noise.scale
    reached = [mean_distance(noise.takes(motion, 6, seed=2 + i)) for i, motion in enumerate(motions)]
    assert np.mean(reached) == pytest.approx(0.5, rel=0.01)
    linear = 0.5 / np.mean([mean_distance(noise.noise(len(m), 6, seed=2 + i)) for i, m in enumerate(motions)])
    assert noise.scale > 1.3 * linear
    assert noise.calibrate(0.0, motions, mean_distance) == 0.0


def test_calibration_says_what_it_cannot_reach(rng):
    motions = [rng.random((20, 4)).astype(np.float32)]
    with pytest.raises(UserError, match="never move"):
        MotionNoise(np.zeros(4, np.float32), UNIT, 25.0).calibrate(1.0, motions, mean_distance)
    with pytest.raises(UserError, match=r"at most, below the 9 mm to match"):
        MotionNoise(np.ones(4, np.float32), UNIT, 25.0).calibrate(9.0, motions, mean_distance)


def test_emotalk_on_one_clip_is_the_model_itself(rng):
    features = rng.normal(size=(11, 6)).astype(np.float32)
    model = emotalk()
    expected = model(torch.from_numpy(features)[None], torch.tensor([11]), torch.tensor([1]), torch.tensor([-1]))[
        0
    ].detach()
    np.testing.assert_allclose(emotalk_motion(model, features, 1, -1), expected.numpy(), atol=1e-6)
