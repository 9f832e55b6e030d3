"""The built-in ARKit-52 head, read from its npz asset."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face.rig import LinearRig

ASSET = Path(__file__).parent / "assets" / "arkit_head.npz"


def read_arkit_head(path: Path = ASSET) -> LinearRig:
    """Read the head that `scripts/build_head.py` wrote; raises UserError where the file is missing or not one."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _rig(arrays)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. Install DEEPTalk again, or run scripts/build_head.py.") from error
    except (ValueError, LookupError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a head asset ({error}). Run scripts/build_head.py to make it again.") from error


def _rig(arrays: dict[str, np.ndarray]) -> LinearRig:
    channels = tuple(str(name) for name in arrays["channels"])
    neutral = arrays["neutral"]
    deltas = np.zeros((len(channels), *neutral.shape), dtype=np.float32)
    channel = np.repeat(np.arange(len(channels)), arrays["delta_counts"])
    deltas[channel, arrays["delta_vertices"]] = arrays["delta_steps"] * arrays["delta_step_metres"]
    parts = {str(name): index for index, name in enumerate(arrays["part_names"])}
    regions = {name: np.flatnonzero(arrays["vertex_part"] == index) for name, index in parts.items()}
    regions["eyes"] = np.union1d(regions["left_eye"], regions["right_eye"])
    regions["teeth"] = np.union1d(regions["upper_teeth"], regions["lower_teeth"])
    for name, indices in arrays.items():
        if name.startswith("region_"):
            regions[name.removeprefix("region_")] = indices.astype(np.int64)
    return LinearRig(
        name="arkit",
        channels=channels,
        limits=np.tile(np.array([0.0, 1.0], dtype=np.float32), (len(channels), 1)),
        neutral=neutral,
        deltas=deltas,
        faces=arrays["faces"].astype(np.int64),
        regions=regions,
        face_parts={name: np.flatnonzero(arrays["face_part"] == index) for name, index in parts.items()},
        lip_pair_names=tuple(str(name) for name in arrays["lip_pair_names"]),
        lip_pairs=arrays["lip_pairs"].astype(np.int64),
        provenance=json.loads(str(arrays["provenance"])),
    )
