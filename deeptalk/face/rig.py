"""What a face rig is, and the linear kind: neutral mesh plus one vertex offset per channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deeptalk.errors import UserError


@runtime_checkable
class Rig(Protocol):
    """Names the channels of a motion and turns them into vertices.

    Vertices are in metres: x to the character's left, y up, z forward.
    """

    @property
    def name(self) -> str:
        """Name that `load_rig` knows."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names in the order of a motion's columns."""

    @property
    def limits(self) -> np.ndarray:
        """(channel, 2) least and greatest value of each channel."""

    @property
    def faces(self) -> np.ndarray:
        """(face, 3) int64 triangles, counter-clockwise seen from outside."""

    @property
    def neutral(self) -> np.ndarray:
        """(vertex, 3) float32 metres, the face at motion zero."""

    @property
    def regions(self) -> Mapping[str, np.ndarray]:
        """Sorted vertex indices by region or part name."""

    @property
    def face_parts(self) -> Mapping[str, np.ndarray]:
        """Sorted face indices by part: every triangle is in exactly one."""

    @property
    def lip_pair_names(self) -> tuple[str, ...]:
        """Names of the pairs of `lip_gap`, the midline first; empty where the mesh has no measurable lips."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """Where the data came from."""

    def region(self, name: str) -> np.ndarray:
        """Vertex indices of a region or part; raises UserError with the known names."""

    def vertices(self, motion: Float[Tensor, "*batch channel"], region: str | None = None) -> Tensor:
        """Vertices (*batch, vertex, 3) in metres of the whole head or of one region."""

    def lip_gap(self, motion: Float[Tensor, "*batch channel"]) -> Tensor:
        """Signed height (*batch, pair) in metres between named central inner-lip pairs."""

    def mouth_opening(self, motion: Float[Tensor, "*batch channel"]) -> Tensor:
        """Opening (*batch,) in metres of the central inner lips, neutral = 0."""


@dataclass(frozen=True, eq=False)
class LinearRig:
    """A rig whose vertices are affine in the channels. Its arrays are read-only and shared."""

    name: str
    channels: tuple[str, ...]
    limits: np.ndarray
    """(channel, 2) float32: least and greatest value."""
    neutral: np.ndarray
    """(vertex, 3) float32 metres."""
    deltas: np.ndarray
    """(channel, vertex, 3) float32 metres at channel value 1."""
    faces: np.ndarray
    """(face, 3) int64."""
    regions: Mapping[str, np.ndarray]
    """Sorted int64 vertex indices by name: regions of the face and parts of the head."""
    face_parts: Mapping[str, np.ndarray]
    """Sorted int64 face indices by part: every triangle is in exactly one."""
    lip_pair_names: tuple[str, ...]
    """The first is on the midline; left is the character's left."""
    lip_pairs: np.ndarray
    """(pair, 2) int64: vertex of the upper and of the lower inner lip, where the lips first meet."""
    provenance: Mapping[str, str]
    """Where the data came from: source, licence, hashes."""
    lip_gap_neutral: np.ndarray = field(init=False)
    """(pair,) float32 metres: the gap at motion zero."""
    lip_gap_deltas: np.ndarray = field(init=False)
    """(channel, pair) float32 metres: how each channel changes the gap."""
    _tensors: dict[tuple, tuple[Tensor, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        upper, lower = self.lip_pairs[:, 0], self.lip_pairs[:, 1]
        object.__setattr__(self, "lip_gap_neutral", self.neutral[upper, 1] - self.neutral[lower, 1])
        object.__setattr__(self, "lip_gap_deltas", self.deltas[:, upper, 1] - self.deltas[:, lower, 1])
        shared = (self.limits, self.neutral, self.deltas, self.faces, self.lip_pairs)
        gaps = (self.lip_gap_neutral, self.lip_gap_deltas)
        for array in (*shared, *gaps, *self.regions.values(), *self.face_parts.values()):
            array.setflags(write=False)

    def region(self, name: str) -> np.ndarray:
        """Vertex indices of a region or part; raises UserError with the known names."""
        if name not in self.regions:
            raise UserError(f"Rig {self.name!r} has no region {name!r}; it has {', '.join(sorted(self.regions))}.")
        return self.regions[name]

    def vertices(
        self, motion: Float[Tensor, "*batch channel"], region: str | None = None
    ) -> Float[Tensor, "*batch vertex 3"]:
        """Vertices in metres of the whole head, or of one region in the order of `regions[region]`.

        Differentiable. Cost is proportional to the vertices asked for.
        """
        neutral, deltas = self._affine(motion, "vertices", region)
        return (motion @ deltas + neutral).unflatten(-1, (-1, 3))

    def lip_gap(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch pair"]:
        """Signed height in metres from lower to upper lip at each named pair; negative = through each other.

        Affine in the motion: `lip_gap_neutral + motion @ lip_gap_deltas`.
        """
        neutral, deltas = self._affine(motion, "lip_gap")
        return motion @ deltas + neutral

    def mouth_opening(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch"]:
        """Gap in metres of the midline inner lips less the neutral one; linear in the motion."""
        _, deltas = self._affine(motion, "lip_gap")
        return motion @ deltas[:, 0]

    def _affine(self, motion: Tensor, kind: str, region: str | None = None) -> tuple[Tensor, ...]:
        """Offset (value,) and matrix (channel, value) on the device and in the precision of the motion."""
        check_channels(motion, self)
        key = (kind, region, motion.device, motion.dtype)
        if key not in self._tensors:
            neutral, deltas = self.lip_gap_neutral, self.lip_gap_deltas
            if kind == "vertices":
                chosen = slice(None) if region is None else self.region(region)
                neutral, deltas = self.neutral[chosen].reshape(-1), self.deltas[:, chosen].reshape(len(self.deltas), -1)
            with torch.inference_mode(False):  # a tensor first made in inference mode could never be trained through
                self._tensors[key] = tuple(
                    torch.tensor(array, device=motion.device, dtype=motion.dtype) for array in (neutral, deltas)
                )
        return self._tensors[key]


def check_channels(motion: Tensor, rig: Rig) -> None:
    """Raise UserError unless the last axis of `motion` holds the rig's channels as floating-point numbers."""
    if motion.shape[-1] != len(rig.channels):
        raise UserError(_channel_count_text(motion.shape[-1], rig, "The motion"))
    if not motion.is_floating_point():  # whole numbers would round the deltas to zero
        raise UserError(f"The motion holds {motion.dtype}; expected floating-point channel values.")


def check_motion(motion: Tensor | np.ndarray, rig: Rig, name: str = "The motion") -> None:
    """Raise UserError unless `motion` (..., frame, channel) has the rig's channels and only finite values.

    `name` says in the message what the motion is (a file, "prediction", ...); frames count from 0.
    """
    values = motion.detach().cpu().numpy() if isinstance(motion, Tensor) else np.asarray(motion)
    if values.ndim < 2:
        raise UserError(f"{name} has shape {values.shape}; expected (frame, {len(rig.channels)}) for rig {rig.name!r}.")
    if values.shape[-1] != len(rig.channels):
        raise UserError(_channel_count_text(values.shape[-1], rig, name))
    if not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"{name} holds {values.dtype}; expected floating-point channel values.")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        *_, frame, channel = (int(index) for index in bad[0])
        found = "NaN" if np.isnan(values[tuple(bad[0])]) else "infinite"
        raise UserError(
            f"{name} is {found} at channel {rig.channels[channel]!r}, frame {frame} "
            f"({len(bad)} such values in all); every value must be a finite number."
        )


def _channel_count_text(found: int, rig: Rig, name: str) -> str:
    first, last = rig.channels[0], rig.channels[-1]
    return (
        f"{name} has {found} channels; rig {rig.name!r} has {len(rig.channels)} ({first} to {last}). Map them by name."
    )
