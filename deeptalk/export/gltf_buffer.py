"""glTF files as bytes: accessors written into a buffer, dense or sparse, the container, and the way back.

Source: glTF 2.0 specification (ISO/IEC 12113), sections 3.6 (binary data), 3.6.2.3 (sparse accessors) and 4 (GLB).
Written here since pygltflib drops null from `extras`, which a recipe has, and puts a `byteOffset` on accessors without
a view, which the validator calls an error.
"""

import base64
import json
import struct
from typing import Any

import numpy as np

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENTS = {
    number: np.dtype(code)
    for number, code in zip((5120, 5121, 5122, 5123, 5125, 5126), ("i1", "u1", "<i2", "<u2", "<u4", "<f4"))
}
_NUMBERS = {dtype: number for number, dtype in _COMPONENTS.items()}
_TYPES = ("SCALAR", "VEC2", "VEC3", "VEC4")
_MAGIC, _JSON, _BINARY = b"glTF", b"JSON", b"BIN\0"


class BufferBuilder:
    """Collects the accessors, views and bytes of one file."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.content = bytearray()
        self._zeros: dict[int, int] = {}

    def view(self, content: bytes, **fields: Any) -> int:
        """Append bytes, aligned to four; returns the view's number. `fields` are further ones of the view."""
        self.content.extend(b"\0" * (-len(self.content) % 4))
        self.views.append({"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content), **fields})
        self.content.extend(content)
        return len(self.views) - 1

    def dense(
        self, array: np.ndarray, target: int | None = None, bounds: bool = False, normalized: bool = False
    ) -> int:
        """An accessor for all of an array (count,) or (count, width); returns its number."""
        fields = {} if target is None else {"target": target}
        place = {"bufferView": self.view(np.ascontiguousarray(array).tobytes(), **fields)}
        return self._accessor(array, bounds, **place, **({"normalized": True} if normalized else {}))

    def sparse(self, array: np.ndarray, moved: np.ndarray, bounds: bool = False) -> int:
        """An accessor that stores only the rows `moved` (sorted numbers) of `array`; the others are zero."""
        stored = np.zeros_like(array)
        stored[moved] = array[moved]
        if not len(moved):  # all accessors of one length that are zero throughout are the same
            if len(array) not in self._zeros:
                self._zeros[len(array)] = self._accessor(stored, bounds)
            return self._zeros[len(array)]
        smallest = next(t for t in (np.uint8, np.uint16, np.uint32) if moved[-1] <= np.iinfo(t).max)
        indices = moved.astype(smallest)
        sparse = {
            "count": len(moved),
            "indices": {"bufferView": self.view(indices.tobytes()), "componentType": _NUMBERS[indices.dtype]},
            "values": {"bufferView": self.view(array[moved].tobytes())},
        }
        return self._accessor(stored, bounds, sparse=sparse)

    def _accessor(self, array: np.ndarray, bounds: bool, **fields: Any) -> int:
        flat = array.reshape(len(array), -1)
        accessor = {"componentType": _NUMBERS[array.dtype], "count": len(array), "type": _TYPES[flat.shape[1] - 1]}
        if bounds:
            accessor |= {"min": flat.min(axis=0).tolist(), "max": flat.max(axis=0).tolist()}
        self.accessors.append(accessor | fields)
        return len(self.accessors) - 1

    def pack(self, document: dict[str, Any], binary: bool) -> bytes:
        """The file: a document with this buffer, as GLB or as JSON with the bytes in base64."""
        buffer: dict[str, Any] = {"byteLength": len(self.content)}
        if not binary:
            buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(self.content).decode("ascii")
        document = document | {"buffers": [buffer], "bufferViews": self.views, "accessors": self.accessors}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
        if not binary:
            return text
        chunks = b""
        for kind, content, filler in ((_JSON, text, b" "), (_BINARY, bytes(self.content), b"\0")):
            content += filler * (-len(content) % 4)
            chunks += struct.pack("<I4s", len(content), kind) + content
        return struct.pack("<4sII", _MAGIC, 2, 12 + len(chunks)) + chunks


class BufferReader:
    """The document and the buffer of a file that `BufferBuilder` packed; raises ValueError or LookupError if not."""

    def __init__(self, content: bytes) -> None:
        if content[:4] != _MAGIC:
            self.document = json.loads(content.decode("utf-8"))
            uri = self.document["buffers"][0]["uri"]
            if not uri.startswith("data:"):  # a path that a file names is never followed
                raise ValueError("its buffer is in another file")
            self.content = base64.b64decode(uri.split(",", 1)[1], validate=True)
            return
        magic, version, length = struct.unpack_from("<4sII", content)
        if version != 2 or length != len(content):
            raise ValueError("it is cut off, or no glTF 2.0")
        length, kind = struct.unpack_from("<I4s", content, 12)
        if kind != _JSON:
            raise ValueError("its first chunk is not JSON")
        self.document = json.loads(content[20 : 20 + length].decode("utf-8"))
        start = 28 + length
        length, kind = struct.unpack_from("<I4s", content, start - 8)
        if kind != _BINARY:
            raise ValueError("its second chunk is not binary")
        self.content = content[start : start + length]

    def view(self, number: int) -> bytes:
        """Bytes of a buffer view."""
        view = self.document["bufferViews"][number]
        start, length = view.get("byteOffset", 0), view["byteLength"]
        if start < 0 or length < 0 or start + length > len(self.content):
            raise ValueError(f"buffer view {number} lies outside the buffer")
        return self.content[start : start + length]

    def accessor(self, number: int) -> np.ndarray:
        """Values (count,) or (count, width) of a dense accessor, tightly packed."""
        accessor = self.document["accessors"][number]
        dtype, width = _COMPONENTS[accessor["componentType"]], _TYPES.index(accessor["type"]) + 1
        values = np.frombuffer(self.view(accessor["bufferView"]), dtype, accessor["count"] * width)
        return values if width == 1 else values.reshape(-1, width)
