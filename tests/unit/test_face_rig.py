import numpy as np
import pytest
import torch

from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, Rig, check_motion, load_rig
from deeptalk.face.arkit import read_arkit_head


@pytest.fixture(scope="module")
def rig():
    return load_rig("arkit")


def pose(**values):
    motion = torch.zeros(52)
    for name, value in values.items():
        motion[CHANNELS.index(name)] = value
    return motion


def both(name, value=1.0):
    return {f"{name}Left": value, f"{name}Right": value}


def test_rig_is_read_once_and_cannot_be_changed(rig):
    assert load_rig() is load_rig("arkit") is rig
    assert isinstance(rig, Rig)
    for array in (rig.neutral, rig.deltas, rig.faces, rig.lip_gap_deltas, rig.regions["lips"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_unknown_rig_and_region(rig):
    with pytest.raises(UserError, match=r"no rig 'smpl'; it is arkit, flame .* or the path of a head"):
        load_rig("smpl")
    with pytest.raises(UserError, match=r"no region 'nose'; it has .*lips"):
        rig.vertices(torch.zeros(52), "nose")


def test_vertices_are_neutral_plus_weighted_deltas(rig):
    motion = torch.rand(3, 52, generator=torch.Generator().manual_seed(0))
    expected = rig.neutral + np.einsum("fc,cvi->fvi", motion.numpy(), rig.deltas)
    np.testing.assert_allclose(rig.vertices(motion), expected, atol=1e-6)
    np.testing.assert_array_equal(rig.vertices(torch.zeros(52)), rig.neutral)


@pytest.mark.parametrize("region", ["lips", "upper_face", "jaw", "face", "tongue"])
def test_region_is_that_slice_of_the_whole(rig, region):
    motion = torch.rand(2, 4, 52, generator=torch.Generator().manual_seed(1))
    part = rig.vertices(motion, region)
    assert part.shape == (2, 4, len(rig.regions[region]), 3)
    torch.testing.assert_close(part, rig.vertices(motion)[..., rig.regions[region].copy(), :], rtol=0, atol=1e-6)


def test_batch_equals_single_and_double_precision_stays_double(rig):
    motion = torch.rand(2, 3, 52, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    vertices = rig.vertices(motion, "lips")
    assert vertices.dtype == torch.float64
    torch.testing.assert_close(vertices[1, 2], rig.vertices(motion[1, 2], "lips"))


def test_gradients_are_the_deltas(rig):
    motion = torch.zeros(52, requires_grad=True)
    rig.vertices(motion, "lips")[7, 1].backward()
    np.testing.assert_allclose(motion.grad, rig.deltas[:, rig.regions["lips"][7], 1])
    motion = torch.zeros(4, 52, requires_grad=True)
    rig.mouth_opening(motion).sum().backward()
    np.testing.assert_allclose(motion.grad[3], rig.lip_gap_deltas[:, 0])


def test_vertices_first_asked_for_in_inference_mode_can_be_trained_through_later():
    rig = read_arkit_head()
    with torch.inference_mode():
        rig.vertices(torch.zeros(52), "jaw")
        rig.lip_gap(torch.zeros(52))
    motion = torch.zeros(52, requires_grad=True)
    (rig.vertices(motion, "jaw").sum() + rig.lip_gap(motion).sum()).backward()
    assert motion.grad.abs().sum() > 0


def test_lip_pairs_are_central_and_nearly_touch(rig):
    assert rig.lip_pair_names[0] == "centre"
    assert len(set(rig.lip_pair_names)) == len(rig.lip_pairs) == 5
    points = rig.neutral[rig.lip_pairs]
    assert np.abs(points[..., 0]).max() < 0.011
    np.testing.assert_allclose(points[0, :, 0], 0, atol=1e-6)
    for name, (upper, lower) in zip(rig.lip_pair_names, points, strict=True):
        assert abs(upper[1] - lower[1]) < 0.2e-3, name
        assert np.linalg.norm((upper - lower)[[0, 2]]) < 2e-3, name
        assert np.sign(np.round(upper[0], 4)) == {"l": 1, "r": -1, "c": 0}[name[0]]


def test_lip_gap_is_the_height_between_the_pairs_vertices(rig):
    motion = torch.rand(2, 3, 52, generator=torch.Generator().manual_seed(3))
    vertices = rig.vertices(motion)
    upper, lower = rig.lip_pairs.T
    torch.testing.assert_close(
        rig.lip_gap(motion), vertices[..., upper.copy(), 1] - vertices[..., lower.copy(), 1], rtol=0, atol=1e-6
    )
    affine = rig.lip_gap_neutral + motion.numpy() @ rig.lip_gap_deltas
    np.testing.assert_allclose(rig.lip_gap(motion), affine, atol=1e-7)
    opening = rig.lip_gap(motion)[..., 0] - rig.lip_gap(torch.zeros(52))[0]
    torch.testing.assert_close(rig.mouth_opening(motion), opening, rtol=0, atol=1e-7)


def test_jaw_opens_the_mouth_and_mouth_close_undoes_it(rig):
    assert 0.020 < rig.mouth_opening(pose(jawOpen=1.0)) < 0.045
    assert rig.lip_gap(pose(jawOpen=1.0)).min() > 0.015
    for amount in (0.3, 1.0):
        closed = rig.lip_gap(pose(jawOpen=amount, mouthClose=amount))
        assert closed.abs().max() < 0.5e-3
    assert rig.lip_gap(pose(mouthClose=0.3)).max() < -5e-3, "closing a closed mouth drives the lips through each other"


def test_channels_move_the_lips_as_their_names_say(rig):
    neutral = rig.lip_gap(torch.zeros(52))
    for opening in (pose(mouthFunnel=1.0), pose(**both("mouthUpperUp")), pose(**both("mouthLowerDown"))):
        assert (rig.lip_gap(opening) > neutral + 0.5e-3).all()
    for closing in (pose(**both("mouthPress")), pose(mouthRollLower=1.0), pose(mouthRollUpper=1.0)):
        assert rig.lip_gap(closing)[0] < -0.5e-3

    def width(motion):
        return np.ptp(rig.vertices(motion, "lips")[:, 0].numpy())

    assert width(pose(mouthPucker=1.0)) < width(torch.zeros(52)) - 5e-3
    assert width(pose(**both("mouthSmile"))) > width(torch.zeros(52)) + 5e-3


def test_wrong_channel_count(rig):
    with pytest.raises(
        UserError, match=r"The motion has 51 channels; rig 'arkit' has 52 \(browDownLeft to tongueOut\)"
    ):
        rig.vertices(torch.zeros(3, 51))
    with pytest.raises(UserError, match=r"take\.npz has 61 channels"):
        check_motion(np.zeros((3, 61), dtype=np.float32), rig, "take.npz")
    with pytest.raises(UserError, match=r"shape \(52,\); expected \(frame, 52\)"):
        check_motion(torch.zeros(52), rig)


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_values_that_are_no_numbers_are_named(rig, value, word, kind):
    motion = torch.zeros(2, 9, 52)
    motion[1, 4, CHANNELS.index("mouthPucker")] = value
    motion[1, 6, 0] = value
    with pytest.raises(UserError, match=rf"prediction is {word} at channel 'mouthPucker', frame 4 \(2 such values"):
        check_motion(motion if kind == "tensor" else motion.numpy(), rig, "prediction")


def test_good_motion_passes_and_whole_numbers_do_not(rig):
    check_motion(torch.rand(2, 9, 52, requires_grad=True), rig)
    check_motion(np.zeros((0, 52), dtype=np.float32), rig)
    with pytest.raises(UserError, match="holds int64"):
        check_motion(np.zeros((3, 52), dtype=np.int64), rig)
