"""What hearing the clips of a corpus relative to their speakers takes off."""

import numpy as np
from jaxtyping import Float32

from deeptalk.corpus.features import FeatureStore
from deeptalk.corpus.format import Corpus
from deeptalk.emotions import NEUTRAL
from deeptalk.errors import UserError
from deeptalk.speech.reference import LEAST_SECONDS, voiced_sum


def speaker_offsets(corpus: Corpus, store: FeatureStore, prosody: slice) -> dict[int, Float32[np.ndarray, " feature"]]:
    """For each piece of speech, the offset that its speaker's other neutral recordings give (`speaker_offset`).

    Recordings that were changed as rooms and lines do are no reference and have none: what changed them is not the
    voice. Speech of a speaker with less than a second of other voiced neutral speech has none either. Raises UserError
    where no speech has one.
    """
    unchanged: dict[str, list[int]] = {}
    for index in range(len(corpus.speech)):
        row = corpus.speech[index]
        if not (row.origin or {}).get("augmentation"):
            unchanged.setdefault(row.speaker, []).append(index)
    offsets: dict[int, Float32[np.ndarray, " feature"]] = {}
    for own in unchanged.values():
        neutral = {i: voiced_sum(store.get(i), prosody) for i in own if corpus.speech[i].emotion == NEUTRAL}
        total = np.sum([total for total, _ in neutral.values()], axis=0) if neutral else np.zeros(store.feature_size)
        frames = sum(count for _, count in neutral.values())
        for index in own:
            own_total, own_frames = neutral.get(index, (0.0, 0))
            if frames - own_frames >= LEAST_SECONDS * corpus.frame_rate:
                offsets[index] = ((total - own_total) / (frames - own_frames)).astype(np.float32)
    if not offsets:
        raise UserError(
            f"No speech of {corpus.name} can be heard relative to its speaker: that takes other neutral recordings of "
            "the speaker, without rooms or noise put on them. Leave centred_share at 0."
        )
    return offsets
