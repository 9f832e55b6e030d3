"""The backend without a graphics driver: kernels compiled by numba, one frame a thread."""

import threading

import numpy as np
from jaxtyping import Float, UInt8

from deeptalk.render import kernels, shading
from deeptalk.render.scene import Scene


class CpuRenderer:
    """Draws frames of one scene; may be called by several threads at a time, and each gives the same bytes."""

    name = "cpu"
    threads_allowed = True

    def __init__(self, scene: Scene):
        self.scene = scene
        camera = scene.camera
        self._look = scene.look
        self._offsets = scene.samples + np.float32(0.5)
        self._radii = np.array(shading.OCCLUSION_METRES, np.float32)
        self._reaches = shading.reaches_pixels(camera.pixels_per_metre)
        self._margin = int(self._reaches.max())
        self._style = (
            *(shading.MATERIALS, shading.LIGHTS, shading.AMBIENT, shading.PALETTE, shading.EYE, shading.OCCLUSION),
            shading.tone_table(),
        )
        self._details = scene.head.mesh.has_detail()
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
        screen = scene.project(positions)
        faces, mesh = scene.head.faces, scene.head.mesh
        materials = np.zeros_like(mesh.materials) if plain else mesh.materials
        details = np.zeros_like(self._details) if plain else self._details
        nearness, face_of, hollow = self._buffers(camera.height, camera.width)
        picture = np.empty((camera.height, camera.width, 3), np.uint8)
        kernels.rasterise(screen, faces, self._offsets, self._margin, scene.two_sided, nearness, face_of)
        kernels.hollows(nearness[0], self._reaches, self._radii, self._margin, hollow)
        surface = (screen, normals, colours, mesh.place, faces, materials, details, self._offsets, self._margin)
        kernels.shade(
            *surface,
            nearness,
            face_of,
            hollow,
            self._reaches,
            self._radii,
            self._look,
            self._style,
            scene.background,
            picture,
        )
        return picture

    def close(self) -> None:
        """Nothing is held."""

    def _buffers(self, height: int, width: int) -> tuple[np.ndarray, ...]:
        if not hasattr(self._local, "buffers"):
            count, border = len(self._offsets), 2 * self._margin
            self._local.buffers = (
                np.empty((count, height + border, width + border), np.float32),
                np.empty((count, height, width), np.int32),
                np.empty((height, width), np.float32),
            )
        return self._local.buffers
