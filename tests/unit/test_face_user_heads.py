import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, LinearRig, load_rig, mirrored_channel, pascal_case
from deeptalk.face.shape_names import channel_of, match_shapes

ICT = Path(__file__).parents[3] / "shared" / "data" / "ict_facekit" / "ict_expressions.npz"
FLOAT, SHORT, UNSIGNED = 5126, 5123, 5125


@pytest.fixture(scope="module")
def built_in():
    return load_rig("arkit")


def underscored(channel):
    """`browDownLeft` as ICT-FaceKit and many DCC tools write it: `browDown_L`."""
    for side in ("Left", "Right"):
        if channel.endswith(side):
            return f"{channel.removesuffix(side)}_{side[0]}"
    return channel


class GlbWriter:
    """Just enough of glTF to write heads by hand, so that reader and writer share no code."""

    def __init__(self):
        self.binary = b""
        self.tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}
        for kind in ("nodes", "meshes", "accessors", "bufferViews"):
            self.tree[kind] = []

    def view(self, array):
        self.binary += bytes(-len(self.binary) % 4)
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": array.nbytes})
        self.binary += array.tobytes()
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, array, kind, component=FLOAT, **extra):
        array = np.ascontiguousarray(array)
        self.tree["accessors"].append(
            {"bufferView": self.view(array), "componentType": component, "count": len(array), "type": kind, **extra}
        )
        return len(self.tree["accessors"]) - 1

    def sparse(self, array):
        moved = np.flatnonzero(np.abs(array).any(axis=1))
        indices = {"bufferView": self.view(moved.astype(np.uint16)), "componentType": SHORT}
        values = {"bufferView": self.view(array[moved].astype(np.float32))}
        entry = {"componentType": FLOAT, "count": len(array), "type": "VEC3"}
        if len(moved):
            entry["sparse"] = {"count": len(moved), "indices": indices, "values": values}
        self.tree["accessors"].append(entry)
        return len(self.tree["accessors"]) - 1

    def mesh(self, name, vertices, faces, shapes=None, sparse=False, extra=None):
        primitive = {
            "attributes": {"POSITION": self.accessor(vertices.astype(np.float32), "VEC3")},
            "indices": self.accessor(faces.astype(np.uint32).reshape(-1), "SCALAR", UNSIGNED),
        }
        if extra:
            primitive["attributes"].update(extra)
        mesh = {"name": name, "primitives": [primitive]}
        if shapes:
            store = self.sparse if sparse else lambda offset: self.accessor(offset.astype(np.float32), "VEC3")
            primitive["targets"] = [{"POSITION": store(offset)} for offset in shapes.values()]
            mesh["extras"] = {"targetNames": list(shapes)}
        self.tree["meshes"].append(mesh)
        return len(self.tree["meshes"]) - 1

    def node(self, root=True, **fields):
        self.tree["nodes"].append(fields)
        if root:
            self.tree["scenes"][0]["nodes"].append(len(self.tree["nodes"]) - 1)
        return len(self.tree["nodes"]) - 1

    def write(self, path, suffix_json=b""):
        self.tree["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.tree).encode() + suffix_json
        text += b" " * (-len(text) % 4)
        binary = self.binary + bytes(-len(self.binary) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def part(rig, names):
    """Vertices, faces and deltas of some parts of the built-in head, in numbers of their own."""
    chosen = np.sort(np.concatenate([rig.face_parts[name] for name in names]))
    used, faces = np.unique(rig.faces[chosen], return_inverse=True)
    return used, faces.reshape(-1, 3)


def write_built_in(path, rig, spell=str, sparse=False, left_out=(), place=None, edit=None):
    """The built-in head as four meshes: skin, eyes, teeth, tongue; `place` is the (4, 4) that undoes its node's."""
    writer = GlbWriter()
    undo = np.eye(4) if place is None else np.linalg.inv(place)
    order = []
    names = {"Head": ["skin", "mouth_lining", "eye_lining"], "Eyes": ["left_eye", "right_eye"]}
    names |= {"Teeth": ["upper_teeth", "lower_teeth"], "Tongue": ["tongue"]}
    for name, parts in names.items():
        used, faces = part(rig, parts)
        shapes = {
            spell(channel): rig.deltas[index, used] @ undo[:3, :3].T
            for index, channel in enumerate(CHANNELS)
            if channel not in left_out
        }
        vertices = rig.neutral[used] @ undo[:3, :3].T + undo[:3, 3]
        mesh = writer.mesh(name, vertices, faces, shapes, sparse)
        matrix = {} if place is None else {"matrix": place.T.ravel().tolist()}
        writer.node(mesh=mesh, name=f"node of {name.lower()}", **matrix)
        order.append(used)
    if edit:
        edit(writer)
    return writer.write(path), np.concatenate(order)


def random_motion(frames=3):
    return torch.rand(frames, 52, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(
    ("spell", "sparse"), [(str, True), (pascal_case, False), (underscored, True), ("Face.M_{}".format, False)]
)
def test_a_glb_of_the_built_in_head_moves_as_it_does(tmp_path, built_in, spell, sparse):
    path, order = write_built_in(tmp_path / "Köpfchen ü.glb", built_in, spell, sparse)
    rig = load_rig(path)
    assert isinstance(rig, LinearRig)
    assert rig.name == "arkit"
    assert rig.channels == CHANNELS
    motion = random_motion()
    np.testing.assert_allclose(rig.vertices(motion), built_in.vertices(motion)[:, order], atol=1e-7)
    assert rig.provenance["missing"] == ""
    assert rig.provenance["unit"].startswith("metre (guessed")
    assert load_rig(str(path)) is rig


def test_regions_of_a_users_head_agree_with_those_built_by_hand(tmp_path, built_in):
    path, order = write_built_in(tmp_path / "head.glb", built_in)
    rig = load_rig(path)
    for name in ("left_eye", "right_eye", "upper_teeth", "lower_teeth", "tongue"):
        assert set(order[rig.regions[name]]) == set(built_in.regions[name]), name
    for name, least in (("lips", 0.6), ("upper_face", 0.7), ("jaw", 0.6), ("face", 0.75)):
        # The file does not tell the lining of the mouth from the skin outside it.
        found, wanted = set(order[rig.regions[name]]) & set(built_in.regions["skin"]), set(built_in.regions[name])
        assert len(found & wanted) / len(found | wanted) > least, name
    for first, second in (("lips", "upper_face"), ("lips", "jaw"), ("upper_face", "jaw")):
        assert not np.intersect1d(rig.regions[first], rig.regions[second]).size
    faces = np.concatenate(list(rig.face_parts.values()))
    assert np.array_equal(np.sort(faces), np.arange(len(rig.faces)))
    opened = torch.zeros(2, 52)
    opened[:, CHANNELS.index("jawOpen")] = torch.tensor([0.0, 0.5])
    np.testing.assert_allclose(rig.mouth_opening(opened), built_in.mouth_opening(opened), rtol=0.1, atol=1e-4)


@pytest.mark.parametrize(
    ("scale", "unit"), [(1.0, "metre"), (10.0, "decimetre"), (100.0, "centimetre"), (1000.0, "millimetre")]
)
def test_the_unit_is_guessed_from_the_face(tmp_path, built_in, scale, unit):
    place = np.eye(4)
    place[:3, :3] = Rotation.from_euler("x", 90, degrees=True).as_matrix() / 3
    place[:3, 3] = [0.1, -2.0, 0.5]
    # The nodes turn, shrink and move what the file holds; the file holds the head in another unit besides.
    writer_place = place.copy()
    writer_place[:3, :3] *= scale
    path, order = write_built_in(tmp_path / "head.glb", built_in, place=writer_place)
    content = path.read_bytes()
    assert content[:4] == b"glTF"
    tree, binary = parsed(content)
    for node in tree["nodes"]:
        matrix = np.array(node["matrix"]).reshape(4, 4).T
        assert np.allclose(matrix, writer_place)
    rig = load_rig(path)
    motion = random_motion()
    np.testing.assert_allclose(rig.vertices(motion), built_in.vertices(motion)[:, order], atol=2e-6)

    scaled = np.diag([scale, scale, scale, 1.0])
    path, order = write_built_in(tmp_path / "scaled.glb", built_in, edit=lambda writer: scale_nodes(writer, scaled))
    rig = load_rig(path)
    np.testing.assert_allclose(rig.vertices(motion), built_in.vertices(motion)[:, order], atol=2e-6)
    assert rig.provenance["unit"].startswith(f"{unit} (guessed")


def scale_nodes(writer, matrix):
    for node in writer.tree["nodes"]:
        node["matrix"] = matrix.T.ravel().tolist()


def parsed(content):
    length = struct.unpack("<I", content[12:16])[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def test_nested_nodes_translation_rotation_and_scale(tmp_path, built_in):
    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True)

    def edit(writer):
        heads = writer.tree["scenes"][0]["nodes"]
        inner = writer.node(root=False, children=heads, rotation=turn.inv().as_quat().tolist(), scale=[0.5, 0.5, 0.5])
        outer = writer.node(root=False, children=[inner], rotation=turn.as_quat().tolist(), translation=[0, 1.6, 0.02])
        writer.tree["scenes"][0]["nodes"] = [writer.node(root=False, children=[outer], scale=[2, 2, 2])]

    path, order = write_built_in(tmp_path / "head.glb", built_in, edit=edit)
    motion = random_motion()
    expected = built_in.vertices(motion)[:, order] + torch.tensor([0, 3.2, 0.04])
    np.testing.assert_allclose(load_rig(path).vertices(motion), expected, atol=1e-6)


def test_a_mirrored_node_keeps_its_outside_out(tmp_path, built_in):
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    path, order = write_built_in(tmp_path / "head.glb", built_in, place=mirror)
    rig = load_rig(path)
    np.testing.assert_allclose(rig.vertices(random_motion()), built_in.vertices(random_motion())[:, order], atol=1e-6)
    corners = rig.neutral[rig.faces[rig.face_parts["tongue"]]].astype(np.float64)
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    assert volume < 0  # the faces were written as they are, so the mirrored copy had been inside out


def test_skinned_meshes_stand_at_rest(tmp_path, built_in):
    def edit(writer):
        bones = [writer.node(root=False, translation=[0, 1.5, 0]), writer.node(root=False, translation=[0.2, 1.5, 0])]
        writer.tree["scenes"][0]["nodes"] += bones
        bind = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
        bind[1, 3, 0] = -0.2  # column by column: the last row of the array is the translation
        matrices = writer.accessor(bind.reshape(2, 16), "MAT4")
        writer.tree["skins"] = [{"joints": bones, "inverseBindMatrices": matrices}]
        for node in writer.tree["nodes"][:4]:
            node |= {"skin": 0, "translation": [9, 9, 9]}  # which a skinned mesh does not follow
            attributes = writer.tree["meshes"][node["mesh"]]["primitives"][0]["attributes"]
            count = writer.tree["accessors"][attributes["POSITION"]]["count"]
            attributes["JOINTS_0"] = writer.accessor(np.tile([0, 1, 0, 0], (count, 1)).astype(np.uint16), "VEC4", SHORT)
            weights = np.tile([0.25, 0.75, 0, 0], (count, 1)).astype(np.float32)
            attributes["WEIGHTS_0"] = writer.accessor(weights, "VEC4")

    path, order = write_built_in(tmp_path / "head.glb", built_in, edit=edit)
    expected = built_in.vertices(random_motion())[:, order] + torch.tensor([0, 1.5, 0])
    np.testing.assert_allclose(load_rig(path).vertices(random_motion()), expected, atol=1e-6)


def test_meshes_without_shapes_stay_if_they_are_in_the_head(tmp_path, built_in):
    def edit(writer):
        cube = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float) * 0.01
        faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
        writer.node(mesh=writer.mesh("Implant", cube, faces))
        writer.node(mesh=writer.mesh("Body", cube - [0, 1, 0], faces))

    path, order = write_built_in(tmp_path / "head.glb", built_in, edit=edit)
    rig = load_rig(path)
    assert len(rig.neutral) == len(order) + 4
    assert not rig.deltas[:, len(order) :].any()


def test_shapes_a_head_may_lack_are_listed_and_still(tmp_path, built_in):
    left_out = ("tongueOut", "eyeLookUpLeft", "cheekPuff")
    path, _ = write_built_in(tmp_path / "head.glb", built_in, left_out=left_out)
    with pytest.warns(
        UserWarning, match="no shapes for cheekPuff, eyeLookUpLeft, tongueOut: these channels do nothing"
    ):
        rig = load_rig(path)
    assert rig.provenance["missing"] == "cheekPuff, eyeLookUpLeft, tongueOut"
    for name in left_out:
        assert not rig.deltas[CHANNELS.index(name)].any()


def test_shapes_a_head_must_have_are_named(tmp_path, built_in):
    path, _ = write_built_in(tmp_path / "head.glb", built_in, left_out=("jawOpen", "mouthPucker", "tongueOut"))
    with pytest.raises(UserError, match="lacks the shapes jawOpen, mouthPucker; every head needs those of jaw"):
        load_rig(path)
    path, _ = write_built_in(tmp_path / "other.glb", built_in, lambda channel: f"viseme_{len(channel)}{channel[:3]}_x")
    with pytest.raises(UserError, match="has no shapes with ARKit's names"):
        load_rig(path)


def edited(tree_edit):
    return lambda writer: tree_edit(writer.tree)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (edited(lambda tree: tree.update(extensionsUsed=["EXT_meshopt_compression"])), "compressed with EXT_meshopt"),
        (edited(lambda tree: tree["accessors"][0].update(count=10**13)), "claims 10,000,000,000,000 elements"),
        (edited(lambda tree: tree["accessors"][0].update(count=10**6)), "damaged or not glTF"),
        (edited(lambda tree: tree["bufferViews"][0].update(byteOffset=10**9)), "damaged or not glTF"),
        (edited(lambda tree: tree["nodes"][0].update(children=[0])), "hangs below two others"),
        (edited(lambda tree: tree["meshes"][0]["primitives"][0].update(mode=5)), "strips or fans"),
        (edited(lambda tree: tree.update(meshes=[])), "damaged or not glTF"),
        (lambda writer: scale_nodes(writer, np.diag([7e4, 7e4, 7e4, 1])), "the face is .* scale it first"),
        (lambda writer: scale_nodes(writer, np.diag([-1, 1, -1, 1])), "looks along -z"),
        (lambda writer: scale_nodes(writer, np.diag([-1, 1, 1, 1])), "character's left must be at"),
        (lambda writer: scale_nodes(writer, np.diag([1, -1, -1, 1])), "must stand upright"),
    ],
)
def test_heads_that_cannot_be_used_say_why(tmp_path, built_in, edit, text):
    path, _ = write_built_in(tmp_path / "head.glb", built_in, edit=edit)
    with pytest.raises(UserError, match=text):
        load_rig(path)


def test_damaged_and_missing_files_say_so(tmp_path, built_in):
    path, _ = write_built_in(tmp_path / "head.glb", built_in)
    content = path.read_bytes()
    for cut in (0, 10, 19, 500, len(content) // 2):
        (tmp_path / "cut.glb").write_bytes(content[:cut])
        with pytest.raises(UserError, match="damaged or not glTF"):
            load_rig(tmp_path / "cut.glb")
    nan = np.float32(np.nan).tobytes()
    start = content.index(built_in.neutral[part(built_in, ["skin", "mouth_lining", "eye_lining"])[0][0]].tobytes())
    (tmp_path / "nan.glb").write_bytes(content[:start] + nan + content[start + 4 :])
    with pytest.raises(UserError, match="NaN or infinite"):
        load_rig(tmp_path / "nan.glb")
    with pytest.raises(UserError, match=r"none\.glb does not exist"):
        load_rig(tmp_path / "none.glb")


def test_a_gltf_may_not_read_outside_its_folder(tmp_path, built_in):
    path, _ = write_built_in(tmp_path / "head.glb", built_in)
    tree, binary = parsed(path.read_bytes())
    (tmp_path / "inside").mkdir()
    for uri, folder in (("../data.bin", tmp_path), ("data%20ü.bin", tmp_path / "inside")):
        (tmp_path / "data.bin").write_bytes(binary)
        (tmp_path / "inside" / "data ü.bin").write_bytes(binary)
        tree["buffers"][0]["uri"] = uri
        (tmp_path / "inside" / "head.gltf").write_text(json.dumps(tree))
        if folder == tmp_path:
            with pytest.raises(UserError, match=r"'\.\./data\.bin' outside its folder"):
                load_rig(tmp_path / "inside" / "head.gltf")
        else:
            assert load_rig(tmp_path / "inside" / "head.gltf").channels == CHANNELS


def write_obj(path, vertices, faces, groups=None):
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices]
    group = None
    for number, face in enumerate(faces):
        if groups is not None and groups[number] != group:
            group = groups[number]
            lines.append(f"g {group}")
        lines.append("f " + " ".join(f"{corner + 1}/1" for corner in face))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def obj_folder(tmp_path_factory, built_in):
    folder = tmp_path_factory.mktemp("Kopf aus Dateien")
    groups = np.empty(len(built_in.faces), dtype=object)
    for name, faces in built_in.face_parts.items():
        groups[faces] = name
    order = np.argsort(groups.astype(str), kind="stable")
    write_obj(folder / "Neutral.obj", 100 * built_in.neutral, built_in.faces[order], groups[order])
    for index, channel in enumerate(CHANNELS):
        moved = 100 * (built_in.neutral + built_in.deltas[index])
        write_obj(folder / f"{underscored(channel)}.obj", moved, [])
    return folder


def test_a_folder_of_obj_files_moves_as_the_head_it_is_of(obj_folder, built_in):
    rig = load_rig(obj_folder)
    place = {tuple(point): index for index, point in enumerate(np.round(built_in.neutral, 5) + 0.0)}
    order = [place[tuple(point)] for point in np.round(rig.neutral, 5) + 0.0]
    motion = random_motion()
    np.testing.assert_allclose(rig.vertices(motion), built_in.vertices(motion)[:, order], atol=1e-6)
    assert rig.provenance["unit"].startswith("centimetre")
    assert {"tongue", "left_eye", "upper_teeth"} <= set(rig.face_parts)


def test_obj_folders_that_do_not_fit_say_why(obj_folder, tmp_path, built_in):
    with pytest.raises(UserError, match=r"has 0 \.obj files and 0 neutral ones"):
        load_rig(tmp_path)
    for file in obj_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_obj(tmp_path / "jawOpen.obj", built_in.neutral[:-3], [])
    with pytest.raises(UserError, match=r"jawOpen\.obj has 4781 vertices and Neutral\.obj has 4784"):
        load_rig(tmp_path)
    (tmp_path / "jawOpen.obj").write_text("v 1 2\nv 3 4 5\n")
    with pytest.raises(UserError, match="not a Wavefront mesh"):
        load_rig(tmp_path)
    (tmp_path / "jawOpen.obj").write_text("v 1 2 nan\n")
    with pytest.raises(UserError, match="NaN or infinite"):
        load_rig(tmp_path)
    (tmp_path / "Neutral.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    with pytest.raises(UserError, match="not a Wavefront mesh with vertices and faces"):
        load_rig(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jawOpen", ("jawOpen", "")),
        ("JawOpen", ("jawOpen", "")),
        ("JAW_OPEN", ("jawOpen", "")),
        ("browDown_L", ("browDownLeft", "")),
        ("browDownR", ("browDownRight", "")),
        ("brow_down.r", ("browDownRight", "")),
        ("blendShape1.mouthSmile_L", ("mouthSmileLeft", "")),
        ("mouthLeft", ("mouthLeft", "")),
        ("mouth_R", ("mouthRight", "")),
        ("browInnerUp_L", ("browInnerUp", "left")),
        ("cheekPuff_R", ("cheekPuff", "right")),
        ("viseme_aa", None),
        ("mouthOpen", None),
        ("eyesClosed", None),
        ("", None),
    ],
)
def test_names_are_matched_in_any_spelling(name, expected):
    assert channel_of(name) == expected


def test_every_channel_is_matched_in_every_spelling():
    for channel in CHANNELS:
        for spelled in (channel, channel.lower(), channel.upper(), pascal_case(channel), underscored(channel)):
            assert channel_of(spelled) == (channel, ""), spelled
        assert channel_of(mirrored_channel(channel)) == (mirrored_channel(channel), "")


def test_halves_add_up_and_twins_are_refused():
    assert match_shapes(["cheekPuff_L", "cheekPuff_R", "jawOpen"], "head") == {
        "cheekPuff": ["cheekPuff_L", "cheekPuff_R"],
        "jawOpen": ["jawOpen"],
    }
    with pytest.raises(UserError, match="two shapes for jawOpen: 'jawOpen' and 'JawOpen'"):
        match_shapes(["jawOpen", "JawOpen"], "head")


@pytest.mark.shared
@pytest.mark.skipif(not ICT.is_file(), reason="needs shared/data/ict_facekit")
def test_another_topology_with_other_names_moves_as_its_shapes_say(tmp_path):
    with np.load(ICT) as archive:
        vertices, quads, names, steps, scale = (archive[key] for key in ("v", "quads", "names", "delta_i16", "scale"))
    corner = [[*map(int, quad[quad >= 0])] for quad in quads]
    write_obj(tmp_path / "neutral.obj", vertices, corner)
    for name, step in zip(names, steps, strict=True):
        moved = (vertices + step * scale).ravel().tolist()
        (tmp_path / f"{name}.obj").write_text("v %.5f %.5f %.5f\n" * len(vertices) % tuple(moved))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rig = load_rig(tmp_path)
    assert "no shapes for tongueOut:" in str(caught[0].message)
    for channel, shapes in {
        "browInnerUp": ["browInnerUp_L", "browInnerUp_R"],
        "mouthSmileLeft": ["mouthSmile_L"],
    }.items():
        expected = sum(steps[list(names).index(shape)] * scale for shape in shapes) / 100
        np.testing.assert_allclose(rig.deltas[CHANNELS.index(channel)], expected, atol=3e-7)
    middle = rig.neutral[rig.lip_pairs[0]]
    assert np.abs(middle[:, 0]).max() < 3e-3
    assert 0 < rig.lip_gap_neutral[0] < 1e-3


def test_a_take_saved_as_glb_is_a_head_again(tmp_path, built_in):
    from scipy.spatial import cKDTree

    from deeptalk.take import Take

    Take(np.zeros((2, 52), np.float32)).save(tmp_path / "take.glb")
    rig = load_rig(tmp_path / "take.glb")
    motion = random_motion(1)[0]
    skin = built_in.regions["face"]
    distance, nearest = cKDTree(rig.neutral).query(built_in.neutral[skin])
    assert distance.max() < 1e-6
    np.testing.assert_allclose(rig.vertices(motion)[nearest], built_in.vertices(motion)[skin], atol=1e-5)
    assert {"left_eye", "upper_teeth", "lower_teeth", "tongue"} <= set(rig.regions)


def test_quantised_meshes_are_read_as_their_nodes_scale_them(tmp_path, built_in):
    scale = 0.3  # KHR_mesh_quantization: 16-bit steps of the node's scale

    def edit(writer):
        for mesh in writer.tree["meshes"]:
            for primitive in mesh["primitives"]:
                for entry in (primitive["attributes"], *primitive["targets"]):
                    old = writer.tree["accessors"][entry["POSITION"]]
                    start = writer.tree["bufferViews"][old["bufferView"]]["byteOffset"]
                    floats = np.frombuffer(writer.binary, np.float32, 3 * old["count"], start).reshape(-1, 3)
                    steps = np.rint(floats / scale * 32767).astype(np.int16)
                    entry["POSITION"] = writer.accessor(steps, "VEC3", 5122, normalized=True)
        scale_nodes(writer, np.diag([scale, scale, scale, 1]))

    path, order = write_built_in(tmp_path / "head.glb", built_in, edit=edit)
    expected = built_in.vertices(random_motion())[:, order]
    np.testing.assert_allclose(load_rig(path).vertices(random_motion()), expected, atol=52 * scale / 32767 / 2)
