"""Files of a source: what lies there, whether it is real, and which sound belongs to which motion."""

import zipfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from deeptalk.corpus.importers.importer import Note, Refusal
from deeptalk.errors import UserError
from deeptalk.speech import load_waveform
from deeptalk.speech.waveform import GIT_LFS_START

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, sorted; hidden ones (such as `._x.wav` of macOS) left out."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def check_content(path: Path) -> None:
    """Raise Refusal for a file that is empty or a Git LFS pointer."""
    with open(path, "rb") as file:
        start = file.read(len(GIT_LFS_START))
    if not start:
        raise Refusal("empty file", f"{path} is empty (0 bytes); copy or download it again.")
    if start == GIT_LFS_START:
        raise Refusal(
            "Git LFS pointer",
            f"{path} is a Git LFS pointer, not the file itself; run git lfs pull in its repository to fetch it.",
        )


def read_sound(path: Path, notes: list[Note]) -> np.ndarray:
    """Samples (sample,) float32 at 16 kHz mono with a peak of at most 1; adds to `notes` what was done to them.

    Raises Refusal for an empty file, an LFS pointer, or what cannot be read as sound.
    """
    check_content(path)
    try:
        sound = load_waveform(path)
    except UserError as error:
        raise Refusal("unreadable sound", str(error)) from error
    if sound.original_channels > 1:
        notes.append(Note("channels averaged", f"{path.name} has {sound.original_channels} channels: averaged"))
    samples, peak = sound.samples, float(np.abs(sound.samples).max())
    if peak == 0.0:
        raise Refusal("silent sound", f"{path} is digital silence; copy or export it again.")
    if peak > 1.0:  # converting the rate of sound at full scale overshoots a little
        notes.append(Note("peak above 1 scaled", f"{path.name} peaks at {peak:.3f} after conversion: scaled to 1"))
        samples = samples / np.float32(peak)
    return samples


def load_array(path: Path) -> np.ndarray:
    """An `.npy` file that holds no Python objects; raises Refusal for anything else."""
    loaded = _load(path)
    if not isinstance(loaded, np.ndarray):
        raise Refusal("unreadable array", f"{path} is not an .npy file but an archive.")
    return loaded


def load_archive(path: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Arrays of these keys of an `.npz` that holds no Python objects; raises Refusal naming what it lacks."""
    archive = _load(path)
    missing = sorted(set(keys) - set(getattr(archive, "files", ())))
    if missing:
        raise Refusal("other archive", f"{path} lacks {', '.join(missing)}; expected an .npz with {', '.join(keys)}.")
    try:
        return [archive[key] for key in keys]
    except (ValueError, OSError, zipfile.BadZipFile) as error:  # Python objects, which could run code; broken parts
        raise Refusal(
            "unreadable array", f"{path} holds Python objects, which are not read, or is broken; save plain arrays."
        ) from error


def _load(path: Path) -> Any:
    check_content(path)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:  # numpy's own words may advise to allow pickle
        raise Refusal(
            "unreadable array", f"{path} is not a NumPy file of plain numbers, or was cut short; copy or save it again."
        ) from error


def sound_for(motion: Path, sounds: Sequence[Path], stems: Iterable[str], alone: bool) -> Path | None:
    """The sound of a recorded motion: of one of the `stems`, else the only one in its folder if `alone` there.

    `alone` says that the motion is the only one of its folder. None where there is no sound; raises Refusal where two
    sounds fit equally well.
    """
    wanted = [stem.lower() for stem in stems]
    same = [path for path in sounds if path.stem.lower() in wanted]
    beside = [path for path in same if path.parent == motion.parent]
    chosen = beside or same
    if not chosen and alone:
        chosen = [path for path in sounds if path.parent == motion.parent]
    if len(chosen) > 1:
        names = ", ".join(str(path.name) for path in chosen[:3])
        raise Refusal(
            "several sounds fit", f"{motion.name} could belong to {names}; keep one, or name it as the motion."
        )
    return chosen[0] if chosen else None


def text_beside(path: Path) -> str:
    """What `NAME.txt` beside a file says, on one line; empty where there is none."""
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return ""
    try:
        return " ".join(beside.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise Refusal("unreadable text", f"{beside} is not UTF-8 text ({error.reason}).") from error


def split_of(name: str, val: str, test: str) -> str:
    """val or test where a pattern of these comma lists fits the name of a take, else train."""
    for split, patterns in (("test", test), ("val", val)):
        if any(fnmatchcase(name, pattern) for pattern in _patterns(patterns)):
            return split
    return "train"


def check_splits(names: Sequence[str], val: str, test: str) -> None:
    """Raise UserError for a pattern that fits no take, or where one take fits both lists."""
    for split, patterns in (("val", val), ("test", test)):
        for pattern in _patterns(patterns):
            if not any(fnmatchcase(name, pattern) for name in names):
                some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                raise UserError(
                    f"{split}={pattern} fits none of the {len(names)} takes ({some}); give names or patterns."
                )
    for name in names:
        if split_of(name, val, "") == "val" and split_of(name, "", test) == "test":
            raise UserError(f"The take {name} fits both val={val} and test={test}; it can be in one split only.")


def _patterns(text: str) -> list[str]:
    return [pattern.strip() for pattern in text.split(",") if pattern.strip()]
