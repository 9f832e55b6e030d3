"""Trivial systems that a real one must beat: the mean face, the nearest training clip, and EmoTalk with noise."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import convolve1d

from deeptalk.baselines.emotalk import EmoTalk
from deeptalk.baselines.warping import warp, warp_path
from deeptalk.errors import UserError

if TYPE_CHECKING:
    from deeptalk.corpus import Corpus, FeatureStore

STD_FLOOR = 1e-3
"""Least standard deviation by which a feature is divided."""


def training_motions(corpus: "Corpus", split: str = "train") -> list[np.ndarray]:
    """All motions (frame, channel) of a split.

    Raises UserError where there are none.
    """
    motions = [corpus.motion(index) for index in corpus.performances_in(split)]
    if not motions:
        raise UserError(f"Split {split!r} of {corpus.folder} holds no performances; baselines need some to learn from.")
    return motions


class MeanFace:
    """Holds the mean coefficients of the training frames from start to end."""

    def __init__(self, motions: Sequence[Float[np.ndarray, "_ channel"]]):
        self.mean = np.concatenate(list(motions)).mean(axis=0, dtype=np.float64).astype(np.float32)

    @classmethod
    def from_corpus(cls, corpus: "Corpus", split: str = "train") -> "MeanFace":
        """Learn from all performances of a split."""
        return cls(training_motions(corpus, split))

    def motion(self, frames: int) -> Float[np.ndarray, "frame channel"]:
        """The mean, `frames` times."""
        return np.tile(self.mean, (frames, 1))


class NearestNeighbour:
    """Plays the motion of the training clip whose speech is most alike, time-warped onto the new speech.

    Alike: least Euclidean distance between the mean and standard deviation over time of the standardised features.
    Warped: dynamic time warping over the same features.
    """

    def __init__(
        self,
        features: Sequence[Float[np.ndarray, "_ feature"]],
        motions: Sequence[Float[np.ndarray, "_ channel"]],
    ):
        if len(features) != len(motions) or not features:
            raise UserError(
                f"Nearest neighbour got {len(features)} features and {len(motions)} motions; expected pairs."
            )
        frames = np.concatenate(list(features)).astype(np.float64)
        self.feature_mean = frames.mean(axis=0)
        self.feature_std = np.maximum(frames.std(axis=0), STD_FLOOR)
        self.features = [self._standardise(clip) for clip in features]
        self.motions = list(motions)
        self.summaries = np.stack([self._summary(clip) for clip in self.features])

    @classmethod
    def from_corpus(cls, corpus: "Corpus", store: "FeatureStore", split: str = "train") -> "NearestNeighbour":
        """Learn from the first performance of each piece of speech of a split that has any.

        Raises UserError where none has.
        """
        own = {index: corpus.performances_of(index) for index in corpus.speech_in(split)}
        pairs = [(np.asarray(store.get(i)), corpus.motion(found[0])) for i, found in own.items() if found]
        return cls([features for features, _ in pairs], [motion for _, motion in pairs])

    def nearest(self, features: Float[np.ndarray, "frame feature"]) -> int:
        """Index of the training clip most alike; the first of equals."""
        summary = self._summary(self._standardise(features))
        return int(np.argmin(np.linalg.norm(self.summaries - summary, axis=1)))

    def motion(self, features: Float[np.ndarray, "frame feature"]) -> Float[np.ndarray, "frame channel"]:
        """The nearest clip's motion on the timeline of `features`."""
        clip = self.nearest(features)
        steps = warp_path(self._standardise(features), self.features[clip])
        return warp(self.motions[clip], *steps)

    def _standardise(self, features: np.ndarray) -> np.ndarray:
        if features.shape[-1] != len(self.feature_mean):
            raise UserError(
                f"Nearest neighbour knows {len(self.feature_mean)} speech features a frame, got {features.shape[-1]}; "
                "use the speech encoder it was made with."
            )
        return (features - self.feature_mean) / self.feature_std

    @staticmethod
    def _summary(features: np.ndarray) -> np.ndarray:
        return np.concatenate([features.mean(axis=0), features.std(axis=0)])


class NoisyEmoTalk:
    """EmoTalk plus temporally smooth Gaussian noise: variety that knows nothing of the speech.

    Each channel's noise is proportional to its standard deviation over the training frames, times one `scale`. The
    result is not limited to the rig's range, as EmoTalk's own is not, so diversity is proportional to the scale.
    """

    def __init__(
        self,
        emotalk: EmoTalk,
        channel_std: Float[np.ndarray, "channel"],
        frame_rate: float,
        scale: float = 1.0,
        smooth_seconds: float = 0.1,
    ):
        self.emotalk = emotalk
        self.channel_std = channel_std
        self.scale = scale
        sigma = smooth_seconds * frame_rate
        radius = int(np.ceil(4 * sigma))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        self.kernel = kernel / np.linalg.norm(kernel)
        """Unit norm, so that smoothed white noise keeps a standard deviation of 1."""

    def noise(self, frames: int, takes: int, seed: int) -> Float[np.ndarray, "take frame channel"]:
        """Noise at scale 1; that of take i is a function of (seed, i)."""
        radius = len(self.kernel) // 2
        shape = (frames + 2 * radius, len(self.channel_std))
        white = np.stack([np.random.default_rng([seed, take]).standard_normal(shape) for take in range(takes)])
        smooth = convolve1d(white, self.kernel, axis=1, mode="constant")[:, radius : radius + frames]
        return (smooth * self.channel_std).astype(np.float32)

    def calibrate(
        self,
        target_diversity: float,
        frame_counts: Sequence[int],
        diversity: Callable[[Float[np.ndarray, "take frame channel"]], float],
        takes: int = 8,
        seed: int = 0,
    ) -> float:
        """Set the scale so that the mean diversity over clips of these frame counts is the target; returns the scale.

        `diversity` must be that of a rig linear in its coefficients: then it is proportional to the scale, and adding
        the same EmoTalk motion to all takes does not change it.
        """
        unit = float(np.mean([diversity(self.noise(n, takes, seed + i)) for i, n in enumerate(frame_counts)]))
        if unit <= 0:
            raise UserError("The training motions never move, so noise of their shape has no diversity to scale.")
        self.scale = target_diversity / unit
        return self.scale

    def motions(
        self, features: Float[np.ndarray, "frame feature"], level: int, person: int, takes: int, seed: int
    ) -> Float[np.ndarray, "take frame channel"]:
        """EmoTalk's one motion under `takes` draws of noise."""
        return emotalk_motion(self.emotalk, features, level, person) + self.scale * self.noise(
            len(features), takes, seed
        )


@torch.inference_mode()
def emotalk_motion(
    model: EmoTalk, features: Float[np.ndarray, "frame feature"], level: int, person: int
) -> Float[np.ndarray, "frame channel"]:
    """EmoTalk's motion for one clip; `model` in eval mode. Level 0 or 1, person -1 where unknown."""
    device = model.feature_mean.device
    clip = torch.from_numpy(np.array(features, dtype=np.float32))[None].to(device)
    lengths, levels, people = (torch.tensor([value], device=device) for value in (len(features), level, person))
    return model(clip, lengths, levels, people)[0].float().cpu().numpy()
