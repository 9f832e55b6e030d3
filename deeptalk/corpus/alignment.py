"""Phone times of a recording whose words are known, by pip `pocketsphinx` (BSD-2, extra `align`)."""

import functools
import re
import unicodedata
from typing import Any

import numpy as np

from deeptalk.corpus.performer.event import PHONES, SAMPLE_RATE, SILENCE, Phone
from deeptalk.corpus.synthesis import hibari
from deeptalk.corpus.synthesis.phonemes import pronounced
from deeptalk.corpus.synthesis.stress import with_stress
from deeptalk.errors import UserError

FRAME_SECONDS = 0.010
LONGEST_SECONDS = 60.0
"""Longer recordings are refused: the aligner's search grows with the square of their length."""
BEAM = 1e-200
"""How much less likely than the best a path may be; noise louder than the speech needs more, and aligns to nonsense."""
_PHONE_WORD = "phone_"
_MISSING = (
    "Aligning speech with its text needs the package pocketsphinx, which is not installed. "
    'Install it with: pip install "deeptalk[align]" - or give phone times with the recording.'
)


def align(samples: np.ndarray, text: str) -> list[Phone]:
    """Phones of a recording that says `text`; they tile it.

    Stress comes from the pronunciation of the extra `voice` where that is installed, and is 0 otherwise. The words are
    taken as given: others of about the same length are put to the sound without a complaint.

    Args:
        samples: (sample,) float, mono at 16 kHz, full scale 1.0.
        text: the words said, in English; numerals and signs must be written out.

    Raises UserError where a package is missing, a word is in no dictionary, the text has no words, the recording is
    silent or too long, or where the search does not reach the end of the text.
    """
    samples = np.asarray(samples, np.float32)
    _check(samples, text)
    words = words_of(text)
    seconds = len(samples) / SAMPLE_RATE
    found = _aligned(samples, words)
    if found is None:
        raise UserError(
            f"The recording ({seconds:.1f} s) could not be aligned with {text!r}; check that it says just these words, "
            "and that the speech is louder than the noise."
        )
    return _stressed(_tiling(found, seconds), text)


def words_of(text: str) -> list[str]:
    """The words of a text as dictionaries spell them; UserError where there are none, or there are numerals."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'")).encode("ascii", "ignore").decode().lower()
    if found := re.search(r"\S*\d\S*", plain):
        raise UserError(f"The text holds {found.group()!r}; write numbers out in words.")
    words = re.findall(r"[a-z]+(?:'[a-z]+)*", plain.replace("-", " "))
    if not words:
        raise UserError(f"The text {text!r} holds no words; give what is said.")
    return words


def _check(samples: np.ndarray, text: str) -> None:
    if samples.ndim != 1 or len(samples) < SAMPLE_RATE // 10:
        raise UserError(f"The samples have shape {samples.shape}; expected (sample,) of 0.1 s or more at 16 kHz.")
    if len(samples) > LONGEST_SECONDS * SAMPLE_RATE:
        raise UserError(
            f"The recording lasts {len(samples) / SAMPLE_RATE:.0f} s; at most {LONGEST_SECONDS:.0f} s are aligned at "
            "once. Cut it into sentences."
        )
    if not np.isfinite(samples).all():
        raise UserError("The samples hold NaN or infinity; export the recording again.")
    if not np.abs(samples).max() > 1e-4:
        raise UserError(f"The recording of {text!r} is silent.")


@functools.lru_cache(maxsize=1)
def _decoder() -> Any:
    try:
        import pocketsphinx
    except ImportError as error:
        raise UserError(_MISSING) from error
    # The best path through the lattice of words, pocketsphinx's default, may skip words of the text.
    options = {"lm": None, "bestpath": False, "loglevel": "FATAL", "samprate": SAMPLE_RATE}
    decoder = pocketsphinx.Decoder(**options, beam=BEAM, wbeam=BEAM, pbeam=BEAM)
    for symbol in PHONES:
        if symbol != SILENCE:
            decoder.add_word(_PHONE_WORD + symbol.lower(), symbol, True)
    return decoder


def _aligned(samples: np.ndarray, words: list[str]) -> list[tuple[str, int]] | None:
    """(ARPAbet symbol, or another name for silence, first frame), or None where the search does not reach the end.

    Words are found first, then the states of their phones. Where the second search gets lost, which it does easily in
    drawn-out speech, the phones are found as if each were a word: without their context, but with room for pauses.
    """
    decoder = _decoder()
    for word in words:
        _add_if_unknown(decoder, word)
    pcm = np.clip(np.round(samples * 32767.0), -32768, 32767).astype("<i2").tobytes()
    try:
        said = _searched(decoder, pcm, words)
    except RuntimeError:
        return None
    if said is None:
        return None
    try:
        decoder.set_alignment()
        _process(decoder, pcm)
        return [(phone.name, phone.start) for word in decoder.get_alignment() for phone in word]
    except RuntimeError:
        phones = [symbol for name, _ in said if name[0] not in "<[+" for symbol in decoder.lookup_word(name).split()]
        found = _searched(decoder, pcm, [_PHONE_WORD + symbol.lower() for symbol in phones])
        return found and [(name.removeprefix(_PHONE_WORD).upper(), first) for name, first in found]


def _searched(decoder: Any, pcm: bytes, words: list[str]) -> list[tuple[str, int]] | None:
    """(word or pronunciation variant, first frame) of every word and silence, or None if not all words were found."""
    decoder.set_align_text(" ".join(words))
    _process(decoder, pcm)
    hypothesis = decoder.hyp()
    if hypothesis is None or hypothesis.hypstr.split() != words:
        return None
    return [(segment.word, segment.start_frame) for segment in decoder.seg()]


def _process(decoder: Any, pcm: bytes) -> None:
    # The mean of the features adapts from clip to clip; started afresh, a result depends on its clip only.
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _add_if_unknown(decoder: Any, word: str) -> None:
    """Put a word that the aligner's dictionary lacks into it, as hibari pronounces it."""
    if decoder.lookup_word(word) is not None:
        return
    try:
        symbols = [symbol for symbol, _ in pronounced(hibari.phonemes_of(word))]
    except UserError as error:
        raise UserError(
            f"The word {word!r} is not in the aligner's dictionary and could not be pronounced ({error}); "
            "check its spelling."
        ) from error
    decoder.add_word(word, " ".join(symbols), True)


def _tiling(found: list[tuple[str, int]], seconds: float) -> list[Phone]:
    """Phones from the first to the last instant of the recording; neighbouring silences become one."""
    starts: list[tuple[str, float]] = [(SILENCE, 0.0)]
    for name, first in found:
        symbol = name if name in PHONES else SILENCE
        if not (symbol == SILENCE and starts[-1][0] == SILENCE):
            starts.append((symbol, first * FRAME_SECONDS))
    ends = [start for _, start in starts[1:]] + [seconds]
    return [Phone(symbol, start, end) for (symbol, start), end in zip(starts, ends) if end > start]


def _stressed(phones: list[Phone], text: str) -> list[Phone]:
    try:
        return with_stress(phones, [entry for part in hibari.sentences_of(text) for entry in pronounced(part)])
    except UserError:
        return phones
