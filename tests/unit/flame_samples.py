"""A made-up head in FLAME's layout, and pickles of it as Python 2 wrote them."""

import io
import pickle
import struct
import sys
import types
import typing

import numpy as np
import scipy.sparse

from deeptalk.face.flame_file import PARENTS

SHAPES, EXPRESSIONS = 300, 100
MOUTH_HEIGHT, MOUTH_HALF_WIDTH = -0.05, 0.025


def _face_sheet():
    """A curved sheet with a slit for a mouth: points, triangles, and which points are on the lower edge of the slit."""
    columns, rows = np.linspace(-0.08, 0.08, 17), np.linspace(-0.13, 0.13, 14)
    rows[np.abs(rows - MOUTH_HEIGHT).argmin()] = MOUTH_HEIGHT
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    points = np.stack([x, y, 0.1 - 6 * x**2 - 2 * y**2], axis=1)
    inside = (points[:, 1] == MOUTH_HEIGHT) & (np.abs(points[:, 0]) < MOUTH_HALF_WIDTH)
    number = np.arange(len(points)).reshape(len(rows), len(columns))
    lower_number = number.copy()
    lower_number.ravel()[inside] = len(points) + np.arange(inside.sum())
    faces = []
    for row in range(len(rows) - 1):
        top = lower_number if rows[row + 1] == MOUTH_HEIGHT else number  # a quad below the slit uses its lower edge
        for column in range(len(columns) - 1):
            a, b = number[row, column], number[row, column + 1]
            d, c = top[row + 1, column], top[row + 1, column + 1]
            faces += [[a, b, c], [a, c, d]]
    lowered = np.concatenate([np.zeros(len(points), bool), np.ones(inside.sum(), bool)])
    return np.concatenate([points, points[inside]]), np.array(faces), lowered


def _ball(centre, radius=0.012):
    """A small closed ball of points and triangles."""
    polar, around = 5, 8
    theta, phi = np.meshgrid(np.linspace(0, np.pi, polar), np.linspace(0, 2 * np.pi, around, endpoint=False))
    points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], axis=-1).reshape(-1, 3)
    number = np.arange(around * polar).reshape(around, polar)
    faces = []
    for column in range(around):
        after = (column + 1) % around
        for row in range(polar - 1):
            a, b, c, d = number[column, row], number[after, row], number[after, row + 1], number[column, row + 1]
            faces += [[a, b, c], [a, c, d]]
    return centre + radius * points, np.array(faces)


def flame_arrays(seed=0):
    """Arrays under FLAME's names: a sheet of a face with a slit, two balls for eyes, everything else random."""
    random = np.random.default_rng(seed)
    sheet, faces, lowered = _face_sheet()
    parts, part_faces = [sheet], [faces]
    for side in (1, -1):
        ball, ball_faces = _ball(np.array([side * 0.032, 0.03, 0.085]))
        part_faces.append(ball_faces + sum(map(len, parts)))
        parts.append(ball)
    template = np.concatenate(parts)
    count, eye = len(template), len(parts[1])
    weights = np.zeros((count, 5))
    drop = np.clip((MOUTH_HEIGHT - sheet[:, 1]) / 0.02 + 0.5 * lowered, 0, 1) * 0.9
    weights[: len(sheet), 2] = drop
    weights[: len(sheet), 1] = 0.3 * (1 - drop)
    weights[: len(sheet), 0] = 1 - weights[: len(sheet), 1:].sum(axis=1)
    weights[len(sheet) : len(sheet) + eye, 3] = 1
    weights[len(sheet) + eye :, 4] = 1
    regressor = random.random((5, count)) ** 8
    return {
        "v_template": template,
        "f": np.concatenate(part_faces).astype(np.uint32),
        "shapedirs": random.normal(0, 1e-3, (count, 3, SHAPES + EXPRESSIONS)),
        "posedirs": random.normal(0, 1e-3, (count, 3, 36)),
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(5)], dtype=np.int64),
    }


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's one kind of string."""

    dispatch: typing.ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def python2_pickle(content):
    """Bytes of a pickle as Python 2 with an old NumPy and SciPy wrote it."""
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(content)
    written = file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")
    return written.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")


class Ch:
    """What chumpy's leaf looks like to a pickle."""

    def __init__(self, values):
        self.x = values
        self._dirty_vars, self._itr, self._depends_on_deps = {"x"}, None, {}


class Select(Ch):
    """What chumpy's choice of elements looks like."""

    def __init__(self, values, chosen, shape):
        self.a, self.idxs, self.preferred_shape = Ch(values), chosen, shape


def flame_2020_pickle(arrays):
    """The arrays pickled as FLAME 2020 is: chumpy's objects, a sparse regressor, extra fields that are no arrays."""
    modules = {name: types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    for kind, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
        kind.__module__ = module
        setattr(modules[module], kind.__name__, kind)
    held = {name: arrays[name] for name in ("f", "kintree_table")}
    held |= {name: Ch(arrays[name]) for name in ("v_template", "shapedirs", "weights")}
    held["posedirs"] = Select(arrays["posedirs"].ravel(), np.arange(arrays["posedirs"].size), arrays["posedirs"].shape)
    held["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    held |= {"bs_style": "lbs", "bs_type": "lrotmin", "J": Ch(np.zeros((5, 3)))}
    sys.modules.update(modules)
    try:
        return python2_pickle(held)
    finally:
        for name in modules:
            del sys.modules[name]
