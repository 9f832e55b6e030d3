"""A user's own head with ARKit-named shapes as a rig: a .glb or .gltf file, or a folder of .obj files."""

import functools
import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from deeptalk.errors import UserError
from deeptalk.face.channels import CHANNELS
from deeptalk.face.gltf_mesh import read_gltf
from deeptalk.face.mesh_part import MeshPart
from deeptalk.face.mouth import PAIR_PLACES, central_pairs
from deeptalk.face.obj_folder import read_obj_folder
from deeptalk.face.rig import LinearRig
from deeptalk.face.shape_names import check_shapes, match_shapes

FACE_METRES = (0.09, 0.5)
"""Height of the part that the shapes move, of any head from a child's to a large cartoon's."""
_UNITS = {"metre": 1.0, "decimetre": 0.1, "centimetre": 0.01, "millimetre": 0.001}
_PARTS = {
    "eye": re.compile(r"eye(?!.{0,3}(lash|brow|lid|shadow|line))", re.IGNORECASE),
    "teeth": re.compile(r"teeth|tooth", re.IGNORECASE),
    "tongue": re.compile(r"tongue", re.IGNORECASE),
}
_LIP_SHARE = 0.65  # of the furthest that pucker and funnel move skin
_MOVING_SHARE = 0.05  # of the furthest that any channel moves it
_CHIN_SHARE = 0.8  # of the furthest that jawOpen moves it: the chin, below which the neck begins
_JAW_SHARE = 0.4
_UPPER, _SHARED = ("brow", "eye"), ("cheekSquint", "noseSneer")


def load_head(path: Path) -> LinearRig:
    """The head at `path` as a rig of the 52 channels, in metres; read once and shared.

    Its rig name is `arkit`, since motions for it are ARKit's; `provenance` tells the file, the unit that was guessed
    from the size of the face, and the channels that it lacks, which stay still (a warning names them too). Raises
    UserError for a file that is no such head.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; expected a .glb, a .gltf or a folder of .obj files.")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".obj") if path.is_dir() else [path]
    state = tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return _shared_head(path, state)


@functools.lru_cache(maxsize=4)
def _shared_head(path: Path, state: tuple) -> LinearRig:
    parts = read_obj_folder(path) if path.is_dir() else read_gltf(path)
    files = [path / name for name, *_ in state] if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest() if path.is_dir() else file.read_bytes())
    return build_head(parts, str(path), {"source": path.name, "sha256": digest.hexdigest()})


def build_head(parts: list[MeshPart], where: str, provenance: dict[str, str]) -> LinearRig:
    """The rig of a head's parts; meshes without shapes are kept where they stand within the head, such as eyes.

    Raises UserError for missing shapes, a size that is no head's, or a head that does not look along +z with y up.
    """
    matches = [match_shapes(part.shapes, where) for part in parts]
    missing = check_shapes({channel for match in matches for channel in match}, where)
    parts, matches = _of_the_head(parts, matches)
    neutral = np.concatenate([part.vertices for part in parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    deltas = np.zeros((len(CHANNELS), len(neutral), 3))
    for part, match, start in zip(parts, matches, starts, strict=False):
        for channel, names in match.items():
            moved = sum(part.shapes[name] for name in names)
            deltas[CHANNELS.index(channel), start : start + len(part.vertices)] = moved
    unit, metres = _unit(neutral, deltas, where)
    neutral, deltas = neutral * metres, deltas * metres
    regions, face_parts = _parts(parts, starts, neutral, deltas, faces)
    _check_direction(neutral, deltas, regions["skin"], where)
    regions |= head_regions(neutral, deltas, regions["skin"], faces)
    drop = -deltas[CHANNELS.index("jawOpen"), :, 1]
    lower = drop > 0.5 * drop[regions["lips"]].max()
    pairs = central_pairs(neutral, regions["lips"][~lower[regions["lips"]]], regions["lips"][lower[regions["lips"]]])
    if missing:
        warnings.warn(f"{where} has no shapes for {', '.join(missing)}: these channels do nothing on it.", stacklevel=2)
    return LinearRig(
        name="arkit",
        channels=CHANNELS,
        limits=np.tile(np.array([0.0, 1.0], dtype=np.float32), (len(CHANNELS), 1)),
        neutral=neutral.astype(np.float32),
        deltas=deltas.astype(np.float32),
        faces=faces,
        regions=regions,
        face_parts=face_parts,
        lip_pair_names=tuple(PAIR_PLACES),
        lip_pairs=pairs,
        provenance={**provenance, "unit": unit, "missing": ", ".join(missing)},
    )


def head_regions(neutral: np.ndarray, deltas: np.ndarray, skin: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Vertex indices of face, lips, upper_face and jaw, from which channels move the skin and how far.

    The face is what any channel moves by a twentieth of the furthest or more, above the chin's lower edge, in one piece
    with the skin that it encloses; lips what pucker or funnel move by 0.65 of their furthest; the jaw what jawOpen
    moves by 0.4 of its furthest; the upper face what a brow or eye channel moves further than any of mouth, jaw or
    cheek. Lips, upper_face and jaw share no vertex.
    """
    moved = np.linalg.norm(deltas, axis=2)[:, skin]
    named = dict(zip(CHANNELS, moved, strict=True))
    pull = np.maximum(*(named[name] / max(named[name].max(), 1e-12) for name in ("mouthPucker", "mouthFunnel")))
    is_upper = np.array([name.startswith(_UPPER) for name in CHANNELS])
    is_shared = np.array([name.startswith(_SHARED) for name in CHANNELS])
    height = neutral[skin, 1]
    chin = height[named["jawOpen"] > _CHIN_SHARE * named["jawOpen"].max()].min()
    welded = _welded(neutral, faces)
    face = _largest_piece((moved.max(axis=0) > _MOVING_SHARE * moved.max()) & (height >= chin), skin, welded)
    lips = face & (pull > _LIP_SHARE)
    upper = face & ~lips & (moved[is_upper].max(axis=0) > moved[~is_upper & ~is_shared].max(axis=0))
    face |= _enclosed(face, skin, welded)
    upper |= _enclosed(upper, skin, welded) & ~lips
    jaw = face & ~lips & ~upper & (named["jawOpen"] > _JAW_SHARE * named["jawOpen"].max())
    return {name: skin[mask] for name, mask in (("face", face), ("lips", lips), ("upper_face", upper), ("jaw", jaw))}


def _welded(neutral: np.ndarray, faces: np.ndarray) -> csr_matrix:
    """Graph of the mesh's edges in which vertices at one place, split by a seam of texture, are joined too."""
    _, first, place = np.unique(np.round(neutral, 6), axis=0, return_index=True, return_inverse=True)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.concatenate([edges, np.stack([np.arange(len(neutral)), first[place.ravel()]], axis=1)])
    return coo_matrix((np.ones(len(edges)), edges.T), shape=(len(neutral), len(neutral))).tocsr()


def _largest_piece(chosen: np.ndarray, skin: np.ndarray, graph: csr_matrix) -> np.ndarray:
    """Mask over the skin of the largest connected piece of the chosen part."""
    members = np.flatnonzero(chosen)
    _, label = connected_components(graph[skin][:, skin][members][:, members], directed=False)
    mask = np.zeros(len(skin), dtype=bool)
    mask[members[label == np.bincount(label).argmax()]] = True
    return mask


def _enclosed(chosen: np.ndarray, skin: np.ndarray, graph: csr_matrix) -> np.ndarray:
    """Mask over the skin of its pieces that touch the chosen part, but for the largest, which is outside."""
    rest = np.flatnonzero(~chosen)
    if not len(rest) or not chosen.any():
        return np.zeros(len(skin), dtype=bool)
    on_skin = graph[skin][:, skin]
    _, label = connected_components(on_skin[rest][:, rest], directed=False)
    touching = (on_skin + on_skin.T)[rest] @ chosen.astype(float) > 0
    enclosed = np.isin(label, np.unique(label[touching])) & (label != np.bincount(label).argmax())
    mask = np.zeros(len(skin), dtype=bool)
    mask[rest[enclosed]] = True
    return mask


def _of_the_head(
    parts: list[MeshPart], matches: list[dict[str, list[str]]]
) -> tuple[list[MeshPart], list[dict[str, list[str]]]]:
    """Parts with channels, and those whose middle lies within the box around them."""
    moving = np.concatenate([part.vertices for part, match in zip(parts, matches, strict=True) if match])
    low, high = moving.min(axis=0), moving.max(axis=0)
    kept = []
    for part, match in zip(parts, matches, strict=True):
        middle = part.vertices.mean(axis=0) if len(part.vertices) else low - 1
        if match or ((middle >= low) & (middle <= high)).all():
            kept.append((part, match))
    return [part for part, _ in kept], [match for _, match in kept]


def _unit(neutral: np.ndarray, deltas: np.ndarray, where: str) -> tuple[str, float]:
    moved = np.linalg.norm(deltas, axis=2).max(axis=0)
    height = float(np.ptp(neutral[moved > _MOVING_SHARE * moved.max(), 1])) if moved.any() else 0.0
    for name, metres in _UNITS.items():
        if FACE_METRES[0] <= height * metres < FACE_METRES[1]:
            return f"{name} (guessed: the face is {height:.3g} high in the file)", metres
    raise UserError(f"{where}: the face is {height:.3g} high, a head's in none of {', '.join(_UNITS)}; scale it first.")


def _check_direction(neutral: np.ndarray, deltas: np.ndarray, skin: np.ndarray, where: str) -> None:
    """Raise UserError unless the eyes are above the mouth, the mouth is in front, and left is +x."""

    def place(*names: str) -> np.ndarray:
        moved = np.linalg.norm(deltas[[CHANNELS.index(name) for name in names]][:, skin], axis=2).sum(axis=0)
        return np.average(neutral[skin], axis=0, weights=moved)

    mouth, eyes, smile = place("mouthPucker"), place("eyeBlinkLeft", "eyeBlinkRight"), place("mouthSmileLeft")
    upward = (eyes - mouth) / np.linalg.norm(eyes - mouth)
    if upward[1] < 0.7:
        raise UserError(f"{where}: from mouth to eyes is {upward.round(2)}; the head must stand upright, y up.")
    if mouth[2] < (neutral[skin, 2].min() + neutral[skin, 2].max()) / 2:
        raise UserError(f"{where} looks along -z; turn it to look along +z, as glTF asks.")
    if smile[0] < mouth[0]:
        raise UserError(f"{where}: mouthSmileLeft moves the side of -x; the character's left must be at +x. Mirror it.")


def _parts(
    parts: list[MeshPart], starts: np.ndarray, neutral: np.ndarray, deltas: np.ndarray, faces: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Vertices and faces of skin, both eyes, upper and lower teeth and tongue, told by the parts' names."""
    label = np.full(len(neutral), "skin", dtype="U12")
    for part, start in zip(parts, starts, strict=False):
        some = np.arange(start, start + len(part.vertices))
        kind = next((kind for kind, pattern in _PARTS.items() if pattern.search(part.name)), "skin")
        if kind == "eye":
            label[some] = np.where(neutral[some, 0] > 0, "left_eye", "right_eye")
        elif kind == "teeth":
            drops = np.linalg.norm(deltas[CHANNELS.index("jawOpen"), some], axis=1) > 1e-4
            label[some] = np.where(drops, "lower_teeth", "upper_teeth")
        else:
            label[some] = kind
    names = np.unique(label).tolist()
    regions = {name: np.flatnonzero(label == name) for name in names}
    if "skin" not in regions:
        raise UserError("Every mesh of the head is called eye, teeth or tongue; one must be its skin.")
    for whole, halves in {"eyes": ("left_eye", "right_eye"), "teeth": ("upper_teeth", "lower_teeth")}.items():
        present = [regions[half] for half in halves if half in regions]
        if present:
            regions[whole] = np.sort(np.concatenate(present))
    face_label = label[faces[:, 0]]
    return regions, {name: np.flatnonzero(face_label == name) for name in names}
