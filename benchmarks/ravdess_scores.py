"""Scores of answers for RAVDESS's clips: accuracy with an interval over actors, confusions, doubt by intensity."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest

from deeptalk.benchmark.statistics import bootstrap_interval
from deeptalk.corpus import Corpus
from deeptalk.emotions import EMOTIONS, NEUTRAL


def by_actor(values: np.ndarray, speakers: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Mean over actors' means with its bootstrap interval over actors (95 %)."""
    means = np.array([values[speakers == name].mean() for name in sorted(set(speakers))])
    interval = bootstrap_interval(means, 10_000, 0.95, seed)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "actors": len(means)}


def score(predicted: np.ndarray, emotion: np.ndarray, speakers: np.ndarray) -> dict[str, Any]:
    """Accuracy over clips with an interval over actors, mean recall and the confusion matrix in per cent."""
    right = (predicted == emotion).astype(float)
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    np.add.at(counts, (emotion, predicted), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return {
        "clips": len(right),
        "accuracy": float(right.mean()),
        "interval": by_actor(right, speakers),
        "mean_recall": float(np.diag(shares).mean()),
        "confusion_percent": (100 * shares).round(1).tolist(),
    }


def by_intensity(corpus: Corpus, indices: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Strong against normal clips of the same actor, emotion, sentence and repetition: log ratio of the values."""
    place: dict[tuple, dict[float, int]] = {}
    for position, index in enumerate(indices.tolist()):
        row = corpus.speech[index]
        if row.emotion != NEUTRAL:
            key = (row.speaker, row.emotion, row.sentence, (row.origin or {})["repetition"])
            place.setdefault(key, {})[float(row.intensity or 0.0)] = position
    pairs = {key: list(dict(sorted(both.items())).values()) for key, both in place.items() if len(both) == 2}
    weak, strong = np.array(list(pairs.values())).T
    ratio = np.log(values[strong] / values[weak])
    actor, emotion = np.array([key[0] for key in pairs]), np.array([key[1] for key in pairs])
    smaller = int((ratio < 0).sum())
    return {
        "pairs": len(pairs),
        "relative_spread": float(values.std() / values.mean()),
        "share_strong_smaller": smaller / len(pairs),
        "sign_test_p": float(binomtest(smaller, len(pairs)).pvalue),
        "log_ratio": by_actor(ratio, actor),
        "log_ratio_by_emotion": {EMOTIONS[e]: float(ratio[emotion == e].mean()) for e in sorted(set(emotion.tolist()))},
    }


def rows_of(name: str, score: Mapping[str, Any]) -> str:
    """A line of the table of accuracies."""
    low, high = (f"{100 * score['interval'][side]:.1f}" for side in ("low", "high"))
    accuracy, recall = (f"{100 * score[quantity]:.1f} %" for quantity in ("accuracy", "mean_recall"))
    return f"| {name} | {score['clips']} | {accuracy} | {low} .. {high} | {recall} |"


def markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "| who names the emotion | clips | accuracy | 95 % over actors | mean recall |",
        "| --- | ---: | ---: | --- | ---: |",
    ]
    lines += [rows_of(name, entry) for name, entry in report["scores"].items()]
    for name, entry in report.get("differences", {}).items():
        points = [f"{100 * entry[side]:+.1f}" for side in ("mean", "low", "high")]
        lines += ["", f"{name}: {points[0]} points ({points[1]} .. {points[2]}, {entry['actors']} actors)"]
    for name, entry in report["uncertainty"].items():
        ratio = [f"{entry['log_ratio'][side]:+.3f}" for side in ("mean", "low", "high")]
        share = f"{100 * entry['share_strong_smaller']:.0f} % of {entry['pairs']} pairs"
        lines += ["", f"{name}: strong is smaller in {share} (sign test p {entry['sign_test_p']:.2g});"]
        spread = f"standard deviation over clips {100 * entry['relative_spread']:.1f} % of the mean"
        lines[-1] += f" log ratio {ratio[0]} ({ratio[1]} .. {ratio[2]}); {spread}"
    for name in report["shown"]:
        lines += ["", f"{name}: rows are what was acted, columns what was said, per cent.", ""]
        lines += ["| | " + " | ".join(EMOTIONS) + " |", "| --- |" + " ---: |" * len(EMOTIONS)]
        for emotion, shares in zip(EMOTIONS, report["scores"][name]["confusion_percent"]):
            lines.append(f"| {emotion} | " + " | ".join(f"{share:.0f}" for share in shares) + " |")
    return "\n".join(lines) + "\n"
