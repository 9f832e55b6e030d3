"""Writing a corpus: rows are added one by one, and the folder appears whole or not at all."""

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from deeptalk.corpus.format import (
    AUDIO,
    FORMAT,
    INT16_SCALE,
    MANIFEST,
    MOTION,
    PERFORMANCES,
    SPEECH,
    VERSION,
    Corpus,
    manifest_hash,
)
from deeptalk.corpus.performer import Phone
from deeptalk.corpus.rows import PerformanceRow, SpeechRow, rows_sha256, write_rows
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import channels_of
from deeptalk.files import atomic_folder, file_sha256, write_json
from deeptalk.speech import SAMPLE_RATE, frame_count


class _GrowingArray:
    """An .npy file that grows along its first axis: numpy pads the header so that it can be written again in place."""

    def __init__(self, path: Path, dtype: str, tail: tuple[int, ...]):
        self.file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by close()
        self.dtype, self.tail, self.length = np.dtype(dtype), tail, 0
        self._write_header()

    def _write_header(self) -> None:
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length, *self.tail)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def append(self, values: np.ndarray) -> int:
        """Add rows; returns the place of the first."""
        first = self.length
        self.file.write(np.ascontiguousarray(values, dtype=self.dtype).tobytes())
        self.length += len(values)
        return first

    def copy(self, path: Path) -> int:
        """Add the rows of another .npy file of the same kind; returns the place of the first."""
        first, source = self.length, np.load(path, mmap_mode="r", allow_pickle=False)
        for start in range(0, len(source), 1 << 20):
            self.append(source[start : start + (1 << 20)])
        return first

    def close(self) -> None:
        """Write the final header and close the file."""
        if not self.file.closed:
            self.file.seek(0)
            self._write_header()
            self.file.close()


class CorpusWriter:
    """Context manager that writes a corpus; `corpus` holds the opened result once the block has succeeded.

    Inside the block `folder` is the temporary one that will be the corpus: what else is put there appears with it.

    Args:
        out: the folder to write. An existing corpus is replaced only with `overwrite`; anything else there is never.
        rig: name of the rig whose channels the motion has.
        provenance: where the data come from, in a sentence.
        license: licence of the data.
        performer: version and settings of the performer, None for recorded motion.
        config: the resolved settings of whatever builds it.

    Raises UserError for a row that does not fit, naming it.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        rig: str = "arkit",
        provenance: str,
        license: str,
        frame_rate: float = 25.0,
        performer: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        overwrite: bool = False,
    ):
        self.out = Path(out)
        self.frame_rate = frame_rate
        self.channels = tuple(channels_of(rig))
        self.header = {"format": FORMAT, "version": VERSION, "rig": rig, "channels": list(self.channels)}
        self.header |= {"frame_rate": frame_rate, "sample_rate": SAMPLE_RATE, "provenance": provenance}
        self.header |= {"license": license, "performer": performer, "config": config}
        self.speech: list[SpeechRow] = []
        self.performances: list[PerformanceRow] = []
        self.corpus: Corpus | None = None
        self._ids: set[str] = set()
        check_place(self.out, overwrite)

    def __enter__(self) -> "CorpusWriter":
        self._stack = contextlib.ExitStack()
        self.folder = self._stack.enter_context(atomic_folder(self.out, MANIFEST))
        self._audio = _GrowingArray(self.folder / AUDIO, "<i2", ())
        self._motion = _GrowingArray(self.folder / MOTION, "<f4", (len(self.channels),))
        self._stack.callback(self._audio.close)
        self._stack.callback(self._motion.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            if error is not None:
                self._stack.__exit__(kind, error, traceback)
                return
            self._finish()
        self.corpus = Corpus.open(self.out)

    def add_speech(
        self,
        speech_id: str,
        samples: Float[np.ndarray, " sample"],
        *,
        speaker: str,
        sentence: str,
        split: str,
        text: str = "",
        emotion: int = -1,
        intensity: float | None = None,
        phones: Sequence[Phone] = (),
        affect: dict[str, Any] | None = None,
        origin: dict[str, Any] | None = None,
    ) -> int:
        """Add one piece of speech (float samples in -1..1 at 16 kHz); returns its index.

        Samples are rounded to int16; a peak above 1 is refused, since it could only be clipped. The fields are those of
        `SpeechRow`; `affect` and `origin` are dicts that JSON can hold.
        """
        self._check_id(speech_id)
        self._check_emotion(speech_id, emotion)
        _check_intensity(speech_id, intensity)
        peak = float(np.abs(samples).max(initial=0.0))
        if len(samples) == 0 or not np.isfinite(peak):
            raise UserError(f"{speech_id}: its {len(samples)} samples are none or hold NaN or infinity; leave it out.")
        if peak > 1.0:
            raise UserError(f"{speech_id}: peak {peak:.3f} is above 1; scale the samples to -1..1.")
        late = [phone for phone in phones if not 0 <= phone.start_seconds <= phone.end_seconds]
        if late or any(b.start_seconds < a.start_seconds for a, b in itertools.pairwise(phones)):
            raise UserError(f"{speech_id}: phone times run backwards or start before 0; align it again.")
        first = self._audio.append(quantise(samples))
        self.speech.append(
            SpeechRow(
                speech_id=speech_id,
                speaker=speaker,
                sentence=sentence,
                text=text,
                emotion=emotion,
                intensity=None if intensity is None else float(intensity),
                split=split,
                phones=tuple(phones),
                num_samples=len(samples),
                first_sample=first,
                affect=affect,
                origin=origin,
            )
        )
        return len(self.speech) - 1

    def add_performance(
        self,
        performance_id: str,
        motion: Float[np.ndarray, "frame channel"],
        *,
        speech: int | None = None,
        split: str | None = None,
        speaker: str = "",
        emotion: int = -1,
        intensity: float = 0.0,
        reading: str = "",
        given: str = "",
        style: dict[str, Any] | None = None,
    ) -> int:
        """Add one motion, of the speech at index `speech` (with its split and speaker) or, with a `split`, alone.

        With speech it must have exactly the frames of that speech, `frame_count(num_samples)`. Returns its index.
        """
        self._check_id(performance_id)
        self._check_emotion(performance_id, emotion)
        if (speech is None) == (split is None):
            raise UserError(f"{performance_id}: give its speech, or a split for motion alone, and not both.")
        if motion.shape[1] != len(self.channels) or len(motion) == 0 or not np.isfinite(motion).all():
            raise UserError(
                f"{performance_id}: motion of shape {motion.shape}; expected at least one frame of "
                f"{len(self.channels)} finite channels."
            )
        _check_intensity(performance_id, intensity)
        if speech is not None and speaker not in ("", self.speech[speech].speaker):
            raise UserError(
                f"{performance_id}: its speaker {speaker!r} is not {self.speech[speech].speaker!r}, who speaks."
            )
        if speech is not None:
            expected = frame_count(self.speech[speech].num_samples, frame_rate=self.frame_rate)
            if len(motion) != expected:
                raise UserError(
                    f"{performance_id}: {len(motion)} frames where its speech has {expected}; trim or resample it."
                )
        first = self._motion.append(motion)
        self.performances.append(
            PerformanceRow(
                performance_id=performance_id,
                speech=speech,
                speaker=self.speech[speech].speaker if speech is not None else speaker,
                emotion=emotion,
                intensity=float(intensity),
                reading=reading,
                given=given,
                split=self.speech[speech].split if speech is not None else str(split),
                frames=len(motion),
                first_frame=first,
                style=style,
            )
        )
        return len(self.performances) - 1

    def add_corpus(self, corpus: Corpus) -> None:
        """Add all rows of another corpus of the same rig and frame rate, and copy their samples and frames.

        Raises UserError where a name is in both.
        """
        if (corpus.channels, corpus.frame_rate) != (self.channels, self.frame_rate):
            raise UserError(f"{corpus.name} is of another rig or frame rate than {self.out}; they cannot be joined.")
        offset = len(self.speech)
        first_sample, first_frame = self._audio.copy(corpus.folder / AUDIO), self._motion.copy(corpus.folder / MOTION)
        for row in corpus.speech:
            self._check_id(row.speech_id)
            self.speech.append(replace(row, first_sample=row.first_sample + first_sample))
        for motion in corpus.performances:
            self._check_id(motion.performance_id)
            speech = None if motion.speech is None else motion.speech + offset
            self.performances.append(replace(motion, speech=speech, first_frame=motion.first_frame + first_frame))

    def _check_id(self, name: str) -> None:
        if not name or name in self._ids:
            raise UserError(f"The name {name!r} is empty or used twice in the corpus; give every row its own.")
        self._ids.add(name)

    def _check_emotion(self, name: str, emotion: int) -> None:
        if not -1 <= emotion < len(EMOTIONS):
            raise UserError(f"{name}: emotion {emotion}; expected -1 (unknown) or 0..{len(EMOTIONS) - 1}.")

    def _finish(self) -> None:
        if not self.speech and not self.performances:
            raise UserError(f"Nothing was added to the corpus {self.out}; add speech or performances first.")
        self._audio.close()
        self._motion.close()
        write_rows(self.folder / SPEECH, self.speech, SpeechRow)
        write_rows(self.folder / PERFORMANCES, self.performances, PerformanceRow)
        names = (SPEECH, PERFORMANCES, AUDIO, MOTION)
        files = {
            name: {"bytes": (self.folder / name).stat().st_size, "sha256": file_sha256(self.folder / name)}
            for name in names
        }
        content = {SPEECH: rows_sha256(self.speech), PERFORMANCES: rows_sha256(self.performances)}
        manifest = self.header | {
            "splits": self._splits(),
            "disjoint": {"speaker": self._is_disjoint("speaker"), "sentence": self._is_disjoint("sentence")},
            "counts": {
                "speech": len(self.speech),
                "performances": len(self.performances),
                "samples": self._audio.length,
                "frames": self._motion.length,
            },
            "content_sha256": content | {name: files[name]["sha256"] for name in (AUDIO, MOTION)},
            "files": files,
        }
        write_json(self.folder / MANIFEST, manifest | {"hash": manifest_hash(manifest)})

    def _splits(self) -> dict[str, Any]:
        """What each split holds, in the order the splits first came up."""
        splits: dict[str, dict[str, float]] = {}
        empty = {"speech": 0, "speech_seconds": 0.0, "performances": 0, "performance_seconds": 0.0}
        for row in self.speech:
            split = splits.setdefault(row.split, dict(empty))
            split["speech"] += 1
            split["speech_seconds"] += row.num_samples / SAMPLE_RATE
        for motion in self.performances:
            split = splits.setdefault(motion.split, dict(empty))
            split["performances"] += 1
            split["performance_seconds"] += motion.frames / self.frame_rate
        return {name: {key: round(value, 3) for key, value in split.items()} for name, split in splits.items()}

    def _is_disjoint(self, field: str) -> bool:
        """Whether no value of a column of the speech table occurs in two splits."""
        homes: dict[str, set[str]] = {}
        for row in [*self.speech, *(self.performances if field == "speaker" else ())]:
            homes.setdefault(getattr(row, field), set()).add(row.split)
        homes.pop("", None)  # unknown speakers of motion alone
        return all(len(splits) == 1 for splits in homes.values())


def check_place(out: Path, overwrite: bool) -> None:
    """Raise UserError unless a corpus may be written to `out`: nothing, an empty folder, or one to be overwritten."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} exists and is not a corpus; it will not be replaced. Give another folder.")
    if not overwrite:
        raise UserError(f"{out} already holds a corpus. Give another folder, or ask for it to be overwritten.")


def _check_intensity(name: str, intensity: float | None) -> None:
    if intensity is not None and not 0.0 <= intensity <= 1.0:
        raise UserError(f"{name}: intensity {intensity} is outside 0..1.")


def quantise(samples: Float[np.ndarray, " sample"]) -> np.ndarray:
    """Float samples in -1..1 as the int16 that a corpus stores; exactly 1.0 becomes the largest int16."""
    return np.clip(np.rint(samples * INT16_SCALE), -INT16_SCALE, INT16_SCALE - 1).astype("<i2")
