"""Meshes with morph targets out of .glb and .gltf files, placed as their nodes place them."""

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.errors import UserError
from deeptalk.face.mesh_part import MeshPart

MAX_FILE_BYTES = 2 * 1024**3
MAX_COUNT = 20_000_000
"""Elements of an accessor: one without data is zeros, so its size is only a claim."""
_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_COMPRESSED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_TRIANGLES = 4


def read_gltf(path: Path) -> list[MeshPart]:
    """Every triangle mesh of the file's scene with its morph targets, in the file's unit; skins stand at rest.

    Raises UserError for a file that is missing, damaged, compressed, or leads out of its folder.
    """
    import pygltflib

    if not path.is_file():
        raise UserError(f"{path} does not exist; expected a .glb or .gltf file.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path} has {path.stat().st_size:,} bytes; a head has at most 2 GiB.")
    try:
        loaded = pygltflib.GLTF2().load(str(path))
        if loaded is None:
            raise ValueError("no glTF in it")
        used = [name for name in _COMPRESSED if name in (loaded.extensionsUsed or [])]
        if used:
            raise UserError(f"{path} is compressed with {used[0]}; export it again without mesh compression.")
        return _Reader(loaded, path).parts()
    except UserError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise UserError(
            f"{path} is damaged or not glTF 2.0 ({type(error).__name__}: {str(error)[:80]}); export the head again."
        ) from error


class _Reader:
    def __init__(self, gltf: Any, path: Path) -> None:
        self.gltf, self.path = gltf, path
        self.buffers: dict[int, bytes] = {}
        self.world: dict[int, np.ndarray] = {}

    def parts(self) -> list[MeshPart]:
        scene = self.gltf.scenes[self.gltf.scene or 0] if self.gltf.scenes else None
        children = {child for node in self.gltf.nodes for child in node.children or []}
        roots = scene.nodes if scene else [index for index in range(len(self.gltf.nodes)) if index not in children]
        waiting = [(int(root), np.eye(4)) for root in roots or []]
        while waiting:
            index, above = waiting.pop()
            if index in self.world:
                raise UserError(f"{self.path}: node {index} hangs below two others; export the head again.")
            self.world[index] = above @ _local_matrix(self.gltf.nodes[index])
            waiting += [(int(child), self.world[index]) for child in self.gltf.nodes[index].children or []]
        parts = []
        for index in sorted(self.world):
            if self.gltf.nodes[index].mesh is not None:
                parts += self._mesh(index)
        return parts

    def _mesh(self, index: int) -> list[MeshPart]:
        node = self.gltf.nodes[index]
        mesh = self.gltf.meshes[node.mesh]
        parts = []
        for primitive in mesh.primitives:
            mode = _TRIANGLES if primitive.mode is None else primitive.mode
            if mode < _TRIANGLES:  # points and lines have no surface
                continue
            if mode > _TRIANGLES:
                raise UserError(f"{self.path}: mesh {mesh.name!r} is made of strips or fans; export it as triangles.")
            vertices = self.accessor(primitive.attributes.POSITION).astype(np.float64)
            if primitive.indices is None:
                corners = np.arange(len(vertices))
            else:
                corners = self.accessor(primitive.indices).astype(np.int64).ravel()
            faces = corners[: len(corners) // 3 * 3].reshape(-1, 3)
            if len(faces) and faces.max() >= len(vertices):
                raise ValueError("a triangle with a vertex that is not there")
            linear, offset = self._placement(node, index, primitive, len(vertices))
            shapes = {
                name: np.einsum("vab,vb->va", linear, delta)
                for name, delta in self._targets(mesh, primitive, len(vertices)).items()
            }
            if np.linalg.det(linear[:1])[0] < 0:
                faces = faces[:, ::-1]
            material = self.gltf.materials[primitive.material].name if primitive.material is not None else ""
            name = " ".join(filter(None, (node.name, mesh.name, material)))
            parts.append(MeshPart(name, np.einsum("vab,vb->va", linear, vertices) + offset, faces, shapes))
        return parts

    def _targets(self, mesh: Any, primitive: Any, count: int) -> dict[str, np.ndarray]:
        """Shape name -> (vertex, 3) offsets; a target that leaves positions alone is zeros."""
        targets = [target if isinstance(target, dict) else vars(target) for target in primitive.targets or []]
        names = ((mesh.extras or {}).get("targetNames") or (primitive.extras or {}).get("targetNames")) or []
        shapes = {}
        for index, target in enumerate(targets):
            number = target.get("POSITION")
            own = None if number is None else self.gltf.accessors[number].name
            name = str(names[index]) if index < len(names) else own or f"target {index}"
            offsets = np.zeros((count, 3)) if number is None else self.accessor(number).astype(np.float64)
            if offsets.shape != (count, 3):
                raise ValueError(f"shape {name!r} has {len(offsets)} vertices, its mesh {count}")
            shapes[name] = offsets
        return shapes

    def _placement(self, node: Any, index: int, primitive: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(vertex, 3, 3) and (vertex, 3) that take a vertex of the mesh to the scene."""
        joints = getattr(primitive.attributes, "JOINTS_0", None)
        if node.skin is None or joints is None:
            matrices = np.broadcast_to(self.world[index], (count, 4, 4))
        else:
            skin = self.gltf.skins[node.skin]
            bind = np.tile(np.eye(4), (len(skin.joints), 1, 1))
            if skin.inverseBindMatrices is not None:  # stored column by column
                bind = self.accessor(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
            placed = np.stack([self.world[joint] @ bind[place] for place, joint in enumerate(skin.joints)])
            weights = self.accessor(primitive.attributes.WEIGHTS_0).astype(np.float64)
            chosen = placed[self.accessor(joints).astype(np.int64)]
            matrices = np.einsum("vj,vjab->vab", weights / weights.sum(axis=1, keepdims=True), chosen)
        return matrices[:, :3, :3], matrices[:, :3, 3]

    def accessor(self, number: int) -> np.ndarray:
        """(element, component) array of an accessor: sparse ones filled in, normalised where it says so."""
        accessor = self.gltf.accessors[number]
        if not 0 <= accessor.count <= MAX_COUNT:
            raise UserError(f"{self.path} claims {accessor.count:,} elements in one array; a head has far fewer.")
        width = _WIDTHS[accessor.type]
        kind = np.dtype(_TYPES[accessor.componentType])
        values = np.zeros((accessor.count, width), kind)
        if accessor.bufferView is not None:
            values = self._view(accessor.bufferView, accessor.byteOffset or 0, accessor.count, width, kind)
        if accessor.sparse is not None:
            sparse = accessor.sparse
            at = sparse.indices
            index_kind = np.dtype(_TYPES[at.componentType])
            places = self._view(at.bufferView, at.byteOffset or 0, sparse.count, 1, index_kind)[:, 0]
            values = values.copy()
            values[places] = self._view(
                sparse.values.bufferView, sparse.values.byteOffset or 0, sparse.count, width, kind
            )
        if accessor.normalized and kind.kind in "iu":
            greatest = 2 ** (8 * kind.itemsize - (kind.kind == "i")) - 1
            values = np.maximum(values / np.float64(greatest), -1.0)
        if not np.isfinite(values).all():
            raise UserError(f"{self.path} holds values that are NaN or infinite; export the head again.")
        return values

    def _view(self, number: int, offset: int, count: int, width: int, kind: np.dtype) -> np.ndarray:
        view = self.gltf.bufferViews[number]
        stride = view.byteStride or width * kind.itemsize
        if offset + (count - 1) * stride + width * kind.itemsize > view.byteLength:
            raise ValueError("an array that is longer than its part of the file")
        start = (view.byteOffset or 0) + offset  # numpy refuses what reaches beyond the buffer
        return np.ndarray((count, width), kind, self._buffer(view.buffer), start, (stride, kind.itemsize))

    def _buffer(self, number: int) -> bytes:
        if number not in self.buffers:
            uri = self.gltf.buffers[number].uri
            if uri is None:
                self.buffers[number] = self.gltf.binary_blob() or b""
            elif uri.startswith("data:"):
                try:
                    self.buffers[number] = base64.b64decode(uri.partition(",")[2], validate=True)
                except binascii.Error as error:
                    raise ValueError("data that is not base64") from error
            else:
                self.buffers[number] = self._beside(uri)
        return self.buffers[number]

    def _beside(self, uri: str) -> bytes:
        from urllib.parse import unquote

        folder = self.path.parent.resolve()
        file = (folder / unquote(uri)).resolve()
        if not file.is_relative_to(folder):
            raise UserError(f"{self.path} points to {uri!r} outside its folder, which is not read.")
        if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{self.path} needs the file {uri!r} beside it.")
        return file.read_bytes()


def _local_matrix(node: Any) -> np.ndarray:
    """(4, 4) of a node: its matrix, which glTF stores column by column, or translation, rotation and scale."""
    if node.matrix is not None:
        return np.array(node.matrix, np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.rotation or (0, 0, 0, 1), np.float64)
    matrix = np.eye(4)
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] = np.array(turn) * np.array(node.scale or (1, 1, 1), np.float64)
    matrix[:3, 3] = node.translation or (0, 0, 0)
    return matrix
