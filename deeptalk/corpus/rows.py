"""The two tables of a corpus: what one piece of speech and one performance are, and how they lie in Parquet."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from deeptalk.corpus.performer import Phone
from deeptalk.errors import UserError


@dataclass(frozen=True, slots=True)
class SpeechRow:
    """One piece of speech. Its samples are `first_sample : first_sample + num_samples` of the corpus's audio array."""

    speech_id: str
    speaker: str
    sentence: str
    """Name of the sentence: splits that hold out sentences are told apart by it."""
    text: str
    emotion: int
    """Index in `deeptalk.emotions.EMOTIONS` of what the speech was meant to carry; -1 where unknown."""
    split: str
    phones: tuple[Phone, ...]
    """Empty where no alignment is known."""
    num_samples: int
    first_sample: int
    affect: dict[str, Any] | None
    """The audible affect code of performer corpora."""


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """One motion. Its frames are `first_frame : first_frame + frames` of the corpus's motion array."""

    performance_id: str
    speech: int | None
    """Index of the speech it belongs to; None for motion alone."""
    emotion: int
    """The emotion acted, as an index in `deeptalk.emotions.EMOTIONS`; -1 where unknown."""
    intensity: float
    """0..1."""
    reading: str
    """Name of the way the emotion is acted; empty where unknown."""
    given: str
    """What was held fixed when it was drawn: `speech`, `speech+label+speaker`, or empty for recorded motion."""
    split: str
    frames: int
    first_frame: int
    style: dict[str, Any] | None
    """The performer's style parameters."""


Row = TypeVar("Row", SpeechRow, PerformanceRow)

_PHONES = pa.list_(
    pa.struct(
        [("symbol", pa.string()), ("start_seconds", pa.float64()), ("end_seconds", pa.float64()), ("stress", pa.int8())]
    )
)
_ARROW_TYPES = {
    "phones": _PHONES,
    "emotion": pa.int8(),
    "intensity": pa.float64(),
    "num_samples": pa.int64(),
    "first_sample": pa.int64(),
    "speech": pa.int64(),
    "frames": pa.int64(),
    "first_frame": pa.int64(),
}
_JSON_FIELDS = ("affect", "style")
"""Free-form fields, stored as JSON text."""


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(row: SpeechRow | PerformanceRow) -> dict[str, Any]:
    plain = dataclasses.asdict(row)
    for name in _JSON_FIELDS:
        if plain.get(name) is not None:
            plain[name] = _canonical(plain[name])
    return plain


def rows_sha256(rows: Sequence[SpeechRow] | Sequence[PerformanceRow]) -> str:
    """Hash of a table's content, the same whichever version of Parquet wrote it."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_canonical(_plain(row)).encode() + b"\n")
    return digest.hexdigest()


def write_rows(path: Path, rows: Sequence[Row], kind: type[Row]) -> None:
    """Write rows as one Parquet table with a fixed schema, also when there are none."""
    schema = pa.schema([(f.name, _ARROW_TYPES.get(f.name, pa.string())) for f in dataclasses.fields(kind)])
    pq.write_table(pa.Table.from_pylist([_plain(row) for row in rows], schema=schema), path, compression="zstd")


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table written by `write_rows`.

    Raises UserError where the file is not Parquet or lacks a column.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    try:
        plain = pq.read_table(path, columns=None).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}); build or copy the corpus again.") from error
    rows = []
    for values in plain:
        missing = set(names) - set(values)
        if missing:
            raise UserError(f"{path} lacks the column {min(missing)!r}; build or copy the corpus again.")
        for name in _JSON_FIELDS:
            if values.get(name) is not None:
                values[name] = json.loads(values[name])
        if kind is SpeechRow:
            values["phones"] = tuple(Phone(**phone) for phone in values["phones"])
        rows.append(kind(**{name: values[name] for name in names}))
    return rows
