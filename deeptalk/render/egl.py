"""The backend of the graphics driver: the kernels' picture as OpenGL shaders, by moderngl through EGL, no screen."""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from deeptalk.render import shading
from deeptalk.render.scene import Scene
from deeptalk.render.shaders import ACCUMULATE, COVER, FINISH, SURFACE_FRAGMENT, SURFACE_VERTEX

MATERIAL_TEXTURE_WIDTH = 1024
LEAST_VERSION = 330


def open_context() -> Any:
    """A context without a screen; raises whatever moderngl raises where there is no driver.

    The backend is named, since by default moderngl looks for a display.
    """
    import moderngl

    return moderngl.create_context(standalone=True, backend="egl", require=LEAST_VERSION)  # type: ignore[arg-type]


class EglRenderer:
    """Draws frames of one scene in the thread that made it."""

    name = "egl"
    threads_allowed = False

    def __init__(self, scene: Scene):
        import moderngl

        self.scene = scene
        self.context = open_context()
        size = (scene.camera.width, scene.camera.height)
        with self.context as context:
            self._surface = context.program(SURFACE_VERTEX, SURFACE_FRAGMENT)
            self._accumulate = context.program(COVER, shading.as_glsl() + ACCUMULATE)
            self._finish = context.program(COVER, FINISH)
            count, mesh = len(scene.head.rest), scene.head.mesh
            self._moving = context.buffer(reserve=count * 9 * 4, dynamic=True)
            self._places = context.buffer(mesh.place.astype(np.float32).tobytes())
            indices = context.buffer(scene.head.faces.tobytes())
            layout = [(self._moving, "3f 3f 3f", "screen", "normal", "colour"), (self._places, "3f", "place")]
            self._mesh = context.vertex_array(self._surface, layout, index_buffer=indices)
            self._cover = [context.vertex_array(p, []) for p in (self._accumulate, self._finish)]
            self._layers = [context.texture(size, 4, dtype="f4") for _ in range(3)]
            for layer in self._layers:
                layer.filter = (moderngl.NEAREST, moderngl.NEAREST)
            depth = context.depth_renderbuffer(size)
            self._surface_target = context.framebuffer(self._layers, depth)
            self._sums = context.texture(size, 4, dtype="f4")
            self._sum_target = context.framebuffer([self._sums])
            self._target = context.framebuffer([context.renderbuffer(size, 3)])
            self._materials, self._background = self._tables(context)
            self._set_constants()

    def _tables(self, context: Any) -> tuple[Any, Any]:
        materials = self.scene.head.mesh.materials
        rows = -(-len(materials) // MATERIAL_TEXTURE_WIDTH)
        padded = np.zeros((2, rows, MATERIAL_TEXTURE_WIDTH), np.uint8)
        padded[0].reshape(-1)[: len(materials)] = materials
        self._plain_materials = context.texture((MATERIAL_TEXTURE_WIDTH, rows), 1, padded[1].tobytes(), dtype="u1")
        of_faces = context.texture((MATERIAL_TEXTURE_WIDTH, rows), 1, padded[0].tobytes(), dtype="u1")
        height = self.scene.camera.height
        rows_of_colour = np.concatenate([self.scene.background / 255, np.ones((height, 1))], axis=1).astype(np.float32)
        return of_faces, context.texture((1, height), 4, rows_of_colour.tobytes(), dtype="f4")

    def _set_constants(self) -> None:
        camera = self.scene.camera
        radii = np.array(shading.OCCLUSION_METRES)
        reaches = shading.reaches_pixels(camera.pixels_per_metre)
        self._surface["picture"] = (camera.width, camera.height)
        self._surface["nearness_range"] = (1 / (camera.distance + 1), 1 / max(camera.distance - 0.5, 0.05))
        self._surface["materials"] = 0
        for name, unit in (("normals", 0), ("albedos", 1), ("places", 2), ("background", 3)):
            self._accumulate[name] = unit
        self._accumulate["look"] = self.scene.look.tolist()
        self._accumulate["reaches"] = tuple(int(reach) for reach in reaches)
        self._accumulate["radii"] = tuple(radii.tolist())
        self._finish["sums"] = 0
        self._finish["count"] = float(len(self.scene.samples))

    def draw(
        self,
        positions: Float[np.ndarray, "drawn 3"],
        normals: Float[np.ndarray, "drawn 3"],
        colours: Float[np.ndarray, "drawn 3"],
        plain: bool = False,
    ) -> UInt8[np.ndarray, "height width 3"]:
        """One picture; `colours` are linear light, `plain` draws nothing but them: no iris, no brows."""
        import moderngl

        camera = self.scene.camera
        moving = np.concatenate([self.scene.project(positions), normals, colours], axis=1).astype(np.float32)
        with self.context as context:
            self._moving.write(moving.tobytes())
            self._sum_target.clear()
            for offset in self.scene.samples:
                self._draw_surface(context, offset, plain)
                context.disable(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
                context.enable(moderngl.BLEND)
                context.blend_func = moderngl.ONE, moderngl.ONE
                self._sum_target.use()
                for unit, texture in enumerate((*self._layers, self._background)):
                    texture.use(unit)
                self._accumulate["offset"] = tuple(offset.tolist())
                self._cover[0].render(moderngl.TRIANGLES, vertices=3)
            context.disable(moderngl.BLEND)
            self._target.use()
            self._sums.use(0)
            self._cover[1].render(moderngl.TRIANGLES, vertices=3)
            data = self._target.read(components=3, alignment=1)
        return np.frombuffer(data, np.uint8).reshape(camera.height, camera.width, 3)

    def _draw_surface(self, context: Any, offset: Float[np.ndarray, "2"], plain: bool) -> None:
        import moderngl

        context.disable(moderngl.BLEND)
        context.enable(moderngl.DEPTH_TEST)
        context.front_face = "cw"  # pictures count rows downwards, so what runs counter-clockwise turns round
        if not self.scene.two_sided:
            context.enable(moderngl.CULL_FACE)
        self._surface_target.use()
        self._surface_target.clear(depth=1.0)
        (self._plain_materials if plain else self._materials).use(0)
        self._surface["offset"] = tuple(offset.tolist())
        self._surface["plain"] = plain
        self._mesh.render(moderngl.TRIANGLES)

    def close(self) -> None:
        """Give the context back to the driver."""
        self.context.release()
