"""Swapped pairs for EmoTalk: two sentences by two emotions of one speaker, with motion moved onto another clip's time.

EmoTalk (arXiv 2303.11089, section 3.2) learns from audio (content 1, emotion 2) and audio (content 2, emotion 1) what
(content 1, emotion 1) and (content 2, emotion 2) look like. The motion of those was performed at its own speed, so it
is moved onto the time of the audio by the phones that both recordings share.
"""

import functools
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
from deeptalk.corpus.resample import arkit_lip_gap, move_to_closings
from deeptalk.corpus.windows import Item, real, whole
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

    def target_of(self, source: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        """The inverse of `source_of`; of what takes no time in the target, its end."""
        return np.interp(source, self.source_seconds, self.target_seconds)


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


def _common_places(target: Sequence[str], source: Sequence[str]) -> list[tuple[int, int]]:
    """Places in both of the symbols that two sequences have in common, in order."""
    if target == source:
        return [(place, place) for place in range(len(target))]
    blocks = SequenceMatcher(None, target, source, autojunk=False).get_matching_blocks()
    return [(block.a + k, block.b + k) for block in blocks for k in range(block.size)]


def align_motion(
    motion: Float32[np.ndarray, "source_frame channel"],
    time_map: TimeMap,
    frames: int,
    frame_rate: float,
    lip_gap_metres: Float[np.ndarray, " source_frame"] | None = None,
) -> Float32[np.ndarray, "frame channel"]:
    """Move a motion onto the time of another recording, `frames` long, by linear interpolation between frames.

    Frame centres (j + 0.5) / frame_rate are mapped; times beyond the first or last centre take that frame. With the
    distance of the lips in every source frame, a frame in whose time they close shows the instant at which they are
    closest, as in `resample_motion`: interpolation alone opens some closures.
    """
    instants = time_map.source_of((np.arange(frames) + 0.5) / frame_rate)
    if lip_gap_metres is not None:
        times = (np.arange(len(motion)) + 0.5) / frame_rate
        move_to_closings(instants, lip_gap_metres, times, time_map.target_of(times) * frame_rate)
    places = np.clip(instants * frame_rate - 0.5, 0, len(motion) - 1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, len(motion) - 1)
    weight = (places - low).astype(np.float32)[:, None]
    return motion[low] * (1 - weight) + motion[high] * weight


class _SwappedData(SeededDataset):
    """One item a piece of speech (content 1, emotion 2); its three partners are drawn."""

    def __init__(self, corpus: Corpus, store: FeatureStore, split: str, config: SwappedPairsConfig):
        self.corpus, self.store, self.config = corpus, store, config
        self.speakers = corpus.speakers(config.train_split)
        rows = corpus.speech
        self.emotions: list[int] = rows.column("emotion")
        self.homes: list[tuple[str, str]] = list(zip(rows.column("speaker"), rows.column("sentence")))
        usable = [
            index
            for index in corpus.speech_in(split)
            if self.emotions[index] >= 0 and performances_to_train_on(corpus, index)
        ]
        self.sources: dict[int, list[int]] = {index: [] for index in usable}
        """Recordings of the same words, speaker and another emotion whose motion fits on a recording's time."""
        self.moves: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
        """By speaker and two emotions: pairs (recording in the first, source in the second), sentence by sentence."""
        self.own_moves: dict[tuple[str, str, int, int], tuple[int, int]] = {}
        """By speaker, sentence and two emotions: where the sentence's own pairs lie in `moves`, and how many."""
        counts = self._find_pairs(usable)
        sizes = {index: sum(count for _, count in self._partner_counts(index)) for index in usable}
        self.anchors = [index for index, size in sizes.items() if size]
        self.report = PairReport(*counts, quadruples=sum(sizes.values()))
        if not self.anchors:
            raise UserError(
                f"{corpus.name} has no swapped pairs in split {split!r} ({self.report}). They need a speaker with "
                "two sentences in the same two emotions, with motion and phone times."
            )

    def _find_pairs(self, usable: list[int]) -> tuple[int, int, int]:
        """Fill the tables of pairs; returns how many had the same phones, common phones, or were refused."""
        groups: dict[tuple[str, str], list[int]] = {}
        for index in usable:
            groups.setdefault(self.homes[index], []).append(index)
        symbols = {index: tuple(phone.symbol for phone in self.corpus.speech[index].phones) for index in usable}
        fits = functools.cache(self._fits)
        same, common, refused = 0, 0, 0
        for (speaker, sentence), group in groups.items():
            for target, source in ((a, b) for a in group for b in group if self.emotions[a] != self.emotions[b]):
                if not fits(symbols[target], symbols[source]):
                    refused += 1
                    continue
                is_same = symbols[target] == symbols[source]
                same, common = same + is_same, common + (not is_same)
                self.sources[target].append(source)
                two = self.emotions[target], self.emotions[source]
                moves = self.moves.setdefault((speaker, *two), [])
                first, count = self.own_moves.get((speaker, sentence, *two), (len(moves), 0))
                self.own_moves[speaker, sentence, *two] = first, count + 1
                moves.append((target, source))
        return same, common, refused

    def _fits(self, target: tuple[str, ...], source: tuple[str, ...]) -> bool:
        return len(_common_places(target, source)) >= max(
            1, self.config.min_common_phones * max(len(target), len(source))
        )

    def _partner_counts(self, clip_12: int) -> list[tuple[int, int]]:
        """Every clip 11 that goes with a clip 12, and how many pairs (clip 21, clip 22) go with both."""
        speaker, sentence = self.homes[clip_12]
        counts = []
        for clip_11 in self.sources[clip_12]:
            two = self.emotions[clip_11], self.emotions[clip_12]
            every, (_, own) = self.moves.get((speaker, *two), []), self.own_moves.get((speaker, sentence, *two), (0, 0))
            counts.append((clip_11, len(every) - own))
        return counts

    def _partners(self, clip_12: int, generator: np.random.Generator) -> tuple[int, int, int]:
        """Draw (clip 11, clip 21, clip 22) that go with a clip 12, all such triples equally likely."""
        clips_11, sizes = zip(*self._partner_counts(clip_12))
        ends = np.cumsum(sizes)
        place = int(generator.integers(int(ends[-1])))
        which = int(np.searchsorted(ends, place, side="right"))
        clip_11, place = clips_11[which], place - int(ends[which]) + sizes[which]
        speaker, sentence = self.homes[clip_12]
        two = self.emotions[clip_11], self.emotions[clip_12]
        first, own = self.own_moves.get((speaker, sentence, *two), (0, 0))
        return clip_11, *self.moves[speaker, *two][place if place < first else place + own]

    def _seconds(self, speech: int) -> float:
        return self.corpus.speech[speech].num_samples / self.corpus.sample_rate

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
        here, there = self.corpus.speech[target].phones, self.corpus.speech[source].phones
        seconds = self._seconds(target), self._seconds(source)
        time_map = phone_time_map(here, there, *seconds, self.config.min_common_phones)
        assert time_map is not None  # only pairs that fit are drawn
        motion, frames = self._motion(performance), self.store.frames(target)
        gap = arkit_lip_gap(motion) if self.corpus.rig == "arkit" else None
        return torch.from_numpy(align_motion(motion, time_map, frames, self.corpus.frame_rate, gap))

    def _motion(self, performance: int) -> np.ndarray:
        return self.corpus.motion(performance, blink_and_gaze=self.config.include_blinks_and_gaze)

    def __getitem__(self, draw: Draw) -> Item:
        index, item_seed = draw
        generator = np.random.default_rng(item_seed)
        clip_12 = self.anchors[index]
        clip_11, clip_21, clip_22 = self._partners(clip_12, generator)
        rows, performances = self.corpus.speech, self.corpus.performances
        acted_11, acted_12 = self._performance(clip_11, generator), self._performance(clip_12, generator)
        intensity_2 = performances[acted_12].intensity
        acted_22 = self._performance(clip_22, generator, intensity_2)
        return {
            "features_12": torch.from_numpy(self.store.get(clip_12)),
            "features_21": torch.from_numpy(self.store.get(clip_21)),
            "motion_11": self._aligned(clip_12, clip_11, acted_11),
            "motion_12": torch.from_numpy(self._motion(acted_12)),
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
