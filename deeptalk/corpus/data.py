"""Lightning data modules over one corpus: windows of motion, and clips of speech with motion."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from deeptalk.corpus.features import FeatureStore
from deeptalk.corpus.format import Corpus
from deeptalk.corpus.sampler import InOrderSampler, SeededSampler
from deeptalk.corpus.windows import Batch, Item, collate, draw_window, pad_edge, real, whole
from deeptalk.errors import UserError

Draw = tuple[int, int]
"""What samplers yield and datasets are indexed with: (index, item_seed)."""

FIXED_LABEL = "speech+label+speaker"
"""Performances drawn with the label fixed are references of a benchmark, no samples of what speech leaves open."""


@dataclass(frozen=True)
class LoaderConfig:
    """What all data modules share."""

    batch_size: int = 32
    """Items in a batch."""
    samples_per_epoch: int = 1024
    """Draws in one epoch of training, over all devices."""
    seed: int = 0
    """Of the order and of all that is drawn inside an item."""
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split to validate on."""
    include_blinks_and_gaze: bool = False
    """Keep the blink and gaze channels; without, they are zero."""
    num_workers: int = 0
    """Processes that load batches; 0 loads them in the training process, which is enough for memory-mapped data."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "samples_per_epoch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name in ("seed", "num_workers"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}; expected 0 or more.")


@dataclass(frozen=True)
class MotionWindowsConfig(LoaderConfig):
    """Windows of motion for the motion prior."""

    window_frames: int = 32
    """Frames in a window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_frames < 1:
            raise UserError(f"window_frames is {self.window_frames}; expected at least 1.")


@dataclass(frozen=True)
class ClipWindowsConfig(LoaderConfig):
    """Windows of clips for DEE and the talker."""

    min_seconds: float = 1.0
    """Shortest window drawn in training; shorter clips are used whole."""
    max_seconds: float = 6.0
    """Longest window drawn in training."""
    whole_clips: bool = False
    """Train on whole clips instead of windows; validation always does."""
    frame_multiple: int = 1
    """Windows and whole clips have a multiple of this many frames (4 for the talker); the rest is left out."""
    separate_windows: bool = False
    """In training, draw the window of the motion apart from that of the speech: of the same length, elsewhere in the
    clip. Neither words nor timing tell then which belong together. For DEE; a talker needs them at one place."""
    centred_share: float = 0.0
    """Share of the clips whose prosody is heard relative to their speaker's other neutral recordings, of those that can
    be (augmented ones cannot). For DEE; at 0.5 it learns to take a speaker reference and to do without, which a talker
    on top of it does."""
    balanced_emotions: bool = False
    """Acted emotions take turns: with a batch size that is a multiple of their number, each batch holds every emotion
    equally often. This changes how often an emotion goes with given speech."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.min_seconds <= self.max_seconds:
            raise UserError(
                f"min_seconds {self.min_seconds} must be above 0 and at most max_seconds {self.max_seconds}."
            )
        if self.frame_multiple < 1:
            raise UserError(f"frame_multiple is {self.frame_multiple}; expected at least 1.")
        if not 0 <= self.centred_share <= 1:
            raise UserError(f"centred_share is {self.centred_share}; expected a number from 0 to 1.")
        if self.centred_share and self.frame_multiple > 1:
            raise UserError(
                f"centred_share={self.centred_share} with frame_multiple {self.frame_multiple}: a talker hears speech "
                "as it is; leave centred_share to DEE."
            )
        if self.separate_windows and self.frame_multiple > 1:
            raise UserError(
                f"separate_windows=true with frame_multiple {self.frame_multiple}: a talker needs speech and motion of "
                "one place; leave separate_windows to DEE."
            )


class SeededDataset(Dataset[Item], ABC):
    """Items that are pure functions of (index, item_seed)."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, draw: Draw) -> Item: ...


class CorpusData(pl.LightningDataModule):
    """Loaders over a training and a validation dataset with the seeded samplers; each rank gets its share."""

    def __init__(self, config: LoaderConfig):
        super().__init__()
        self.config = config
        self.train_data: SeededDataset
        self.val_data: SeededDataset
        self.train_groups: Sequence[int] | None = None

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of an epoch of `samples_per_epoch` draws; the last batch may be smaller."""
        rank, world_size = self._rank()
        sampler = SeededSampler(
            len(self.train_data), self.config.samples_per_epoch, self.config.seed, self.train_groups, rank, world_size
        )
        return self._loader(self.train_data, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation item once, the same in every epoch."""
        return self._loader(self.val_data, InOrderSampler(len(self.val_data), self.config.seed, *self._rank()))

    def _loader(self, data: SeededDataset, sampler: SeededSampler | InOrderSampler) -> DataLoader[Batch]:
        return DataLoader(
            data,
            batch_size=self.config.batch_size,
            sampler=sampler,
            collate_fn=collate,  # type: ignore[arg-type]
            num_workers=self.config.num_workers,
            persistent_workers=self.config.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class _MotionWindowData(SeededDataset):
    """One item for every stretch of `window_frames` in a split, so that long clips come up more often.

    In training its window lies anywhere in that clip; in validation exactly there.
    """

    def __init__(self, corpus: Corpus, split: str, config: MotionWindowsConfig, random: bool):
        self.corpus, self.config, self.random = corpus, config, random
        self.frames = corpus.performances.numbers("frames")
        size = config.window_frames
        self.places = [
            (index, first)
            for index in corpus.performances_in(split)
            for first in range(0, int(self.frames[index]), size)
        ]
        if not self.places:
            raise UserError(f"{corpus.name} has no motion in split {split!r}; choose another split.")

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draw: Draw) -> Item:
        index, item_seed = draw
        performance, first = self.places[index]
        frames, size = int(self.frames[performance]), self.config.window_frames
        if self.random:
            first = int(np.random.default_rng(item_seed).integers(0, max(frames - size, 0) + 1))
        window = self.corpus.motion(
            performance, blink_and_gaze=self.config.include_blinks_and_gaze, part=slice(first, first + size)
        )
        return {"motion": torch.from_numpy(pad_edge(window, size)), "lengths": whole(len(window))}


class MotionWindows(CorpusData):
    """Windows of motion, with or without speech: {"motion" (batch, window_frames, channel), "lengths" (batch,)}.

    Shorter clips are padded with their last frame and `lengths` says so. Validation covers every frame once.
    """

    def __init__(self, corpus: Corpus, config: MotionWindowsConfig):
        super().__init__(config)
        self.train_data = _MotionWindowData(corpus, config.train_split, config, random=True)
        self.val_data = _MotionWindowData(corpus, config.val_split, config, random=False)


class _ClipData(SeededDataset):
    """Clips of a split: one item a piece of speech, or, where emotions are balanced, a piece of speech and emotion."""

    def __init__(
        self,
        corpus: Corpus,
        store: FeatureStore,
        split: str,
        config: ClipWindowsConfig,
        whole_clips: bool,
        waveforms: bool,
        offsets: Mapping[int, np.ndarray] | None = None,
    ):
        self.corpus, self.store, self.config, self.whole_clips = corpus, store, config, whole_clips
        self.waveforms, self.offsets = waveforms, offsets or {}
        self.speakers = corpus.speakers(config.train_split)
        self.groups: list[int] = []
        self.clips: list[tuple[int, list[int]]] = []
        emotions = corpus.performances.column("emotion")
        for speech in corpus.speech_in(split):
            own = performances_to_train_on(corpus, speech)
            by_emotion: dict[int, list[int]] = {}
            for index in own:
                by_emotion.setdefault(emotions[index], []).append(index)
            choices = by_emotion if config.balanced_emotions else ({-1: own} if own else {})
            self.clips += [(speech, chosen) for chosen in choices.values()]
            self.groups += list(choices)
        if not self.clips:
            raise UserError(f"{corpus.name} has no speech with motion in split {split!r}; choose another split.")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> Item:
        index, item_seed = draw
        generator = np.random.default_rng(item_seed)
        speech, choices = self.clips[index]
        performance = choices[int(generator.integers(len(choices)))]
        row, multiple = self.corpus.performances[performance], self.config.frame_multiple
        if self.whole_clips:
            first, length = 0, max(row.frames // multiple * multiple, min(row.frames, multiple))
        else:
            limits = (self.config.min_seconds, self.config.max_seconds)
            shortest, longest = (round(seconds * self.corpus.frame_rate) for seconds in limits)
            first, length = draw_window(row.frames, shortest, max(longest, multiple), multiple, generator)
        part = slice(first, first + length)
        shown = part
        if self.config.separate_windows and not self.whole_clips:
            elsewhere = int(generator.integers(0, row.frames - length + 1))
            shown = slice(elsewhere, elsewhere + length)
        motion = self.corpus.motion(performance, blink_and_gaze=self.config.include_blinks_and_gaze, part=shown)
        features = self.store.get(speech, part)
        if speech in self.offsets and generator.random() < self.config.centred_share:
            features -= self.offsets[speech]
        item = {
            "features": torch.from_numpy(features),
            "motion": torch.from_numpy(motion),
            "lengths": whole(length),
            "emotion": whole(row.emotion),
            "intensity": real(row.intensity),
            "speaker": whole(speaker_index(self.speakers, self.corpus.speech[speech].speaker)),
            "speech": whole(speech),
            "performance": whole(performance),
        }
        if self.waveforms:
            item["waveform"] = torch.from_numpy(self.corpus.waveform(speech))
            item |= {"num_samples": whole(len(item["waveform"])), "first_frame": whole(first)}
        return item


class ClipWindows(CorpusData):
    """Clips of speech with one of its performances, drawn anew each time.

    Batches: "features" (b, t, f) and "motion" (b, t, c), "lengths", "emotion" and "intensity" as acted, "speaker" (its
    place among `speakers`, those of the training split; -1 for others), "speech" and "performance" (indices). Training
    items are random windows; validation items are whole clips, each with one performance that stays the same.

    With `waveforms`, also the "waveform" (b, s) of the whole piece of speech with its "num_samples", and the window's
    "first_frame" in it: an encoder hears all of it, as it did when the features were made.

    `offsets` are what is taken off the features of a piece of speech to hear it relative to its speaker
    (`speaker_offsets`): for `centred_share` of those that have one, in validation always the same ones. Raises
    UserError where there is such a share but no training clip has one.
    """

    def __init__(
        self,
        corpus: Corpus,
        store: FeatureStore,
        config: ClipWindowsConfig,
        waveforms: bool = False,
        offsets: Mapping[int, np.ndarray] | None = None,
    ):
        super().__init__(config)
        if config.centred_share and not set(corpus.speech_in(config.train_split)) & set(offsets or {}):
            raise UserError(
                f"centred_share is {config.centred_share:g}, but no speech of {corpus.name} in split "
                f"{config.train_split!r} can be heard relative to its speaker: that takes other neutral recordings of "
                "the speaker that were not augmented. Set it to 0, or add some."
            )
        self.speakers = corpus.speakers(config.train_split)
        train = _ClipData(corpus, store, config.train_split, config, config.whole_clips, waveforms, offsets)
        self.train_data = train
        self.train_groups = train.groups if config.balanced_emotions else None
        self.val_data = _ClipData(corpus, store, config.val_split, config, True, waveforms, offsets)


def performances_to_train_on(corpus: Corpus, speech: int) -> list[int]:
    """Performances of a piece of speech that are samples of what the speech leaves open, or recorded."""
    given = corpus.performances.column("given")
    return [index for index in corpus.performances_of(speech) if given[index] != FIXED_LABEL]


def speaker_index(speakers: Sequence[str], speaker: str) -> int:
    """Place of a speaker among those trained on; -1 for any other."""
    return speakers.index(speaker) if speaker in speakers else -1
