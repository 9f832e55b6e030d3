"""DEE judged where the truth is known: retrieval, labels, what else is in the means, and calibration.

    python benchmarks/dee_performer.py RUN --corpus corpus/ --crossed crossed/ --out out/dee_performer

RUN is the run folder of `deeptalk train dee` (or its part), `--corpus` the performer corpus it was trained on (of which
the test split is measured: unseen voices and sentences), `--crossed` a corpus by `crossed_speech.py` (built if absent).
Writes measures.json, measures.md and pictures. Emotions are as acted (drawn from P(e | affect)) unless a line says
`class`, the emotion that the voice was given.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from crossed_speech import crossed_corpus
from dee_performer_parts import (
    Centred,
    Embedded,
    View,
    embed,
    listener,
    means_for_head,
    pooled_columns,
    probe_sentences,
)
from dee_performer_pictures import draw_pictures
from scipy.stats import beta, spearmanr
from torch import Tensor

from dee import DEE
from dee.calibration import (
    central_coverage,
    channel_ranks,
    constant_variance,
    coverage,
    coverage_error,
    coverage_ranks,
    draws,
    energy_scores,
    scatter,
)
from dee.evaluation import confusion_matrix, nearest_label, nearest_prototypes
from dee.losses import sampled_distance
from dee.retrieval import recall, retrieval_ranks
from deeptalk.bundle import read_part
from deeptalk.corpus import Corpus, FeatureStore
from deeptalk.corpus.performer import Performer
from deeptalk.emotions import EMOTIONS
from deeptalk.files import write_json, write_text
from deeptalk.speech import build_encoder
from deeptalk.stage_configs import SPEECH
from deeptalk.stages import part_folder

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
DRAWS = 300
ROUNDS = 4
"""Performances of each piece of speech that retrieval is repeated with."""
TRUTH = Performer.variant("standard").parameters.truth


def both_ways(distance: Tensor, data: Embedded, same_sentence: bool) -> dict[str, Any]:
    """Recall from `distance` (speech, performance), one performance of each piece of speech in a gallery.

    Galleries hold the k-th performance of each piece, for the first few k; figures are means over all these queries.
    """
    sentence = torch.from_numpy(np.unique(data.sentence, return_inverse=True)[1])
    gallery = sentence[:, None] == sentence if same_sentence else torch.ones(len(sentence), len(sentence)) > 0
    found: dict[str, list[Tensor]] = {"speech_to_motion": [], "motion_to_speech": []}
    for chosen in data.rounds[:ROUNDS]:
        found["speech_to_motion"].append(retrieval_ranks(distance[:, chosen], gallery=gallery))
        found["motion_to_speech"].append(retrieval_ranks(distance[:, chosen].T, gallery=gallery))
    sizes = gallery.sum(dim=1).float()
    chance = {"gallery": sizes.mean().item(), "chance_at_1": (1 / sizes).mean().item()}
    return chance | {name: recall(torch.cat(ranks)) for name, ranks in found.items()}


def acting_distance(data: Embedded) -> Tensor:
    """Minus the log of P(acted emotion, intensity | affect of each speech) over its mean: all that acting tells."""
    logs = np.empty((len(data.affect), len(data.emotion)))
    with np.errstate(divide="ignore"):
        for row, affect in enumerate(data.affect):
            means = np.array([TRUTH.mean_intensity(e, affect.strength) for e in range(len(EMOTIONS))])[data.emotion]
            shape = TRUTH.intensity_concentration
            felt = np.where(data.emotion > 0, means, 0.5)
            density = beta.logpdf(np.clip(data.intensity, 1e-4, 1 - 1e-4), shape * felt, shape * (1 - felt))
            logs[row] = np.log(TRUTH.confusion[affect.sound_class][data.emotion]) + (data.emotion > 0) * density
    logs = np.maximum(logs, -50.0)
    return torch.from_numpy(-(logs - np.log(np.exp(logs).mean(axis=0))))


def retrieval(views: dict[str, Embedded]) -> dict[str, Any]:
    """Each view's recall in the whole gallery and among the same sentence, and what length and acting alone allow."""
    result: dict[str, Any] = {}
    for name, data in views.items():
        distance = sampled_distance(data.speech, data.motion)
        result[name] = {"all": both_ways(distance, data, False), "same_sentence": both_ways(distance, data, True)}
    data = views["whole"]
    frames = torch.from_numpy(data.frames).float()
    by_length = (frames[:, None] - frames[data.of]).abs()
    for name, distance in (("length_alone", by_length), ("acting_alone", acting_distance(data))):
        result[name] = {"all": both_ways(distance, data, False), "same_sentence": both_ways(distance, data, True)}
    return result


def labels(dee: DEE, data: Embedded, train: Embedded, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """How often each way of naming the emotion names the one acted, from speech and from motion."""
    acted = torch.from_numpy(data.emotion)
    sound = torch.tensor([affect.sound_class for affect in data.affect])
    speech_head, motion_head = means_for_head(train)
    distance = sampled_distance(data.speech, data.motion)
    first = data.rounds[0]
    said = {
        "nearest motion": nearest_label(distance[:, first], acted[first]),
        "nearest prototype": nearest_prototypes(data.speech, dee.prototypes["speech"]),
        "linear head": torch.from_numpy(speech_head.predict(data.speech.mean.numpy())),
    }
    for name, own in columns.items():
        said[f"linear listener on {name}, no DEE"] = torch.from_numpy(
            (listener(train, data, own) @ TRUTH.confusion).argmax(axis=1)
        )
    seen = {
        "nearest speech": nearest_label(distance.T, sound),
        "nearest prototype": nearest_prototypes(data.motion, dee.prototypes["motion"]),
        "linear head": torch.from_numpy(motion_head.predict(data.motion.mean.numpy())),
    }
    table = np.array([TRUTH.confusion[c] for c in sound.tolist()])

    def expected(named: Tensor) -> float:
        """Probability that what is named of each piece of speech is acted: no noise of the draws."""
        return float(table[np.arange(len(table)), named.numpy()].mean())

    matrix = confusion_matrix(acted, said["linear head"][torch.from_numpy(data.of)], len(EMOTIONS))
    return {
        "bayes": float(table.max(axis=1).mean()),
        "speech": {name: expected(named) for name, named in said.items()},
        "speech_class": {name: (named == sound).float().mean().item() for name, named in said.items()},
        "motion": {name: (named == acted).float().mean().item() for name, named in seen.items()},
        "confusion_of_speech": matrix.tolist(),
        "truth_of_speech": table.T.tolist(),
    }


def _entropies(probabilities: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row."""
    return -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1)


def calibration(data: Embedded, train: Embedded, heard: np.ndarray, seed: int) -> dict[str, Any]:
    """Does the width of the speech Gaussian follow what speech leaves open, and does it hold the performances?"""
    keep = np.flatnonzero([len(own) == data.draws for own in data.performances])
    speech = data.part(keep)
    truths = torch.stack([data.motion.mean[data.performances[i]] for i in keep])
    spread = scatter(truths)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def rho(a: Any, b: Any) -> float:
        return float(spearmanr(np.asarray(a), np.asarray(b)).statistic)

    joint = np.array([list(TRUTH.joint_probabilities(affect).values()) for affect in train.affect])
    sound = np.array([affect.sound_class for affect in train.affect])
    of_class = np.array([joint[sound == place].mean(axis=0) for place in range(len(EMOTIONS))])
    by_class = np.array([_entropies(joint[sound == place]).mean() for place in range(len(EMOTIONS))])
    own = np.array([list(TRUTH.joint_probabilities(data.affect[i]).values()) for i in keep])
    entropy = _entropies(own)  # H(emotion, reading | affect), exact
    motion = data.motion.sample(generator())
    drawn = torch.stack([motion[data.performances[i]] for i in keep])
    curves = {
        "ball": coverage(coverage_ranks(speech, truths, generator(), DRAWS, "ball"), LEVELS),
        "ball, draws of motion": coverage(coverage_ranks(speech, drawn, generator(), DRAWS, "ball"), LEVELS),
        "ellipsoid": coverage(coverage_ranks(speech, truths, generator(), DRAWS, "ellipsoid"), LEVELS),
        "channels": central_coverage(channel_ranks(speech, truths, generator(), DRAWS), LEVELS),
        "channels, draws of motion": central_coverage(channel_ranks(speech, drawn, generator(), DRAWS), LEVELS),
    }

    def score(samples: Tensor) -> float:
        return energy_scores(samples, truths).mean().item()

    return {
        "clips": len(keep),
        "truths_each": truths.shape[1],
        "variance_with_entropy": rho(speech.total_variance, entropy),
        "log_variance_with_entropy": rho(speech.log_variance.sum(1), entropy),
        "scatter_with_entropy": rho(spread, entropy),
        "variance_with_scatter": rho(speech.total_variance, spread),
        "scatter_of_readings_equally_apart_with_entropy": rho(1 - (own**2).sum(axis=1), entropy),
        "entropy_expected_by_linear_listener_with_entropy": rho(heard[keep] @ by_class, entropy),
        "own_uncertainty_of_linear_listener_with_entropy": rho(_entropies(heard[keep] @ of_class), entropy),
        "total_variance": speech.total_variance.mean().item(),
        "scatter": spread.mean().item(),
        "total_variance_of_motion": data.motion.total_variance.mean().item(),
        "curves": curves,
        "curve_errors": {name: coverage_error(curve, LEVELS) for name, curve in curves.items()},
        "energy_score": {
            "Gaussian": score(draws(speech, 100, generator())),
            "Gaussian of constant variance": score(draws(constant_variance(speech), 100, generator())),
            "point (the mean)": score(speech.mean[:, None]),
            "other true performances": energy_scores(truths[:, ::2], truths[:, 1::2]).mean().item(),
        },
        "points": {
            "entropy": entropy.tolist(),
            "variance": speech.total_variance.tolist(),
            "scatter": spread.tolist(),
            "class": [data.affect[i].sound_class for i in keep],
        },
    }


def table(result: dict[str, Any]) -> str:
    """All figures as Markdown."""
    lines = ["| gallery | view | size | chance | speech to motion, recall@1 / 5 / 10, median rank | motion to speech |"]
    lines.append("| --- | --- | ---: | ---: | --- | --- |")
    for corpus in ("test", "crossed"):
        for view, kinds in result["retrieval"][corpus].items():
            for kind, row in kinds.items():
                ways = [
                    " / ".join(f"{100 * row[way][f'recall_at_{k}']:.1f}" for k in (1, 5, 10))
                    + f" %, {row[way]['median_rank']:.0f}"
                    for way in ("speech_to_motion", "motion_to_speech")
                ]
                lines.append(
                    f"| {corpus}, {kind.replace('_', ' ')} | {view.replace('_', ' ')} | {row['gallery']:.0f} | "
                    f"{100 * row['chance_at_1']:.1f} % | {ways[0]} | {ways[1]} |"
                )
    lines += ["", "| emotion named from | by | test | crossed |", "| --- | --- | ---: | ---: |"]
    named = [result["labels"][corpus] for corpus in ("test", "crossed")]
    lines.append("| affect code | the confusion table (Bayes) | " + cells(part["bayes"] for part in named))
    for side, title in (("speech", "speech"), ("speech_class", "speech, class"), ("motion", "motion")):
        for name in named[0][side]:
            lines.append(f"| {title} | {name} | " + cells(part[side][name] for part in named))
    lines += ["", "| a linear probe names | from | accuracy | chance |", "| --- | --- | ---: | ---: |"]
    for row in result["probe"]:
        lines.append(f"| {row['what']} | {row['from']} | {100 * row['accuracy']:.1f} % | {100 * row['chance']:.1f} % |")
    lines += ["", "| calibration | test | crossed |", "| --- | ---: | ---: |"]
    parts = [result["calibration"][corpus] for corpus in ("test", "crossed")]
    for name, value in parts[0].items():
        if isinstance(value, (int, float)):
            lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(f"{part[name]:.3g}" for part in parts) + " |")
    for group in ("curve_errors", "energy_score"):
        for name in parts[0][group]:
            values = " | ".join(f"{part[group][name]:.3f}" for part in parts)
            lines.append(f"| {group.replace('_', ' ')}: {name} | {values} |")
    return "\n".join(lines) + "\n"


def cells(values: Any) -> str:
    """Shares as the end of a table's row, per cent."""
    return " | ".join(f"{100 * value:.1f} %" for value in values) + " |"


def measure(
    dee: DEE, corpora: dict[str, tuple[Corpus, FeatureStore]], columns: dict[str, np.ndarray], seed: int
) -> dict[str, Any]:
    """Everything, of the test split of each corpus."""
    everything = np.arange(max(len(own) for own in columns.values()))
    train = embed(dee, *corpora["test"], split="train", most=1)
    embedded = {
        name: {
            view: embed(dee, *pair, split="test", cut=cut, most=None if view == "whole" else ROUNDS)
            for view, cut in View.items()
        }
        for name, pair in corpora.items()
    }
    return {
        "retrieval": {name: retrieval(own) for name, own in embedded.items()},
        "labels": {name: labels(dee, own["whole"], train, columns) for name, own in embedded.items()},
        "probe": probe_sentences(embedded["crossed"]["whole"], *corpora["crossed"]),
        "calibration": {
            name: calibration(own["whole"], train, listener(train, own["whole"], everything), seed)
            for name, own in embedded.items()
        },
        "map": {
            "speech": embedded["test"]["whole"].speech.mean.tolist(),
            "speech_class": [affect.sound_class for affect in embedded["test"]["whole"].affect],
            "motion": embedded["test"]["whole"].motion.mean[embedded["test"]["whole"].rounds[0]].tolist(),
            "motion_emotion": embedded["test"]["whole"].emotion[embedded["test"]["whole"].rounds[0]].tolist(),
        },
    }


def main() -> None:
    """Measure, print the tables, write numbers and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--crossed", type=Path, required=True)
    parser.add_argument("--speech", default=SPEECH)
    parser.add_argument("--speaker-reference", action="store_true", help="hear speech relative to its speaker")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/dee_performer"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = build_encoder(options.speech)
    folder = part_folder(options.run)
    share = read_part(folder, "dee").config.get("data", {}).get("centred_share", 0)
    if options.speaker_reference and not share:
        parser.error(f"{options.run} was not trained to hear speech relative to its speaker (data.centred_share is 0)")
    dee = DEE.from_pretrained(folder)
    corpora = {"test": Corpus.open(options.corpus), "crossed": crossed_corpus(options.crossed)}
    stored = {name: (corpus, FeatureStore.build(corpus, encoder)) for name, corpus in corpora.items()}
    if options.speaker_reference:
        stored = {name: (corpus, Centred(corpus, own, encoder)) for name, (corpus, own) in stored.items()}
    with torch.inference_mode():
        result = measure(dee, stored, pooled_columns(encoder), options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "measures.json", result)
    write_text(options.out / "measures.md", table(result))
    draw_pictures(result, LEVELS, options.out)
    print(table(result))


if __name__ == "__main__":
    main()
