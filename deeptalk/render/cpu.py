"""The backend without a graphics driver: kernels compiled by numba, one frame a thread."""

import threading

import numpy as np
from jaxtyping import Float, UInt8

from deeptalk.render import kernels, shading
from deeptalk.render.scene import Scene


class CpuRenderer:
    """Draws frames of one scene; may be called by several threads at a time, and each gives the same bytes."""

    name = "cpu"

    def __init__(self, scene: Scene):
        self.scene = scene
        self.threads_allowed = True
        self._look = scene.look
        self._constants = (
            *(shading.MATERIALS, shading.LIGHTS, shading.AMBIENT, shading.PALETTE, shading.EYE, shading.OCCLUSION),
            *(np.array(shading.OCCLUSION_METRES, np.float32), shading.tone_table()),
        )
        self._local = threading.local()

    def draw(
        self,
        positions: Float[np.ndarray, "drawn 3"],
        normals: Float[np.ndarray, "drawn 3"],
        colours: Float[np.ndarray, "drawn 3"],
        plain: bool = False,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """One picture; `colours` are linear light, `plain` draws nothing but them: no iris, no brows."""
        scene, camera = self.scene, self.scene.camera
        screen = camera.project(positions)
        faces, mesh = scene.head.faces, scene.head.mesh
        materials = np.zeros_like(mesh.materials) if plain else mesh.materials
        places = np.zeros_like(mesh.place) if plain else mesh.place
        nearness, face_of, total = self._buffers(camera.height, camera.width)
        total[:] = 0
        for offset_x, offset_y in scene.samples + np.float32(0.5):
            kernels.rasterise(screen, faces, offset_x, offset_y, nearness, face_of)
            surface = (screen, normals, colours, places, faces, materials, nearness, face_of, offset_x, offset_y)
            kernels.shade(*surface, self._look, *self._constants, scene.background, total)
        return (total / len(scene.samples) + np.float32(0.5)).astype(np.uint8)

    def close(self) -> None:
        """Nothing is held."""

    def _buffers(self, height: int, width: int) -> tuple[np.ndarray, ...]:
        if not hasattr(self._local, "buffers"):
            self._local.buffers = (
                np.empty((height, width), np.float32),
                np.empty((height, width), np.int32),
                np.empty((height, width, 3), np.float32),
            )
        return self._local.buffers
