"""Pictures of the built-in head, in frames per second, by each backend that works here.

From motion to bytes: deforming the head, smooth normals, drawing. The kernels use every core this process may use; run
it under `taskset -c 0` for one. The last column is of use on a busy machine: it counts the time of the processor.
"""

import argparse
import os
import time

import numpy as np
from timing import print_table

from deeptalk.face import load_rig
from deeptalk.render import iterate_frames
from deeptalk.render.frames import Backend, _problem
from deeptalk.render.geometry import DrawnHead


def frames_per_second(
    motion: np.ndarray, size: int, backend: Backend, antialias: bool, rounds: int
) -> tuple[float, float]:
    """Frames per second of the best round, and per second of processor time."""
    rig, best, lean = load_rig("arkit"), 0.0, 0.0
    for _ in range(rounds):
        frames = iterate_frames(rig, motion, size, backend=backend, antialias=antialias)
        next(frames)  # compiles, and makes threads
        started, processor = time.perf_counter(), time.process_time()
        count = sum(1 for _ in frames)
        best = max(best, count / (time.perf_counter() - started))
        lean = max(lean, count / (time.process_time() - processor))
    return best, lean


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="Pixels of a side.")
    parser.add_argument("--frames", type=int, default=200, help="Frames of a round.")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds; the best counts.")
    options = parser.parse_args()
    rig = load_rig("arkit")
    rng = np.random.default_rng(0)
    motion = (0.4 * rng.random((options.frames, len(rig.channels)))).astype(np.float32)
    rows = []
    for backend in ("cpu", "egl"):
        problem = _problem(backend)
        for antialias in (False, True):
            name = "4 samples" if antialias else "1 sample"
            if problem is not None:
                rows.append([backend, name, problem, ""])
                continue
            best, lean = frames_per_second(motion, options.size, backend, antialias, options.rounds)
            rows.append([backend, name, f"{best:.0f}", f"{lean:.0f}"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    drawn = len(DrawnHead(rig).faces)
    title = (
        f"{options.size} x {options.size}, {cores} cores, {len(rig.neutral)} vertices, {len(rig.faces)} triangles "
        f"({drawn} as drawn)"
    )
    print_table(title, ["backend", "a pixel", "frames/s", "frames/s of processor time"], rows)


if __name__ == "__main__":
    main()
