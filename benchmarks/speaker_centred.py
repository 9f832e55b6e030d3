"""A DEE whose listener knows the speaker: prosody centred on the speaker's other recordings.

    python benchmarks/speaker_centred.py --corpus corpus --out runs/dee_centred --config tiny reads=prosody ...
    python benchmarks/dee_performer.py runs/dee_centred --speaker-reference --corpus corpus --crossed crossed

Trains as `deeptalk train dee` does, with the same words. The mean over the voiced frames of a speaker's other clips,
in whatever tone, is taken off all prosody channels but voicing, as `ProsodyEncoder.set_speaker_reference` does.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.config import compose, find_preset
from deeptalk.corpus import Corpus, FeatureStore
from deeptalk.speech import SpeechEncoder, build_encoder
from deeptalk.speech.prosody import CHANNELS, VOICED, VOICING
from deeptalk.speech.stack import StackedEncoder
from deeptalk.stages import STAGES, Run


class SpeakerCentred(FeatureStore):
    """Features of a corpus with prosody relative to the speaker's other clips."""

    def __init__(self, corpus: Corpus, store: FeatureStore, encoder: SpeechEncoder):
        self.corpus, self.store, self.feature_size = corpus, store, store.feature_size
        first = 0
        for part in encoder.parts() if isinstance(encoder, StackedEncoder) else [encoder]:
            if part.name == "prosody":
                break
            first += part.feature_size
        self.columns = np.array([first + place for place in range(len(CHANNELS)) if place != VOICING])
        sums, counts = [], []
        for clip in range(len(corpus.speech)):
            values = store.get(clip)
            voiced = values[values[:, first + VOICING] > VOICED][:, self.columns]
            sums.append(voiced.sum(axis=0))
            counts.append(len(voiced))
        self.offsets = _means_of_others(np.array(corpus.speech.column("speaker")), np.array(sums), np.array(counts))

    def get(self, speech: int, part: slice = slice(None)) -> np.ndarray:
        """Features of one clip, float32, a copy."""
        values = self.store.get(speech, part)
        values[:, self.columns] -= self.offsets[speech]
        return values

    def frames(self, speech: int) -> int:
        """Frames of one clip."""
        return self.store.frames(speech)


def _means_of_others(speakers: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(clip, channel) means over the frames of each speaker's other clips; 0 where there are none."""
    means = np.zeros_like(sums)
    for speaker in np.unique(speakers):
        own = speakers == speaker
        frames = counts[own].sum() - counts[own]
        means[own] = (sums[own].sum(axis=0) - sums[own]) / np.maximum(frames, 1)[:, None]
    return means.astype(np.float32)


class CentredRun(Run):
    """A run that reads centred features."""

    def store(self) -> FeatureStore:
        """Features of the corpus by the run's encoder, centred."""
        assert self.encoder is not None
        return SpeakerCentred(self.corpus, super().store(), self.encoder)


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", default="tiny")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    config: Any = compose(STAGES["dee"].config, [find_preset("dee", options.config)], options.words)
    run = CentredRun(Corpus.open(options.corpus), options.out, {}, build_encoder(config.speech), True)
    print(STAGES["dee"].train(run, config))


if __name__ == "__main__":
    main()
