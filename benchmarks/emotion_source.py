"""Does a talker obey a label, and does one take keep one emotion from start to end? Compares bundles on one corpus.

    python benchmarks/emotion_source.py --corpus corpus/ talker_a/bundle talker_b/bundle

A linear probe on mean motion is trained on the true performances of the training split. `label obeyed`: it names the
emotion a take was asked for. `one reading`: it says the same of both halves of a take drawn from the speech. The first
row is the same for true performances of the split measured.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deeptalk.benchmark import BenchmarkClip, FaceMeasures, benchmark_clips
from deeptalk.corpus import Corpus
from deeptalk.emotions import EMOTIONS
from deeptalk.face import load_rig
from deeptalk.pipeline import Talker, load
from deeptalk.speech import SAMPLE_RATE, build_encoder

METRICS = ("energy_score", "coverage_error", "mean_estimate_error", "diversity")
RIDGE = 10.0
LABEL_CLIPS = 8
"""Clips on which labels are asked for, two takes of each label."""


def train_probe(corpus: Corpus) -> tuple[Callable[[np.ndarray], int], float]:
    """A ridge classifier of emotion from mean motion, and its accuracy on its own training data."""
    rows = [(corpus.motion(i).mean(axis=0), corpus.performances[i].emotion) for i in corpus.performances_in("train")]
    inputs, labels = np.stack([row[0] for row in rows]), np.array([row[1] for row in rows])
    mean, std = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3

    def features(motion_mean: np.ndarray) -> np.ndarray:
        return np.append((motion_mean - mean) / std, 1.0)

    design = np.stack([features(row) for row in inputs])
    weights = np.linalg.solve(
        design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ np.eye(len(EMOTIONS))[labels]
    )

    def classify(motion: np.ndarray) -> int:
        return int(np.argmax(features(motion.mean(axis=0)) @ weights))

    return classify, float((np.argmax(design @ weights, axis=1) == labels).mean())


def halves_agree(classify: Callable[[np.ndarray], int], motion: np.ndarray) -> bool:
    """Whether the probe says the same of both halves."""
    half = len(motion) // 2
    return classify(motion[:half]) == classify(motion[half:])


def measure(
    talker: Talker, clips: list[BenchmarkClip], classify: Callable[[np.ndarray], int], takes: int, intensity: float
) -> list[str]:
    """A row of the table."""
    measures = FaceMeasures(load_rig(talker.rig.name))
    values, agree, obeyed = [], [], []
    for seed, clip in enumerate(clips):
        made = [take.motion for take in talker.perform((clip.samples, SAMPLE_RATE), takes=takes, seed=seed)]
        values.append(measures.measure(np.stack(made), clip.references))
        agree += [halves_agree(classify, motion) for motion in made]
        if seed < LABEL_CLIPS:
            for label, name in enumerate(EMOTIONS):
                asked = talker.perform(
                    (clip.samples, SAMPLE_RATE), takes=2, seed=seed, emotion=name, intensity=intensity
                )
                obeyed += [classify(take.motion) == label for take in asked]
    cells = [f"{np.mean([value[metric] for value in values]):.3f}" for metric in METRICS]
    return [*cells, f"{np.mean(obeyed):.0%}", f"{np.mean(agree):.0%}"]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--takes", type=int, default=8)
    parser.add_argument("--intensity", type=float, default=0.8, help="at which labels are asked for")
    arguments = parser.parse_args()
    corpus = Corpus.open(arguments.corpus)
    speech = load(arguments.bundles[0]).bundle.talker.speech
    assert speech is not None
    clips = benchmark_clips(corpus, build_encoder(speech.name), split=arguments.split, held_out=0)
    classify, accuracy = train_probe(corpus)
    truth = np.mean([halves_agree(classify, motion) for clip in clips for motion in clip.references])
    count = len(clips[0].references)
    print(f"{len(clips)} clips of split {arguments.split}, {arguments.takes} takes, {count} references;")
    print(f"the probe is right on {accuracy:.0%} of its training data.\n")
    print("| bundle | " + " | ".join(f"{name}, mm" for name in METRICS) + " | label obeyed | one reading |")
    print("| --- |" + " ---: |" * (len(METRICS) + 2))
    print("| truth |" + " |" * (len(METRICS) + 1) + f" {truth:.0%} |")
    for folder in arguments.bundles:
        print(
            f"| {folder} | "
            + " | ".join(measure(load(folder), clips, classify, arguments.takes, arguments.intensity))
            + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
