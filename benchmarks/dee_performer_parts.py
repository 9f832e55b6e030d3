"""Clips and performances as DEE has them, and linear classifiers beside it (for `dee_performer.py`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from dee import DEE, GaussianEmbedding
from deeptalk.corpus import Corpus, FeatureStore, speaker_offsets
from deeptalk.corpus.performer import AffectCode
from deeptalk.speech import SpeechEncoder, prosody_columns

BATCH = 64
PROBED_FRAMES = 12
"""Frames that a motion is resampled to, for the probe that reads motion itself."""

Cut = Callable[[int], tuple[slice, slice]]
View: dict[str, Cut] = {
    "whole": lambda frames: (slice(0, frames), slice(0, frames)),
    "halves": lambda frames: (slice(0, frames // 2), slice(frames // 2, frames)),
}
"""Frames of speech and of motion that are embedded: `halves` hears the first half and sees the second, so that neither
words nor timing nor length can tell which belong together."""


class Centred(FeatureStore):
    """Features of those clips of a corpus that can be heard relative to their speaker, heard so."""

    def __init__(self, corpus: Corpus, store: FeatureStore, encoder: SpeechEncoder):
        self.corpus, self.store, self.feature_size = corpus, store, store.feature_size
        prosody = prosody_columns(encoder)
        self.offsets = {
            clip: offset
            for split in corpus.manifest["splits"]
            for clip, offset in speaker_offsets(corpus, store, prosody, split).items()
        }

    def get(self, speech: int, part: slice = slice(None)) -> np.ndarray:
        """Features of one clip, float32, a copy."""
        return self.store.get(speech, part) - self.offsets[speech]

    def frames(self, speech: int) -> int:
        """Frames of one clip."""
        return self.store.frames(speech)


def pieces_of(corpus: Corpus, store: FeatureStore, split: str) -> list[int]:
    """The pieces of speech of a split that are judged."""
    pieces = corpus.speech_in(split)
    return [piece for piece in pieces if piece in store.offsets] if isinstance(store, Centred) else list(pieces)


@dataclass
class Embedded:
    """Pieces of speech and their performances, embedded."""

    speech: GaussianEmbedding
    motion: GaussianEmbedding
    of: np.ndarray
    """(performance,) place of its piece of speech."""
    emotion: np.ndarray
    """(performance,) as acted."""
    intensity: np.ndarray
    affect: list[AffectCode]
    """Of each piece of speech."""
    sentence: np.ndarray
    speaker: np.ndarray
    frames: np.ndarray
    """(speech,) frames of the whole piece."""
    pooled: np.ndarray
    """(speech, statistic) mean and deviation of each feature over the piece."""
    shown: np.ndarray
    """(performance,) index in the corpus."""

    @property
    def performances(self) -> list[np.ndarray]:
        """Places of the performances of each piece of speech."""
        return [np.flatnonzero(self.of == place) for place in range(len(self.affect))]

    @property
    def draws(self) -> int:
        """Performances of the pieces that have most."""
        return max(map(len, self.performances))

    @property
    def rounds(self) -> list[np.ndarray]:
        """The first performance of every piece, the second, and so on, as long as each piece has one."""
        own = self.performances
        return [np.array([places[k] for places in own]) for k in range(min(map(len, own)))]

    def part(self, chosen: np.ndarray) -> GaussianEmbedding:
        """The speech Gaussians of some pieces."""
        return GaussianEmbedding(self.speech.mean[chosen], self.speech.log_variance[chosen])


def _in_batches(embed: Callable[..., GaussianEmbedding], clips: Sequence[np.ndarray]) -> GaussianEmbedding:
    """Embed sequences of different lengths, similar ones together."""
    order = np.argsort([len(clip) for clip in clips], kind="stable")
    parts = []
    for first in range(0, len(order), BATCH):
        batch = [torch.from_numpy(clips[place]) for place in order[first : first + BATCH]]
        lengths = torch.tensor([len(clip) for clip in batch])
        parts.append(embed(torch.nn.utils.rnn.pad_sequence(batch, batch_first=True), lengths))
    sorted_back = torch.from_numpy(np.argsort(order))
    whole = GaussianEmbedding.concatenate(parts)
    return GaussianEmbedding(whole.mean[sorted_back], whole.log_variance[sorted_back])


def embed(
    dee: DEE, corpus: Corpus, store: FeatureStore, split: str, cut: Cut = View["whole"], most: int | None = None
) -> Embedded:
    """Embed all speech of a split and its performances given the speech (the first `most` of each)."""
    pieces = pieces_of(corpus, store, split)
    shown = [(place, p) for place, i in enumerate(pieces) for p in corpus.performances_of(i, "speech")[:most]]
    features, pooled, frames = [], [], []
    for piece in pieces:
        whole = store.get(piece)
        frames.append(len(whole))
        features.append(whole[cut(len(whole))[0]])
        pooled.append(np.concatenate([whole.mean(axis=0), whole.std(axis=0)]))
    motions = [corpus.motion(p, blink_and_gaze=False) for _, p in shown]
    rows = [corpus.performances[p] for _, p in shown]
    speech = [corpus.speech[piece] for piece in pieces]
    return Embedded(
        speech=_in_batches(dee.embed_speech, features),
        motion=_in_batches(dee.embed_motion, [motion[cut(len(motion))[1]] for motion in motions]),
        of=np.array([place for place, _ in shown]),
        emotion=np.array([row.emotion for row in rows]),
        intensity=np.array([row.intensity for row in rows]),
        affect=[AffectCode(**(row.affect or {})) for row in speech],
        sentence=np.array([row.sentence for row in speech]),
        speaker=np.array([row.speaker for row in speech]),
        frames=np.array(frames),
        pooled=np.array(pooled),
        shown=np.array([p for _, p in shown]),
    )


def linear(regularisation: float) -> Pipeline:
    """Logistic regression on standardised columns."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=regularisation, max_iter=1000))


def means_for_head(train: Embedded) -> tuple[Pipeline, Pipeline]:
    """Linear heads on the means of speech and of motion, trained on the emotions acted in the training split."""
    chosen = train.rounds[0]
    speech = linear(0.1).fit(train.speech.mean.numpy(), train.emotion[chosen])
    return speech, linear(0.1).fit(train.motion.mean[chosen].numpy(), train.emotion[chosen])


def pooled_columns(encoder: SpeechEncoder) -> dict[str, np.ndarray]:
    """Columns of `Embedded.pooled` that come from each encoder of a stack, and from all."""
    columns = {}
    for name, place in encoder.columns().items():
        own = np.arange(place.start, place.stop)
        columns[name] = np.concatenate([own, own + encoder.feature_size])
    return columns | {encoder.name: np.arange(2 * encoder.feature_size)}


def listener(train: Embedded, data: Embedded, columns: np.ndarray) -> np.ndarray:
    """(speech, class) probabilities of the audible class by a linear classifier on pooled features.

    What a listener without DEE makes of the same features: the class of an unknown voice is not told by one recording.
    """
    heard = np.array([affect.sound_class for affect in train.affect])
    regularisation = 0.003 if len(columns) > 100 else 0.03
    return linear(regularisation).fit(train.pooled[:, columns], heard).predict_proba(data.pooled[:, columns])


def probe_sentences(data: Embedded, corpus: Corpus, store: FeatureStore) -> list[dict[str, Any]]:
    """Can a linear classifier name the sentence? Voices are left out in turn; `features` and `motion` are the control.

    The control sees the same clips before DEE: features of `PROBED_FRAMES` instants (the words are in their order), and
    motion likewise.
    """
    chosen = data.rounds[0]
    pieces = pieces_of(corpus, store, "test")
    heard = np.array([_resampled(store.get(piece)) for piece in pieces])
    moved = np.array([_resampled(corpus.motion(int(p), blink_and_gaze=False)) for p in data.shown[chosen]])
    sources = {
        "speech means": data.speech.mean.numpy(),
        "motion means": data.motion.mean[chosen].numpy(),
        "speech features (control)": heard,
        "motion itself (control)": moved,
    }
    rows = []
    for name, values in sources.items():
        for what, target, groups in (("sentence", data.sentence, data.speaker), ("voice", data.speaker, data.sentence)):
            folds = GroupKFold(len(np.unique(groups)))
            probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=float(values.shape[1])))
            accuracy = cross_val_score(probe, values, target, groups=groups, cv=folds).mean()
            chance = 1 / len(np.unique(target))
            rows.append({"what": what, "from": name, "accuracy": float(accuracy), "chance": chance})
    return rows


def _resampled(values: np.ndarray) -> np.ndarray:
    places = np.linspace(0, len(values) - 1, PROBED_FRAMES)
    low = places.astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    weight = (places - low)[:, None]
    return (values[low] * (1 - weight) + values[high] * weight).reshape(-1)
