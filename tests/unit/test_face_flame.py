import zipfile
from pathlib import Path

import flame_samples
import numpy as np
import pytest
import torch
from flame_samples import flame_arrays
from safetensors.numpy import save_file
from scipy.spatial.transform import Rotation

from deeptalk.errors import UserError
from deeptalk.face import Rig, channels_of, check_motion, compact_vertices, convert_flame, flame_file, load_rig
from deeptalk.face.flame import rotation_matrices
from deeptalk.face.flame_file import PARENTS, read_flame
from deeptalk.face.flame_layout import JOINTS, flame_layout

GOLDEN = Path(__file__).parents[3] / "shared" / "goldens" / "flame"
ARRAYS = flame_arrays()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """FLAME-shaped files of one head: as FLAME 2020 is pickled, and converted."""
    folder = tmp_path_factory.mktemp("flame")
    (folder / "generic_model.pkl").write_bytes(flame_samples.flame_2020_pickle(ARRAYS))
    convert_flame(folder / "generic_model.pkl", folder / "flame.npz")
    convert_flame(folder / "generic_model.pkl", folder / "flame.safetensors")
    return folder


def rig_of(folder, name="flame", **options):
    return load_rig(name, path=folder / "generic_model.pkl", **options)


def motion_of(name, frames=4, seed=0):
    layout = flame_layout(name)
    random = torch.Generator().manual_seed(seed)
    expression = torch.randn(frames, layout.expressions, generator=random, dtype=torch.float64)
    return torch.cat([expression, 0.4 * torch.randn(frames, 3 * len(layout.joints), generator=random).double()], dim=1)


def by_the_book(arrays, name, frame, shape=()):
    """One frame of FLAME vertex by vertex and joint by joint, in 4 x 4 matrices, with SciPy's rotations."""
    layout = flame_layout(name)
    frame = np.asarray(frame)
    coefficients = np.zeros(400)
    coefficients[: len(shape)] = shape
    coefficients[300 : 300 + layout.expressions] = frame[: layout.expressions]
    shaped = arrays["v_template"].copy()
    for vertex in range(len(shaped)):
        shaped[vertex] += arrays["shapedirs"][vertex] @ coefficients
    joints = arrays["J_regressor"] @ shaped
    angles = {joint: np.zeros(3) for joint in JOINTS}
    for index, joint in enumerate(layout.joints):
        start = layout.expressions + 3 * index
        angles[joint] = frame[start : start + 3]
    turns = [Rotation.from_rotvec(angles[joint]).as_matrix() for joint in JOINTS]
    features = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    world = []
    for joint, turn in enumerate(turns):
        local = np.eye(4)
        local[:3, :3] = turn
        local[:3, 3] = joints[joint] - (joints[PARENTS[joint]] if joint else 0)
        world.append(local if joint == 0 else world[PARENTS[joint]] @ local)
    result = np.empty_like(shaped)
    for vertex in range(len(shaped)):
        posed = shaped[vertex] + arrays["posedirs"][vertex] @ features
        result[vertex] = sum(
            arrays["weights"][vertex, joint] * (world[joint] @ np.append(posed - joints[joint], 1))[:3]
            for joint in range(5)
        )
    return result


@pytest.mark.parametrize("name", ["flame", "flame100", "flame+neck", "flame20+eyes", "flame100+head+neck+eyes"])
def test_vertices_are_those_of_the_book(folder, name):
    rig, motion = rig_of(folder, name), motion_of(name, 2)
    expected = np.stack([by_the_book(ARRAYS, name, frame) for frame in motion])
    np.testing.assert_allclose(rig.vertices(motion), expected, atol=1e-12)
    np.testing.assert_allclose(rig.vertices(motion.float()), expected, atol=2e-6)


def test_identity_changes_the_neutral_and_the_joints(folder):
    shape = [1.5, -2.0, 0.5]
    rig, motion = rig_of(folder, "flame+neck", shape=shape), motion_of("flame+neck", 1)
    np.testing.assert_allclose(rig.vertices(motion)[0], by_the_book(ARRAYS, "flame+neck", motion[0], shape), atol=1e-12)
    assert not np.allclose(rig.neutral, rig_of(folder).neutral, atol=1e-4)
    assert rig_of(folder, "flame+neck", shape=shape) is rig


@pytest.mark.parametrize("name", ["flame", "flame100", "flame+head+neck+eyes"])
def test_rest_is_the_template_and_channels_have_names_and_limits(folder, name):
    rig = rig_of(folder, name)
    assert isinstance(rig, Rig)
    assert rig.name == name
    assert rig.channels == channels_of(name)
    assert len(set(rig.channels)) == len(rig.channels) == len(rig.limits)
    assert (rig.limits[:, 0] < 0).all()
    assert (rig.limits[:, 1] > 0).all()
    np.testing.assert_allclose(rig.vertices(torch.zeros(1, len(rig.channels)))[0], ARRAYS["v_template"], atol=1e-7)


def test_channels_need_no_file():
    assert channels_of("flame")[:2] == ("expression_00", "expression_01")
    assert channels_of("flame")[50:] == ("jaw_x", "jaw_y", "jaw_z")
    assert len(channels_of("flame")) == 53
    assert len(channels_of("flame100")) == 103
    assert channels_of("flame100+neck+eyes")[-9:-6] == ("neck_x", "neck_y", "neck_z")
    assert channels_of("flame+head")[-3:] == ("root_x", "root_y", "root_z")
    assert len(channels_of("arkit")) == 52


@pytest.mark.parametrize(
    "name", ["flame0", "flame101", "flame+jaw", "flame+neck+neck", "flamen", "flame100-neck", "smpl"]
)
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match="There is no rig"):
        channels_of(name)


def test_batches_blocks_and_regions_agree(folder, monkeypatch):
    rig, motion = rig_of(folder), motion_of("flame", 24).float()
    whole = rig.vertices(motion)
    assert rig.vertices(motion.reshape(2, 3, 4, 53)).shape == (2, 3, 4, len(rig.neutral), 3)
    torch.testing.assert_close(rig.vertices(motion.reshape(2, 3, 4, 53)).reshape(whole.shape), whole)
    torch.testing.assert_close(rig.vertices(motion[5]), whole[5], rtol=0, atol=1e-7)
    assert rig.vertices(motion[:0]).shape == (0, len(rig.neutral), 3)
    for region in ("lips", "eyes", "upper_face"):
        torch.testing.assert_close(
            rig.vertices(motion, region), whole[:, rig.regions[region].tolist()], rtol=0, atol=1e-7
        )
    monkeypatch.setattr("deeptalk.face.flame.BLOCK_NUMBERS", 5 * 3 * len(rig.neutral))
    torch.testing.assert_close(rig.vertices(motion), whole, rtol=0, atol=1e-7)
    torch.testing.assert_close(rig.vertices(motion.clone().requires_grad_()).detach(), whole, rtol=0, atol=1e-7)


def test_gradients_are_those_of_differences_also_at_rest(folder):
    rig = rig_of(folder, "flame2+neck+eyes")
    pairs = torch.tensor(rig.lip_pairs.ravel())
    for motion in (torch.zeros(1, 14).double(), motion_of("flame2+neck+eyes", 1)):
        assert torch.autograd.gradcheck(lambda x: rig.vertices(x)[:, pairs], motion.clone().requires_grad_())
        assert torch.autograd.gradcheck(rig.lip_gap, motion.clone().requires_grad_())


def test_rotations_are_scipys_and_smooth_at_zero():
    vectors = np.random.default_rng(0).normal(size=(50, 3)) * np.logspace(-9, 0.5, 50)[:, None]
    np.testing.assert_allclose(
        rotation_matrices(torch.tensor(vectors)), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-13
    )
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_matrices, zero)


@pytest.mark.parametrize("file", ["flame.npz", "flame.safetensors"])
def test_converted_files_give_the_same_rig(folder, file):
    first, second = rig_of(folder), load_rig("flame", path=folder / file)
    motion = motion_of("flame", 3)
    np.testing.assert_allclose(first.vertices(motion), second.vertices(motion), atol=1e-6)
    np.testing.assert_array_equal(first.faces, second.faces)
    assert {name: list(value) for name, value in first.regions.items()} == {
        name: list(value) for name, value in second.regions.items()
    }
    assert (folder / file).stat().st_size < 0.6 * (folder / "generic_model.pkl").stat().st_size


def test_path_from_the_environment(folder, monkeypatch):
    monkeypatch.delenv("DEEPTALK_FLAME", raising=False)
    with pytest.raises(UserError, match=r"needs your own FLAME file.*DEEPTALK_FLAME=PATH"):
        load_rig("flame")
    monkeypatch.setenv("DEEPTALK_FLAME", str(folder / "flame.npz"))
    assert load_rig("flame").name == "flame"


def test_regions_without_masks_are_where_they_should_be(folder):
    rig = rig_of(folder)
    parts = list(rig.face_parts.values())
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(rig.faces)))
    assert {name: len(rig.regions[name]) for name in ("left_eye", "right_eye")} == {"left_eye": 40, "right_eye": 40}
    assert (rig.neutral[rig.regions["left_eye"], 0] > 0).all()
    lips = rig.neutral[rig.regions["lips"]]
    mouth = [0, flame_samples.MOUTH_HEIGHT]
    assert len(lips) > 8
    assert (np.abs(lips[:, :2] - mouth) < [0.04, 0.02]).all()
    assert np.isin(rig.lip_pairs, rig.regions["lips"]).all()
    for name in ("lips", "upper_face", "jaw"):
        assert np.isin(rig.regions[name], rig.regions["face"]).all(), name
        assert not np.intersect1d(rig.regions[name], rig.regions["eyes"]).size
    assert rig.neutral[rig.regions["jaw"], 1].max() < rig.neutral[rig.regions["upper_face"], 1].min()
    with pytest.raises(UserError, match="has no region 'nose'; it has eyes, face, jaw"):
        rig.region("nose")


def test_masks_beside_the_model_are_taken(folder, tmp_path):
    skin = len(ARRAYS["v_template"]) - 80
    masks = {
        "face": np.arange(skin),
        "lips": np.array([90, 91, 92]),
        "eye_region": np.arange(150, 170),
        "forehead": np.arange(180, 200),
        "nose": np.array([120, 121]),
        "left_eyeball": np.arange(skin, skin + 40),
    }
    (tmp_path / "flame2023.pkl").write_bytes((folder / "generic_model.pkl").read_bytes())
    (tmp_path / "FLAME_masks.pkl").write_bytes(flame_samples.python2_pickle(masks))
    for rig in (
        load_rig("flame", path=tmp_path / "flame2023.pkl"),
        rig_of(folder, masks=tmp_path / "FLAME_masks.pkl"),
    ):
        assert list(rig.regions["lips"]) == [90, 91, 92]
        assert list(rig.regions["nose"]) == [120, 121]
        assert list(rig.regions["upper_face"]) == [*range(150, 170), *range(180, 200)]
        assert list(rig.regions["left_eye"]) == list(masks["left_eyeball"])
    convert_flame(tmp_path / "flame2023.pkl", tmp_path / "with masks.npz")
    assert list(load_rig("flame", path=tmp_path / "with masks.npz").regions["nose"]) == [120, 121]


def test_mouth_opening_follows_the_jaw_and_no_turn_of_the_head(folder):
    rig = rig_of(folder, "flame+head+neck")
    jaw = torch.zeros(5, len(rig.channels), dtype=torch.float64)
    jaw[:, rig.channels.index("jaw_x")] = torch.linspace(0, 0.4, 5).double()
    opening = rig.mouth_opening(jaw)
    assert opening[0] == 0
    vertices, (upper, lower) = rig.vertices(jaw).numpy(), rig.lip_pairs[0]
    gap = vertices[:, upper, 1] - vertices[:, lower, 1]
    np.testing.assert_allclose(opening, gap - gap[0], atol=1e-12)
    assert np.abs(rig.neutral[rig.lip_pairs[0], 0]).max() < 1e-6
    assert ARRAYS["weights"][upper, 2] < ARRAYS["weights"][lower, 2]
    turned = jaw.clone()
    turned[:, [rig.channels.index("root_x"), rig.channels.index("neck_z")]] = 0.5
    np.testing.assert_allclose(rig.lip_gap(turned), rig.lip_gap(jaw), atol=1e-12)
    assert rig.lip_gap(jaw).shape == (5, len(rig.lip_pair_names)) == (5, 5)


def test_a_closed_mouth_has_no_lip_gap(folder, tmp_path):
    arrays = {**ARRAYS, "weights": np.eye(5)[np.zeros(len(ARRAYS["v_template"]), int)]}
    np.savez(tmp_path / "flame.npz", **arrays)
    rig = load_rig("flame", path=tmp_path / "flame.npz")
    assert rig.lip_pair_names == ()
    with pytest.raises(UserError, match="no open rim inside the mouth"):
        rig.mouth_opening(torch.zeros(3, 53))


def test_wrong_motions_are_refused(folder):
    rig = rig_of(folder)
    with pytest.raises(UserError, match=r"has 52 channels; rig 'flame' has 53 \(expression_00 to jaw_z\)"):
        rig.vertices(torch.zeros(2, 52))
    with pytest.raises(UserError, match="NaN at channel 'jaw_x', frame 1"):
        check_motion(torch.full((2, 53), 0.0).index_put((torch.tensor(1), torch.tensor(50)), torch.tensor(np.nan)), rig)


@pytest.mark.parametrize("weights", [{"face": 1.0, "lips": 4.0}, {"lips": 2.0}, {"skin": 1.0, "eyes": 0.0}])
def test_vertex_coordinates_lie_apart_as_the_weighted_vertices_do(folder, weights):
    rig = rig_of(folder)
    first, second = motion_of("flame", 3, 1).float(), motion_of("flame", 3, 2).float()
    module = compact_vertices(rig, weights)
    share = np.zeros(len(rig.neutral))
    for name, value in weights.items():
        share[rig.regions[name]] += value
    square = (rig.vertices(first.double()) - rig.vertices(second.double())).square().sum(-1).numpy()
    expected = (square * share).sum(-1) / share.sum()
    np.testing.assert_allclose((module(first) - module(second)).square().sum(-1), expected, rtol=1e-4)
    assert not module.state_dict()
    assert not list(module.parameters())


def test_gradients_through_vertex_coordinates_are_those_through_vertices(folder):
    rig, target = rig_of(folder), motion_of("flame", 4, 3)
    module = compact_vertices(rig, {"lips": 1.0}).double()
    through_module, through_vertices = (motion_of("flame", 4).requires_grad_() for _ in range(2))
    (module(through_module) - module(target)).square().sum(-1).mean().backward()
    difference = rig.vertices(through_vertices, "lips") - rig.vertices(target, "lips")
    difference.square().sum(-1).mean(-1).mean().backward()
    torch.testing.assert_close(through_module.grad, through_vertices.grad, rtol=1e-6, atol=1e-12)


def broken(**changes):
    return {name: array for name, array in {**ARRAYS, **changes}.items() if array is not None}


def with_value(name, value):
    array = ARRAYS[name].astype(np.float64)
    array.flat[5] = value
    return {name: array}


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        (broken(posedirs=None, weights=None), "lacks posedirs, weights, so it is not FLAME"),
        (broken(**with_value("v_template", np.nan)), "v_template holds NaN"),
        (broken(**with_value("shapedirs", np.inf)), "shapedirs holds NaN or infinite"),
        (broken(weights=ARRAYS["weights"][:-1]), r"weights has shape \(\d+, 5\), expected"),
        (broken(shapedirs=ARRAYS["shapedirs"][:, :, :150]), "shapedirs has 150 directions; expected 400"),
        (broken(f=ARRAYS["f"] + 50), "f does not hold indices of the"),
        (broken(weights=ARRAYS["weights"] * 2), "do not add up to 1"),
        (broken(kintree_table=np.array([[-1, 0, 0, 0, 0], range(5)])), r"hang together as \[0, 0, 0, 0\]"),
        (broken(v_template=ARRAYS["v_template"] * 1000), "FLAME is in metres"),
        (broken(v_template=np.zeros((0, 3))), "v_template has shape"),
        (broken(mask_lips=np.array([0, 10**6])), "mask 'lips' does not hold indices"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "pkl"])
def test_arrays_that_are_no_flame_are_refused(tmp_path, arrays, text, kind):
    path = tmp_path / f"Kopf mit Ümlaut.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(flame_samples.python2_pickle(arrays))
    with pytest.raises(UserError, match=text) as error:
        read_flame(path)
    assert "Ümlaut" in str(error.value)


def test_paths_that_are_no_flame_file_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"is a folder; give the FLAME file itself. It holds flame\.npz"):
        load_rig("flame", path=folder)
    with pytest.raises(UserError, match="does not exist"):
        load_rig("flame", path=tmp_path / "none.pkl")
    content = (folder / "generic_model.pkl").read_bytes()
    (tmp_path / "cut.pkl").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged or not a pickle"):
        load_rig("flame", path=tmp_path / "cut.pkl")
    for name in ("cut.npz", "cut.safetensors"):
        (tmp_path / name).write_bytes((folder / name.replace("cut", "flame")).read_bytes()[:5000])
        with pytest.raises(UserError, match="is not a"):
            load_rig("flame", path=tmp_path / name)
    with pytest.raises(UserError, match=r"as \.safetensors or \.npz, not as 'flame\.pkl'"):
        convert_flame(folder / "generic_model.pkl", tmp_path / "flame.pkl")
    save_file({"v_template": np.zeros((3, 3))}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="lacks f, shapedirs"):
        load_rig("flame", path=tmp_path / "other.safetensors")
    monkeypatch.setattr(flame_file, "MAX_FILE_BYTES", 1000)
    with pytest.raises(UserError, match="more than any FLAME"):
        read_flame(folder / "generic_model.pkl")


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("f.npy", bytes(2**25))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(flame_file, "MAX_FILE_BYTES", 2**24)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(UserError, match=r"would unpack to 33,554,432 bytes"):
        read_flame(path)


def test_a_head_larger_than_its_bytes_is_refused(tmp_path):
    import io

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("v_template.npy", header.getvalue() + bytes(80))
    with pytest.raises(UserError, match="is not an archive of NumPy arrays"):
        read_flame(tmp_path / "claims.npz")


def test_more_than_the_file_has_is_refused(folder, tmp_path):
    arrays = broken(shapedirs=ARRAYS["shapedirs"][:, :, :20])
    np.savez(tmp_path / "small.npz", **arrays)
    with pytest.raises(UserError, match=r"has 10 expressions and 10 shape coefficients; rig 'flame' asks for 50"):
        load_rig("flame", path=tmp_path / "small.npz")
    assert load_rig("flame10", path=tmp_path / "small.npz").channels[-4] == "expression_09"
    with pytest.raises(UserError, match="a finite shape of 301"):
        rig_of(folder, shape=np.zeros(301))
    with pytest.raises(UserError, match="path, shape and masks are for FLAME"):
        load_rig("arkit", path=folder / "flame.npz")


@pytest.mark.shared
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="needs shared/goldens/flame")
def test_vertices_equal_smplx():
    from deeptalk.face.flame import build_flame

    model, expected = read_flame(GOLDEN / "model.npz"), np.load(GOLDEN / "io.npz")
    parts = ("expression", "jaw_pose", "global_pose", "neck_pose", "eye_pose")
    for row, vertices in enumerate(expected["vertices"]):
        rig = build_flame(model, "flame10+head+neck+eyes", expected["shape"][row])
        motion = torch.tensor(np.concatenate([expected[part][row] for part in parts]))[None]
        np.testing.assert_allclose(rig.vertices(motion)[0], vertices, atol=2e-9)
        np.testing.assert_allclose(rig.vertices(motion.float())[0], vertices, atol=2e-7)
