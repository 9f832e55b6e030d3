"""Speech of eSpeak NG inside `praat-parselmouth` (GPL-3, the optional extra `voice-gpl`, for making data only)."""

import atexit
import functools
import importlib.util
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, Phone
from deeptalk.corpus.synthesis import hibari
from deeptalk.corpus.synthesis.changed import changed, formant_warp
from deeptalk.corpus.synthesis.phonemes import pronounced
from deeptalk.corpus.synthesis.sound import Sound
from deeptalk.corpus.synthesis.stress import with_stress
from deeptalk.corpus.synthesis.voices import Voice
from deeptalk.errors import UserError

LANGUAGE = "English (America)"
WORDS_PER_MINUTE = 160.0
GAP_SECONDS = 0.06
"""Silences up to this long between words are no pauses: a stop's closure, or part of both neighbours."""
Label = tuple[str, float, float]
"""IPA or nothing, start and end in seconds."""
_STOPS = ("P", "B", "T", "D", "K", "G", "CH", "JH")
_MISSING = (
    "Voices of praat need the package praat-parselmouth (GPL-3), which is not installed. "
    'Install it with: pip install "deeptalk[voice-gpl]" - or use the engines hibari and joe.'
)

ARPABET: dict[str, str] = {
    **dict(b="B", d="D", f="F", h="HH", j="Y", k="K", l="L", m="M", n="N", p="P", s="S", t="T", v="V", w="W", z="Z"),
    **{"ɡ": "G", "ŋ": "NG", "ɹ": "R", "ʃ": "SH", "ʒ": "ZH", "θ": "TH", "ð": "DH", "tʃ": "CH", "dʒ": "JH", "ɾ": "D"},
    **{"ʔ": "T", "r": "R", "x": "K", "ɬ": "L"},
    **{"ɑː": "AA", "ɑ": "AA", "æ": "AE", "a": "AE", "aː": "AA", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "ɔː": "AO"},
    **{"ɛ": "EH", "e": "EH", "ɚ": "ER", "ɜː": "ER", "ɜ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "iː": "IY", "ʊ": "UH"},
    **{"uː": "UW", "u": "UW", "oː": "AO", "o": "OW", "aʊ": "AW", "aɪ": "AY", "eɪ": "EY", "oʊ": "OW", "ɔɪ": "OY"},
    **{"ɑːɹ": "AA R", "ɔːɹ": "AO R", "oːɹ": "AO R", "ɛɹ": "EH R", "ɪɹ": "IH R", "ʊɹ": "UH R", "əl": "AH L"},
    **{"aɪə": "AY AH", "aɪɚ": "AY ER", "iə": "IY AH", "n̩": "AH N", "m̩": "AH M", "l̩": "AH L", "aʊɚ": "AW ER"},
}
"""eSpeak's American English in IPA to ARPAbet; some of its labels are two phones, which share their time."""


class _Speaker:
    """The process that speaks; each line is spoken as if it were the first, since eSpeak remembers earlier ones."""

    def __init__(self) -> None:
        if importlib.util.find_spec("parselmouth") is None:
            raise UserError(_MISSING)
        script = Path(__file__).with_name("praat_process.py")
        self.process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.process.kill)

    def speak(self, speaker: str, text: str, words_per_minute: float) -> tuple[list[Label], np.ndarray]:
        """Labels and samples (sample,) at 16 kHz of one sentence."""
        settings = (SAMPLE_RATE, 0.01, 1.0, 1.0, words_per_minute, "IPA")
        request = {"language": LANGUAGE, "speaker": speaker, "settings": settings, "text": text}
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            head_size, sample_size = struct.unpack("<II", self._read(8))
            head, samples = json.loads(self._read(head_size)), self._read(sample_size)
        except (OSError, struct.error, json.JSONDecodeError) as error:
            _speaker.cache_clear()
            raise UserError(f"eSpeak's process ended while it spoke {text!r} ({error}).") from error
        if "error" in head:
            raise UserError(f"Praat could not speak {text!r} with voice {speaker} ({head['error']}).")
        return [(label, start, end) for label, start, end in head["labels"]], np.frombuffer(samples, "<f4")

    def _read(self, size: int) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.read(size)


@functools.lru_cache(maxsize=1)
def _speaker(process: int) -> _Speaker:
    """One for each process of ours: a forked worker must not share its parent's pipes."""
    return _Speaker()


def say(text: str, affect: AffectCode, voice: Voice, seed: int) -> Sound:
    """Speak one sentence.

    Raises UserError where an extra (`voice-gpl`, and `voice` for the stress of words) is missing, or where the text has
    a sound without ARPAbet counterpart.
    """
    warp = formant_warp(affect, voice)
    rate = affect.rate_factor * voice.rate_factor / warp
    labels, plain = _speaker(os.getpid()).speak(voice.speaker, text, WORDS_PER_MINUTE * rate)
    samples = changed(plain, SAMPLE_RATE, affect, voice, seed)
    played = [(label, start / warp, end / warp) for label, start, end in labels]
    phones = phones_from_labels(played, len(samples) / SAMPLE_RATE)
    return Sound(samples, with_stress(phones, pronounced(hibari.phonemes_of(text))))


def phones_from_labels(labels: list[Label], sound_seconds: float) -> list[Phone]:
    """Phones that tile a sound from eSpeak's labels (IPA or nothing, start and end in seconds).

    Raises UserError for a label without ARPAbet counterpart.
    """
    starts: list[tuple[str, float]] = [(SILENCE, 0.0)]
    for place, (label, start, end) in enumerate(labels):
        if label == "":
            if end - start > GAP_SECONDS or place + 1 == len(labels):
                starts.append((SILENCE, start))
            continue
        if label not in ARPABET:
            raise UserError(f"No ARPAbet phone is known for eSpeak's {label!r}; spell the word differently.")
        if place and labels[place - 1][0] == "" and (gap := start - labels[place - 1][1]) <= GAP_SECONDS:
            start -= gap if ARPABET[label].split()[0] in _STOPS else 0.5 * gap
        symbols = ARPABET[label].split()
        starts += [(symbol, start + part * (end - start) / len(symbols)) for part, symbol in enumerate(symbols)]
    kept = [entry for place, entry in enumerate(starts) if not (place and entry[0] == starts[place - 1][0] == SILENCE)]
    ends = [start for _, start in kept[1:]] + [sound_seconds]
    return [Phone(symbol, start, end) for (symbol, start), end in zip(kept, ends) if end > start]
