"""The systems of the table, each as the benchmark calls them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.console import Console
from rich.progress import track

from deeptalk.baselines import EmoTalk, MeanFace, MotionNoise, NearestNeighbour
from deeptalk.baselines.emotalk import STRONG_INTENSITY
from deeptalk.baselines.trivial import emotalk_motion, limited, training_motions
from deeptalk.benchmark.measures import FaceMeasures
from deeptalk.benchmark.protocol import BenchmarkClip, BenchmarkConfig, System, benchmark_clips
from deeptalk.benchmark.run import clip_seed
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import load_rig
from deeptalk.speech import SpeechEncoder

if TYPE_CHECKING:
    from deeptalk.corpus import Corpus, FeatureStore
    from deeptalk.pipeline import Talker

Reads = Literal["features", "waveform", "nothing", "truth"]


STANDARD_NAMES = ("DEEPTalk", "EmoTalk", "EmoTalk + noise", "nearest neighbour", "mean face", "true performance")
"""Names of `standard_systems`, in their order."""


def same_takes(motion: np.ndarray, takes: int) -> np.ndarray:
    """(frame, channel) -> (take, frame, channel): a deterministic system's takes are equal."""
    return np.repeat(motion[None], takes, axis=0)


class DEEPTalkSystem:
    """DEEPTalk from the waveform on; label and speaker are given to it only where `given` holds them fixed."""

    reads: Reads = "waveform"

    def __init__(self, talker: "Talker", name: str = "DEEPTalk"):
        self.talker, self.name = talker, name

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """Takes of `Talker.perform` with its default spread and temperature."""
        label = {} if clip.emotion < 0 else {"emotion": EMOTIONS[clip.emotion], "intensity": clip.intensity}
        performed = self.talker.perform((clip.samples, clip.sample_rate), takes=takes, seed=seed, **label)
        return np.stack([take.motion for take in performed])


class EmoTalkSystem:
    """EmoTalk: one motion, the same in every take, within the rig's `limits` (channel, 2) as DEEPTalk's are.

    `speakers` are those it was trained on; any other gets the mean embedding. `level` is used where the intensity is
    not given, see `choose_level`.
    """

    reads: Reads = "features"

    def __init__(
        self, model: EmoTalk, speakers: Sequence[str], limits: np.ndarray, level: int = 0, name: str = "EmoTalk"
    ):
        self.model, self.speakers, self.limits = model.eval(), list(speakers), limits
        self.level, self.name = level, name

    def controls(self, clip: BenchmarkClip) -> tuple[int, int]:
        """Emotion level and person for a clip."""
        level = self.level if np.isnan(clip.intensity) else int(clip.intensity > STRONG_INTENSITY)
        return level, self.speakers.index(clip.speaker) if clip.speaker in self.speakers else -1

    def motion(self, clip: BenchmarkClip) -> np.ndarray:
        """Its one motion (frame, channel)."""
        return limited(emotalk_motion(self.model, clip.features, *self.controls(clip)), self.limits)

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """Its one motion, `takes` times."""
        return same_takes(self.motion(clip), takes)


class NoisyEmoTalkSystem:
    """The one motion of an EmoTalk system under noise, within the rig's limits (see `MotionNoise`)."""

    reads: Reads = "features"

    def __init__(self, noise: MotionNoise, emotalk: EmoTalkSystem, name: str = "EmoTalk + noise"):
        self.noise, self.emotalk, self.name = noise, emotalk, name

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """EmoTalk's one motion under `takes` draws of noise."""
        return self.noise.takes(self.emotalk.motion(clip), takes, seed)


class MeanFaceSystem:
    """The mean face, still."""

    name = "mean face"
    reads: Reads = "nothing"

    def __init__(self, baseline: MeanFace):
        self.baseline = baseline

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """The mean, in every frame of every take."""
        return same_takes(self.baseline.motion(clip.frame_count), takes)


class NearestNeighbourSystem:
    """The motion of the most similar training clip, time-warped."""

    name = "nearest neighbour"
    reads: Reads = "features"

    def __init__(self, baseline: NearestNeighbour):
        self.baseline = baseline

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """The one motion, `takes` times."""
        return same_takes(self.baseline.motion(clip.features), takes)


class TruePerformance:
    """The truth itself: the clip's held-out draws, which are not among its references. What a perfect system gets."""

    name = "true performance"
    reads: Reads = "truth"

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """The first `takes` held-out draws; the seed changes nothing."""
        if takes > len(clip.held_out):
            raise UserError(f"{clip.speech_id} has {len(clip.held_out)} held-out performances, asked for {takes}.")
        return clip.held_out[:takes]


def choose_level(
    model: EmoTalk, speakers: Sequence[str], clips: Sequence[BenchmarkClip], measures: FaceMeasures
) -> int:
    """The emotion level whose motion is nearer to the mean of the references, on validation clips.

    EmoTalk wants a level, speech alone does not tell it, and the wrong one would hurt it: it gets the better one.
    """
    error = []
    for level in (0, 1):
        system = EmoTalkSystem(model, speakers, measures.rig.limits, level)
        errors = [measures.mean_estimate_error(system.perform(clip, 1, 0), clip.references) for clip in clips]
        error.append(float(np.mean(errors)))
    return int(np.argmin(error))


def standard_systems(
    corpus: "Corpus",
    store: "FeatureStore",
    encoder: SpeechEncoder,
    talker: "Talker",
    emotalk: EmoTalk,
    emotalk_speakers: Sequence[str],
    config: BenchmarkConfig,
    progress: bool = False,
) -> list[System]:
    """The rows of the standard table: DEEPTalk, EmoTalk, EmoTalk + noise of equal diversity, and the trivial ones.

    EmoTalk's level and the scale of its noise are set on the corpus's validation clips, the latter to the diversity
    that DEEPTalk has there. `store` and `encoder` are of the speech encoder that EmoTalk was trained with.
    """
    measures = FaceMeasures(load_rig(corpus.rig))
    clips = benchmark_clips(corpus, encoder, split="val", held_out=0)
    deeptalk = DEEPTalkSystem(talker)
    level = choose_level(emotalk, emotalk_speakers, clips, measures)
    plain = EmoTalkSystem(emotalk, emotalk_speakers, measures.rig.limits, level)
    steps = track(list(enumerate(clips)), "benchmark: validation", disable=not progress, console=Console(stderr=True))
    diversities = [
        measures.diversity(deeptalk.perform(clip, config.takes, clip_seed(config.seed, i))) for i, clip in steps
    ]
    channel_std = np.concatenate(training_motions(corpus)).std(axis=0)
    noise = MotionNoise(channel_std, measures.rig.limits, corpus.frame_rate)
    motions = [plain.motion(clip) for clip in clips]
    noise.calibrate(float(np.mean(diversities)), motions, measures.diversity, config.takes, config.seed)
    return [
        deeptalk,
        plain,
        NoisyEmoTalkSystem(noise, plain),
        NearestNeighbourSystem(NearestNeighbour.from_corpus(corpus, store)),
        MeanFaceSystem(MeanFace.from_corpus(corpus)),
        TruePerformance(),
    ]
