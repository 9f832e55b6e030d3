"""Pictures of what `dee_performer.py` measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plots import COLOURS, INK, Diagram, save_row, share_table

from deeptalk.emotions import EMOTIONS


def draw_pictures(result: dict[str, Any], levels: Sequence[float], folder: Path) -> None:
    """Write dee_calibration.png, dee_confusion.png and dee_map.png."""
    found = result["calibration"]["test"]
    save_row([_variance(found).image, _reliability(found, levels).image], folder / "dee_calibration.png")
    counts = np.array(result["labels"]["test"]["confusion_of_speech"], float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    truth = np.array(result["labels"]["test"]["truth_of_speech"])
    sound = [np.argmax(column) for column in truth.T]
    allowed = np.zeros_like(shares)
    for column, named in zip(truth.T, sound):
        allowed[:, named] += column
    allowed /= np.maximum(allowed.sum(axis=1, keepdims=True), 1e-9)
    tables = [
        share_table("Named from speech by DEE", EMOTIONS, shares, "acted", "named"),
        share_table("What the affect code allows", EMOTIONS, allowed, "acted", "likeliest given the code"),
    ]
    save_row(tables, folder / "dee_confusion.png")
    save_row(_maps(result["map"]), folder / "dee_map.png")


def _variance(found: dict[str, Any]) -> Diagram:
    points = {name: np.array(values) for name, values in found["points"].items()}
    high = float(points["variance"].max()) * 1.05
    low = float(points["variance"].min()) * 0.95
    title = f"Width of the speech Gaussian (Spearman {found['variance_with_entropy']:.2f})"
    picture = Diagram(title, "H(emotion, reading | affect), nats", "total variance", (1.3, 2.4), (low, high))
    for emotion, name in enumerate(EMOTIONS):
        own = points["class"] == emotion
        picture.points(points["entropy"][own], points["variance"][own], COLOURS[emotion])
        picture.legend(name, COLOURS[emotion])
    return picture


def _reliability(found: dict[str, Any], levels: Sequence[float]) -> Diagram:
    picture = Diagram(
        "Share of true performances inside", "share of the Gaussian's draws inside", "share found", (0, 1), (0, 1)
    )
    picture.line([0, 1], [0, 1], INK, 1)
    for (name, curve), colour in zip(
        found["curves"].items(), (COLOURS[4], COLOURS[7], COLOURS[3], COLOURS[6], COLOURS[1])
    ):
        picture.line(levels, curve, colour)
        picture.points(levels, curve, colour)
        picture.legend(f"{name}: {found['curve_errors'][name]:.2f} off", colour)
    return picture


def _maps(means: dict[str, Any]) -> list[Any]:
    """Both sides on the two main axes of the motion means."""
    motion, speech = np.array(means["motion"]), np.array(means["speech"])
    centre = motion.mean(axis=0)
    axes = np.linalg.svd(motion - centre, full_matrices=False)[2][:2]
    pictures = []
    for title, values, labels in (
        ("Motion means, by emotion acted", motion, means["motion_emotion"]),
        ("Speech means, by audible class", speech, means["speech_class"]),
    ):
        flat = (values - centre) @ axes.T
        picture = Diagram(title, "first axis", "second axis", (-1.1, 1.1), (-1.1, 1.1))
        for emotion, name in enumerate(EMOTIONS):
            own = np.array(labels) == emotion
            picture.points(flat[own, 0], flat[own, 1], COLOURS[emotion])
            picture.legend(name, COLOURS[emotion])
        pictures.append(picture.image)
    return pictures
