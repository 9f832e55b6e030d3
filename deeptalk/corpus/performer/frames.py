"""From the 100 Hz control points to the frames of a motion, without losing a closure."""

import numpy as np

from deeptalk.corpus.performer.mouth import CONTROL_RATE
from deeptalk.speech import frame_count

FRAME_RATE = 25.0


def frames_from_control(pose: np.ndarray, closure_points: np.ndarray, num_samples: int) -> np.ndarray:
    """Motion (frame, channel) float32: frame f shows the instant (f + 0.5) / 25 s.

    That instant is a control point, so nothing is interpolated. The frame nearest to the middle of a closure takes the
    closed pose of that middle, at most 20 ms away.
    """
    per_frame = round(CONTROL_RATE / FRAME_RATE)
    points = per_frame // 2 + per_frame * np.arange(frame_count(num_samples, FRAME_RATE))
    frames = pose[np.minimum(points, len(pose) - 1)]
    nearest = np.clip(closure_points // per_frame, 0, len(frames) - 1)
    frames[nearest] = pose[closure_points]
    return frames.astype(np.float32)
