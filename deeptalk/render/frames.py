"""Motion to pictures: the one place that chooses who draws."""

import functools
import importlib.util
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from deeptalk.errors import UserError
from deeptalk.face import Rig, check_motion
from deeptalk.render.heat import heat_colours
from deeptalk.render.scene import Scene, make_scene
from deeptalk.render.shading import linear

Backend = Literal["egl", "cpu"]
log = logging.getLogger(__name__)


@runtime_checkable
class Renderer(Protocol):
    """Draws frames of one scene."""

    name: str
    threads_allowed: bool

    def draw(self, positions: np.ndarray, normals: np.ndarray, colours: np.ndarray, plain: bool = False) -> np.ndarray:
        """One picture (height, width, 3) of sRGB bytes."""

    def close(self) -> None:
        """Give back what the graphics driver lent."""


def render_frames(
    rig: Rig,
    motion: np.ndarray,
    size: int | Sequence[int] = 512,
    *,
    backend: Backend | None = None,
    antialias: bool = True,
    head_rotation_radians: np.ndarray | None = None,
    errors_millimetres: np.ndarray | None = None,
    heat_maximum_millimetres: float | None = None,
) -> UInt8[np.ndarray, "frame height width 3"]:
    """Pictures of every frame of a motion, all in memory; `iterate_frames` gives them one by one."""
    frames = iterate_frames(
        rig,
        motion,
        size,
        backend=backend,
        antialias=antialias,
        head_rotation_radians=head_rotation_radians,
        errors_millimetres=errors_millimetres,
        heat_maximum_millimetres=heat_maximum_millimetres,
    )
    return np.stack(list(frames))


def iterate_frames(
    rig: Rig,
    motion: np.ndarray,
    size: int | Sequence[int] = 512,
    *,
    backend: Backend | None = None,
    antialias: bool = True,
    head_rotation_radians: np.ndarray | None = None,
    errors_millimetres: np.ndarray | None = None,
    heat_maximum_millimetres: float | None = None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Pictures (height, width, 3), sRGB, of a motion (frame, channel), one after the other.

    Args:
        rig: any rig; parts that it names in its regions (eyes, teeth, tongue, lips) are drawn as such.
        motion: (frame, channel) finite values.
        size: pixels of a square picture, or (width, height).
        backend: "egl" for a graphics driver, "cpu" for numba's kernels; None takes a GPU's driver, else the
            kernels, else a driver that draws on the processor.
        antialias: average four samples a pixel.
        head_rotation_radians: (frame, 3) yaw to the character's left, pitch down, roll to the character's right;
            positive turns about y, x and z by the right-hand rule, roll first.
        errors_millimetres: (frame, vertex) draws these as colours instead of skin.
        heat_maximum_millimetres: what the last colour of the heat map stands for; the greatest error if None.

    Raises UserError for a motion that does not fit the rig, no frames, impossible sizes, or where nothing can draw.
    """
    motion = np.asarray(motion)
    check_motion(motion, rig)
    if motion.ndim != 2 or len(motion) == 0:
        raise UserError(f"The motion has shape {motion.shape}; expected (frame, channel) with at least one frame.")
    _check_rows(head_rotation_radians, (len(motion), 3), "The head rotation")
    _check_rows(errors_millimetres, (len(motion), len(rig.neutral)), "The error map")
    scene = make_scene(rig, size, antialias)
    renderer = open_renderer(scene, backend)
    hottest = heat_maximum_millimetres
    if hottest is None:
        hottest = 1.0 if errors_millimetres is None else float(np.max(errors_millimetres))

    def picture(frame: int, positions: np.ndarray, normals: np.ndarray) -> np.ndarray:
        if errors_millimetres is None:
            return renderer.draw(positions, normals, scene.colours)
        drawn = scene.head.on_drawn(np.asarray(errors_millimetres[frame], np.float32))
        return renderer.draw(positions, normals, linear(heat_colours(drawn, hottest)), plain=True)

    return _drawn(scene, renderer, picture, motion, head_rotation_radians)


def _drawn(
    scene: Scene,
    renderer: Renderer,
    picture: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
    motion: np.ndarray,
    head_rotation_radians: np.ndarray | None,
) -> Iterator[np.ndarray]:
    placed = enumerate(scene.head.frames(motion, head_rotation_radians))
    try:
        if not renderer.threads_allowed or len(motion) == 1:
            for frame, surface in placed:
                yield picture(frame, *surface)
            return
        workers = _cores()
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[np.ndarray]] = deque()
            for frame, surface in placed:
                waiting.append(pool.submit(picture, frame, *surface))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        renderer.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_rows(values: np.ndarray | None, shape: tuple[int, int], what: str) -> None:
    if values is not None and (np.shape(values) != shape or not np.isfinite(values).all()):
        raise UserError(f"{what} has shape {np.shape(values)}; expected {shape}, all finite.")


def open_renderer(scene: Scene, backend: Backend | None = None) -> Renderer:
    """The renderer of that name, or the fastest that works here; the choice is logged once.

    Raises UserError naming both remedies where none works.
    """
    name = choose_backend(backend)
    _log_once(name)
    if name == "egl":
        from deeptalk.render.egl import EglRenderer

        return EglRenderer(scene)
    from deeptalk.render.cpu import CpuRenderer

    return CpuRenderer(scene)


def choose_backend(asked: Backend | None) -> Backend:
    """A graphics card's driver, else the kernels, else a driver that draws on the processor; or what is asked for.

    The last is several times slower than the kernels (benchmarks/bench_render.py).
    """
    names: tuple[Backend, ...] = ("egl", "cpu")
    if asked not in (None, *names):
        raise UserError(f"There is no backend {asked!r}; the backends are: {', '.join(names)}.")
    problems = {name: _problem(name) for name in names if asked in (None, name)}
    works = [name for name, problem in problems.items() if problem is None]
    if not works:
        reasons = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise UserError(
            f"No pictures can be drawn here ({reasons}). Install numba (pip install 'deeptalk[pictures]'), or moderngl "
            "and a graphics driver with EGL (apt-get install libegl1 libgl1-mesa-dri)."
        )
    return works[-1] if works[0] == "egl" and _driver_is_software() else works[0]


@functools.cache
def _problem(backend: str) -> str | None:
    """Why a backend cannot draw here; None if it can."""
    if backend == "cpu":
        return None if importlib.util.find_spec("numba") else "numba is not installed"
    name = _driver()
    return None if name.startswith("GL ") else name


@functools.cache
def _driver() -> str:
    """ "GL " and the name of the graphics driver, or why there is none."""
    from deeptalk.render.egl import open_context

    try:
        context = open_context()
    except ImportError:
        return "moderngl is not installed"
    except Exception as error:  # moderngl raises bare Exception, and the driver's loader what it likes
        return f"no graphics driver ({error})"
    name = str(context.info["GL_RENDERER"])
    context.release()
    return f"GL {name}"


def _driver_is_software() -> bool:
    return any(word in _driver().lower() for word in ("llvmpipe", "softpipe", "swrast", "swiftshader"))


@functools.cache
def _log_once(backend: str) -> None:
    log.info("Pictures are drawn by the %s backend.", backend)
