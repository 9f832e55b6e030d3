"""What hearing the clips of a corpus relative to their speakers takes off."""

import numpy as np
from jaxtyping import Float32

from deeptalk.corpus.features import FeatureStore
from deeptalk.corpus.format import Corpus
from deeptalk.emotions import NEUTRAL
from deeptalk.speech.reference import LEAST_SECONDS, voiced_sum


def speaker_offsets(
    corpus: Corpus, store: FeatureStore, prosody: slice, split: str
) -> dict[int, Float32[np.ndarray, " feature"]]:
    """For each piece of speech of a split, the offset that its speaker's other neutral recordings give there.

    It is what `speaker_offset` makes of those recordings. Augmented recordings are no reference and have no offset:
    what changed them is not the voice. Nor has speech of an unnamed speaker, or of one with less than a second of other
    voiced neutral speech. Speakers of one name are one, in a mix of corpora too.
    """
    plain: dict[str, list[int]] = {}
    for index in corpus.speech_in(split):
        row = corpus.speech[index]
        if row.speaker and not row.augmented:
            plain.setdefault(row.speaker, []).append(index)
    offsets: dict[int, Float32[np.ndarray, " feature"]] = {}
    for own in plain.values():
        neutral = {i: voiced_sum(store.get(i), prosody) for i in own if corpus.speech[i].emotion == NEUTRAL}
        total, frames = np.zeros(store.feature_size), 0
        for own_total, own_frames in neutral.values():
            total, frames = total + own_total, frames + own_frames
        for index in own:
            own_total, own_frames = neutral.get(index, (np.zeros(store.feature_size), 0))
            if frames - own_frames >= LEAST_SECONDS * corpus.frame_rate:
                offsets[index] = ((total - own_total) / (frames - own_frames)).astype(np.float32)
    return offsets
