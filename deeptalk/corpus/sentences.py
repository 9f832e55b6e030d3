"""What is said: the stored sentences, and any text file, with a split for every sentence."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from deeptalk.corpus.performer import SpeechEvent
from deeptalk.errors import UserError


@dataclass(frozen=True)
class Sentence:
    """One sentence."""

    name: str
    text: str
    split: Literal["train", "val", "test"]
    """Where it is said: splits share no sentence."""


@functools.lru_cache(maxsize=1)
def load_sentences() -> tuple[Sentence, ...]:
    """The stored sentences: our own, CC0, phonetically rich, without emotion in the words.

    Made by `scripts/build_sentences.py`; of every ten, one is for validation and one for test.
    """
    path = Path(str(resources.files("deeptalk"))) / "corpus" / "assets" / "sentences.txt"
    return _with_splits(path.read_text(encoding="utf-8").splitlines(), "s")


def sentences_of_file(path: str | Path) -> tuple[Sentence, ...]:
    """The different sentences of a UTF-8 text file, one a line; of every ten, one is for validation and one for test.

    Raises UserError where the file cannot be read or holds fewer than ten different sentences.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read sentences from {path} ({error}); give a UTF-8 text file.") from error
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(texts) < 10:
        raise UserError(f"{path} holds {len(texts)} different sentences; expected at least 10, one a line.")
    return _with_splits(texts, "line_")


def _with_splits(texts: Sequence[str], prefix: str) -> tuple[Sentence, ...]:
    held_out: dict[int, Literal["val", "test"]] = {8: "val", 9: "test"}
    return tuple(
        Sentence(f"{prefix}{number + 1:05d}", text, held_out.get(number % 10, "train"))
        for number, text in enumerate(texts)
    )


def demo_events() -> list[SpeechEvent]:
    """The vendored clips: 128 train, 16 val, 24 test."""
    from deeptalk.corpus.synthesis import demo_speech

    return demo_speech()
