"""Checkpoints in the released layout whose weights are a formula of the tensor's name: nothing of them is stored.

As in the pool recipe of the goldens, element i of a tensor is shift + scale * pool[(offset + i) mod length], exact in
float32. Here the pool is made of SHA-256 and a tensor's place in it is the checksum of its name, so that the weights
are the same on every machine and with every version of every library.
"""

import functools
import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

POOL_LENGTH = 65_537


@functools.cache
def pool() -> Tensor:
    """Whole numbers from -128 to 127, int64."""
    blocks = -(-POOL_LENGTH // 32)
    content = b"".join(hashlib.sha256(b"deeptalk %d" % block).digest() for block in range(blocks))
    return torch.frombuffer(bytearray(content), dtype=torch.int8)[:POOL_LENGTH].long()


def recipe_tensor(name: str, shape: Sequence[int]) -> Tensor:
    """The tensor of that name: norm gains and variances near 1, matrices about 1 / sqrt(inputs), all else small."""
    size = torch.Size(shape)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    values = pool()[(torch.arange(size.numel()) + zlib.crc32(name.encode())) % POOL_LENGTH].float().reshape(size)
    scale, shift = 2.0**-10, 0.0
    if "codebook" in name or "extra_tokens" in name:
        scale = 2.0**-6
    elif name.endswith(("alibi_scale", "running_var")) or (len(size) == 1 and name.endswith("weight")):  # of norms
        shift = 1.0
    elif len(size) > 1:
        scale = 2.0 ** -round(6 + 0.5 * math.log2(math.prod(size[1:])))
    return shift + scale * values


def recipe_weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """A state_dict of that layout."""
    return {name: recipe_tensor(name, shape) for name, shape in shapes.items()}


def recipe_input(name: str, shape: Sequence[int], scale: float = 2.0**-6) -> Tensor:
    """An input of a model, of a deviation of about 1."""
    places = (torch.arange(math.prod(shape)) + zlib.crc32(f"input {name}".encode())) % POOL_LENGTH
    return scale * pool()[places].float().reshape(shape)
