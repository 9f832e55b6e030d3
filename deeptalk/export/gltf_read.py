"""Reading back the `.glb` and `.gltf` files that `write_gltf` wrote."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.spatial.transform import Rotation

from deeptalk.errors import UserError
from deeptalk.export.formats import TakeFields
from deeptalk.export.gltf_buffer import BufferReader


def read_gltf(path: str | Path) -> TakeFields:
    """Read a take from `.glb` or `.gltf`; `Take(**read_gltf(path))` is the take again.

    Motion and rate are exact, the head's rotation within 1e-6 radians, the sound within the 16 bits it is stored in.
    Raises UserError for a missing file, or one that `write_gltf` did not write.
    """
    path = Path(path)
    try:
        return _fields(BufferReader(path.read_bytes()))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; expected a take saved as .glb or .gltf.") from error
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RuntimeError, struct.error) as error:
        raise UserError(
            f"{path} is not a take saved as glTF ({type(error).__name__}: {error}); expected what `Take.save` writes."
        ) from error


def _fields(file: BufferReader) -> TakeFields:
    extras: dict[str, Any] = file.document["asset"]["extras"]["deeptalk"]
    samplers: dict[str, np.ndarray] = {}
    for animation in file.document.get("animations", []):
        for channel in animation["channels"]:
            output = animation["samplers"][channel["sampler"]]["output"]
            samplers[channel["target"]["path"]] = file.accessor(output)
    rotation = None
    if "rotation" in samplers:
        rotation = Rotation.from_quat(samplers["rotation"].astype(np.float64)).as_euler("YXZ").astype(np.float32)
    samples = None
    if "sound" in extras:
        samples = soundfile.read(io.BytesIO(file.view(extras["sound"]["bufferView"])), dtype="float32")[0]
    return TakeFields(
        motion=_motion(file, extras, samplers),
        rig=str(extras["rig"]),
        frame_rate=float(extras["frame_rate"]),
        recipe=dict(extras["recipe"]),
        samples=samples,
        head_rotation_radians=rotation,
    )


def _motion(file: BufferReader, extras: dict[str, Any], samplers: dict[str, np.ndarray]) -> np.ndarray:
    if "motion" in extras:  # of a rig whose targets are not its channels
        content = file.view(extras["motion"]["bufferView"])
        return np.frombuffer(content, "<f4").reshape(extras["motion"]["shape"]).astype(np.float32)
    names = file.document["meshes"][0]["extras"]["targetNames"]
    weights = samplers["weights"].reshape(-1, len(names))
    return weights[:, [names.index(name) for name in extras["channels"]]].astype(np.float32)
