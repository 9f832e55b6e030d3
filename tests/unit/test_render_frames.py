"""Pictures of motions: what is seen, from where, by whom it is drawn, and what is refused."""

import itertools
import logging

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("numba")

from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, LinearRig, load_rig
from deeptalk.face.appearance import MATERIALS
from deeptalk.render import frames, iterate_frames, kernels, render_frames
from deeptalk.render.cpu import CpuRenderer
from deeptalk.render.scene import make_scene

HAS_EGL = frames._problem("egl") is None
RIG = load_rig("arkit")


def pose(**values):
    """One frame; a name without Left or Right means both."""
    motion = np.zeros((1, len(CHANNELS)), np.float32)
    for name, value in values.items():
        columns = [c for c, channel in enumerate(CHANNELS) if channel in (name, name + "Left", name + "Right")]
        assert columns, name
        motion[0, columns] = value
    return motion


def random_motion(frame_count, seed=0, scale=0.3):
    return (scale * np.random.default_rng(seed).random((frame_count, len(CHANNELS)))).astype(np.float32)


def materials_seen(motion, size=256, rotation=None):
    """(frame, height, width) place in MATERIALS of what each pixel shows, -1 beside the head."""
    scene = make_scene(RIG, size, antialias=False)
    renderer = CpuRenderer(scene)
    seen = []
    for positions, _ in scene.head.frames(motion, rotation):
        nearness, face_of, _ = renderer._buffers(size, size)
        surface = (scene.project(positions), scene.head.faces, renderer._offsets, renderer._margin)
        kernels.rasterise(*surface, scene.two_sided, nearness, face_of)
        seen.append(np.where(face_of[0] >= 0, scene.head.mesh.materials[face_of[0]].astype(int), -1))
    return np.stack(seen)


def count(seen, material):
    return (seen == MATERIALS.index(material)).sum(axis=(1, 2))


def test_same_motion_same_bytes_and_a_frame_is_drawn_alike_alone():
    motion = random_motion(7)
    together = render_frames(RIG, motion, 96, backend="cpu")
    assert together.shape == (7, 96, 96, 3)
    assert together.dtype == np.uint8
    assert (together == render_frames(RIG, motion, 96, backend="cpu")).all()
    for frame in (0, 3, 6):
        assert (render_frames(RIG, motion[frame : frame + 1], 96, backend="cpu")[0] == together[frame]).all()


@pytest.mark.parametrize("size", [256, (120, 200), (300, 160)])
def test_the_whole_skull_is_in_view_and_fills_the_picture(size):
    width, height = (size, size) if isinstance(size, int) else size
    picture = render_frames(RIG, pose(), size, backend="cpu")[0]
    assert picture.shape == (height, width, 3)
    scene = make_scene(RIG, size)
    head = np.abs(picture - scene.background[:, None]).max(axis=2) > 8
    assert not head[0].any()
    assert not head[:, 0].any()
    assert not head[:, -1].any()
    assert head[-1].any(), "the neck leaves the picture at its lower edge: no cut is seen"
    rows, columns = np.nonzero(head)
    fills_height = rows.min() < 0.06 * height
    fills_width = np.ptp(columns) > 0.9 * width
    assert fills_height or fills_width


def test_the_chin_of_an_open_mouth_stays_in_view():
    seen = materials_seen(pose(jawOpen=1))
    teeth_rows = np.nonzero((seen[0] == MATERIALS.index("teeth")).any(axis=1))[0]
    assert teeth_rows.max() < 0.9 * 256


def test_antialiasing_only_softens():
    hard = render_frames(RIG, pose(), 128, backend="cpu", antialias=False)[0].astype(float)
    soft = render_frames(RIG, pose(), 128, backend="cpu")[0].astype(float)
    assert np.abs(hard - soft).mean() < 2
    background = make_scene(RIG, 128).background[:, None]
    beside = np.abs(hard - background).max(axis=2) < 1
    rim = beside & ndimage.binary_dilation(~beside)
    partly_covered = np.abs(soft - background).max(axis=2) > 6
    assert 0.2 < partly_covered[rim].mean() < 0.9
    assert not partly_covered[beside & ~ndimage.binary_dilation(~beside, iterations=2)].any()


@pytest.mark.skipif(not HAS_EGL, reason="no EGL driver here")
@pytest.mark.parametrize(("antialias", "mean", "high"), [(False, 0.1, 1), (True, 0.6, 6)])
def test_both_backends_draw_the_same_picture(antialias, mean, high):
    """Within a level without antialiasing; with it the kernels take one sample for four where the skin is smooth."""
    motion = np.concatenate([pose(), pose(jawOpen=0.6, mouthSmile=0.7, eyeWide=0.5), random_motion(2)])
    turn = np.array([[0, 0, 0], [0.2, -0.1, 0.1], [0, 0, 0], [-0.3, 0.1, 0]])
    cpu, egl = (
        render_frames(RIG, motion, (200, 240), backend=b, antialias=antialias, head_rotation_radians=turn).astype(int)
        for b in ("cpu", "egl")
    )
    difference = np.abs(cpu - egl)
    assert difference.mean() < mean
    assert np.quantile(difference, 0.99) <= high
    assert (difference.max(axis=-1) > 24).mean() < 1e-3


@pytest.mark.skipif(not HAS_EGL, reason="no EGL driver here")
def test_both_backends_draw_the_same_heat_map():
    errors = np.linalg.norm(RIG.deltas[CHANNELS.index("jawOpen")], axis=1)[None] * 1000
    cpu, egl = (
        render_frames(RIG, pose(), 128, backend=b, antialias=False, errors_millimetres=errors).astype(int)
        for b in ("cpu", "egl")
    )
    assert np.quantile(np.abs(cpu - egl), 0.99) <= 1


BLINKS = [{}, {"eyeSquint": 1}, {"mouthSmile": 1, "cheekSquint": 1}, {"eyeLookUp": 1}, {"eyeLookDown": 1}]


@pytest.mark.parametrize("more", BLINKS, ids=lambda more: "+".join(more) or "alone")
def test_no_eye_is_seen_through_closed_lids(more):
    assert count(materials_seen(pose(eyeBlink=1, **more), 512), "eye") == 0


CLOSED = ["mouthSmile", "mouthPucker", "mouthFrown", "mouthShrugLower", "cheekPuff"]


@pytest.mark.parametrize("name", CLOSED)
def test_no_teeth_are_seen_through_closed_lips(name):
    assert count(materials_seen(pose(**{name: 1}), 512), "teeth") <= 8


def test_mouth_close_hides_what_the_jaw_opens():
    seen = materials_seen(np.concatenate([pose(jawOpen=1), pose(jawOpen=1, mouthClose=1)]), 512)
    teeth, tongue, lining = (count(seen, part) for part in ("teeth", "tongue", "mouth_lining"))
    assert teeth[0] > 300
    assert tongue[0] > 1000
    assert teeth[1] + tongue[1] == 0
    assert lining[1] < 40


def test_no_holes_in_any_pose():
    motion = np.concatenate([np.eye(len(CHANNELS), dtype=np.float32), random_motion(20, seed=1, scale=0.6)])
    for seen in materials_seen(motion, 256):
        head = seen >= 0
        assert (ndimage.binary_fill_holes(head) == head).all()


def test_a_smile_lights_other_pixels_than_a_frown():
    neutral, smile, frown = render_frames(
        RIG, np.concatenate([pose(), pose(mouthSmile=1), pose(mouthFrown=1)]), 128, backend="cpu"
    ).astype(int)
    for changed in (smile, frown):
        rows = np.nonzero((np.abs(changed - neutral).max(axis=2) > 12).any(axis=1))[0]
        assert rows.min() > 0.35 * 128, "the forehead does not change"
    assert np.abs(smile - frown).mean() > 0.5


def test_eyes_are_seen_between_the_lids_only():
    around = ("browDown", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeSquint", "eyeWide", "mouthSmile", "noseSneer")
    pairs = list(itertools.combinations(around, 2))
    seen = materials_seen(np.concatenate([pose(**dict.fromkeys(pair, 1.0)) for pair in pairs]), 512)
    for pair, one in zip(pairs, seen, strict=True):
        patches, _ = ndimage.label(one == MATERIALS.index("eye"), structure=np.ones((3, 3)))
        sizes = np.bincount(patches.ravel())[1:]
        assert (sizes > 8).sum() <= 2, f"{pair}: an eye shows in more than one place, {sizes}"


@pytest.mark.parametrize(("axis", "sign"), [(0, 1), (0, -1)])
def test_yaw_turns_to_the_characters_left_which_is_the_pictures_right(axis, sign):
    rotation = np.zeros((2, 3))
    rotation[1, axis] = 0.3 * sign
    seen = materials_seen(np.repeat(pose(eyeWide=1), 2, axis=0), 256, rotation)
    columns = [np.nonzero(one == MATERIALS.index("eye"))[1].mean() for one in seen]
    assert sign * (columns[1] - columns[0]) > 8
    assert (seen[0, -1] == seen[1, -1]).all(), "the neck stands still"


def test_pitch_nods_down_and_roll_leans_to_the_characters_right():
    rotation = np.array([[0, 0, 0], [0, 0.2, 0], [0, 0, 0.2]])
    seen = materials_seen(np.repeat(pose(eyeWide=1), 3, axis=0), 256, rotation)
    eyes = [np.argwhere(one == MATERIALS.index("eye")) for one in seen]
    assert eyes[1][:, 0].mean() > eyes[0][:, 0].mean() + 4
    top = [np.nonzero((one >= 0)[12:40].any(axis=0))[0].mean() for one in seen]
    assert top[2] < top[0] - 5


def test_the_heat_map_is_hot_only_where_the_error_is():
    errors = np.zeros((2, len(RIG.neutral)))
    errors[1, RIG.regions["lips"]] = 4.0
    cold, hot = render_frames(
        RIG, np.repeat(pose(), 2, axis=0), 192, backend="cpu", errors_millimetres=errors, heat_maximum_millimetres=4.0
    ).astype(int)
    changed = np.abs(hot - cold).max(axis=2) > 10
    rows, columns = np.nonzero(changed)
    assert rows.min() > 0.5 * 192
    assert rows.max() < 0.85 * 192
    assert columns.min() > 0.25 * 192
    assert columns.max() < 0.75 * 192
    assert (hot[changed][:, 1] > cold[changed][:, 1]).mean() > 0.95, "towards yellow"


def plain_rig():
    """A ball without any named part."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.1)
    neutral = np.asarray(ball.vertices, np.float32)
    return LinearRig(
        name="ball",
        channels=("size",),
        limits=np.array([[-1.0, 0.0]], np.float32),
        neutral=neutral,
        deltas=neutral[None].copy(),
        faces=np.asarray(ball.faces, np.int64),
        regions={},
        face_parts={},
        lip_pair_names=(),
        lip_pairs=np.zeros((0, 2), np.int64),
        provenance={},
    )


def test_a_rig_without_parts_is_drawn_as_plain_skin():
    pictures = render_frames(plain_rig(), np.array([[0.0], [-0.5]], np.float32), 64, backend="cpu")
    background = make_scene(plain_rig(), 64).background[:, None]
    areas = [(np.abs(picture - background).max(axis=2) > 8).sum() for picture in pictures]
    assert areas[0] == pytest.approx(np.pi * (0.96 * 32) ** 2, rel=0.12)
    assert areas[1] == pytest.approx(areas[0] / 4, rel=0.1)
    red, green, blue = pictures[0][32, 32]
    assert red > green > blue


@pytest.mark.parametrize("size", [0, 8, 10_000, (64,), (64, 64, 64), (64, 8)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(UserError, match="picture's size is"):
        render_frames(RIG, pose(), size)


def test_wrong_motions_are_refused():
    broken = pose()
    broken[0, 24] = np.nan
    with pytest.raises(UserError, match="NaN at channel 'jawOpen', frame 0"):
        render_frames(RIG, broken, 64)
    with pytest.raises(UserError, match="has 53 channels; rig 'arkit' has 52"):
        render_frames(RIG, np.zeros((2, 53), np.float32), 64)
    with pytest.raises(UserError, match="at least one frame"):
        render_frames(RIG, np.zeros((0, 52), np.float32), 64)
    with pytest.raises(UserError, match=r"head rotation has shape \(1, 3\); expected \(2, 3\)"):
        render_frames(RIG, np.zeros((2, 52), np.float32), 64, head_rotation_radians=np.zeros((1, 3)))
    with pytest.raises(UserError, match=r"error map has shape \(1, 7\); expected \(1, 4784\)"):
        render_frames(RIG, pose(), 64, errors_millimetres=np.zeros((1, 7)))


def test_frames_come_one_by_one():
    drawn = iterate_frames(RIG, random_motion(400), 32, backend="cpu")
    assert next(drawn).shape == (32, 32, 3)
    drawn.close()


def test_nothing_to_draw_with_names_both_remedies(monkeypatch):
    monkeypatch.setattr(frames, "_problem", {"egl": "no graphics driver (X)", "cpu": "numba is not installed"}.get)
    monkeypatch.setattr(frames, "_driver_is_software", lambda: False)
    with pytest.raises(UserError, match=r"egl: no graphics driver.*cpu: numba.*pip install.*apt-get install libegl1"):
        render_frames(RIG, pose(), 64)
    with pytest.raises(UserError, match=r"\(cpu: numba is not installed\)"):
        render_frames(RIG, pose(), 64, backend="cpu")


@pytest.mark.parametrize(
    ("driver", "numba_works", "chosen"),
    [
        ("GL NVIDIA H200/PCIe", True, "egl"),
        ("GL llvmpipe (LLVM 15.0.6, 256 bits)", True, "cpu"),
        ("GL llvmpipe (LLVM 15.0.6, 256 bits)", False, "egl"),
        ("no graphics driver (libEGL.so not found)", True, "cpu"),
    ],
)
def test_a_gpu_comes_first_then_the_kernels_then_a_software_driver(monkeypatch, driver, numba_works, chosen):
    monkeypatch.setattr(frames, "_driver", lambda: driver)
    problems = {
        "egl": None if driver.startswith("GL ") else driver,
        "cpu": None if numba_works else "numba is not installed",
    }
    monkeypatch.setattr(frames, "_problem", problems.get)
    assert frames.choose_backend(None) == chosen


def test_the_choice_is_logged_once(caplog):
    frames._log_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="deeptalk.render.frames"):
        render_frames(RIG, pose(), 32, backend="cpu")
        render_frames(RIG, pose(), 32, backend="cpu")
    assert [record.getMessage() for record in caplog.records] == ["Pictures are drawn by the cpu backend."]
