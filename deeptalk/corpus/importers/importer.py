"""What an importer is: it finds clips in a folder of somebody's data and reads each, or says why it cannot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from deeptalk.corpus.performer import Phone
from deeptalk.errors import UserError


class Refusal(UserError):
    """A clip that cannot be imported: a short kind that is counted, and what is wrong with this clip."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Note:
    """Something that was mended in a clip, or that its reader should know."""

    kind: str
    """Short and the same for all clips with it: it is counted."""
    text: str


@dataclass(frozen=True, eq=False)
class ImportedMotion:
    """One motion of a clip, at 25 Hz in the channels of the rig `arkit`."""

    motion: np.ndarray
    """(frame, 52) float32, 0..1."""
    emotion: int = -1
    intensity: float = 0.0
    reading: str = ""
    given: str = ""
    style: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class ImportedClip:
    """One piece of speech with its motions, speech alone, or motion alone."""

    name: str
    """Unique in the corpus; becomes the id of the speech."""
    split: str
    samples: np.ndarray | None
    """(sample,) float32 mono at 16 kHz in -1..1; None for motion alone."""
    motions: Sequence[ImportedMotion]
    """Each has exactly the frames of the samples; empty for speech alone."""
    speaker: str = ""
    sentence: str = ""
    text: str = ""
    emotion: int = -1
    """Index in `deeptalk.emotions.EMOTIONS` of the label; -1 where there is none."""
    intensity: float | None = None
    """0..1 of the label; None where it is not known."""
    phones: Sequence[Phone] = ()
    origin: dict[str, Any] | None = None
    """Source file and what else is known of the recording; JSON values."""
    notes: Sequence[Note] = ()


@dataclass(frozen=True)
class Take:
    """One recording in the source, read when its turn comes."""

    name: str
    read: Callable[[], Sequence[ImportedClip]]
    """Gives its clips; raises Refusal (or another UserError) where it cannot be imported."""


@dataclass(frozen=True)
class Scan:
    """What an importer found in a source."""

    takes: Sequence[Take]
    provenance: str
    license: str
    skipped: Sequence[tuple[str, Note]] = ()
    """Files that are not recordings of this kind, with the reason: they are counted too."""
    performer: dict[str, Any] | None = None
    """Version and settings of the performer, where it made the motion."""
    warnings: list[str] = field(default_factory=list)
    """What is odd about the source as a whole; filled while the takes are read, too."""
    finish: Callable[[], Sequence[tuple[str, Note]]] = tuple
    """Called once all takes were read: warns of what only the whole set shows, and gives more skipped files."""


@runtime_checkable
class Importer(Protocol):
    """Reads one kind of data that people have."""

    @property
    def kind(self) -> str:
        """Name by which it is asked for."""

    @property
    def summary(self) -> str:
        """What it reads, in one line."""

    @property
    def options(self) -> type[Any]:
        """Config dataclass of its settings."""

    def scan(self, source: Path, options: Any) -> Scan:
        """Find what there is in a folder; raises UserError where the folder holds nothing of this kind."""
