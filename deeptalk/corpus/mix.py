"""Several corpora as one: to train on performed, recorded, motion-only and audio-only data in one run."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from deeptalk.corpus.format import Corpus
from deeptalk.corpus.rows import PerformanceRow, SpeechRow, Table, check_held_out
from deeptalk.errors import UserError


def open_corpora(folders: Sequence[str | Path]) -> Corpus:
    """Open one corpus, or several as one.

    Raises UserError where one cannot be opened, or they do not fit together (see `CorpusMix`).
    """
    if not folders:
        raise UserError("No corpus was given; give at least one folder.")
    corpora = [Corpus.open(folder) for folder in folders]
    return corpora[0] if len(corpora) == 1 else CorpusMix(corpora)


class CorpusMix(Corpus):
    """Corpora of one rig and frame rate, read as if they were one: the rows of the first, then those of the next.

    Splits of the same name are joined, and so are speakers and sentences of the same name: importers name them after
    their data set. What is held out in every part stays held out in the mix, or the mix is refused. `first_sample` and
    `first_frame` of its rows count inside the arrays of their own part.

    Raises UserError where rig, frame rate or sample rate differ, a corpus comes twice, or a speaker or sentence is in
    different splits of two of them.
    """

    def __init__(self, parts: Sequence[Corpus]):
        first = parts[0]
        for part in parts[1:]:
            for quantity in ("rig", "channels", "frame_rate", "sample_rate"):
                one, other = getattr(first, quantity), getattr(part, quantity)
                if one != other:
                    shown = quantity.replace("_", " ") + ("" if quantity == "channels" else f" {one} and {other}")
                    raise UserError(
                        f"{first.name} and {part.name} differ in {shown}; import one of them again to fit the other."
                    )
        hashes = [part.hash for part in parts]
        twice = next((part.name for place, part in enumerate(parts) if part.hash in hashes[:place]), None)
        if twice:
            raise UserError(f"The corpus {twice} is given twice; give each corpus once.")
        self._parts = tuple(parts)
        super().__init__(first.folder, _manifest(parts))
        self.name = " + ".join(part.name for part in parts)
        self._check_held_out()

    @property
    def parts(self) -> tuple[Corpus, ...]:
        """The corpora of the mix, in order."""
        return self._parts

    def __reduce__(self) -> tuple[Any, ...]:
        return open_corpora, ([part.folder for part in self._parts],)

    def verify(self) -> None:
        """Read every byte of every part and compare hashes."""
        for part in self._parts:
            part.verify()

    def _check_held_out(self) -> None:
        for kind, is_disjoint in self.manifest["disjoint"].items():
            if is_disjoint:
                try:
                    check_held_out(_names(self, kind), kind)
                except UserError as error:
                    raise UserError(f"{self.name} cannot be mixed. {error}") from error

    @cached_property
    def speech(self) -> Table[SpeechRow]:
        """All speech, part after part."""
        return Table(pa.concat_tables([part.speech.arrow for part in self._parts]), SpeechRow)

    @cached_property
    def performances(self) -> Table[PerformanceRow]:
        """All performances, part after part; they point to the speech of the mix."""
        tables = []
        for part, offset in zip(self._parts, self._speech_starts):
            table = part.performances.arrow
            shifted = pc.add(table.column("speech"), int(offset))
            tables.append(table.set_column(table.schema.get_field_index("speech"), "speech", shifted))
        return Table(pa.concat_tables(tables), PerformanceRow)

    @cached_property
    def _speech_starts(self) -> np.ndarray:
        return np.cumsum([0, *(part.manifest["counts"]["speech"] for part in self._parts)])

    @cached_property
    def _performance_starts(self) -> np.ndarray:
        return np.cumsum([0, *(part.manifest["counts"]["performances"] for part in self._parts)])

    def waveform(self, speech: int, *, part: slice = slice(None)) -> Float32[np.ndarray, " sample"]:
        """Samples of one piece of speech in -1..1 at `sample_rate`, or a `part` of them; see `Corpus.waveform`."""
        home, own = self._locate(speech, self._speech_starts)
        return home.waveform(own, part=part)

    def motion(
        self, performance: int, *, blink_and_gaze: bool = False, part: slice = slice(None)
    ) -> Float32[np.ndarray, "frame channel"]:
        """Motion of one performance at `frame_rate`, or a `part` of its frames; see `Corpus.motion`."""
        home, own = self._locate(performance, self._performance_starts)
        return home.motion(own, blink_and_gaze=blink_and_gaze, part=part)

    def _locate(self, index: int, starts: np.ndarray) -> tuple[Corpus, int]:
        place = range(int(starts[-1]))[index]
        which = int(np.searchsorted(starts, place, side="right")) - 1
        return self._parts[which], place - int(starts[which])


def _names(corpus: Corpus, kind: str) -> Iterable[tuple[str, str]]:
    """(speaker or sentence, split) of all rows that have one."""
    yield from zip(corpus.speech.column(kind), corpus.speech.column("split"))
    if kind == "speaker":
        yield from zip(corpus.performances.column(kind), corpus.performances.column("split"))


def _manifest(parts: Sequence[Corpus]) -> dict[str, Any]:
    """A manifest that says of the mix what those of its parts say of them."""
    manifests = [part.manifest for part in parts]
    splits: dict[str, dict[str, float]] = {}
    for manifest in manifests:
        for name, entry in manifest["splits"].items():
            total = splits.setdefault(name, dict.fromkeys(entry, 0))
            for key, value in entry.items():
                total[key] = round(total[key] + value, 3)
    performers = [manifest["performer"]["version"] for manifest in manifests if manifest["performer"]]
    kept = ("format", "version", "rig", "channels", "frame_rate", "sample_rate")
    return {name: manifests[0][name] for name in kept} | {
        "provenance": " | ".join(dict.fromkeys(manifest["provenance"] for manifest in manifests)),
        "license": " | ".join(dict.fromkeys(manifest["license"] for manifest in manifests)),
        "performer": {"version": " + ".join(dict.fromkeys(performers))} if performers else None,
        "config": None,
        "parts": [part.hash for part in parts],
        "splits": splits,
        "disjoint": {
            kind: all(manifest["disjoint"][kind] for manifest in manifests) for kind in manifests[0]["disjoint"]
        },
        "counts": {key: sum(manifest["counts"][key] for manifest in manifests) for key in manifests[0]["counts"]},
        "hash": hashlib.sha256("".join(part.hash for part in parts).encode()).hexdigest(),
    }
