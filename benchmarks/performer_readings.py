"""Are readings modes of the motion, and does speech say no more about them than the distribution does?

python benchmarks/performer_readings.py
python benchmarks/performer_readings.py --variant judge

Motion: a linear discriminant on the mean of each of the 42 channels that are no blinks or gaze, over the spoken frames
of a performance, and on their mean squares. It is trained on performances of the training speech and tested on the test
speech: other voices, other sentences.
Modes: for two readings of an emotion acted to the same speech, the distance of their mean faces over twice the spread
within (root mean square distance of a performance from the mean of its reading), both in vertices of the face, with
intensity, style and timing drawn anew each time.
Speech: the same discriminant on the affect code, and on the mean and spread of the `prosody` and `logmel` features,
against the best accuracy that the distribution allows, the mean of max P(emotion, reading | affect).
"""

import argparse
from itertools import combinations

import numpy as np
import torch
from timing import print_table

from deeptalk.corpus.performer import Performance, Performer, SpeechEvent
from deeptalk.corpus.performer.event import SILENCE
from deeptalk.corpus.performer.life import OTHERS
from deeptalk.corpus.performer.readings import readings_of
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.emotions import EMOTIONS
from deeptalk.face import compact_vertices
from deeptalk.speech import build_encoder

SHRINKAGE = 1e-3
FRAME_RATE = 25


class Discriminant:
    """Linear discriminant analysis: one Gaussian a class with a shared covariance; (row, feature) to classes."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray) -> None:
        self.classes, index = np.unique(labels, return_inverse=True)
        self.means = np.stack([rows[index == place].mean(0) for place in range(len(self.classes))])
        spread = np.cov((rows - self.means[index]).T)
        spread += SHRINKAGE * np.trace(spread) / len(spread) * np.eye(len(spread))
        self.weights = np.linalg.solve(spread, self.means.T)
        counts = np.bincount(index) / len(index)
        self.bias = np.log(counts) - 0.5 * (self.means * self.weights.T).sum(1)

    def names(self, rows: np.ndarray, allowed: list[list[str]] | None = None) -> np.ndarray:
        """The likeliest class of every row, among all or among those allowed for it."""
        scores = rows @ self.weights + self.bias
        if allowed is not None:
            for row, names in zip(scores, allowed):
                row[~np.isin(self.classes, names)] = -np.inf
        return self.classes[scores.argmax(1)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="standard")
    parser.add_argument("--draws", type=int, default=16, help="of each piece of speech")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    performer = Performer.variant(arguments.variant)
    splits = {name: [event for event in demo_speech() if event.split == name] for name in ("train", "test")}
    drawn = {
        name: [(event, one) for event in events for one in draws(performer, event, arguments)]
        for name, events in splits.items()
    }
    rows = [
        ["performances to train on, to test on", f"{len(drawn['train'])}, {len(drawn['test'])}; {performer.version}"]
    ]
    rows += motion_rows(performer, drawn) + mode_rows(performer, splits["test"], arguments.seed)
    print_table("Readings in the motion", ["what", "found"], rows)
    print_table(
        "Readings in the speech", ["from", "asked for", "found", "best possible"], speech_rows(performer, drawn)
    )


def draws(performer: Performer, event: SpeechEvent, arguments: argparse.Namespace) -> list[Performance]:
    """Performances of a piece of speech."""
    return performer.performances(event, arguments.draws, seed=arguments.seed)


def motion_rows(performer: Performer, drawn: dict[str, list[tuple[SpeechEvent, Performance]]]) -> list[list[str]]:
    """Accuracy of naming the reading from the motion, alone and with the emotion told."""
    features = {name: np.stack([motion_features(*one) for one in pairs]) for name, pairs in drawn.items()}
    labels = {name: np.array([full_name(one) for _, one in pairs]) for name, pairs in drawn.items()}
    judge = Discriminant(features["train"], labels["train"])
    allowed = [names_of(performer, one.emotion) for _, one in drawn["test"]]
    alone, told = judge.names(features["test"]), judge.names(features["test"], allowed)
    worst = min((np.mean(told[labels["test"] == name] == name), name) for name in np.unique(labels["test"]))
    emotion = np.array([name.split(":")[0] for name in alone]) == [name.split(":")[0] for name in labels["test"]]
    return [
        [f"reading named from motion alone (of {len(judge.classes)})", percent(alone == labels["test"])],
        ["reading named from motion, emotion told", percent(told == labels["test"])],
        ["worst reading, emotion told", f"{worst[1]}: {100 * worst[0]:.1f} %"],
        ["emotion named from motion alone (of 8)", percent(emotion)],
    ]


def mode_rows(performer: Performer, events: list[SpeechEvent], seed: int, each: int = 12) -> list[list[str]]:
    """Distance between readings over twice the spread within, for every pair of readings of an emotion."""
    # The compact vertices have the distances of the face's vertices, and 52 numbers instead of 5,604.
    factor = 1e3 * compact_vertices(performer.rig, {"face": 1.0}).factor.numpy()[OTHERS].astype(np.float64)
    ratios: dict[str, list[float]] = {}
    for event in events[::3]:
        for emotion in range(len(EMOTIONS)):
            told = performer.draw(unlabelled(event), 200, label=(emotion, 0.5 if emotion else 0.0), seed=seed)
            groups = {}
            for name in {acting.choice.reading.name for acting in told}:
                own = [acting for acting in told if acting.choice.reading.name == name][:each]
                faces = [motion_features(event, performer.perform(event, acting))[: len(OTHERS)] for acting in own]
                groups[name] = np.stack(faces) @ factor
            spread = {name: np.sqrt(((own - own.mean(0)) ** 2).sum(1).mean()) for name, own in groups.items()}
            for one, other in combinations(sorted(groups), 2):
                between = np.linalg.norm(groups[one].mean(0) - groups[other].mean(0))
                ratio = between / (2.0 * max(spread[one], spread[other]))
                ratios.setdefault(f"{EMOTIONS[emotion]}: {one}, {other}", []).append(float(ratio))
    means = {pair: float(np.mean(values)) for pair, values in ratios.items()}
    nearest = min(means, key=lambda pair: means[pair])
    return [
        ["distance between readings / twice the spread within, median pair", f"{np.median(list(means.values())):.2f}"],
        ["the same, nearest pair", f"{means[nearest]:.2f} ({nearest})"],
    ]


def unlabelled(event: SpeechEvent) -> SpeechEvent:
    """The speech without its affect, so that a label can be told."""
    return SpeechEvent(event.samples, event.phones, event.text, event.speaker, event.sentence)


def speech_rows(performer: Performer, drawn: dict[str, list[tuple[SpeechEvent, Performance]]]) -> list[list[str]]:
    """Accuracy of naming the reading from speech, against the best that the distribution allows."""
    truth = performer.parameters.truth
    tests = drawn["test"]
    joint = [truth.joint_probabilities(event.affect) for event, _ in tests]
    best = np.mean([max(one.values()) for one in joint])
    told_best = []
    for (_, performance), probabilities in zip(tests, joint):
        own = [p for (emotion, _), p in probabilities.items() if emotion == performance.emotion_name]
        told_best.append(max(own) / sum(own))
    rows = []
    for name, describe in {"affect code": affect_features, "prosody + logmel": sound_features}.items():
        events = {id(event): event for pairs in drawn.values() for event, _ in pairs}
        described = {key: describe(event) for key, event in events.items()}
        features = {split: np.stack([described[id(event)] for event, _ in pairs]) for split, pairs in drawn.items()}
        labels = {split: np.array([full_name(one) for _, one in pairs]) for split, pairs in drawn.items()}
        judge = Discriminant(features["train"], labels["train"])
        alone = judge.names(features["test"]) == labels["test"]
        allowed = [names_of(performer, one.emotion) for _, one in tests]
        told = judge.names(features["test"], allowed) == labels["test"]
        rows.append([name, "emotion and reading", percent(alone), f"{100 * best:.1f} %"])
        rows.append([name, "reading, emotion told", percent(told), f"{100 * np.mean(told_best):.1f} %"])
    return rows


def motion_features(event: SpeechEvent, performance: Performance) -> np.ndarray:
    """Mean (42,) and mean square (42,) of the channels over the spoken frames."""
    spoken = [phone for phone in event.phones if phone.symbol != SILENCE]
    first, last = int(spoken[0].start_seconds * FRAME_RATE), int(spoken[-1].end_seconds * FRAME_RATE)
    values = performance.motion[first : last + 1, OTHERS].astype(np.float64)
    return np.concatenate([values.mean(0), (values**2).mean(0)])


def affect_features(event: SpeechEvent) -> np.ndarray:
    """The audible settings, and their squares."""
    assert event.affect is not None
    settings = event.affect.settings()
    return np.concatenate([settings, settings**2])


@torch.inference_mode()
def sound_features(event: SpeechEvent) -> np.ndarray:
    """Mean and standard deviation over time of what a model may hear."""
    samples = torch.tensor(event.samples)[None]
    found = []
    for name in ("prosody", "logmel"):
        features, _ = ENCODERS.setdefault(name, build_encoder(name))(samples, torch.tensor([samples.shape[1]]))
        found += [features[0].mean(0).numpy(), features[0].std(0).numpy()]
    return np.concatenate(found).astype(np.float64)


ENCODERS: dict[str, torch.nn.Module] = {}


def full_name(performance: Performance) -> str:
    """Emotion and reading."""
    return f"{performance.emotion_name}:{performance.reading}"


def names_of(performer: Performer, emotion: int) -> list[str]:
    """Full names of the readings of an emotion."""
    own = readings_of(emotion, performer.parameters.truth.readings)
    return [f"{EMOTIONS[emotion]}:{reading.name}" for reading in own]


def percent(right: np.ndarray) -> str:
    """Share and its standard error."""
    mean = float(np.mean(right))
    return f"{100 * mean:.1f} % +- {100 * np.sqrt(mean * (1 - mean) / len(right)):.1f}"


if __name__ == "__main__":
    main()
