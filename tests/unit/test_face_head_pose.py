"""How a head is turned."""

import numpy as np
from scipy.spatial.transform import Rotation

from deeptalk.face import load_rig
from deeptalk.face.head_pose import head_pivot, rotation_matrices, turn_head


def test_matrices_are_those_of_scipy():
    angles = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(rotation_matrices(angles), Rotation.from_euler("YXZ", angles).as_matrix(), atol=1e-12)


def test_signs():
    yaw, pitch, roll = rotation_matrices(np.eye(3) * 0.1)
    assert (yaw @ [0, 0, 1])[0] > 0.09  # the nose goes to the character's left
    assert (pitch @ [0, 0, 1])[1] < -0.09  # and down
    assert (roll @ [0, 1, 0])[0] < -0.09  # the crown goes to the character's right


def test_the_built_in_head_turns_about_the_top_of_its_neck():
    rig = load_rig("arkit")
    pivot = head_pivot(rig)
    chin, eyes = rig.neutral[rig.regions["face"]][:, 1].min(), rig.neutral[rig.regions["eyes"]][:, 1].mean()
    assert abs(pivot[0]) < 1e-6
    assert chin < pivot[1] < eyes
    assert rig.neutral[:, 2].min() < pivot[2] < rig.neutral[rig.regions["eyes"]][:, 2].min()
    angles = np.array([[0.0, 0.0, 0.0], [0.05, -0.02, 0.03]])
    turned = turn_head(np.stack([rig.neutral, rig.neutral]), angles, pivot)
    assert turned.dtype == np.float32
    np.testing.assert_allclose(turned[0], rig.neutral, atol=1e-7)
    before, after = (np.linalg.norm(one - pivot, axis=-1) for one in (rig.neutral, turned[1]))
    np.testing.assert_allclose(after, before, atol=1e-7)
