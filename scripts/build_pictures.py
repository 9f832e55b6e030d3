"""Draw pictures of docs/images: the 52 channels, poses at their extremes, an error map, takes of one sentence.

python scripts/build_pictures.py                    # all that the built-in head and performer give
python scripts/build_pictures.py --demo out/demo    # the README's: takes that a finished demo made
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deeptalk.face import CHANNELS, load_rig
from deeptalk.render import contact_sheet, render_frames, with_colour_bar, write_png
from deeptalk.take import Take

IMAGES = Path(__file__).parents[1] / "docs" / "images"
EXTREMES: dict[str, dict[str, float]] = {
    "blink": {"eyeBlink": 1},
    "blink and squint": {"eyeBlink": 1, "eyeSquint": 1},
    "blink and smile": {"eyeBlink": 1, "mouthSmile": 1, "cheekSquint": 1},
    "wide, look up": {"eyeWide": 1, "eyeLookUp": 1},
    "anger": {"browDown": 0.9, "eyeSquint": 0.4, "noseSneer": 0.4, "mouthPress": 0.5},
    "grief": {"browInnerUp": 0.9, "mouthFrown": 0.6},
    "surprise": {"browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.8, "jawOpen": 0.5},
    "disgust": {"noseSneer": 1, "mouthFrown": 0.7, "mouthUpperUp": 0.5, "eyeSquint": 0.8, "browDown": 0.6},
    "smile": {"mouthSmile": 1},
    "grin": {"mouthSmile": 1, "mouthUpperUp": 0.8, "mouthLowerDown": 0.6, "jawOpen": 0.1},
    "jaw and close": {"jawOpen": 1, "mouthClose": 1},
    "jaw": {"jawOpen": 1},
    "funnel": {"mouthFunnel": 1, "jawOpen": 0.3},
    "pucker": {"mouthPucker": 1},
    "rolled lips": {"mouthRollLower": 1, "mouthRollUpper": 1},
    "tongue": {"jawOpen": 0.4, "tongueOut": 1},
}
"""Channel values by name; a name without Left or Right means both."""


def pose(values: dict[str, float]) -> np.ndarray:
    """One frame (channel,) of the ARKit rig."""
    return np.array(
        [next((v for n, v in values.items() if c in (n, n + "Left", n + "Right")), 0.0) for c in CHANNELS], np.float32
    )


def channels_sheet(size: int = 192) -> np.ndarray:
    """Each channel alone at 1; mouthClose with the open jaw that it closes."""
    motion = np.eye(len(CHANNELS), dtype=np.float32)
    motion[CHANNELS.index("mouthClose"), CHANNELS.index("jawOpen")] = 1
    labels = ["mouthClose, jawOpen" if name == "mouthClose" else name for name in CHANNELS]
    return contact_sheet(list(render_frames(load_rig(), motion, size)), labels, 8)


def takes_sheet(takes: Sequence[Take], labels: Sequence[str], moments: int = 6, size: int = 192) -> np.ndarray:
    """A row for each take of one speech: the same moments of it, those where the takes differ most."""
    rig = load_rig(takes[0].rig)
    spread = np.stack([take.motion for take in takes]).std(axis=0).sum(axis=1)
    if takes[0].rig == "arkit":  # a closed eye tells little
        blinks = [CHANNELS.index("eyeBlinkLeft"), CHANNELS.index("eyeBlinkRight")]
        spread *= (np.stack([take.motion for take in takes])[:, :, blinks] < 0.3).all(axis=(0, 2))
    edges = np.linspace(0, len(spread), 2 * moments + 1).astype(int)
    frames = [  # in every other piece, so that no two are neighbours
        low + int(spread[low:high].argmax()) for low, high in list(itertools.pairwise(edges))[1::2]
    ]
    images, captions = [], []
    for take, label in zip(takes, labels, strict=True):
        turn = take.head_rotation_radians
        images += list(
            render_frames(rig, take.motion[frames], size, head_rotation_radians=None if turn is None else turn[frames])
        )
        captions += [f"{label}, {frame / take.frame_rate:.1f} s" for frame in frames]
    return contact_sheet(images, captions, moments)


def performed_takes(emotions: Sequence[str] = ("neutral", "happy", "angry", "fearful")) -> list[Take]:
    """The performer's reading of one neutral sentence in several emotions, as if their labels were known."""
    from deeptalk.corpus.performer import Performer
    from deeptalk.corpus.sentences import demo_events
    from deeptalk.emotions import EMOTIONS

    performer = Performer.variant("standard")
    event = replace(demo_events()[0], affect=None)
    labelled = [(EMOTIONS.index(name), 0.9) for name in emotions]
    motions = [performer.performances(event, 1, seed=7, label=label)[0].motion for label in labelled]
    return [Take(motion=motion, samples=event.samples) for motion in motions]


def error_map() -> np.ndarray:
    """How far half a smile and a slightly open jaw are from rest, in millimetres."""
    rig = load_rig()
    motion = np.stack([pose({"mouthSmile": 0.5}), pose({"jawOpen": 0.2}), pose({"browInnerUp": 1})])
    moved = rig.vertices(torch.from_numpy(motion)).numpy()
    errors = 1000 * np.linalg.norm(moved - rig.neutral, axis=2)
    images = render_frames(rig, motion, 256, errors_millimetres=errors, heat_maximum_millimetres=6.0)
    sheet = contact_sheet(list(images), ["mouthSmile 0.5", "jawOpen 0.2", "browInnerUp 1"], 3)
    return with_colour_bar(sheet, 6.0, "from rest, mm")


def demo_sheets(folder: Path) -> dict[str, np.ndarray]:
    """Takes of a finished demo, with blinks, gaze and head motion: drawn from the sound, and asked for by name."""
    sheets = {}
    for name, labels in (
        ("four_takes", {f"take {number}": f"bundled_take{number}" for number in (1, 2, 3, 4)}),
        ("asked_for", {label: f"{label}_take1" for label in ("happy", "sad", "angry", "surprised")}),
    ):
        takes = [Take.load(folder / "takes" / f"{stem}.npz") for stem in labels.values()]
        sheets[name] = takes_sheet([take.with_idle(3 + row) for row, take in enumerate(takes)], list(labels))
    return sheets


def performer_sheets() -> dict[str, np.ndarray]:
    """What needs no trained model."""
    extremes = render_frames(load_rig(), np.stack([pose(values) for values in EXTREMES.values()]), 256)
    emotions = ["neutral", "happy", "angry", "fearful"]
    return {
        "arkit_channels": channels_sheet(),
        "extremes": contact_sheet(list(extremes), list(EXTREMES), 8),
        "error_map": error_map(),
        "one_sentence": takes_sheet(performed_takes(emotions), emotions),
    }


def main() -> None:
    """Draw one of the two sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, help="folder of a finished `deeptalk demo`")
    folder = parser.parse_args().demo
    for name, sheet in (demo_sheets(folder) if folder else performer_sheets()).items():
        print(write_png(IMAGES / f"{name}.png", sheet))


if __name__ == "__main__":
    main()
