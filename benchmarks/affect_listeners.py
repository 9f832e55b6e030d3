"""How well can the audible class be heard at all? Classifiers on clip statistics, given more and more to compare with.

    python benchmarks/affect_listeners.py CORPUS --out out/affect_listeners

CORPUS is a performer corpus of many hours. Support vector machines (RBF kernel) name the class that a voice was given,
on the unchanged clips, from statistics of prosody and of log-mel spectra over each clip: of one recording alone; of
what it is beside the speaker's other neutral recordings, or all other recordings; the same with the test voices' other
sentences among the training clips; and beside the same sentence said neutrally by the same voice (of the seven other
classes). "Emotion" is the share of acted emotions that the likeliest emotion of the class named would hit, in
expectation over P(emotion | affect). Last, how precisely the ten settings of a voice are heard, and what hearing them
so precisely would give: settings drawn as the corpus draws them, with errors of that size added.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from deeptalk.corpus import Corpus, FeatureStore
from deeptalk.corpus.performer import AffectCode, Performer
from deeptalk.corpus.performer.affect import SETTING_SPREAD, SETTINGS, draw_affect
from deeptalk.emotions import EMOTIONS, NEUTRAL
from deeptalk.files import write_json, write_text
from deeptalk.speech import build_encoder
from deeptalk.speech.prosody import LEVEL, VOICED, VOICING

FOLDS = 5
DRAWN = 1500
"""Settings drawn of each class, to learn from; a quarter as many to test on."""
CONFUSION = np.array(Performer.variant("standard").parameters.truth.confusion)


@dataclass(frozen=True)
class Clips:
    """Unchanged clips of a corpus and what is known of them."""

    statistics: dict[str, np.ndarray]
    """(clip, statistic) by the name of the features."""
    sound_class: np.ndarray
    settings: np.ndarray
    """(clip, setting) in units of `SETTING_SPREAD`."""
    split: np.ndarray
    speaker: np.ndarray
    sentence: np.ndarray


def prosody_statistics(frames: np.ndarray) -> np.ndarray:
    """Statistics of one clip of prosody (frame, 7): levels, spreads, courses, rhythm."""
    voiced = frames[:, VOICING] >= VOICED
    if voiced.sum() < 3:
        voiced[:] = True
    own, times = frames[voiced], np.flatnonzero(voiced) / len(frames)
    times = times - times.mean()
    third = len(own) // 3 + 1
    level = frames[:, LEVEL]
    runs = max(np.count_nonzero(np.diff(voiced.astype(int), prepend=0) == 1), 1)
    modulation = np.abs(np.fft.rfft(level - level.mean(), n=256)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        together = np.nan_to_num(np.corrcoef(own.T)[np.triu_indices(own.shape[1], 1)])
    peaks = (level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])
    pauses = level[~voiced].mean() if not voiced.all() else level.min()
    parts = [
        *(own.mean(axis=0), own.std(axis=0), *np.quantile(own, [0.1, 0.25, 0.5, 0.75, 0.9], axis=0)),
        *(times @ own / max(times @ times, 1e-6), own[-third:].mean(axis=0) - own[:third].mean(axis=0)),
        *(np.abs(np.diff(own, axis=0)).mean(axis=0), np.abs(np.diff(frames, n=2, axis=0)).mean(axis=0)),
        [voiced.mean(), runs / len(frames), voiced.sum() / runs, pauses, level.std(), peaks.mean()],
        modulation[1:97].reshape(8, 12).sum(axis=1) / max(modulation.sum(), 1e-9),
        together,
    ]
    return np.concatenate(parts).astype(np.float32)


def spectrum_statistics(frames: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Statistics of one clip of log-mel spectra (frame, 80): the voiced mean, spread and movement, and the rest."""
    own = frames[voiced] if voiced.any() else frames
    rest = frames[~voiced] if not voiced.all() else frames
    moved = np.abs(np.diff(frames, axis=0)).mean(axis=0)
    return np.concatenate([own.mean(axis=0), own.std(axis=0), moved, rest.mean(axis=0)])


def read_clips(corpus: Corpus) -> Clips:
    """All unchanged clips of a corpus."""
    prosody, spectra = (
        FeatureStore.build(corpus, build_encoder(name), progress=True) for name in ("prosody", "logmel")
    )
    rows = {i: corpus.speech[i] for i in range(len(corpus.speech))}
    chosen = [i for i, row in rows.items() if not row.augmented]
    heard = np.array([prosody_statistics(prosody.get(i)) for i in chosen])
    seen = np.array([spectrum_statistics(spectra.get(i), prosody.get(i)[:, VOICING] >= VOICED) for i in chosen])
    affect = [AffectCode(**(rows[i].affect or {})) for i in chosen]
    return Clips(
        statistics={"prosody": heard, "prosody and log-mel": np.concatenate([heard, seen], axis=1)},
        sound_class=np.array([code.sound_class for code in affect]),
        settings=np.array([code.settings() for code in affect]) / SETTING_SPREAD,
        split=np.array([rows[i].split for i in chosen]),
        speaker=np.array([rows[i].speaker for i in chosen]),
        sentence=np.array([rows[i].sentence for i in chosen]),
    )


def beside_speaker(clips: Clips, values: np.ndarray, neutral_only: bool) -> np.ndarray:
    """Statistics less the mean over the speaker's other clips."""
    centred = values.copy()
    counted = (clips.sound_class == NEUTRAL) | (not neutral_only)
    for speaker in np.unique(clips.speaker):
        own = clips.speaker == speaker
        total, number = values[own & counted].sum(axis=0), np.count_nonzero(own & counted)
        others = np.maximum(number - counted[own], 1)[:, None]
        centred[own] -= (total - values[own] * counted[own, None]) / others
    return centred


def beside_neutral(clips: Clips, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Statistics less those of the same sentence said neutrally by the same voice, and which clips have one."""
    homes = list(zip(clips.speaker, clips.sentence))
    twins = {homes[i]: i for i in np.flatnonzero(clips.sound_class == NEUTRAL)}
    has = np.array([home in twins for home in homes]) & (clips.sound_class != NEUTRAL)
    places = np.array([twins.get(home, i) for i, home in enumerate(homes)])
    return values - values[places], has


def machine(columns: int) -> Pipeline:
    """The classifier."""
    return make_pipeline(StandardScaler(), SVC(C=3.0, gamma=0.3 / columns))


def shares(named: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Shares of classes named, and of emotions hit in expectation."""
    emotion = CONFUSION[named].argmax(axis=1)
    return {"class": float((named == truth).mean()), "emotion": float(CONFUSION[truth, emotion].mean())}


def listen(clips: Clips, values: np.ndarray, among: np.ndarray) -> dict[str, float]:
    """Learn from the training split, name the test split."""
    train, test = ((clips.split == name) & among for name in ("train", "test"))
    fitted = machine(values.shape[1]).fit(values[train], clips.sound_class[train])
    return shares(fitted.predict(values[test]), clips.sound_class[test])


def listen_with_voices(clips: Clips, values: np.ndarray, seed: int) -> dict[str, float]:
    """As `listen`, with the test voices' other sentences among the clips to learn from, four times as heavy."""
    train, test = (clips.split == name for name in ("train", "test"))
    sentences = np.random.default_rng(seed).permutation(np.unique(clips.sentence[test]))
    fold = {sentence: place % FOLDS for place, sentence in enumerate(sentences)}
    of_fold = np.array([fold.get(sentence, -1) for sentence in clips.sentence])
    named = np.zeros(len(train), int)
    for held in range(FOLDS):
        asked = test & (of_fold == held)
        learnt = train | (test & ~asked)
        weights = np.where(test[learnt], 4.0, 1.0)
        fitted = machine(values.shape[1]).fit(values[learnt], clips.sound_class[learnt], svc__sample_weight=weights)
        named[asked] = fitted.predict(values[asked])
    return shares(named[test], clips.sound_class[test])


def errors_of_settings(clips: Clips, values: np.ndarray) -> np.ndarray:
    """(setting,) root mean square error of a ridge regression on the test split, in units of `SETTING_SPREAD`."""
    train, test = (clips.split == name for name in ("train", "test"))
    fitted = make_pipeline(StandardScaler(), Ridge(100.0)).fit(values[train], clips.settings[train])
    return np.sqrt(((fitted.predict(values[test]) - clips.settings[test]) ** 2).mean(axis=0))


def with_errors(errors: np.ndarray, seed: int) -> dict[str, float]:
    """What a listener gets who hears every setting with an error of that size (SETTING_SPREAD units), independently."""
    generator = np.random.default_rng(seed)
    heard, truth = [], []
    for count in (DRAWN, DRAWN // 4):
        truth.append(np.repeat(np.arange(len(EMOTIONS)), count))
        settings = np.array([draw_affect(int(place), generator).settings() for place in truth[-1]]) / SETTING_SPREAD
        heard.append(settings + errors * generator.standard_normal(settings.shape))
    named = machine(len(SETTINGS)).fit(heard[0], truth[0]).predict(heard[1])
    return shares(named, truth[1])


def measure(clips: Clips, seed: int) -> dict[str, dict]:
    """All listeners, and the settings."""
    everyone, listeners, errors = np.ones(len(clips.split), bool), {}, {}
    for name, values in clips.statistics.items():
        neutral, all_others = (beside_speaker(clips, values, only) for only in (True, False))
        twin, has = beside_neutral(clips, values)
        listeners[name] = {
            "one recording": listen(clips, values, everyone),
            "beside the speaker's neutral recordings": listen(clips, neutral, everyone),
            "beside all recordings of the speaker": listen(clips, all_others, everyone),
            "the same, test voices known": listen_with_voices(clips, all_others, seed),
            "seven classes, beside all recordings": listen(clips, all_others, has),
            "seven classes, also beside the sentence said neutrally": listen(
                clips, np.concatenate([twin, all_others], axis=1), has
            ),
        }
        errors[name] = errors_of_settings(clips, all_others)
    found = {f"{name}: settings heard so": with_errors(own, seed) for name, own in errors.items()}
    for size in (0.25, 0.5, 1.0):
        found[f"every error {size:g} of the spread"] = with_errors(np.full(len(SETTINGS), size), seed)
    named = {name: dict(zip(SETTINGS, own.tolist())) for name, own in errors.items()}
    return {"listeners": listeners, "errors": named, "settings": found}


def table(result: dict[str, dict]) -> str:
    """The figures as Markdown."""
    names = list(result["listeners"])
    lines = ["| listener | " + " | ".join(f"{name}: class / emotion" for name in names) + " |"]
    lines.append("| --- |" + " ---: |" * len(names))
    for row in result["listeners"][names[0]]:
        cells = [result["listeners"][name][row] for name in names]
        lines.append(f"| {row} | " + " | ".join(f"{c['class']:.1%} / {c['emotion']:.1%}" for c in cells) + " |")
    lines += [
        "",
        "| error of a setting, of its spread | " + " | ".join(SETTINGS) + " |",
        "| --- |" + " ---: |" * len(SETTINGS),
    ]
    for name, errors in result["errors"].items():
        lines.append(f"| {name} | " + " | ".join(f"{errors[setting]:.2f}" for setting in SETTINGS) + " |")
    lines += ["", "| who hears the settings with | class | emotion |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {row['class']:.1%} | {row['emotion']:.1%} |" for name, row in result["settings"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/affect_listeners"))
    options = parser.parse_args()
    corpus = Corpus.open(options.corpus)
    if not corpus.manifest.get("performer", {}).get("version", "").startswith("standard-"):
        parser.error(f"{options.corpus} was not performed by the standard performer, whose P(emotion | affect) is used")
    result = measure(read_clips(corpus), options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "measures.json", result)
    write_text(options.out / "measures.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
