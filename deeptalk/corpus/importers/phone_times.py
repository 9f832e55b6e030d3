"""Phone times from a file: the JSON that pocketsphinx alignments are kept in, as phones that tile a clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeptalk.corpus.importers.importer import Refusal
from deeptalk.corpus.performer import Phone
from deeptalk.corpus.performer.event import PHONES, SILENCE, VOWELS
from deeptalk.errors import UserError
from deeptalk.files import read_json

UNIT_SECONDS = 0.01
LATE_SECONDS = 0.15
"""An alignment that ends so much after the sound was made of another copy of it."""

Segment = tuple[str, str, int, int]
"""Word, phone, start and duration in units of 10 ms."""


def read_phone_times(path: str | Path) -> dict[str, list[Segment]]:
    """Read {clip: [[word, phone, start, duration], ...]}; raises UserError naming the first entry that is not that."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{path} does not hold alignments; expected a JSON object of clip: [[word, phone, start, duration], ...]."
        )
    return {name: [_segment(path, name, one) for one in _list(path, name, value)] for name, value in content.items()}


def _list(path: str | Path, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{path}: {name!r} holds {value!r}; expected a list of [word, phone, start, duration].")
    return value


def _segment(path: str | Path, name: str, one: Any) -> Segment:
    if isinstance(one, list) and len(one) == 4:
        word, phone, start, duration = one
        if isinstance(word, str) and isinstance(phone, str) and isinstance(start, int) and isinstance(duration, int):
            return word, phone, start, duration
    raise UserError(
        f"{path}: {name!r} holds {one!r}; expected [word, phone, start, duration], times whole numbers of 10 ms."
    )


def tiled_phones(segments: Sequence[Segment], seconds: float, stressed: Mapping[str, int]) -> list[Phone]:
    """Segments as phones that fill the clip from 0 to `seconds`, with silence where nothing is said.

    `stressed` gives, by word, the number of the vowel (from 0) that bears primary stress, which the aligner does not
    say; words that are not there bear none. What is no ARPAbet phone (breath, noise) is silence.

    Raises Refusal where the times overlap or run past the end of the sound.
    """
    phones: list[Phone] = []
    edge, vowel, last_word = 0.0, -1, ""
    for word, symbol, start, duration in segments:
        begin, end = start * UNIT_SECONDS, (start + duration) * UNIT_SECONDS
        outside = end > seconds + LATE_SECONDS or (begin >= seconds and symbol != SILENCE)
        if begin < edge - 1e-6 or duration < 1 or outside:
            raise Refusal(
                "alignment does not fit",
                f"its alignment puts {symbol} of {word!r} at {begin:.2f} to {end:.2f} s, after {edge:.2f} s and in "
                f"{seconds:.2f} s of sound: it was made of another copy; align this one.",
            )
        if begin >= seconds:
            break
        word = word.split("(")[0]
        symbol = symbol if symbol in PHONES else SILENCE
        vowel = (vowel if word == last_word else -1) + (symbol in VOWELS)
        stress = int(symbol in VOWELS and stressed.get(word) == vowel)
        _append(phones, SILENCE, edge, begin)
        _append(phones, symbol, begin, min(end, seconds), stress)
        edge, last_word = min(end, seconds), word
    _append(phones, SILENCE, edge, seconds)
    return phones


def _append(phones: list[Phone], symbol: str, start: float, end: float, stress: int = 0) -> None:
    """Add a phone unless it is empty; silence after silence makes the one before longer."""
    if end - start < 1e-9:
        return
    if phones and symbol == SILENCE == phones[-1].symbol:
        start = phones.pop().start_seconds
    phones.append(Phone(symbol, start, end, stress))
