"""FLAME from the user's own file: the pickles of 2020, 2023 and 2023 Open, and our npz or safetensors made of one.

FLAME itself never ships with DEEPTalk. The names in a file are those of the published pickles: `v_template`, `f`,
`shapedirs`, `posedirs`, `J_regressor`, `weights`, `kintree_table`. A converted file adds `shape_count` (how many of
the last axis of `shapedirs` are identity) and the vertex masks as `mask_NAME`.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face.array_pickle import MAX_FILE_BYTES, read_array_pickle
from deeptalk.files import atomic_path

MASK_FILE = "FLAME_masks.pkl"
"""Vertex masks as they are handed out beside FLAME; found on its own in the model's folder."""
PARENTS = (-1, 0, 1, 1, 1)
"""Of the joints root, neck, jaw, left eye, right eye."""
_SHAPE_COUNTS = {400: 300, 20: 10}  # all of FLAME; a cut to ten of each, as smplx takes
_NEEDED = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_HELP = "Give FLAME 2020 (generic_model.pkl), 2023 or 2023 Open, or an .npz or .safetensors made by convert_flame."


@dataclass(frozen=True, eq=False)
class FlameModel:
    """The arrays of one FLAME file, float64, metres."""

    template: np.ndarray
    """(vertex, 3)."""
    faces: np.ndarray
    """(face, 3) int64."""
    shape_directions: np.ndarray
    """(vertex, 3, shape): identity."""
    expression_directions: np.ndarray
    """(vertex, 3, expression)."""
    pose_directions: np.ndarray
    """(vertex, 3, 36): correctives, by the row-major entries of rotation less identity of neck, jaw and both eyes."""
    joint_regressor: np.ndarray
    """(5, vertex)."""
    weights: np.ndarray
    """(vertex, 5) skinning weights, each row adding up to 1."""
    masks: Mapping[str, np.ndarray]
    """Vertex indices by name, as handed out beside FLAME; may be empty."""


def read_flame(path: str | Path, masks: str | Path | None = None) -> FlameModel:
    """Read a FLAME file; a pickle is read without running anything in it.

    Args:
        path: `.pkl`, `.npz` or `.safetensors`.
        masks: the file of vertex masks; without it, `FLAME_masks.pkl` beside the model is taken if it is there.

    Raises:
        UserError: missing, damaged or oversized file, arrays that are missing, not finite or do not fit together.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}, so it is not FLAME. {_HELP}")
    found = {name.removeprefix("mask_"): array for name, array in arrays.items() if name.startswith("mask_")}
    if masks is not None or (not found and (path.parent / MASK_FILE).is_file()):
        found = read_array_pickle(path.parent / MASK_FILE if masks is None else masks)
    _check(arrays, found, path)
    shape_count = _shape_count(arrays, path)
    directions = arrays["shapedirs"].astype(np.float64)
    return FlameModel(
        template=arrays["v_template"].astype(np.float64),
        faces=arrays["f"].astype(np.int64),
        shape_directions=directions[..., :shape_count],
        expression_directions=directions[..., shape_count:],
        pose_directions=arrays["posedirs"].astype(np.float64),
        joint_regressor=arrays["J_regressor"].astype(np.float64),
        weights=arrays["weights"].astype(np.float64),
        masks={name: np.unique(indices).astype(np.int64) for name, indices in sorted(found.items())},
    )


def convert_flame(source: str | Path, out: str | Path, masks: str | Path | None = None) -> Path:
    """Write FLAME as `.safetensors` or `.npz`: float32, no pickle, a tenth of the time to load; returns the path.

    The licence of the file you convert holds for what is made of it. Raises UserError as `read_flame`, and for
    another suffix.
    """
    out = Path(out)
    if out.suffix not in (".npz", ".safetensors"):
        raise UserError(f"FLAME can be written as .safetensors or .npz, not as {out.name!r}.")
    model = read_flame(source, masks)
    directions = np.concatenate([model.shape_directions, model.expression_directions], axis=2)
    arrays = {
        "v_template": model.template.astype(np.float32),
        "f": model.faces.astype(np.int32),
        "shapedirs": directions.astype(np.float32),
        "posedirs": model.pose_directions.astype(np.float32),
        "J_regressor": model.joint_regressor.astype(np.float32),
        "weights": model.weights.astype(np.float32),
        "kintree_table": np.array([PARENTS, range(len(PARENTS))], dtype=np.int32),
        "shape_count": np.array(model.shape_directions.shape[2], dtype=np.int32),
        **{f"mask_{name}": indices.astype(np.int32) for name, indices in model.masks.items()},
    }
    with atomic_path(out) as temporary:
        if out.suffix == ".npz":
            np.savez_compressed(temporary, allow_pickle=False, **arrays)  # type: ignore[arg-type]
        else:
            from safetensors.numpy import save_file

            save_file({name: array.copy(order="C") for name, array in arrays.items()}, temporary)
    return out


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        inside = sorted(file.name for file in path.iterdir() if file.suffix in (".pkl", ".npz", ".safetensors"))
        hint = f" It holds {', '.join(inside[:5])}." if inside else ""
        raise UserError(f"{path} is a folder; give the FLAME file itself.{hint}")
    if not path.is_file():
        raise UserError(f"{path} does not exist. {_HELP}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path} has {path.stat().st_size:,} bytes, more than any FLAME. {_HELP}")
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a safetensors file ({error}). {_HELP}") from error
    return read_array_pickle(path)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an npz whose parts, unpacked, are no larger than a FLAME may be."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MAX_FILE_BYTES:
            raise UserError(f"{path} would unpack to {unpacked:,} bytes, more than any FLAME. {_HELP}")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except UserError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise UserError(
            f"{path} is not an archive of NumPy arrays ({type(error).__name__}: {error}). {_HELP}"
        ) from error


def _shape_count(arrays: Mapping[str, np.ndarray], path: Path) -> int:
    total = arrays["shapedirs"].shape[2]
    given = arrays.get("shape_count", np.array(_SHAPE_COUNTS.get(total, -1)))
    count = int(given) if given.ndim == 0 else -1
    if not 0 <= count < total:
        raise UserError(
            f"{path}: shapedirs has {total} directions; expected 400 (300 of shape, 100 of expression), or an array "
            "shape_count that says how many are of shape."
        )
    return count


def _check(arrays: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], path: Path) -> None:
    """Raise UserError where the arrays do not fit together."""
    template, faces = arrays["v_template"], arrays["f"]
    count = len(template) if template.ndim else 0
    expected = {
        "v_template": (count, 3),
        "f": (len(faces) if faces.ndim else 0, 3),
        "shapedirs": (count, 3, arrays["shapedirs"].shape[-1] if arrays["shapedirs"].ndim else 0),
        "posedirs": (count, 3, 9 * (len(PARENTS) - 1)),
        "J_regressor": (len(PARENTS), count),
        "weights": (count, len(PARENTS)),
        "kintree_table": (2, len(PARENTS)),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape or 0 in shape:
            raise UserError(f"{path}: {name} has shape {arrays[name].shape}, expected {shape} for {count} vertices.")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{path}: {name} holds NaN or infinite values; get the file again.")
    if (parents := [int(parent) for parent in arrays["kintree_table"][0, 1:]]) != list(PARENTS[1:]):
        raise UserError(f"{path}: the joints hang together as {parents}, FLAME's as {list(PARENTS[1:])}.")
    for name, indices in {"f": faces, **{f"the mask {name!r}": mask for name, mask in masks.items()}}.items():
        if (
            not np.issubdtype(indices.dtype, np.integer)
            or indices.size == 0
            or not 0 <= indices.min() <= indices.max() < count
        ):
            raise UserError(f"{path}: {name} does not hold indices of the {count} vertices.")
    if np.abs(arrays["weights"].sum(axis=1) - 1).max() > 1e-4:
        raise UserError(f"{path}: the skinning weights of a vertex do not add up to 1.")
    height = float(np.ptp(template[:, 1]))
    if not 0.05 < height < 1.0:
        raise UserError(f"{path}: the head is {height:.3g} high; FLAME is in metres, about 0.3.")
