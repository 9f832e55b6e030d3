"""The vendored demo speech: 168 short clips that need no synthesiser, one Ogg Opus file per split and one JSON.

Each clip has its place in its split's file (offset and length in samples at 16 kHz). Made by
`scripts/build_demo_speech.py`; the JSON holds the licence and how it was made.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE, VOWELS, Phone, SpeechEvent
from deeptalk.errors import UserError
from deeptalk.files import atomic_path, file_sha256, read_json, write_text

INDEX_NAME = "demo_speech.json"
GUARD_SAMPLES = 640
"""Silence between clips in a file, so that the codec does not smear one into the next."""
BITS_PER_SECOND = 21_000


def default_folder() -> Path:
    """Folder of the vendored assets."""
    return Path(str(resources.files("deeptalk"))) / "corpus" / "assets"


@functools.lru_cache(maxsize=2)
def _read(folder: Path) -> tuple[SpeechEvent, ...]:
    index = read_json(folder / INDEX_NAME)
    sounds: dict[str, np.ndarray] = {}
    for split, entry in index["files"].items():
        path = folder / entry["name"]
        if not path.exists() or file_sha256(path) != entry["sha256"]:
            raise UserError(
                f"{path} is missing or damaged; install deeptalk again or run scripts/build_demo_speech.py."
            )
        sounds[split], rate = soundfile.read(path, dtype="float32")
        if rate != SAMPLE_RATE:
            raise UserError(f"{path} has {rate} Hz, expected {SAMPLE_RATE}; run scripts/build_demo_speech.py.")
    return tuple(_event(clip, index["sentences"][clip["sentence"]], sounds[clip["split"]]) for clip in index["clips"])


def demo_speech(folder: str | Path | None = None) -> list[SpeechEvent]:
    """The vendored clips: 128 train (4 voices, 4 own sentences each), 16 val, 24 test; 8 affect classes each.

    Voices and sentences are disjoint between splits. Raises UserError where the files are damaged.
    """
    return list(_read(Path(folder) if folder else default_folder()))


def _event(clip: dict[str, Any], sentence: dict[str, Any], sound: np.ndarray) -> SpeechEvent:
    samples = sound[clip["offset"] : clip["offset"] + clip["samples"]].copy()
    samples.setflags(write=False)
    edges = [0.0, *(end / 1000.0 for end in clip["ends_milliseconds"][:-1]), len(samples) / SAMPLE_RATE]
    return SpeechEvent(
        samples=samples,
        phones=tuple(
            Phone(symbol.rstrip("012"), start, end, int(symbol[-1]) if symbol[-1].isdigit() else 0)
            for symbol, start, end in zip(sentence["phones"], edges, edges[1:])
        ),
        text=sentence["text"],
        speaker=clip["speaker"],
        sentence=clip["sentence"],
        affect=AffectCode(**clip["affect"]),
        split=clip["split"],
    )


def write_speech(folder: str | Path, events: Sequence[SpeechEvent], provenance: dict[str, Any]) -> None:
    """Write events with known affect and split as vendored speech: what `demo_speech(folder)` reads."""
    folder = Path(folder)
    index: dict[str, Any] = {"provenance": provenance, "files": {}, "sentences": {}, "clips": []}
    for split in dict.fromkeys(event.split for event in events):
        chosen = [event for event in events if event.split == split]
        name = f"demo_speech_{split}.ogg"
        _write_opus(folder / name, chosen)
        index["files"][split] = {"name": name, "sha256": file_sha256(folder / name)}
        offset = GUARD_SAMPLES
        for event in chosen:
            index["sentences"][event.sentence] = {"text": event.text, "phones": [_label(p) for p in event.phones]}
            index["clips"].append(_clip_entry(event, offset))
            offset += len(event.samples) + GUARD_SAMPLES
    write_text(folder / INDEX_NAME, _compact_json(index))


def _label(phone: Phone) -> str:
    return f"{phone.symbol}{phone.stress}" if phone.symbol in VOWELS else phone.symbol


def _clip_entry(event: SpeechEvent, offset: int) -> dict[str, Any]:
    if event.affect is None:
        raise UserError(f"Speech {event.text!r} has no affect code; vendored speech needs one.")
    affect = {
        name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(event.affect).items()
    }
    return {
        "split": event.split,
        "speaker": event.speaker,
        "sentence": event.sentence,
        "offset": offset,
        "samples": len(event.samples),
        "ends_milliseconds": [round(phone.end_seconds * 1000) for phone in event.phones],
        "affect": affect,
    }


def _write_opus(path: Path, events: Sequence[SpeechEvent]) -> None:
    gap = np.zeros(GUARD_SAMPLES, np.float32)
    parts = [gap, *(part for event in events for part in (event.samples, gap))]
    level = 1.0 - (BITS_PER_SECOND - 6_000) / 250_000  # libsndfile maps this level to bits per second, linearly
    with (
        atomic_path(path) as temporary,
        soundfile.SoundFile(
            temporary, "w", SAMPLE_RATE, 1, format="OGG", subtype="OPUS", compression_level=level
        ) as file,
    ):
        file.write(np.concatenate(parts))


def _compact_json(index: dict[str, Any]) -> str:
    """One clip a line: compact, and readable in a diff."""

    def dumps(content: Any) -> str:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    head = ",\n".join(f"{dumps(key)}:{dumps(index[key])}" for key in ("provenance", "files", "sentences"))
    clips = ",\n".join(dumps(clip) for clip in index["clips"])
    return "{\n" + head + ',\n"clips":[\n' + clips + "\n]\n}\n"
