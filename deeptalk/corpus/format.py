"""A corpus on disk: a manifest, two tables, and memory-mapped audio and motion."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32

from deeptalk.corpus.rows import PerformanceRow, SpeechRow, Table, read_rows, rows_sha256
from deeptalk.errors import UserError
from deeptalk.face import BLINK_AND_GAZE, channels_of
from deeptalk.files import file_sha256, read_json

if TYPE_CHECKING:
    from deeptalk.corpus.features import FeatureStore
    from deeptalk.corpus.performer import SpeechEvent
    from deeptalk.speech import SpeechEncoder

FORMAT = "deeptalk-corpus"
VERSION = 2
"""2: intensity and origin of speech, speaker of motion alone."""
MANIFEST = "corpus.json"
SPEECH, PERFORMANCES, AUDIO, MOTION = "speech.parquet", "performances.parquet", "audio.npy", "motion.npy"
INT16_SCALE = 32768.0
"""A stored sample of int16 is this many times the float sample in -1..1."""


def manifest_hash(manifest: dict[str, Any]) -> str:
    """Hash of everything a manifest says except where it lies on disk.

    It covers the hashes of the content, not of the Parquet files, whose bytes depend on the version that wrote them.
    """
    content = {key: value for key, value in manifest.items() if key not in {"hash", "files"}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Corpus:
    """Speech, performances and their arrays, read lazily from one folder.

    Opening it checks the manifest and the sizes of the files; tables and arrays are read when first asked for, and the
    arrays stay on disk, memory-mapped. Workers of a data loader open it again instead of copying it.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder = folder
        self.name = str(folder)
        self.manifest = manifest
        self.rig: str = manifest["rig"]
        self.channels: tuple[str, ...] = tuple(manifest["channels"])
        self.frame_rate: float = manifest["frame_rate"]
        self.sample_rate: int = manifest["sample_rate"]
        self.hash: str = manifest["hash"]
        self._idle = [index for index, name in enumerate(self.channels) if name in BLINK_AND_GAZE]

    @property
    def parts(self) -> tuple["Corpus", ...]:
        """The corpora on disk that this one consists of: itself, or those of a mix."""
        return (self,)

    @classmethod
    def open(cls, folder: str | Path) -> "Corpus":
        """Open a corpus after checking its manifest, its rig and the sizes of its files.

        Raises UserError naming what does not fit and what to do.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise UserError(
                f"{folder} is not a corpus: it has no {MANIFEST}. Give the folder that `deeptalk corpus build` wrote."
            )
        manifest = read_json(folder / MANIFEST)
        _check_manifest(folder, manifest)
        for name, entry in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path} is missing from the corpus; copy it again or build the corpus again.")
            if path.stat().st_size != entry["bytes"]:
                raise UserError(
                    f"{path} has {path.stat().st_size} bytes where {MANIFEST} says {entry['bytes']}: it was cut "
                    "short or changed. Copy it again or build the corpus again."
                )
        return cls(folder, manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Corpus.open, (self.folder,)

    def verify(self) -> None:
        """Read every byte of the corpus and compare hashes; raises UserError naming the first file that differs."""
        for name, entry in self.manifest["files"].items():
            if file_sha256(self.folder / name) != entry["sha256"]:
                raise UserError(
                    f"{self.folder / name} differs from what {MANIFEST} says (SHA-256). Copy it again or build the "
                    "corpus again."
                )
        content = self.manifest["content_sha256"]
        for name, rows in ((SPEECH, self.speech), (PERFORMANCES, self.performances)):
            if rows_sha256(rows) != content[name]:
                raise UserError(f"The rows of {self.folder / name} differ from what {MANIFEST} says; build it again.")

    @cached_property
    def speech(self) -> Table[SpeechRow]:
        """All speech; a row's place is its index. Check of the places in the audio array included."""
        rows = read_rows(self.folder / SPEECH, SpeechRow)
        counts = self.manifest["counts"]
        self._check_table(SPEECH, rows, "first_sample", "num_samples", counts["speech"], counts["samples"])
        return rows

    @cached_property
    def performances(self) -> Table[PerformanceRow]:
        """All performances; a row's place is its index. Check of the places in the motion array included."""
        rows = read_rows(self.folder / PERFORMANCES, PerformanceRow)
        counts = self.manifest["counts"]
        self._check_table(PERFORMANCES, rows, "first_frame", "frames", counts["performances"], counts["frames"])
        if any(speech is not None and not 0 <= speech < counts["speech"] for speech in rows.column("speech")):
            raise UserError(f"{self.folder / PERFORMANCES} points to speech that is not there; build it again.")
        return rows

    def _check_table(self, name: str, rows: Table, first: str, size: str, count: int, total: int) -> None:
        if len(rows) != count:
            raise UserError(
                f"{self.folder / name} has {len(rows)} rows where {MANIFEST} says {count}; build the corpus again."
            )
        places, sizes = rows.numbers(first), rows.numbers(size)
        if ((places < 0) | (sizes < 1) | (places + sizes > total)).any():
            raise UserError(f"{self.folder / name} has a row outside its array of {total}; build the corpus again.")

    @cached_property
    def _audio(self) -> np.ndarray:
        return self._map(AUDIO, np.dtype("<i2"), (self.manifest["counts"]["samples"],))

    @cached_property
    def _motion(self) -> np.ndarray:
        return self._map(MOTION, np.dtype("<f4"), (self.manifest["counts"]["frames"], len(self.channels)))

    def _map(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError) as error:
            raise UserError(f"{path} cannot be read as an array ({error}); copy or build the corpus again.") from error
        if array.dtype != dtype or array.shape != shape:
            raise UserError(
                f"{path} holds {array.dtype} {array.shape}, expected {dtype} {shape}; build the corpus again."
            )
        return array

    def waveform(self, speech: int, *, part: slice = slice(None)) -> Float32[np.ndarray, " sample"]:
        """Samples of one piece of speech in -1..1 at `sample_rate`, or a `part` of them (step 1), a copy."""
        row = self.speech[speech]
        start, stop, _ = part.indices(row.num_samples)
        stored = self._audio[row.first_sample + start : row.first_sample + max(start, stop)]
        return stored.astype(np.float32) / np.float32(INT16_SCALE)

    def motion(
        self, performance: int, *, blink_and_gaze: bool = False, part: slice = slice(None)
    ) -> Float32[np.ndarray, "frame channel"]:
        """Motion of one performance at `frame_rate`, or a `part` of its frames (step 1), a copy.

        The blink and gaze channels, which speech hardly determines, are zero unless they are asked for.
        """
        row = self.performances[performance]
        start, stop, _ = part.indices(row.frames)
        motion = np.array(self._motion[row.first_frame + start : row.first_frame + max(start, stop)])
        if not blink_and_gaze:
            motion[:, self._idle] = 0.0
        return motion

    def speech_in(self, split: str) -> list[int]:
        """Indices of the speech of a split, in the order of the table; UserError for a split that is not there."""
        self.check_split(split)
        return [index for index, own in enumerate(self.speech.column("split")) if own == split]

    def performances_in(self, split: str, given: str | None = None) -> list[int]:
        """Indices of the performances of a split, of one kind if `given` is set; UserError for an unknown split."""
        self.check_split(split)
        kinds = zip(self.performances.column("split"), self.performances.column("given"))
        return [index for index, (own, kind) in enumerate(kinds) if own == split and (given is None or kind == given)]

    def performances_of(self, speech: int, given: str | None = None) -> list[int]:
        """Indices of the performances of one piece of speech, in the order they were drawn, of one kind if wanted."""
        kinds = self.performances.column("given")
        return [index for index in self._by_speech.get(speech, []) if given is None or kinds[index] == given]

    @cached_property
    def _by_speech(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for index, speech in enumerate(self.performances.column("speech")):
            if speech is not None:
                found.setdefault(speech, []).append(index)
        return found

    def speakers(self, split: str) -> tuple[str, ...]:
        """Names of the speakers of a split, sorted; a speaker's place is the identity index of models trained on it."""
        names = self.speech.column("speaker")
        return tuple(sorted({names[index] for index in self.speech_in(split)}))

    def event(self, speech: int) -> "SpeechEvent":
        """One piece of speech as the performer takes it, to draw more performances of it."""
        from deeptalk.corpus.build import event_of_row

        return event_of_row(self.speech[speech], self.waveform(speech))

    def features(
        self,
        encoder: "SpeechEncoder",
        progress: bool = False,
        cache_folder: str | Path | None = None,
        workers: int = 1,
    ) -> "FeatureStore":
        """Features of all speech, computed once and kept under the encoder's key (see `FeatureStore.build`)."""
        from deeptalk.corpus.features import FeatureStore

        return FeatureStore.build(self, encoder, progress=progress, cache_folder=cache_folder, workers=workers)

    def check_split(self, split: str) -> None:
        """Raise UserError, naming the splits there are, unless `split` is one of them."""
        if split not in self.manifest["splits"]:
            known = ", ".join(self.manifest["splits"])
            raise UserError(f"{self.name} has no split {split!r}; there are: {known}.")


def _check_manifest(folder: Path, manifest: Any) -> None:
    path = folder / MANIFEST
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} is not the manifest of a corpus; give a folder that `deeptalk corpus build` wrote.")
    version = manifest.get("version")
    if version != VERSION:
        is_older = isinstance(version, int) and version < VERSION
        remedy = (
            "Build or import it again with this program; nothing in it can be kept but its settings"
            if is_older
            else "Install the newer deeptalk that wrote it, or build the corpus again"
        )
        raise UserError(f"{path} has format version {version}; this program reads version {VERSION}. {remedy}.")
    if manifest.get("hash") != manifest_hash(manifest):
        raise UserError(
            f"{path} was edited after it was written: its hash does not fit. Restore it or build the corpus again."
        )
    expected, given = tuple(channels_of(manifest["rig"])), tuple(manifest["channels"])
    if given != expected:
        place = next((i for i, (a, b) in enumerate(zip(given, expected)) if a != b), min(len(given), len(expected)))
        raise UserError(
            f"{path}: its {len(given)} channels are not the {len(expected)} of rig {manifest['rig']!r} (first "
            f"difference at channel {place}). Build the corpus again with this version of the rig."
        )
