"""Tensors out of CTranslate2's model.bin, version 6, without CTranslate2.

The file: u32 version, string specification, u32 revision, u32 tensor count; for each tensor its name, u8 rank, u32
dimensions, u8 type, u32 bytes, values. A string is a u16 length that counts its closing zero, then its bytes.
"""

import math
import mmap
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deeptalk.errors import UserError

VERSION = 6
FLOAT_TYPES: dict[int, np.dtype] = {0: np.dtype("<f4"), 4: np.dtype("<f2")}
MOST_TENSORS = 10_000
HIGHEST_RANK = 4


def read_tensors(path: str | Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the float tensors whose names start with `prefix`, as float32; scalars of other types are settings.

    Every length in the file is checked against the file's size before it is used. Raises UserError for a file that
    is not such a model, is cut short, or holds a quantised tensor under the prefix.
    """
    with open(path, "rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise UserError(f"{path} is empty; expected a CTranslate2 model.") from error
    with content:
        return _Reader(content, str(path)).tensors(prefix)


class _Reader:
    def __init__(self, content: mmap.mmap, path: str) -> None:
        self.content, self.path, self.place = content, path, 0

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        version = self.number("<I")
        if version != VERSION:
            raise self.error(f"its version is {version}, expected {VERSION}")
        self.string()
        self.number("<I")
        count = self.number("<I")
        if count > MOST_TENSORS:
            raise self.error(f"it claims {count} tensors")
        found = {}
        for _ in range(count):
            name = self.string()
            rank = self.number("<B")
            if rank > HIGHEST_RANK:
                raise self.error(f"{name} claims {rank} dimensions")
            dimensions = [self.number("<I") for _ in range(rank)]
            kind = self.number("<B")
            values = self.take(self.number("<I"))
            if not name.startswith(prefix) or (rank == 0 and kind not in FLOAT_TYPES):
                continue
            if kind not in FLOAT_TYPES:
                raise self.error(f"{name} is quantised (type {kind}), expected float32 or float16")
            if len(values) != math.prod(dimensions) * FLOAT_TYPES[kind].itemsize:
                raise self.error(f"{name} has {len(values)} bytes for the dimensions {dimensions}")
            array = np.frombuffer(values, dtype=FLOAT_TYPES[kind]).astype(np.float32)
            found[name] = torch.from_numpy(array.reshape(dimensions))
        return found

    def take(self, size: int) -> bytes:
        if self.place + size > len(self.content):
            raise self.error("it is cut short")
        self.place += size
        return self.content[self.place - size : self.place]

    def number(self, layout: str) -> int:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def string(self) -> str:
        return self.take(self.number("<H")).rstrip(b"\0").decode("utf-8", errors="replace")

    def error(self, reason: str) -> UserError:
        return UserError(
            f"{self.path} is not a CTranslate2 model that can be read: {reason}. Install or copy it again."
        )
