"""Small made-up recordings in the real formats, for the tests of the importers."""

import json
from pathlib import Path

import numpy as np
import soundfile

from deeptalk.export import write_live_link_csv
from deeptalk.face import CHANNELS
from deeptalk.take import Take

JAW = CHANNELS.index("jawOpen")


def speech(seconds: float, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Noise in syllables of a quarter of a second, between rests of 0.2 s."""
    times = np.arange(round(seconds * rate)) / rate
    envelope = np.maximum(np.sin(2 * np.pi * 4 * (times - 0.2)), 0) * (times > 0.2) * (times < seconds - 0.2)
    return (0.3 * envelope * np.random.default_rng(seed).standard_normal(len(times))).clip(-0.99, 0.99)


def jaw_motion(seconds: float, frame_rate: float) -> np.ndarray:
    """Jaw that opens with every syllable of `speech`, lips closed in between."""
    centres = (np.arange(round(seconds * frame_rate)) + 0.5) / frame_rate
    motion = np.zeros((len(centres), 52), np.float32)
    spoken = (centres > 0.2) & (centres < seconds - 0.2)
    motion[:, JAW] = 0.4 * np.maximum(np.sin(2 * np.pi * 4 * (centres - 0.2)), 0) * spoken
    motion[:, CHANNELS.index("browInnerUp")] = 0.5
    return motion


def write_sound(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def write_csv(path: Path, motion: np.ndarray, frame_rate: float = 30.0) -> Path:
    """As the app writes it; `path` need not end in .csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_live_link_csv(Take(motion, frame_rate=frame_rate), path)
    return path


SAID = {"kids": "K IH D Z", "are(2)": "ER", "talking": "T AO K IH NG", "by": "B AY", "the": "DH AH", "door": "D AO R"}
PHONES = [(word, phone) for word, phones in SAID.items() for phone in phones.split()]


def segments(start: int = 30, each: int = 6) -> list:
    """An alignment of "kids are talking by the door" as pocketsphinx gives it: silence at the start is not in it."""
    found = [[word, phone, start + each * place, each] for place, (word, phone) in enumerate(PHONES)]
    return [*found, ["</s>", "SIL", start + each * len(PHONES), 20]]


def write_ravdess(folder: Path, names: list[str], aligned: list[str] | None = None, rate: int = 48000) -> Path:
    """Clips of different lengths in folders of actors, every third in stereo, and the alignment file."""
    for place, name in enumerate(names):
        samples = speech(1.8 + 0.01 * place, rate, seed=place)
        samples = np.stack([samples, 0.9 * samples], axis=1) if place % 3 == 0 else samples
        write_sound(folder / f"Actor_{name[-2:]}" / f"{name}.wav", samples, rate)
    content = {name: segments() for name in (names if aligned is None else aligned)}
    (folder / "align_pocketsphinx.json").write_text(json.dumps(content))
    return folder
