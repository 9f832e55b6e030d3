"""FLAME as a rig: expression blendshapes, pose correctives and linear blend skinning over a whole batch at once.

Formulas: Li, Bolkart, Black, Li and Romero, "Learning a model of facial shape and expression from 4D scans", 2017,
sections 3 and 4; skinning as in Loper et al., "SMPL", 2015. FLAME's data is the user's own, see `flame_file`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deeptalk.errors import UserError
from deeptalk.face.flame_file import PARENTS, FlameModel, read_flame
from deeptalk.face.flame_layout import JOINTS, FlameLayout, flame_layout
from deeptalk.face.flame_regions import flame_parts, flame_regions, mouth_rim
from deeptalk.face.mouth import PAIR_PLACES, central_pairs
from deeptalk.face.rig import check_channels
from deeptalk.files import file_sha256

BLOCK_NUMBERS = 2**18
"""Coordinates that are worked out at a time on a CPU: a megabyte of float32."""


@dataclass(frozen=True, eq=False)
class FlameRig:
    """FLAME with the columns of its name's layout. Its arrays are read-only and shared."""

    layout: FlameLayout
    neutral: np.ndarray
    """(vertex, 3) float32 metres: the template, or the identity that was asked for, at rest."""
    faces: np.ndarray
    """(face, 3) int64."""
    regions: Mapping[str, np.ndarray]
    """Sorted int64 vertex indices by name, see `flame_regions`."""
    face_parts: Mapping[str, np.ndarray]
    """Sorted int64 face indices by part: every triangle is in exactly one."""
    lip_pair_names: tuple[str, ...]
    """The first is on the midline; empty where the mesh has no open rim inside the mouth."""
    lip_pairs: np.ndarray
    """(pair, 2) int64: vertex of the upper and of the lower inner lip."""
    provenance: Mapping[str, str]
    """File and hash."""
    rest: np.ndarray
    """(vertex, 3) float64: the neutral before rounding."""
    expression_directions: np.ndarray
    """(vertex, 3, expression) float64 metres."""
    pose_directions: np.ndarray
    """(joint, vertex, 3, 9) float64: correctives of the moving joints but the root, in the layout's order."""
    weights: np.ndarray
    """(moving joint, vertex) float64: share of a vertex that moves with that joint or a still one below it."""
    joint_rest: np.ndarray
    """(moving joint, 3) float64 metres: where the moving joints are at rest."""
    joint_directions: np.ndarray
    """(moving joint, 3, expression) float64: how expressions move them."""
    _tensors: dict[tuple, tuple[Tensor, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        for array in (self.neutral, self.faces, self.lip_pairs, *self.regions.values(), *self.face_parts.values()):
            array.setflags(write=False)

    @property
    def name(self) -> str:
        """Name of the layout, such as `flame`."""
        return self.layout.name

    @property
    def channels(self) -> tuple[str, ...]:
        """Expression coefficients, then axis-angle radians of the moving joints."""
        return self.layout.channels

    @property
    def limits(self) -> np.ndarray:
        """(channel, 2) float32: least and greatest value."""
        return self.layout.limits

    def region(self, name: str) -> np.ndarray:
        """Vertex indices of a region; raises UserError with the known names."""
        if name not in self.regions:
            raise UserError(f"Rig {self.name!r} has no region {name!r}; it has {', '.join(sorted(self.regions))}.")
        return self.regions[name]

    def vertices(
        self, motion: Float[Tensor, "*batch channel"], region: str | None = None
    ) -> Float[Tensor, "*batch vertex 3"]:
        """Vertices in metres of the whole head, or of one region in the order of `regions[region]`.

        Differentiable, also at rest. Cost is proportional to the vertices asked for.
        """
        chosen = None if region is None else self.region(region)
        return self._skinned(motion, ("region", region), chosen)

    def lip_gap(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch pair"]:
        """Height in metres from lower to upper lip at each named pair, as the upright head sees it.

        Turning head or neck does not change it. Raises UserError where the mesh has no rim inside the mouth.
        """
        if not len(self.lip_pairs):
            raise UserError(
                f"The mesh of rig {self.name!r} has no open rim inside the mouth, so its lip gap is not defined."
            )
        check_channels(motion, self)
        still = [name.startswith(("root_", "neck_")) for name in self.channels]
        upright = torch.where(torch.tensor(still, device=motion.device), torch.zeros_like(motion), motion)
        height = self._skinned(upright, ("lips", None), self.lip_pairs.reshape(-1))[..., 1].unflatten(-1, (-1, 2))
        return height[..., 0] - height[..., 1]

    def mouth_opening(self, motion: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch"]:
        """Gap in metres of the midline inner lips less the neutral one."""
        upper, lower = self.lip_pairs[0] if len(self.lip_pairs) else (0, 0)
        return self.lip_gap(motion)[..., 0] - float(self.rest[upper, 1] - self.rest[lower, 1])

    def _skinned(self, motion: Tensor, key: tuple, chosen: np.ndarray | None) -> Tensor:
        check_channels(motion, self)
        rest, directions, weights, joint_rest, joint_directions = self._arrays(motion, key, chosen)
        flat = motion.reshape(-1, motion.shape[-1])
        expression, angles = flat.split([self.layout.expressions, 3 * len(self.layout.joints)], dim=-1)
        rotations = rotation_matrices(angles.unflatten(-1, (-1, 3)))
        corrective = [index for index, joint in enumerate(self.layout.joints) if joint != "root"]
        off_identity = rotations[:, corrective] - torch.eye(3, dtype=flat.dtype, device=flat.device)
        features = torch.cat([expression, off_identity.flatten(1)], dim=1)
        joints = joint_rest + (expression @ joint_directions).unflatten(-1, (-1, 3))
        turns, offsets = self._chained(rotations, joints)
        if motion.device.type != "cpu" or (torch.is_grad_enabled() and motion.requires_grad):
            moved = _skin(features, turns, offsets, rest, directions, weights).transpose(-1, -2)
            return moved.reshape(*motion.shape[:-1], len(rest) // 3, 3)
        # On a CPU the time goes into memory: blocks of frames whose steps stay in the cache take a third of it.
        vertices = motion.new_empty(len(flat), len(rest) // 3, 3)
        block = max(1, BLOCK_NUMBERS // len(rest))
        for first in range(0, len(flat), block):
            some = slice(first, first + block)
            moved = _skin(features[some], turns[some], offsets[some], rest, directions, weights)
            vertices[some].copy_(moved.transpose(-1, -2))
        return vertices.reshape(*motion.shape[:-1], len(rest) // 3, 3)

    def _chained(self, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """(frame, joint, 3, 3) and (frame, joint, 3) that take v to A v - v, turns of the joints above included."""
        places = {joint: index for index, joint in enumerate(self.layout.joints)}
        whole: dict[str, tuple[Tensor, Tensor]] = {}
        for joint in sorted(places, key=JOINTS.index):  # parents come first in FLAME's order
            rotation, joint_place = rotations[:, places[joint]], joints[:, places[joint]]
            offset = joint_place - (rotation @ joint_place.unsqueeze(-1)).squeeze(-1)
            parent = _moving_ancestor(joint, self.layout.joints)
            if parent is not None:
                above, above_offset = whole[parent]
                offset = (above @ offset.unsqueeze(-1)).squeeze(-1) + above_offset
                rotation = above @ rotation
            whole[joint] = rotation, offset
        turned, offsets = (torch.stack(parts, 1) for parts in zip(*(whole[name] for name in places), strict=True))
        return turned - torch.eye(3, dtype=turned.dtype, device=turned.device), offsets

    def _arrays(self, motion: Tensor, key: tuple, chosen: np.ndarray | None) -> tuple[Tensor, ...]:
        """The arrays for the chosen vertices, coordinate by coordinate, on the motion's device and in its precision."""
        key = (*key, motion.device, motion.dtype)
        if key not in self._tensors:
            pick = slice(None) if chosen is None else chosen
            blocks = [self.expression_directions[pick], *self.pose_directions[:, pick]]
            directions = np.concatenate(blocks, axis=2)  # (vertex, 3, feature)
            arrays = (
                self.rest[pick].T.reshape(-1),
                directions.transpose(2, 1, 0).reshape(directions.shape[2], -1),
                self.weights[:, None, pick],
                self.joint_rest,
                self.joint_directions.reshape(-1, self.layout.expressions).T,
            )
            with torch.inference_mode(False):  # a tensor first made in inference mode could never be trained through
                self._tensors[key] = tuple(
                    torch.tensor(array, device=motion.device, dtype=motion.dtype) for array in arrays
                )
        return self._tensors[key]


def _skin(
    features: Tensor, turns: Tensor, offsets: Tensor, rest: Tensor, directions: Tensor, weights: Tensor
) -> Tensor:
    """Vertices (frame, 3, vertex): blend, then v + sum_j w_j (A_j v - v), since the weights of a vertex add up to 1."""
    posed = torch.addmm(rest, features, directions).unflatten(-1, (3, -1))
    moved = posed
    for joint in range(turns.shape[1]):
        step = torch.baddbmm(offsets[:, joint].unsqueeze(-1), turns[:, joint], posed)
        moved = torch.addcmul(moved, weights[joint], step)
    return moved


def rotation_matrices(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation of each axis-angle vector in radians (Rodrigues); exact and differentiable at zero too."""
    square = axis_angle.square().sum(-1)[..., None, None]
    small = square < 1e-6
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    sine = torch.where(small, 1 - square / 6, torch.sin(angle) / angle)
    cosine = torch.where(small, 0.5 - square / 24, 2 * (torch.sin(angle / 2) / angle).square())
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device) + sine * cross + cosine * cross @ cross


def _moving_ancestor(joint: str, moving: Sequence[str]) -> str | None:
    """Nearest joint above that moves, or None."""
    parent = PARENTS[JOINTS.index(joint)]
    while parent >= 0 and JOINTS[parent] not in moving:
        parent = PARENTS[parent]
    return JOINTS[parent] if parent >= 0 else None


def _merged_weights(model: FlameModel, moving: Sequence[str]) -> np.ndarray:
    """(moving joint, vertex): a joint that stays still goes with the nearest one above it that moves."""
    merged = np.zeros((len(moving), len(model.template)))
    for index, joint in enumerate(JOINTS):
        carrier = joint if joint in moving else _moving_ancestor(joint, moving)
        if carrier is not None:
            merged[list(moving).index(carrier)] += model.weights[:, index]
    return merged


def build_flame(
    model: FlameModel, name: str, shape: Sequence[float] | np.ndarray = (), provenance: Mapping[str, str] | None = None
) -> FlameRig:
    """The rig of that name on a FLAME model with the identity `shape` (its first coefficients, the rest 0).

    Raises UserError where the model has fewer directions than the name or the identity asks for.
    """
    layout = flame_layout(name)
    coefficients = np.asarray(shape, np.float64).reshape(-1)
    has = model.expression_directions.shape[2], model.shape_directions.shape[2]
    if has[0] < layout.expressions or has[1] < len(coefficients) or not np.isfinite(coefficients).all():
        raise UserError(
            f"The FLAME file has {has[0]} expressions and {has[1]} shape coefficients; rig {name!r} asks for "
            f"{layout.expressions} and a finite shape of {len(coefficients)}."
        )
    rest = model.template + model.shape_directions[..., : len(coefficients)] @ coefficients
    expression = model.expression_directions[..., : layout.expressions]
    moving = [JOINTS.index(joint) for joint in layout.joints]
    regressor = model.joint_regressor[moving]
    corrective = [9 * (joint - 1) for joint in moving if joint > 0]
    regions = flame_regions(model)
    rim = mouth_rim(model)
    pairs = np.zeros((0, 2), np.int64) if rim is None else central_pairs(model.template, rim.upper, rim.lower)
    return FlameRig(
        layout=layout,
        neutral=rest.astype(np.float32),
        faces=model.faces,
        regions=regions,
        face_parts=flame_parts(model.faces, regions),
        lip_pair_names=tuple(PAIR_PLACES) if len(pairs) else (),
        lip_pairs=pairs,
        provenance=dict(provenance or {}),
        rest=rest,
        expression_directions=expression,
        pose_directions=np.stack([model.pose_directions[..., start : start + 9] for start in corrective]),
        weights=_merged_weights(model, layout.joints),
        joint_rest=regressor @ rest,
        joint_directions=np.einsum("jv,vce->jce", regressor, expression),
    )


def load_flame(
    name: str, path: str | Path, shape: Sequence[float] | np.ndarray = (), masks: str | Path | None = None
) -> FlameRig:
    """FLAME from the user's file as the rig `name`; see `read_flame` and `build_flame` for what is refused."""
    layout_name = flame_layout(name).name
    model = read_flame(path, masks)
    provenance = {"source": Path(path).name, "sha256": file_sha256(path), "unit": "metre"}
    return build_flame(model, layout_name, shape, provenance)
