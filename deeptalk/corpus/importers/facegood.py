"""FACEGOOD-style captures: weights of another rig, mapped by name to ARKit, and the sound they were captured with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from deeptalk.corpus.importers.files import (
    SOUND_SUFFIXES,
    check_splits,
    files_below,
    load_archive,
    load_array,
    sound_for,
)
from deeptalk.corpus.importers.importer import ImportedClip, Note, Refusal, Scan, Take
from deeptalk.corpus.importers.motion import limited
from deeptalk.corpus.importers.recorded import RecordedOptions, Recording, recorded_clips, sounds_left_over
from deeptalk.corpus.importers.rig_map import FACEGOOD_MAP, RigMap, name_shift, read_rig_map
from deeptalk.errors import UserError

VALUE_PREFIX = "bs_value"


@dataclass(frozen=True)
class FacegoodOptions(RecordedOptions):
    """What is known about weights of another rig."""

    map: str = ""
    """CSV that maps the weights to ARKit; empty takes the reviewed one of FACEGOOD's 116 weights."""
    frame_rate: float = 30.0
    """Frames a second of `bs_value*.npy`, which do not say it; `.npz` hold their own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1.0 <= self.frame_rate <= 1000.0:
            raise UserError(f"frame_rate is {self.frame_rate}; expected 1 to 1000 frames a second.")


class FacegoodImporter:
    """Imports `.npz` with weights, names and fps, or raw `bs_value_NAME.npy`, each with its sound."""

    kind = "facegood"
    summary = "FACEGOOD-style rig weights (.npz or bs_value_*.npy) with their sound"
    options = FacegoodOptions

    def scan(self, source: Path, options: FacegoodOptions) -> Scan:
        """Find the arrays of weights and the sounds."""
        rig_map = read_rig_map(options.map or FACEGOOD_MAP)
        files = files_below(source)
        raw = [p for p in files if p.suffix.lower() == ".npy" and p.stem.lower().startswith(VALUE_PREFIX)]
        paths = sorted([p for p in files if p.suffix.lower() == ".npz"] + raw)
        if not paths:
            raise UserError(
                f"{source} holds no rig weights ({len(files)} other files); expected NAME.npz with weights, names and "
                f"fps, or {VALUE_PREFIX}_NAME.npy, and NAME.wav or NAME.flac."
            )
        folder = Path(options.sounds) if options.sounds else source
        if not folder.is_dir():
            raise UserError(f"sounds={options.sounds} is not a folder; give the folder with the sound files.")
        sounds = [path for path in files_below(folder) if path.suffix.lower() in SOUND_SUFFIXES]
        name_files = [p for p in files if p.suffix.lower() == ".npy" and "name" in p.stem.lower()]
        others = [p for p in files if p.suffix.lower() == ".npy" and p not in raw and p not in name_files]
        speaker = options.speaker or f"facegood-{source.resolve().name}"
        check_splits([_name(path) for path in paths], options.val, options.test)
        used: set[Path] = set()
        takes = [
            Take(_name(path), partial(_read, path, rig_map, sounds, used, name_files, speaker, options))
            for path in paths
        ]
        stems = {stem.lower() for path in paths for stem in (path.stem, _name(path))}
        return Scan(
            takes=takes,
            provenance=f"Captured rig weights of {speaker}, mapped by name to ARKit "
            f"({Path(options.map or FACEGOOD_MAP).name}) and resampled to 25 Hz.",
            license="That of the recordings.",
            skipped=[
                (path.name, Note("other array", f"its name does not begin with {VALUE_PREFIX}")) for path in others
            ],
            finish=partial(sounds_left_over, sounds, used, stems),
        )


def _name(path: Path) -> str:
    """Name of a take: `bs_value_1114_2_01.npy` belongs to `1114_2_01.wav`."""
    stem = path.stem
    return stem[len(VALUE_PREFIX) :].lstrip("_") or stem if stem.lower().startswith(VALUE_PREFIX) else stem


def _read(
    path: Path,
    rig_map: RigMap,
    sounds: Sequence[Path],
    used: set[Path],
    name_files: Sequence[Path],
    speaker: str,
    options: FacegoodOptions,
) -> Sequence[ImportedClip]:
    notes: list[Note] = []
    if path.suffix.lower() == ".npz":
        weights, names, rate = _archive(path)
    else:
        weights = _checked_weights(path, load_array(path))
        names, rate = _raw_names(weights, rig_map, name_files), options.frame_rate
    if name_shift(weights, names):
        notes.append(Note("names moved by one column", "left and right match only if column j has the name of j - 1"))
        names = ("_unused", *names[:-1])
    weights = limited(weights, names, notes)
    motion = rig_map.to_arkit(weights, names, notes)
    name = _name(path)
    sound = sound_for(path, sounds, (name, path.stem), alone=False)
    if sound is not None:
        used.add(sound)
    seconds = np.arange(len(motion)) / rate
    return recorded_clips(Recording(name, motion, seconds, rate, sound, notes), speaker, options)


def _checked_weights(path: Path, weights: np.ndarray) -> np.ndarray:
    if weights.ndim != 2 or not np.issubdtype(weights.dtype, np.floating):
        raise Refusal(
            "not weights", f"{path} holds {weights.dtype} of shape {weights.shape}; expected floats (frame, weight)."
        )
    if not len(weights):
        raise Refusal("no frames", f"{path} holds no frames.")
    return weights.astype(np.float32)


def _archive(path: Path) -> tuple[np.ndarray, tuple[str, ...], float]:
    """Weights, names and rate of an `.npz`; Refusal naming what it lacks."""
    weights, names, rate = load_archive(path, ("weights", "names", "fps"))
    weights = _checked_weights(path, weights)
    if names.shape != weights.shape[1:] or names.dtype.kind not in "US" or len(set(names.tolist())) != len(names):
        raise Refusal(
            "not weights", f"{path} has {names.size} names for {weights.shape[1]} weights, or one name twice."
        )
    if rate.size != 1 or not np.issubdtype(rate.dtype, np.number) or not 1.0 <= float(rate.item()) <= 1000.0:
        raise Refusal("wrong frame rate", f"{path} has fps {rate}; expected one number from 1 to 1000.")
    return weights, tuple(map(str, names.tolist())), float(rate.item())


def _raw_names(weights: np.ndarray, rig_map: RigMap, name_files: Sequence[Path]) -> tuple[str, ...]:
    """Names of raw columns: of a name file of their number, else of the map."""
    for path in name_files:
        names = load_array(path)
        if names.dtype.kind in "US" and names.shape == weights.shape[1:]:
            return tuple(map(str, names.tolist()))
    if weights.shape[1] != len(rig_map.columns):
        raise Refusal(
            "weights not in the map",
            f"it has {weights.shape[1]} weights, the map {len(rig_map.columns)}; give a name file or another map.",
        )
    return rig_map.columns
