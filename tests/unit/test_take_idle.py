"""A take with idle life: only blinks, gaze and the head change."""

import numpy as np
import pytest

from deeptalk.errors import UserError
from deeptalk.face import BLINK_AND_GAZE, CHANNELS
from deeptalk.take import Take

GROUP = [CHANNELS.index(name) for name in BLINK_AND_GAZE]
REST = [index for index in range(52) if index not in GROUP]


def take(seconds=20):
    return Take(np.random.default_rng(0).random((25 * seconds, 52), np.float32), recipe={"seed": 3})


def test_only_blinks_gaze_and_head_change():
    still = take()
    alive = still.with_idle(5)
    assert np.array_equal(alive.motion[:, REST], still.motion[:, REST])
    blinks = alive.motion[:, CHANNELS.index("eyeBlinkLeft")]
    assert blinks.max() > 0.8
    assert (blinks < 0.3).mean() > 0.7  # eyes are mostly open
    assert alive.head_rotation_radians.shape == (500, 3)
    assert alive.head_rotation_radians.std() > 0
    assert alive.recipe == {"seed": 3, "idle_seed": 5}
    assert still.head_rotation_radians is None


def test_the_seed_decides():
    first, again, other = (take().with_idle(seed) for seed in (1, 1, 2))
    assert np.array_equal(first.motion, again.motion)
    assert np.array_equal(first.head_rotation_radians, again.head_rotation_radians)
    assert not np.array_equal(first.motion, other.motion)
    assert np.array_equal(first.with_idle(2).motion, other.motion)  # replaced, not added


def test_another_rig_is_refused():
    with pytest.raises(UserError, match="'flame'"):
        Take(np.zeros((4, 53), np.float32), rig="flame").with_idle(0)


def test_a_head_rotation_of_another_length_is_refused():
    with pytest.raises(UserError, match=r"\(3, 3\); expected \(4, 3\)"):
        Take(np.zeros((4, 52), np.float32), head_rotation_radians=np.zeros((3, 3), np.float32))
