"""ARKit weights as JSON, in the layout that Audio2Face exports and importers for Maya, Blender and web pages read.

`facsNames` holds the 52 names, `weightMat` one row of weights a frame, `exportFps` the rate, `numPoses` and `numFrames`
the sizes, `trackPath` what the motion is of. Beside them stand `format`, `rig`, `recipe` and, where the head turns,
`head_rotation_radians`; other programs pass these over. Nine digits a number: float32 comes back as it was.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.errors import UserError
from deeptalk.export.formats import Exportable, TakeFields, check_motion
from deeptalk.face import CHANNELS
from deeptalk.face.shape_names import channel_of
from deeptalk.files import read_json, write_text

FORMAT = "deeptalk-arkit"


def write_arkit_json(take: Exportable, path: Path) -> None:
    """Write a take of the `arkit` rig; raises UserError for another rig."""
    if take.rig != "arkit":
        raise UserError(f"An ARKit JSON holds ARKit's 52 weights; this take is of rig {take.rig!r}. Save it as .npz.")
    check_motion(take.motion, "The motion to save")
    head: dict[str, Any] = {
        "format": FORMAT,
        "exportFps": take.frame_rate,
        "trackPath": Path(path).stem,
        "numPoses": len(CHANNELS),
        "numFrames": len(take.motion),
        "rig": take.rig,
        "recipe": dict(take.recipe),
        "facsNames": list(CHANNELS),
    }
    rows = {"weightMat": take.motion}
    if take.head_rotation_radians is not None:
        rows["head_rotation_radians"] = take.head_rotation_radians
    # One line a frame: a person can read it and a diff shows frames.
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    for key, values in rows.items():
        table = [", ".join(f"{value:.9g}" for value in row) for row in np.asarray(values, np.float32).tolist()]
        lines.append(f'  "{key}": [\n' + ",\n".join(f"    [{row}]" for row in table) + "\n  ]")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_arkit_json(path: str | Path) -> TakeFields:
    """Read what `write_arkit_json` or Audio2Face wrote; the sound is not in it.

    Weights are mapped by name in any spelling. Raises UserError for a file that is no such JSON, names that are
    missing or occur twice, rows of unequal length, or values that are no finite numbers.
    """
    path = Path(path)
    content = read_json(path)
    needed = ("exportFps", "facsNames", "weightMat")
    if not isinstance(content, dict) or any(key not in content for key in needed):
        raise UserError(f"{path} lacks {', '.join(needed)}; expected ARKit weights as JSON (docs/formats.md).")
    names = content["facsNames"]
    matches = [channel_of(str(name)) for name in names] if isinstance(names, list) else []
    places = [match[0] if match and not match[1] else "" for match in matches]
    wrong = [channel for channel in CHANNELS if places.count(channel) != 1]
    if wrong:
        raise UserError(f"{path}: facsNames must hold each of ARKit's 52 names once; look at {', '.join(wrong)}.")
    weights = _numbers(content["weightMat"], len(names), f"{path}: weightMat")
    turned = content.get("head_rotation_radians")
    rate = content["exportFps"]
    if not isinstance(rate, int | float) or not 0 < rate < 1e4:
        raise UserError(f"{path}: exportFps is {rate!r}; expected frames per second.")
    head = None if turned is None else _numbers(turned, 3, f"{path}: head_rotation_radians")
    if head is not None and len(head) != len(weights):
        raise UserError(f"{path} has {len(weights)} frames of weights and {len(head)} of the head; save it again.")
    return TakeFields(
        motion=np.ascontiguousarray(weights[:, [places.index(channel) for channel in CHANNELS]]),
        rig="arkit",
        frame_rate=float(rate),
        recipe=content["recipe"] if isinstance(content.get("recipe"), dict) else {},
        samples=None,
        head_rotation_radians=head,
    )


def _numbers(rows: Any, width: int, what: str) -> np.ndarray:
    """(row, width) float32 of a list of lists; raises UserError where it is none."""
    try:
        values = np.array(rows, np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{what} is not a table of numbers ({error}).") from error
    if values.ndim != 2 or values.shape[1] != width:
        raise UserError(f"{what} has shape {values.shape}; expected one row of {width} numbers a frame.")
    check_motion(values, what)
    return values.astype(np.float32)
