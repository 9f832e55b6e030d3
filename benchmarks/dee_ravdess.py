"""DEE's speech side on people: RAVDESS, 8 emotions from the mean of the speech Gaussian, and doubt by intensity.

    python benchmarks/dee_ravdess.py DATA/ravdess16k
    python benchmarks/dee_ravdess.py DATA/ravdess16k --performer CORPUS --actors 1-14

Trained on people: six folds of three actors; in each a DEE is trained on the other 15 actors, and on the same frozen
features (mean and standard deviation over the frames of a clip) a logistic regression, whose C is chosen by folds of
those 15 actors. Both name the emotion of every clip of the three; the difference is paired by clip, its interval is a
bootstrap over actors. **RAVDESS has no motion: the importer performs it from the label.** A DEE trained so is told
nothing that the label does not say.

Trained on the performer: a DEE that reads prosody alone is trained on a performer corpus, half of the items heard
relative to the speaker's own neutral clips, and tested with one wav and with a speaker reference (the actor's other
neutral clips).

RAVDESS is CC BY-NC-SA: sound, features and weights stay in the output folder, only numbers may leave it.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from ravdess_scores import NEUTRAL, by_actor, by_intensity, markdown, score
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.utils.rnn import pad_sequence

from dee import DEEConfig, DEETraining, DEETrainingConfig, EncoderConfig, GaussianEmbedding
from dee.evaluation import nearest_prototypes
from dee.training import LABEL_SCALE
from deeptalk.corpus import (
    ClipWindows,
    ClipWindowsConfig,
    Corpus,
    FeatureStore,
    feature_statistics,
    motion_statistics,
    speaker_offsets,
)
from deeptalk.corpus.data import Draw, SeededDataset
from deeptalk.corpus.importers import import_corpus
from deeptalk.corpus.rows import SpeechRow, Table
from deeptalk.corpus.windows import Item
from deeptalk.files import write_json, write_text
from deeptalk.speech import build_encoder
from deeptalk.training import TrainerConfig, fit, open_run

SPEECH = "whisper:2s+prosody"
FOLDS, TUNING_FOLDS = 6, (0, 1)
"""Actor a is in fold (a - 1) % 6. Sizes were chosen on the actors of the first two folds, trained on the others."""
UNCERTAINTY = ("variance", "entropy")
PROBE_C = (0.003, 0.01, 0.03, 0.1)
JITTER = torch.tensor([0.2, 0.0, 1.5, 0.3, 0.3, 0.3, 0.1])
"""Spread of a shift of each prosody channel, drawn for every item, in standard deviations of the channel: voices, and
above all the levels of recordings, differ. Half as much where the clip is heard relative to its speaker."""


def _small_motion() -> EncoderConfig:
    return EncoderConfig(width=64, layers=0, heads=2, feedforward=128, dropout=0.0, pooling="mean")


@dataclass(frozen=True)
class RavdessRun:
    """All that decides a run: for `open_run`, which refuses to go on with another one."""

    model: DEEConfig
    training: DEETrainingConfig
    data: ClipWindowsConfig
    trainer: TrainerConfig
    jitter: list[float] = field(default_factory=list)
    actors: list[int] = field(default_factory=list)


def people_run(features: int, clips: int, held_out: list[int], epochs: int, seed: int) -> RavdessRun:
    """The DEE trained on people."""
    speech = EncoderConfig(width=64, layers=0, heads=4, feedforward=256, dropout=0.3, pooling="mean")
    model = DEEConfig(
        speech_features=features, embedding_size=64, speech_encoder=speech, motion_encoder=_small_motion()
    )
    return RavdessRun(
        model,
        DEETrainingConfig(learning_rate=1e-3, targets="emotion", label_weight=1.0),
        ClipWindowsConfig(32, clips, seed, val_split="test", min_seconds=2.0, max_seconds=4.0),
        TrainerConfig(max_epochs=epochs, validate_every_epochs=epochs, seed=seed, accelerator="cpu", loggers=["csv"]),
        actors=held_out,
    )


def performer_run(features: int, clips: int, epochs: int, seed: int) -> RavdessRun:
    """The DEE trained on the performer: prosody alone, since Whisper's features do not carry over to people."""
    speech = EncoderConfig(width=64, layers=0, heads=2, feedforward=128, dropout=0.1, pooling="mean")
    model = DEEConfig(
        speech_features=features,
        speech_columns=[features - len(JITTER), features],
        embedding_size=64,
        speech_encoder=speech,
        motion_encoder=_small_motion(),
    )
    return RavdessRun(
        model,
        DEETrainingConfig(learning_rate=3e-3, targets="speech", label_weight=1.0),
        ClipWindowsConfig(32, clips, seed, min_seconds=2.0, max_seconds=3.0),
        TrainerConfig(max_epochs=epochs, validate_every_epochs=epochs, seed=seed, accelerator="cpu", loggers=["csv"]),
        jitter=JITTER.tolist(),
    )


class People(Corpus):
    """A corpus whose speech and performances are split anew, by speaker."""

    def __init__(self, corpus: Corpus, split_of: Mapping[str, str]):
        super().__init__(corpus.folder, {**corpus.manifest, "splits": {name: {} for name in split_of.values()}})
        self.whole, self.split_of = corpus, split_of

    def _split_anew(self, table: Table) -> Table:
        splits = pa.array([self.split_of[speaker] for speaker in table.column("speaker")])
        place = table.arrow.schema.get_field_index("split")
        return Table(table.arrow.set_column(place, "split", splits), table.kind)

    @cached_property
    def speech(self) -> Table[SpeechRow]:  # noqa: D102
        return self._split_anew(self.whole.speech)

    @cached_property
    def performances(self) -> Table:  # noqa: D102
        return self._split_anew(self.whole.performances)


class SpeakerViews(SeededDataset):
    """Items whose prosody is shifted at random, half of them heard relative to their speaker, augmented ones too."""

    def __init__(self, base: SeededDataset, corpus: Corpus, offsets: Mapping[int, np.ndarray]):
        self.base, self.speakers = base, corpus.speech.column("speaker")
        emotion = corpus.speech.column("emotion")  # nothing is left out of the reference of a clip that is not neutral
        self.centres = {self.speakers[i]: torch.from_numpy(own) for i, own in offsets.items() if emotion[i] != NEUTRAL}

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, draw: Draw) -> Item:
        item = dict(self.base[draw])
        generator = torch.Generator().manual_seed(draw[1])
        shift = torch.zeros(item["features"].shape[1])
        shift[-len(JITTER) :] = JITTER * torch.randn(len(JITTER), generator=generator)
        centre = self.centres.get(self.speakers[int(item["speech"])])
        if centre is not None and torch.rand((), generator=generator) < 0.5:
            shift = shift / 2 + centre
        item["features"] = item["features"] - shift
        return item


def offsets_of(corpus: Corpus, store: FeatureStore, split: str) -> dict[int, np.ndarray]:
    """What a speaker reference of the speaker's other neutral clips takes off each clip's features."""
    return speaker_offsets(corpus, store, slice(store.feature_size - len(JITTER), store.feature_size), split)


def train(run: RavdessRun, corpus: Corpus, store: FeatureStore, folder: Path) -> DEETraining:
    """Train or resume a DEE and fit its prototypes; nothing is chosen on the validation split."""
    open_run(folder, run, {"corpus": corpus.hash, "features": str(store.meta["cache_key"])})
    torch.manual_seed(run.trainer.seed)
    module = DEETraining(run.model, run.training)
    module.model.set_statistics(*feature_statistics(store, corpus), *motion_statistics(corpus))
    data = ClipWindows(corpus, store, run.data)
    if run.jitter:
        data.train_data = SpeakerViews(data.train_data, corpus, offsets_of(corpus, store, "train"))
    fit(module, data, run.trainer, folder, "val/loss", progress=False)
    module.model.fit_prototypes(data.train_dataloader())
    return module


@torch.no_grad()
def embed(
    module: DEETraining, store: FeatureStore, indices: list[int], offsets: Mapping[int, np.ndarray] | None = None
) -> GaussianEmbedding:
    """Speech Gaussians of whole clips."""
    parts = []
    for start in range(0, len(indices), 64):
        heard = [store.get(i) - (0.0 if offsets is None else offsets[i]) for i in indices[start : start + 64]]
        clips = [torch.from_numpy(clip) for clip in heard]
        lengths = torch.tensor([len(clip) for clip in clips])
        parts.append(module.model.embed_speech(pad_sequence(clips, batch_first=True), lengths))
    return GaussianEmbedding.concatenate(parts)


def named(module: DEETraining, embedding: GaussianEmbedding) -> dict[str, np.ndarray]:
    """The emotion of each clip by the linear classifier trained with DEE and by the nearest prototype; how sure it is.

    `variance` is the Gaussian's total variance, `entropy` (nats) that of the classifier's probabilities.
    """
    with torch.no_grad():
        log_shares = module.label_logits(LABEL_SCALE * embedding.mean).log_softmax(dim=1)
    return {
        "dee": log_shares.argmax(dim=1).numpy(),
        "prototypes": nearest_prototypes(embedding, module.model.prototypes["speech"]).numpy(),
        "variance": embedding.total_variance.numpy(),
        "entropy": -(log_shares.exp() * log_shares).sum(dim=1).numpy(),
    }


def probe_rows(store: FeatureStore, indices: list[int]) -> np.ndarray:
    """(clip, 2 * feature) mean and standard deviation over frames."""
    clips = (store.get(index) for index in indices)
    return np.stack([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in clips])


def probe(rows: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> tuple[Pipeline, float]:
    """Logistic regression on standardised rows; C by three folds of speakers."""

    def model(c: float) -> Pipeline:
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))

    folds = list(GroupKFold(3).split(rows, labels, speakers))
    right = [
        sum((model(c).fit(rows[a], labels[a]).predict(rows[b]) == labels[b]).sum() for a, b in folds) for c in PROBE_C
    ]
    best = PROBE_C[int(np.argmax(right))]
    return model(best).fit(rows, labels), best


def trained_on_people(corpus: Corpus, store: FeatureStore, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Answers of DEE and of the probe for every clip, each from a fold that did not hear the actor."""
    speaker, emotion = (np.array(corpus.speech.column(name)) for name in ("speaker", "emotion"))
    fold = np.array([(int(name[-2:]) - 1) % FOLDS for name in speaker])
    rows = probe_rows(store, list(range(len(speaker))))
    answers: dict[str, np.ndarray] = {}
    for held in range(FOLDS):
        started = time.perf_counter()
        test = fold == held
        here = People(corpus, {name: "test" if own else "train" for name, own in zip(speaker, test)})
        actors = sorted({int(name[-2:]) for name in speaker[test]})
        run = people_run(store.feature_size, int((~test).sum()), actors, args.epochs or 16, args.seed)
        module = train(run, here, store, args.out / f"fold_{held}")
        linear, c = probe(rows[~test], emotion[~test], speaker[~test])
        found = {
            **named(module, embed(module, store, np.flatnonzero(test).tolist())),
            "probe": linear.predict(rows[test]),
        }
        for name, values in found.items():
            answers.setdefault(name, np.zeros(len(speaker), values.dtype))[test] = values
        shares = ", ".join(f"{k} {(v == emotion[test]).mean():.3f}" for k, v in found.items() if v.dtype.kind == "i")
        print(f"fold {held}, actors {actors}: {shares} (C {c}, {time.perf_counter() - started:.0f} s)", flush=True)
    return answers


def trained_on_performer(corpus: Corpus, store: FeatureStore, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Answers for the clips of `--actors` by view."""
    performer = Corpus.open(args.performer)
    heard = FeatureStore.build(performer, build_encoder(SPEECH), progress=True)
    clips = performer.speech_in("train")
    run = performer_run(heard.feature_size, len(clips), args.epochs or 12, args.seed)
    module = train(run, performer, heard, args.out / "performer")
    first, last = (int(actor) for actor in args.actors.split("-"))
    speaker = corpus.speech.column("speaker")
    indices = [i for i, name in enumerate(speaker) if first <= int(name[-2:]) <= last]
    views = {"one wav": None, "reference": {}}
    for split in corpus.manifest["splits"]:
        views["reference"] |= offsets_of(corpus, store, split)
    return {
        view: {"clips": np.array(indices), **named(module, embed(module, store, indices, offsets))}
        for view, offsets in views.items()
    }


def report_people(corpus: Corpus, answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Scores of all actors and of those that nothing was chosen on."""
    speaker, emotion = (np.array(corpus.speech.column(name)) for name in ("speaker", "emotion"))
    fresh = np.array([(int(name[-2:]) - 1) % FOLDS not in TUNING_FOLDS for name in speaker])
    report: dict[str, Any] = {
        "scores": {},
        "differences": {},
        "uncertainty": {},
        "shown": ["dee, all actors", "probe, all actors"],
    }
    for group, chosen in (("all actors", np.ones_like(fresh)), ("actors not tuned on", fresh)):
        right = {name: (answers[name] == emotion).astype(float)[chosen] for name in ("dee", "prototypes", "probe")}
        for name in right:
            report["scores"][f"{name}, {group}"] = score(answers[name][chosen], emotion[chosen], speaker[chosen])
        for name in ("dee", "prototypes"):
            report["differences"][f"{name} less probe, {group}"] = by_actor(
                right[name] - right["probe"], speaker[chosen]
            )
    for quantity in UNCERTAINTY:
        report["uncertainty"][f"{quantity}, trained on people"] = by_intensity(
            corpus, np.arange(len(speaker)), answers[quantity]
        )
    return report


def report_performer(corpus: Corpus, answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Scores by view."""
    report: dict[str, Any] = {"scores": {}, "uncertainty": {}, "shown": []}
    for view, entry in answers.items():
        speaker, emotion = (np.array(corpus.speech.column(name))[entry["clips"]] for name in ("speaker", "emotion"))
        for name in ("dee", "prototypes"):
            report["scores"][f"{name}, {view}"] = score(entry[name], emotion, speaker)
        for quantity in UNCERTAINTY:
            report["uncertainty"][f"{quantity}, trained on the performer, {view}"] = by_intensity(
                corpus, entry["clips"], entry[quantity]
            )
        report["shown"].append(f"dee, {view}")
    return report


def main() -> None:
    """Import, train, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ravdess", type=Path, help="folder with RAVDESS's speech as 16 kHz files and its alignment")
    parser.add_argument("--performer", type=Path, help="performer corpus to train on instead of people")
    parser.add_argument("--actors", default="1-14", help="actors tested with --performer; 15-18 once, at the end")
    parser.add_argument("--epochs", type=int, default=0, help="0 is 16 on people and 12 on the performer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/dee_ravdess"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.out / "ravdess"
    if not folder.exists():
        import_corpus("ravdess", args.ravdess, folder, words=["val_actors=[]", "first_test_actor=25"], progress=True)
    corpus = Corpus.open(folder)
    store = FeatureStore.build(corpus, build_encoder(SPEECH), progress=True)
    if args.performer:
        report, name = report_performer(corpus, trained_on_performer(corpus, store, args)), f"performer_{args.actors}"
    else:
        report, name = report_people(corpus, trained_on_people(corpus, store, args)), "people"
    report["settings"] = {key: str(value) for key, value in vars(args).items()}
    write_json(args.out / f"{name}.json", report)
    write_text(args.out / f"{name}.md", markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
