"""The two tables of a corpus: what one piece of speech and one performance are, and how they lie in Parquet."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
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
    intensity: float | None
    """0..1, how strongly; None where unknown."""
    split: str
    phones: tuple[Phone, ...]
    """Empty where no alignment is known."""
    num_samples: int
    first_sample: int
    affect: dict[str, Any] | None
    """The audible affect code of performer corpora."""
    origin: dict[str, Any] | None
    """Where the sound comes from and what was done to it: source file, engine, augmentation; None where not told."""

    @property
    def augmented(self) -> bool:
        """Whether rooms, noise or lines were put on the sound."""
        return bool(self.origin and self.origin.get("augmentation"))


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """One motion. Its frames are `first_frame : first_frame + frames` of the corpus's motion array."""

    performance_id: str
    speech: int | None
    """Index of the speech it belongs to; None for motion alone."""
    speaker: str
    """Who moves: the speaker of its speech; of motion alone, empty where unknown."""
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
_JSON_FIELDS = ("affect", "origin", "style")
"""Free-form fields, stored as JSON text."""


class Table(Sequence[Row], Generic[Row]):
    """The rows of a table; a row is decoded when it is first asked for, so that long tables open at once.

    `column` gives all values of a plain field without decoding rows.
    """

    def __init__(self, table: pa.Table, kind: type[Row]):
        self.arrow = table.combine_chunks()
        self.kind: type[Row] = kind
        self._names = [field.name for field in dataclasses.fields(kind)]
        self._columns: dict[str, list[Any]] = {}
        self._rows: list[Row | None] = [None] * table.num_rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """A row by its place, from the end if negative, or a list of rows."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        row = self._rows[index]
        if row is None:
            row = self._rows[index] = self._decode(range(len(self))[index])
        return row

    def column(self, name: str) -> list[Any]:
        """Values of one field of all rows, in order: what the rows hold, except that phones are not given."""
        if name not in self._columns:
            self._columns[name] = self.arrow.column(name).to_pylist()
        return self._columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """Values of a numeric field that is known in every row, as an array (row,)."""
        return self.arrow.column(name).to_numpy()

    def _decode(self, place: int) -> Row:
        values = {name: self.column(name)[place] for name in self._names if name != "phones"}
        for name in _JSON_FIELDS:
            if values.get(name) is not None:
                values[name] = json.loads(values[name])
        if "phones" in self._names:
            values["phones"] = self._phones_of(place)
        return self.kind(**values)

    def _phones_of(self, place: int) -> tuple[Phone, ...]:
        offsets, symbols, starts, ends, stresses = self._phones
        own = slice(offsets[place], offsets[place + 1])
        return tuple(map(Phone, symbols[own], starts[own].tolist(), ends[own].tolist(), stresses[own].tolist()))

    @cached_property
    def _phones(self) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray, np.ndarray]:
        """Offsets (row + 1,) into the phones of all rows, and the fields of these."""
        column = self.arrow.column("phones")
        lists = column.chunk(0) if column.num_chunks else pa.array([], type=_PHONES)
        names = ("start_seconds", "end_seconds", "stress")
        numbers = (lists.values.field(name).to_numpy() for name in names)
        starts, ends, stresses = numbers
        return lists.offsets.to_numpy(), lists.values.field("symbol").to_pylist(), starts, ends, stresses


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(row: SpeechRow | PerformanceRow) -> dict[str, Any]:
    plain = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    for name in _JSON_FIELDS:
        if plain.get(name) is not None:
            plain[name] = _canonical(plain[name])
    if "phones" in plain:
        plain["phones"] = [dataclasses.asdict(phone) for phone in plain["phones"]]
    return plain


def rows_sha256(rows: Iterable[SpeechRow] | Iterable[PerformanceRow]) -> str:
    """Hash of a table's content, the same whichever version of Parquet wrote it."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_canonical(_plain(row)).encode() + b"\n")
    return digest.hexdigest()


def write_rows(path: Path, rows: Sequence[Row], kind: type[Row]) -> None:
    """Write rows as one Parquet table with a fixed schema, also when there are none."""
    schema = pa.schema([(f.name, _ARROW_TYPES.get(f.name, pa.string())) for f in dataclasses.fields(kind)])
    pq.write_table(pa.Table.from_pylist([_plain(row) for row in rows], schema=schema), path, compression="zstd")


def read_rows(path: Path, kind: type[Row]) -> Table[Row]:
    """Read a table written by `write_rows`.

    Raises UserError where the file is not Parquet, lacks a column, or has one of another type.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}); build or copy the corpus again.") from error
    for field in dataclasses.fields(kind):
        wanted = _ARROW_TYPES.get(field.name, pa.string())
        if field.name not in table.column_names:
            raise UserError(f"{path} lacks the column {field.name!r}; build or copy the corpus again.")
        if table.schema.field(field.name).type != wanted:
            raise UserError(
                f"{path}: column {field.name!r} holds {table.schema.field(field.name).type}, expected {wanted}; build "
                "or copy the corpus again."
            )
    return Table(table, kind)


def check_held_out(rows: Iterable[tuple[str, str]], kind: str) -> None:
    """Raise UserError where a speaker or sentence (`kind` says which) of rows (name, split) is in two splits.

    The empty name is unknown.
    """
    homes: dict[str, str] = {}
    for name, split in rows:
        if name and homes.setdefault(name, split) != split:
            raise UserError(
                f"The {kind} {name!r} is in the splits {homes[name]} and {split}; held out means that every {kind} is "
                "in one split only."
            )
