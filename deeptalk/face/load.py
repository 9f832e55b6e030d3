"""One door to all rigs: by name, or a user's own head by path."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face.arkit import read_arkit_head
from deeptalk.face.channels import CHANNELS
from deeptalk.face.flame import FlameRig, load_flame
from deeptalk.face.flame_layout import flame_layout, is_flame
from deeptalk.face.rig import LinearRig, Rig

FLAME_VARIABLE = "DEEPTALK_FLAME"
"""Environment variable with the path of the user's FLAME file."""

_shared_arkit_head = functools.cache(read_arkit_head)


def channels_of(name: str) -> tuple[str, ...]:
    """Channel names of the rig of that name; needs no file, also for FLAME. Raises UserError for an unknown name."""
    if is_flame(name):
        return flame_layout(name).channels
    if name != "arkit":
        raise UserError(f"There is no rig {name!r}; the rigs are arkit, and flame with its variants (docs/rigs.md).")
    return CHANNELS


@overload
def load_rig(name: Literal["arkit"] = "arkit") -> LinearRig:
    """The built-in head."""


@overload
def load_rig(
    name: str | Path,
    path: str | Path | None = None,
    *,
    shape: Sequence[float] | np.ndarray = (),
    masks: str | Path | None = None,
) -> Rig:
    """Any rig."""


def load_rig(
    name: str | Path = "arkit",
    path: str | Path | None = None,
    *,
    shape: Sequence[float] | np.ndarray = (),
    masks: str | Path | None = None,
) -> Rig:
    """A rig, read once and shared.

    Args:
        name: `arkit` (the built-in head); `flame`, `flame100`, `flame100+neck+eyes` ...; or the path of a head with
            ARKit-named shapes: a `.glb` or `.gltf`, or a folder of `.obj` files.
        path: FLAME only: its file; without it, the one that the variable DEEPTALK_FLAME names.
        shape: FLAME only: coefficients of the identity.
        masks: FLAME only: file of vertex masks; without it, `FLAME_masks.pkl` beside the model if it is there.

    Raises:
        UserError: an unknown name, no FLAME file, or a file that does not hold such a head.
    """
    text = os.fspath(name)
    if is_flame(text) and not os.path.exists(text):
        return _load_flame(text, path, shape, masks)
    if path is not None or masks is not None or len(shape):
        raise UserError(f"path, shape and masks are for FLAME; rig {text!r} takes none of them.")
    if text == "arkit":
        return _shared_arkit_head()
    if text.lower().endswith((".glb", ".gltf")) or os.path.isdir(text):
        from deeptalk.face.blendshapes import load_head

        return load_head(Path(text))
    raise UserError(
        f"There is no rig {text!r}; it is arkit, flame (or flame100, flame+neck ...), or the path of a head with "
        "ARKit-named shapes: a .glb, a .gltf or a folder of .obj files."
    )


def _load_flame(
    name: str, path: str | Path | None, shape: Sequence[float] | np.ndarray, masks: str | Path | None
) -> FlameRig:
    flame_layout(name)
    path = path or os.environ.get(FLAME_VARIABLE)
    if not path:
        raise UserError(
            f"Rig {name!r} needs your own FLAME file, which cannot ship with DEEPTalk: load_rig({name!r}, path=...) or "
            f"{FLAME_VARIABLE}=PATH. FLAME 2023 Open (CC BY 4.0) is at flame.is.tue.mpg.de; docs/rigs.md says how."
        )
    changed = os.stat(path).st_mtime_ns if os.path.isfile(path) else 0
    identity = tuple(float(value) for value in np.asarray(shape, np.float64).reshape(-1))
    return _shared_flame(name, os.fspath(path), identity, None if masks is None else os.fspath(masks), changed)


@functools.lru_cache(maxsize=4)
def _shared_flame(name: str, path: str, shape: tuple[float, ...], masks: str | None, changed: int) -> FlameRig:
    return load_flame(name, path, shape, masks)
