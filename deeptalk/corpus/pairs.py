"""Swapped pairs for EmoTalk: two sentences by two emotions of one speaker, with motion moved onto another clip's time.

EmoTalk (arXiv 2303.11089, section 3.2) learns from audio (content 1, emotion 2) and audio (content 2, emotion 1) what
(content 1, emotion 1) and (content 2, emotion 2) look like. The motion of those was performed at its own speed, so it
is moved onto the time of the audio by the phones that both recordings share.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import torch
from jaxtyping import Float, Float32

from deeptalk.corpus.data import CorpusData, Draw, LoaderConfig, SeededDataset, performances_to_train_on, speaker_index
from deeptalk.corpus.features import FeatureStore
from deeptalk.corpus.format import Corpus
from deeptalk.corpus.performer import Phone
from deeptalk.corpus.windows import Item, idle_channels, read_motion, real, whole
from deeptalk.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SwappedPairsConfig(LoaderConfig):
    """Quadruples of clips for EmoTalk."""

    batch_size: int = 8
    """Quadruples in a batch; the paper's value."""
    min_common_phones: float = 0.8
    """Two recordings of one sentence are paired if this share of the phones of each is common to both, in order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_common_phones <= 1:
            raise UserError(f"min_common_phones is {self.min_common_phones}; expected above 0 and at most 1.")


@dataclass(frozen=True)
class PairReport:
    """How the recordings of one sentence by one speaker in two emotions fit together, counted over a split."""

    same_phones: int
    """Ordered pairs whose phone sequences are equal."""
    common_phones: int
    """Ordered pairs aligned by the phones they have in common."""
    refused: int
    """Ordered pairs with too few phones in common, or none known."""
    quadruples: int
    """Quadruples that can be drawn."""

    def __str__(self) -> str:
        return (
            f"{self.quadruples} quadruples; pairs of recordings with the same phones: {self.same_phones}, aligned by "
            f"common phones: {self.common_phones}, refused: {self.refused}"
        )


@dataclass(frozen=True)
class TimeMap:
    """Piecewise linear map between the times of two recordings through the boundaries of phones they share."""

    target_seconds: Float[np.ndarray, " knot"]
    source_seconds: Float[np.ndarray, " knot"]

    def source_of(self, target: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        """Time in the source recording at which the same part of the same phone sounds."""
        return np.interp(target, self.target_seconds, self.source_seconds)


def phone_time_map(
    target: Sequence[Phone], source: Sequence[Phone], target_seconds: float, source_seconds: float, min_common: float
) -> TimeMap | None:
    """Map the time of a target recording to that of a source recording of the same words.

    The knots are the middles of the phones common to the two in order, the boundaries at which two common phones meet
    in both, and the ends of the recordings; phones that only one has are stretched or squeezed between the middles
    around them. Returns None where less than `min_common` of the phones of either recording are common.
    """
    places = _common_places([phone.symbol for phone in target], [phone.symbol for phone in source])
    if not places or len(places) < min_common * max(len(target), len(source)):
        return None
    knots = [(0.0, 0.0)]
    before = (-1, -1)
    for here, there in places:
        if (here - 1, there - 1) == before:
            knots.append((target[here].start_seconds, source[there].start_seconds))
        knots.append((target[here].middle_seconds, source[there].middle_seconds))
        before = here, there
    if before == (len(target) - 1, len(source) - 1):
        knots.append((target[-1].end_seconds, source[-1].end_seconds))
    knots.append((target_seconds, source_seconds))
    # np.interp wants each target time once (the first phone starts where the clip does), and no time runs backwards.
    times = np.maximum.accumulate(np.array(knots), axis=0)
    keep = np.concatenate([[True], np.diff(times[:, 0]) > 1e-9])
    return TimeMap(times[keep, 0], times[keep, 1])


def _common_places(target: list[str], source: list[str]) -> list[tuple[int, int]]:
    """Places in both of the symbols that two sequences have in common, in order."""
    if target == source:
        return [(place, place) for place in range(len(target))]
    blocks = SequenceMatcher(None, target, source, autojunk=False).get_matching_blocks()
    return [(block.a + k, block.b + k) for block in blocks for k in range(block.size)]


def align_motion(
    motion: Float32[np.ndarray, "source_frame channel"], time_map: TimeMap, frames: int, frame_rate: float
) -> Float32[np.ndarray, "frame channel"]:
    """Move a motion onto the time of another recording, `frames` long, by linear interpolation between frames.

    Frame centres (j + 0.5) / frame_rate are mapped; times beyond the first or last centre take that frame.
    """
    centres = (np.arange(frames) + 0.5) / frame_rate
    places = np.clip(time_map.source_of(centres) * frame_rate - 0.5, 0, len(motion) - 1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, len(motion) - 1)
    weight = (places - low).astype(np.float32)[:, None]
    return motion[low] * (1 - weight) + motion[high] * weight


class _SwappedData(SeededDataset):
    """One item a piece of speech (content 1, emotion 2); its three partners are drawn."""

    def __init__(self, corpus: Corpus, store: FeatureStore, split: str, config: SwappedPairsConfig):
        self.corpus, self.store = corpus, store
        self.idle = [] if config.include_blinks_and_gaze else idle_channels(corpus)
        self.speakers = corpus.speakers(config.train_split)
        usable = [
            index
            for index in corpus.speech_in(split)
            if corpus.speech[index].emotion >= 0 and performances_to_train_on(corpus, index)
        ]
        self.takes: dict[str, dict[str, list[int]]] = {}
        for index in usable:
            sentences = self.takes.setdefault(corpus.speech[index].speaker, {})
            sentences.setdefault(corpus.speech[index].sentence, []).append(index)
        self.maps: dict[int, dict[int, TimeMap]] = {index: {} for index in usable}
        counts = self._find_maps(config.min_common_phones)
        sizes = {index: len(self._partners(index)) for index in usable}
        self.anchors = [index for index, size in sizes.items() if size]
        self.report = PairReport(*counts, quadruples=sum(sizes.values()))
        if not self.anchors:
            raise UserError(
                f"{corpus.folder} has no swapped pairs in split {split!r} ({self.report}). They need a speaker with "
                "two sentences in the same two emotions, with motion and phone times."
            )

    def _find_maps(self, min_common: float) -> tuple[int, int, int]:
        """Fill `maps[target][source]`; returns how many pairs had the same phones, common phones, or were refused."""
        same, common, refused = 0, 0, 0
        rows = self.corpus.speech
        groups = [group for sentences in self.takes.values() for group in sentences.values()]
        for target, source in ((a, b) for group in groups for a in group for b in group):
            if rows[target].emotion == rows[source].emotion:
                continue
            here, there = rows[target].phones, rows[source].phones
            found = phone_time_map(here, there, self._seconds(target), self._seconds(source), min_common)
            if found is None:
                refused += 1
                continue
            self.maps[target][source] = found
            is_same = [phone.symbol for phone in here] == [phone.symbol for phone in there]
            same, common = same + is_same, common + (not is_same)
        return same, common, refused

    def _seconds(self, speech: int) -> float:
        return self.corpus.speech[speech].num_samples / self.corpus.sample_rate

    def _partners(self, clip_12: int) -> list[tuple[int, int, int]]:
        """All (clip 11, clip 21, clip 22) that go with a clip (content 1, emotion 2), in a fixed order."""
        rows = self.corpus.speech
        row = rows[clip_12]
        others = [
            clip_21
            for sentence, group in self.takes[row.speaker].items()
            for clip_21 in group
            if sentence != row.sentence
        ]
        return [
            (clip_11, clip_21, clip_22)
            for clip_11 in self.maps[clip_12]
            for clip_21 in others
            if rows[clip_21].emotion == rows[clip_11].emotion
            for clip_22 in self.maps[clip_21]
            if rows[clip_22].emotion == row.emotion
        ]

    def __len__(self) -> int:
        return len(self.anchors)

    def _performance(self, speech: int, generator: np.random.Generator, intensity: float | None = None) -> int:
        """One performance of a piece of speech in which the emotion that the speech is labelled with is also acted.

        Where none is, any is taken; with an `intensity`, only the nearest to it.
        """
        rows = self.corpus.performances
        choices = performances_to_train_on(self.corpus, speech)
        choices = [i for i in choices if rows[i].emotion == self.corpus.speech[speech].emotion] or choices
        if intensity is not None:
            nearest = min(abs(rows[index].intensity - intensity) for index in choices)
            choices = [index for index in choices if abs(rows[index].intensity - intensity) <= nearest]
        return choices[int(generator.integers(len(choices)))]

    def _aligned(self, target: int, source: int, performance: int) -> torch.Tensor:
        motion = read_motion(self.corpus, performance, self.idle)
        frames = self.store.frames(target)
        return torch.from_numpy(align_motion(motion, self.maps[target][source], frames, self.corpus.frame_rate))

    def __getitem__(self, draw: Draw) -> Item:
        index, item_seed = draw
        generator = np.random.default_rng(item_seed)
        clip_12 = self.anchors[index]
        partners = self._partners(clip_12)
        clip_11, clip_21, clip_22 = partners[int(generator.integers(len(partners)))]
        rows, performances = self.corpus.speech, self.corpus.performances
        acted_11, acted_12 = self._performance(clip_11, generator), self._performance(clip_12, generator)
        intensity_2 = performances[acted_12].intensity
        acted_22 = self._performance(clip_22, generator, intensity_2)
        return {
            "features_12": torch.from_numpy(self.store.get(clip_12)),
            "features_21": torch.from_numpy(self.store.get(clip_21)),
            "motion_11": self._aligned(clip_12, clip_11, acted_11),
            "motion_12": torch.from_numpy(read_motion(self.corpus, acted_12, self.idle)),
            "motion_22": self._aligned(clip_21, clip_22, acted_22),
            "lengths_12": whole(self.store.frames(clip_12)),
            "lengths_21": whole(self.store.frames(clip_21)),
            "emotion_1": whole(rows[clip_21].emotion),
            "emotion_2": whole(rows[clip_12].emotion),
            "intensity_1": real(performances[acted_11].intensity),
            "intensity_2": real(intensity_2),
            "speaker": whole(speaker_index(self.speakers, rows[clip_12].speaker)),
        }


class SwappedPairs(CorpusData):
    """Quadruples (two sentences, two emotions, one speaker) for EmoTalk's cross-reconstruction.

    "features_12" and "features_21" are of the clips (content 1, emotion 2) and (content 2, emotion 1), with
    "lengths_12" and "lengths_21". "motion_11" and "motion_12" lie on the time of clip 12, "motion_22" on that of clip
    21. EmoTalk is a deterministic model of labels, so each motion is a performance in which the label of its speech is
    also acted, wherever there is one, and "motion_22" is the one nearest in intensity to "motion_12", whose intensity
    is "intensity_2". "emotion_1" and "emotion_2" are the labels of the speech, "intensity_1" is that of "motion_11".
    `train_report` and `val_report` count which recordings could be aligned.
    """

    def __init__(self, corpus: Corpus, store: FeatureStore, config: SwappedPairsConfig):
        super().__init__(config)
        self.speakers = corpus.speakers(config.train_split)
        train = _SwappedData(corpus, store, config.train_split, config)
        val = _SwappedData(corpus, store, config.val_split, config)
        self.train_data, self.val_data = train, val
        self.train_report, self.val_report = train.report, val.report
        for split, report in ((config.train_split, train.report), (config.val_split, val.report)):
            log.log(logging.WARNING if report.refused else logging.INFO, "Swapped pairs of %s: %s", split, report)
