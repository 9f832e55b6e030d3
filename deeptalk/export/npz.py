"""Takes as NumPy archives: the exact motion with its rig, rate, recipe and sound."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, TakeFields, check_motion
from deeptalk.face import channels_of
from deeptalk.files import atomic_path

_FIELDS = ("motion", "channels", "rig", "frame_rate", "recipe")


def write_npz(take: Exportable, path: Path) -> None:
    """Write `motion` (frame, channel) float32, `channels`, `rig`, `frame_rate`, `recipe` (JSON), and `samples` and
    `head_rotation_radians` if any.

    The archive needs no pickle to read, and the same take always gives the same bytes.
    """
    check_motion(take.motion, "The motion to save")
    arrays: dict[str, Any] = {
        "motion": np.ascontiguousarray(take.motion, np.float32),
        "channels": np.array(channels_of(take.rig)),
        "rig": np.array(take.rig),
        "frame_rate": np.array(take.frame_rate, np.float64),
        "recipe": np.array(json.dumps(take.recipe, ensure_ascii=False)),
    }
    if take.samples is not None:
        arrays["samples"] = np.asarray(take.samples, np.float32)
    if take.head_rotation_radians is not None:
        arrays["head_rotation_radians"] = np.asarray(take.head_rotation_radians, np.float32)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_npz(path: str | Path) -> TakeFields:
    """Read what `write_npz` wrote; `Take(**read_npz(path))` is the take again.

    Channels are put in the rig's order by name. Raises UserError for a missing file, a file that is not such an
    archive, or channels that are not those of the rig.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; expected a take saved as .npz.") from error
    except Exception as error:  # a damaged archive can fail in any way
        raise UserError(f"{path} is not a NumPy archive ({error}); expected a take saved as .npz.") from error
    missing = [name for name in _FIELDS if name not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; expected a take saved by `Take.save`.")
    try:
        frame_rate, recipe = float(arrays["frame_rate"]), json.loads(str(arrays["recipe"]))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: its frame rate or recipe cannot be read ({error}); save the take again.") from error
    rig = str(arrays["rig"])
    channels = channels_of(rig)
    names = [str(name) for name in arrays["channels"]]
    if sorted(names) != sorted(channels) or arrays["motion"].shape[1:] != (len(names),):
        raise UserError(f"{path} does not hold the {len(channels)} channels of rig {rig!r}; save the take again.")
    return TakeFields(
        motion=np.ascontiguousarray(arrays["motion"][:, [names.index(name) for name in channels]]),
        rig=rig,
        frame_rate=frame_rate,
        recipe=recipe,
        samples=arrays.get("samples"),
        head_rotation_radians=arrays.get("head_rotation_radians"),
    )
