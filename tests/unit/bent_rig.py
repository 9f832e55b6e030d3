"""A small rig that is not linear in its channels, for whatever claims to take any rig."""

import typing

import numpy as np
import torch

from deeptalk.face import Rig, load_rig
from deeptalk.face.head_pose import head_pivot, turn_head


class BentRig:
    """A rig that is not linear: the head turns about its neck by the first channel, and the jaw opens by the second."""

    def __init__(self):
        self.base = load_rig("arkit")
        for name in typing.get_protocol_members(Rig) if hasattr(typing, "get_protocol_members") else dir(Rig):
            if not name.startswith("_") and name not in ("vertices", "mouth_opening"):
                setattr(self, name, getattr(self.base, name))
        self.name, self.channels = "bent", ("turn", "jawOpen")
        self.limits = np.array([[-1.0, 1.0], [0.0, 1.0]], np.float32)

    def vertices(self, motion, region=None):
        turns = np.zeros((*motion.shape[:-1], 3))
        turns[..., 1] = 0.4 * motion[..., 0].numpy()
        return torch.from_numpy(turn_head(self.base.vertices(self._wide(motion)).numpy(), turns, head_pivot(self.base)))

    def mouth_opening(self, motion):
        return self.base.mouth_opening(self._wide(motion))

    def _wide(self, motion):
        wide = torch.zeros((*motion.shape[:-1], 52))
        wide[..., self.base.channels.index("jawOpen")] = motion[..., 1]
        return wide
