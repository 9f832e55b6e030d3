"""Trivial systems that a real one must beat: the mean face, the nearest training clip, and noise on a motion."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import convolve1d
from scipy.optimize import brentq

from deeptalk.baselines.emotalk import EmoTalk
from deeptalk.baselines.warping import warp, warp_path
from deeptalk.errors import UserError

if TYPE_CHECKING:
    from deeptalk.corpus import Corpus, FeatureStore

STD_FLOOR = 1e-3
"""Least standard deviation by which a feature is divided."""
LARGEST_NOISE = 1024.0
"""Scale at which noise is at the limits almost everywhere: more of it changes nothing."""


def training_motions(corpus: "Corpus", split: str = "train") -> list[np.ndarray]:
    """All motions (frame, channel) of a split.

    Raises UserError where there are none.
    """
    motions = [corpus.motion(index) for index in corpus.performances_in(split)]
    if not motions:
        raise UserError(f"Split {split!r} of {corpus.name} holds no performances; baselines need some to learn from.")
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


class MotionNoise:
    """Temporally smooth Gaussian noise on a motion, within the rig's limits: variety that knows nothing of the speech.

    Each channel's noise is proportional to its standard deviation over the training frames, times one `scale`. Values
    beyond `limits` (least and greatest value of each channel) are set to the limit, as DEEPTalk's are.
    """

    def __init__(
        self,
        channel_std: Float[np.ndarray, "channel"],
        limits: Float[np.ndarray, "channel 2"],
        frame_rate: float,
        scale: float = 1.0,
        smooth_seconds: float = 0.1,
    ):
        self.channel_std = channel_std
        self.limits = limits
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

    def takes(
        self, motion: Float[np.ndarray, "frame channel"], takes: int, seed: int
    ) -> Float[np.ndarray, "take frame channel"]:
        """One motion under `takes` draws of noise."""
        return limited(motion + np.float32(self.scale) * self.noise(len(motion), takes, seed), self.limits)

    def calibrate(
        self,
        target_diversity: float,
        motions: Sequence[Float[np.ndarray, "_ channel"]],
        diversity: Callable[[Float[np.ndarray, "take frame channel"]], float],
        takes: int = 8,
        seed: int = 0,
    ) -> float:
        """Set the scale so that the mean diversity of `takes` of these motions is the target; returns the scale.

        The limits take some of the noise away, so the scale is searched, with the draws of motion i fixed to those of
        seed + i. Raises UserError where noise has no diversity, or cannot reach the target within the limits.
        """
        noises = [self.noise(len(motion), takes, seed + i) for i, motion in enumerate(motions)]

        def reached(scale: float) -> float:
            noisy = [limited(m + np.float32(scale) * noise, self.limits) for m, noise in zip(motions, noises)]
            return float(np.mean([diversity(one) for one in noisy]))

        if not np.any(self.channel_std > 0):
            raise UserError("The training motions never move, so noise of their shape has no diversity to scale.")
        largest = 1.0
        while reached(largest) < target_diversity:
            if largest >= LARGEST_NOISE:
                raise UserError(
                    f"Noise within the rig's limits has a diversity of {reached(largest):.3g} mm at most, below the "
                    f"{target_diversity:.3g} mm to match; the two cannot be compared at equal diversity."
                )
            largest *= 2
        self.scale = float(brentq(lambda scale: reached(scale) - target_diversity, 0.0, largest, rtol=1e-4))
        return self.scale


def limited(
    motion: Float[np.ndarray, "*batch channel"], limits: Float[np.ndarray, "channel 2"]
) -> Float[np.ndarray, "*batch channel"]:
    """Values beyond a rig's limits set to the limit."""
    return np.clip(motion, limits[:, 0], limits[:, 1])


@torch.inference_mode()
def emotalk_motion(
    model: EmoTalk, features: Float[np.ndarray, "frame feature"], level: int, person: int
) -> Float[np.ndarray, "frame channel"]:
    """EmoTalk's motion for one clip, not limited; `model` in eval mode. Level 0 or 1, person -1 where unknown."""
    device = model.feature_mean.device
    clip = torch.from_numpy(np.array(features, dtype=np.float32))[None].to(device)
    lengths, levels, people = (torch.tensor([value], device=device) for value in (len(features), level, person))
    return model(clip, lengths, levels, people)[0].float().cpu().numpy()
