"""Mean and standard deviation of motion and features, for the buffers of the models."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from deeptalk.corpus.features import FeatureStore
from deeptalk.corpus.format import Corpus
from deeptalk.errors import UserError

Statistics = tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]


def motion_statistics(corpus: Corpus, split: str = "train", include_blinks_and_gaze: bool = False) -> Statistics:
    """Mean and standard deviation (channel,) over all frames of a split's performances, float32.

    The blink and gaze channels are zero unless they are included, as they are in the batches.
    """
    motions = (corpus.motion(index, blink_and_gaze=include_blinks_and_gaze) for index in corpus.performances_in(split))
    return _statistics(motions, f"motion in {split!r}")


def feature_statistics(store: FeatureStore, corpus: Corpus, split: str = "train") -> Statistics:
    """Mean and standard deviation (feature,) over all frames of a split's speech, float32."""
    return _statistics((store.get(index) for index in corpus.speech_in(split)), f"speech in {split!r}")


def _statistics(sequences: Iterable[np.ndarray], what: str) -> Statistics:
    """Merge means and squared deviations sequence by sequence (Chan et al.), so that large means cost no precision."""
    count = 0
    mean, squares = np.zeros(()), np.zeros(())
    for sequence in sequences:
        values = sequence.astype(np.float64)
        own_mean = values.mean(axis=0)
        step = own_mean - mean
        total = count + len(values)
        squares = squares + ((values - own_mean) ** 2).sum(axis=0) + step**2 * count * len(values) / total
        mean = mean + step * len(values) / total
        count = total
    if count == 0:
        raise UserError(f"The corpus has no {what}, so it has no statistics; choose another split.")
    return torch.from_numpy(mean).float(), torch.from_numpy(np.sqrt(squares / count)).float()
