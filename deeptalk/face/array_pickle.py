"""Arrays out of a pickle from anywhere, without running anything that is in it.

FLAME and its masks are handed out as Python 2 pickles of NumPy, SciPy and chumpy objects. Every name that a pickle may
ask for is answered here by a stand-in that only remembers what it is given, and the arrays are then rebuilt from plain
bytes. NumPy's own loaders are left out on purpose: with a crafted dtype they read bytes as pointers.
"""

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.errors import UserError

MAX_FILE_BYTES = 2 * 1024**3
MAX_INSTRUCTIONS = 2_000_000
"""A FLAME file needs some hundreds; each also bounds the memory that numbered references may ask for."""
_TYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


class _Refused(Exception):
    """The pickle asks for something that is not in the list of stand-ins."""


class _Remembered:
    """Stands for an object: keeps the arguments it was made with and the state it was given."""

    def __new__(cls, *arguments: Any) -> "_Remembered":
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    arguments: tuple[Any, ...]
    state: Any

    def __init__(self, *_: Any) -> None:
        """The arguments are kept by `__new__`, which is all that some pickles call."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """The array that this object holds."""
        raise _Refused(f"an object of kind {type(self).__name__.strip('_')}")


class _Dtype(_Remembered):
    def dtype(self) -> np.dtype:
        code = _text(self.arguments[0]).lstrip("<>|=")
        order = _text(self.state[1]) if self.state else "|"
        if code not in _TYPES or order not in "<>|=":
            raise _Refused(f"an array of type {code!r}")
        return np.dtype(code) if order in "|=" else np.dtype(order + code)


class _Array(_Remembered):
    """NumPy's array: made by `_reconstruct`, filled by its state."""

    def array(self) -> np.ndarray:
        shape, dtype, columns_first, content = self.state[-4:]
        return _filled(content, dtype, shape, "F" if columns_first else "C")


class _Buffer(_Remembered):
    """NumPy's array as protocol 5 writes it: `_frombuffer(bytes, dtype, shape, order)`."""

    def array(self) -> np.ndarray:
        content, dtype, shape, order = self.arguments
        return _filled(content, dtype, shape, _text(order))


class _Chumpy(_Remembered):
    """chumpy's leaf, which holds an array as `x`."""

    def array(self) -> np.ndarray:
        return _array(_named(self.state)["x"])


class _ChumpySelect(_Remembered):
    """chumpy's choice of elements of another object."""

    def array(self) -> np.ndarray:
        state = _named(self.state)
        chosen = _array(state["a"]).ravel()[_array(state["idxs"]).astype(np.int64)]
        shape = state.get("preferred_shape")
        return chosen if shape is None else chosen.reshape(tuple(int(size) for size in shape))


class _Sparse(_Remembered):
    """SciPy's compressed matrix, given back dense."""

    by_column = True

    def array(self) -> np.ndarray:
        state = _named(self.state)
        rows, columns = (int(size) for size in state["_shape"])
        data, indices, starts = (_array(state[name]) for name in ("data", "indices", "indptr"))
        dense = np.zeros((columns, rows) if self.by_column else (rows, columns))
        if len(starts) != len(dense) + 1 or starts[-1] != len(data) or (np.diff(starts) < 0).any():
            raise _Refused("a sparse matrix that does not add up")
        np.add.at(dense, (np.repeat(np.arange(len(dense)), np.diff(starts)), indices[: len(data)]), data)
        return dense.T if self.by_column else dense


class _SparseRows(_Sparse):
    by_column = False


class _Function:
    """A function that a pickle may call; its attributes cannot be set by the pickle."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *arguments: Any) -> Any:
        return self._run(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a change of a function")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"text encoded as {encoding!r}")
    return text.encode("latin1")


def _bytes(*content: Any) -> bytes:
    if content and not isinstance(content[0], bytes):  # a number would ask for that many bytes
        raise _Refused(f"bytes made of {type(content[0]).__name__}")
    return bytes(content[0]) if content else b""


def _new(kind: Any, *_: Any) -> _Remembered:
    if not (isinstance(kind, type) and issubclass(kind, _Remembered)):
        raise _Refused(f"an object of {kind!r}")
    return kind()


_KNOWN: dict[str, Any] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    "copyreg._reconstructor": _Function(_new),
    "_codecs.encode": _Function(_encode),
    "builtins.object": object,
    "builtins.set": set,
    "builtins.bytes": _Function(_bytes),
    "builtins.bytearray": _Function(_bytes),
    "chumpy.ch.Ch": _Chumpy,
    "chumpy.reordering.Select": _ChumpySelect,
    "chumpy.ch.Select": _ChumpySelect,
}
for _package in ("numpy.core", "numpy._core"):
    _KNOWN[f"{_package}.multiarray._reconstruct"] = _Function(lambda *_: _Array())
    _KNOWN[f"{_package}.numeric._frombuffer"] = _Buffer
for _layout, _kind in (("csc", _Sparse), ("csr", _SparseRows)):
    for _module in (_layout, f"_{_layout}"):
        _KNOWN[f"scipy.sparse.{_module}.{_layout}_matrix"] = _kind
        _KNOWN[f"scipy.sparse.{_module}.{_layout}_array"] = _kind
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{_OLD_MODULES.get(module, module)}.{name}"
        if full not in _KNOWN:
            raise _Refused(full)
        return _KNOWN[full]


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _named(state: Any) -> dict[str, Any]:
    return {_text(name): value for name, value in state.items()}


def _filled(content: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise _Refused(f"an array of {dtype!r}")
    content = content.encode("latin1") if isinstance(content, str) else content
    sizes = tuple(int(size) for size in shape)
    kind = dtype.dtype()
    if not isinstance(content, bytes | bytearray) or min(sizes, default=1) < 0:
        raise _Refused("an array without bytes")
    if len(content) != math.prod(sizes) * kind.itemsize:
        raise _Refused(f"an array of shape {sizes} with {len(content)} bytes")
    array = np.frombuffer(content, kind).reshape(sizes, order="F" if order == "F" else "C")
    return array.astype(kind.newbyteorder("="))


def _array(value: Any) -> np.ndarray:
    if not isinstance(value, _Remembered):
        raise _Refused(f"{type(value).__name__} where an array is expected")
    return value.array()


def _check_instructions(content: bytes) -> None:
    """Raise where the pickle is cut off, or its instructions could fill the memory by themselves."""
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if count > MAX_INSTRUCTIONS or (instruction.name.endswith("PUT") and int(argument or 0) > MAX_INSTRUCTIONS):
            raise _Refused(f"more than {MAX_INSTRUCTIONS} steps")
        if instruction.name.startswith(("EXT", "PERSID", "BINPERSID")):
            raise _Refused(f"the instruction {instruction.name}")


def read_array_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays (NumPy, SciPy sparse, chumpy) of a pickled dictionary by name; what else it holds is left out.

    Nothing of the file is executed. Raises UserError for a missing, truncated or oversized file, one that asks for
    anything but arrays, or one that is no dictionary of arrays.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes; a pickle of arrays has at most 2 GiB.")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a pickled file.") from error
    try:
        _check_instructions(content)
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(found, dict):
            raise UserError(f"{path} holds a {type(found).__name__}; expected a dictionary of arrays.")
        return {_text(name): value.array() for name, value in found.items() if isinstance(value, _Remembered)}
    except _Refused as error:
        raise UserError(
            f"{path} asks for {error}, which a file of arrays does not need; nothing of it was run. "
            "Get the file again from its makers."
        ) from error
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(
            f"{path} is damaged or not a pickle ({type(error).__name__}: {str(error)[:80]}); get the file again."
        ) from error
