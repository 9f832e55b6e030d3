"""What a benchmark runs: clips with references drawn from the truth, and systems that perform them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from deeptalk.errors import UserError
from deeptalk.speech import SpeechEncoder

if TYPE_CHECKING:
    from deeptalk.corpus import Corpus

Given = Literal["speech", "speech+label+speaker"]


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured, and how often."""

    split: str = "test"
    """Split of the corpus; its speakers and sentences are in no other."""
    given: Given = "speech"
    """What the references hold fixed: the speech alone, or also emotion label and speaker."""
    takes: int = 8
    """Takes a clip, the same for every system; as many of the clip's performances stand for the truth."""
    max_references: int = 0
    """References a clip at most; 0 takes all that are left beside the true performances."""
    max_clips: int = 0
    """Clips at most, the first ones; 0 takes all."""
    seed: int = 0
    """Of all takes and of the bootstrap."""
    resamples: int = 2000
    """Bootstrap resamples."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    compare_with: str = ""
    """System against which paired differences are given; empty for none."""

    def __post_init__(self) -> None:
        if self.takes < 2:
            raise UserError(f"takes is {self.takes}; diversity and energy score need at least 2.")
        if self.max_references < 0 or self.max_clips < 0:
            raise UserError("max_references and max_clips must be 0 (all) or more.")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; expected 0 or more.")
        if self.resamples < 100:
            raise UserError(f"resamples is {self.resamples}; expected at least 100.")
        if not 0 < self.confidence < 1:
            raise UserError(f"confidence is {self.confidence}; expected between 0 and 1, such as 0.95.")


@dataclass(frozen=True, eq=False)
class BenchmarkClip:
    """One piece of speech with what is known to be true of it."""

    speech_id: str
    samples: np.ndarray
    """(sample,) float32, 16 kHz mono."""
    sample_rate: int
    features: np.ndarray
    """(frame, feature) float32 of the benchmark's encoder."""
    feature_seconds: float
    """Seconds it took to compute the features of this clip alone."""
    references: np.ndarray
    """(reference, frame, channel) draws of the truth that takes are measured against."""
    held_out: np.ndarray
    """(take, frame, channel) further draws of the same, for the row of true performances only."""
    given: Given
    """What references and held-out draws hold fixed."""
    speaker: str
    emotion: int
    """Acted emotion where it is part of `given`; else -1: no system may peek."""
    intensity: float
    """Acted intensity where it is part of `given`; else NaN."""

    @property
    def frame_count(self) -> int:
        """Frames of every reference, and of every take."""
        return self.references.shape[1]

    @property
    def seconds(self) -> float:
        """Duration of the speech."""
        return len(self.samples) / self.sample_rate


@runtime_checkable
class System(Protocol):
    """Anything that performs a clip."""

    name: str
    """Its row's title."""
    reads: Literal["features", "waveform", "nothing", "truth"]
    """What of the clip it uses, for a fair speed: the time of the features is added for whoever is handed them."""

    def perform(self, clip: BenchmarkClip, takes: int, seed: int) -> np.ndarray:
        """(take, frame, channel) float; take i depends on (seed, i) and not on how many are asked for."""


def benchmark_clips(
    corpus: "Corpus",
    encoder: SpeechEncoder,
    split: str = "test",
    given: Given = "speech",
    held_out: int = 8,
    max_references: int = 0,
    max_clips: int = 0,
) -> list[BenchmarkClip]:
    """The clips of a split, with features computed (and timed) one clip at a time.

    Of each clip's performances of the kind `given`, the last `held_out` are kept for the true row and the others are
    references, up to `max_references` unless that is 0. Raises UserError where fewer than 2 references are left.
    """
    speech = clip_speech(corpus, split, given, held_out, max_clips)
    speech_features(encoder, corpus.waveform(speech[0]))  # the first call is slower: it is not timed
    clips = []
    for index in speech:
        motions = np.stack([corpus.motion(i) for i in corpus.performances_of(index, given)])
        references, kept = np.split(motions, [len(motions) - held_out])
        clips.append(_clip(corpus, encoder, index, given, references[: max_references or len(references)], kept))
    return clips


def clip_speech(corpus: "Corpus", split: str, given: Given, held_out: int, max_clips: int = 0) -> list[int]:
    """Speech indices of `benchmark_clips`, after its checks: no motion is read, no feature computed."""
    speech = corpus.speech_in(split)
    speech = speech[: max_clips or len(speech)]
    if not speech:
        raise UserError(f"Split {split!r} of {corpus.name} holds no speech to benchmark on.")
    for index in speech:
        own = len(corpus.performances_of(index, given))
        if own < held_out + 2:
            raise UserError(
                f"{corpus.speech[index].speech_id} has {own} performances given={given!r}; {held_out} true "
                f"performances and 2 references are {held_out + 2}. Build the corpus with more reference draws, or "
                "ask for fewer takes."
            )
    return speech


def _clip(
    corpus: "Corpus", encoder: SpeechEncoder, index: int, given: Given, references: np.ndarray, held_out: np.ndarray
) -> BenchmarkClip:
    row, samples = corpus.speech[index], corpus.waveform(index)
    started = time.perf_counter()
    features = speech_features(encoder, samples)
    feature_seconds = time.perf_counter() - started
    if len(features) != references.shape[1]:
        raise UserError(
            f"{row.speech_id} has {references.shape[1]} frames of motion and {len(features)} of speech features; use "
            f"an encoder at the corpus's {corpus.frame_rate:g} frames a second."
        )
    acted = corpus.performances[corpus.performances_of(index, given)[0]]
    labelled = given == "speech+label+speaker"
    return BenchmarkClip(
        speech_id=row.speech_id,
        samples=samples,
        sample_rate=corpus.sample_rate,
        features=features,
        feature_seconds=feature_seconds,
        references=references,
        held_out=held_out,
        given=given,
        speaker=row.speaker,
        emotion=acted.emotion if labelled else -1,
        intensity=acted.intensity if labelled else float("nan"),
    )


def speech_features(
    encoder: SpeechEncoder, samples: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, "frame feature"]:
    """Features of one recording of 16 kHz."""
    features, _ = encoder(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    return features[0].numpy()


def check_takes(motions: np.ndarray, system: System, clip: BenchmarkClip, takes: int) -> None:
    """Raise UserError unless a system's output is (takes, frame, channel) of the clip, and finite."""
    expected = (takes, clip.frame_count, clip.references.shape[2])
    if motions.shape != expected:
        raise UserError(
            f"System {system.name} gave takes of shape {motions.shape} for {clip.speech_id}; expected {expected} "
            "(takes, frames of the references, channels)."
        )
    if not np.isfinite(motions).all():
        raise UserError(f"System {system.name} gave values for {clip.speech_id} that are not finite.")


def check_names(names: Sequence[str], config: BenchmarkConfig) -> None:
    """Raise UserError where there is no system, two have one name, or none has that of `compare_with`."""
    if not names:
        raise UserError("There is no system to benchmark; give at least one.")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"Two systems are called {min(twice)!r}; rows need names of their own.")
    if config.compare_with and config.compare_with not in names:
        raise UserError(f"compare_with is {config.compare_with!r}; the systems are: {', '.join(names)}.")
