"""Lightning data module of single frames of performances whose emotion is known, for the expression recogniser."""

from dataclasses import dataclass

import numpy as np
import torch

from deeptalk.corpus.data import FIXED_LABEL, CorpusData, Draw, LoaderConfig, SeededDataset
from deeptalk.corpus.format import Corpus
from deeptalk.corpus.windows import Item, whole
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError


@dataclass(frozen=True)
class MotionFramesConfig(LoaderConfig):
    """Frames of performances."""

    batch_size: int = 256
    """Frames in a batch of training; performances in one of validation."""
    samples_per_epoch: int = 25600
    """Frames drawn in one epoch of training, over all devices."""
    margin_seconds: float = 0.0
    """Frames this near to either end of a clip are left out, for recordings that begin and end at rest; of short clips
    the middle half stays. 0 draws from whole clips, as DEE reads them: performers act before and after they speak."""
    val_frames: int = 8
    """Frames of each validation performance, evenly spaced."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.margin_seconds < 0:
            raise UserError(f"margin_seconds is {self.margin_seconds}; expected 0 or more.")
        if self.val_frames < 1:
            raise UserError(f"val_frames is {self.val_frames}; expected at least 1.")
        if self.samples_per_epoch % self.batch_size == 1 or self.batch_size == 1:
            raise UserError(
                f"samples_per_epoch {self.samples_per_epoch} and batch_size {self.batch_size} leave a batch of one "
                "frame, which has no batch statistics; change one."
            )


class _FrameData(SeededDataset):
    """One item for every performance of a split: one of its frames drawn anew, or several evenly spaced."""

    def __init__(self, corpus: Corpus, split: str, config: MotionFramesConfig, random: bool):
        self.corpus, self.config, self.random = corpus, config, random
        given, acted, intensity = (corpus.performances.column(name) for name in ("given", "emotion", "intensity"))
        self.performances = [
            index for index in corpus.performances_in(split) if acted[index] >= 0 and given[index] != FIXED_LABEL
        ]
        # An emotion of intensity 0 is a neutral face, whatever it is called.
        self.labels = [acted[index] if intensity[index] > 0 else 0 for index in self.performances]
        self.frames = corpus.performances.numbers("frames")
        self.margin = round(config.margin_seconds * corpus.frame_rate)
        if not self.performances:
            raise UserError(
                f"{corpus.name} has no performance of known emotion in split {split!r}; choose another split."
            )

    def __len__(self) -> int:
        return len(self.performances)

    def __getitem__(self, draw: Draw) -> Item:
        index, item_seed = draw
        performance = self.performances[index]
        frames = int(self.frames[performance])
        margin = min(self.margin, frames // 4)
        first, last = margin, frames - 1 - margin
        if self.random:
            chosen = np.random.default_rng(item_seed).integers(first, last + 1, size=1)
        else:
            chosen = np.linspace(first, last, self.config.val_frames).round().astype(np.int64)
        part = slice(int(chosen[0]), int(chosen[-1]) + 1)
        motion = self.corpus.motion(performance, blink_and_gaze=self.config.include_blinks_and_gaze, part=part)
        return {"motion": torch.from_numpy(motion[chosen - chosen[0]]), "emotion": whole(self.labels[index])}


class MotionFrames(CorpusData):
    """Single frames: {"motion" (batch, 1, channel), "emotion" (batch,)}; in validation `val_frames` of each clip.

    Every performance of known emotion is drawn equally often, whatever its length; performances of emotion at intensity
    0 count as neutral. Raises UserError where a split has none.
    """

    train_data: _FrameData

    def __init__(self, corpus: Corpus, config: MotionFramesConfig):
        super().__init__(config)
        self.train_data = _FrameData(corpus, config.train_split, config, random=True)
        self.val_data = _FrameData(corpus, config.val_split, config, random=False)

    @property
    def counts(self) -> list[int]:
        """Training performances of each emotion: in these proportions frames are drawn."""
        return np.bincount(self.train_data.labels, minlength=len(EMOTIONS)).tolist()
