"""What the performer hears: speech with phone times and, where known, its audible affect."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.errors import UserError

SAMPLE_RATE = 16_000
SILENCE = "SIL"

VOWELS: tuple[str, ...] = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS: tuple[str, ...] = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG"),
    *("P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
PHONES: tuple[str, ...] = (SILENCE, *VOWELS, *CONSONANTS)
"""The 39 phones of the CMU dictionary (ARPAbet without stress digits) and silence."""


@dataclass(frozen=True)
class Phone:
    """One phone of a clip."""

    symbol: str
    """ARPAbet symbol without its stress digit, one of `PHONES`."""
    start_seconds: float
    end_seconds: float
    stress: int = 0
    """Of vowels: 1 primary, 2 secondary, 0 none; consonants and silence have 0."""

    @property
    def middle_seconds(self) -> float:
        """Middle of the phone."""
        return 0.5 * (self.start_seconds + self.end_seconds)


@dataclass(frozen=True)
class SpeechEvent:
    """A piece of speech as the performer needs it.

    Raises UserError where the phones do not tile the clip: they start at 0, each begins where the one before ended,
    and the last ends with the samples (within a millisecond).
    """

    samples: np.ndarray
    """float32 (sample,), mono at 16 kHz."""
    phones: Sequence[Phone]
    text: str
    speaker: str
    sentence: str
    """Identifier of the text: two events of one sentence say the same words."""
    affect: AffectCode | None = None
    """The audible affect; None for real speech, whose affect is not known."""
    split: str | None = None
    """train, val or test, for vendored speech."""

    def __post_init__(self) -> None:
        if not len(self.phones):
            raise UserError(f"Speech of {self.speaker!r} ({self.text!r}) has no phones; align it first.")
        edge = 0.0
        for phone in self.phones:
            if phone.symbol not in PHONES:
                raise UserError(
                    f"Unknown phone {phone.symbol!r} in {self.text!r}; expected ARPAbet: {' '.join(PHONES)}."
                )
            if abs(phone.start_seconds - edge) > 1e-3 or phone.end_seconds <= phone.start_seconds:
                raise UserError(
                    f"Phone {phone.symbol} of {self.text!r} runs from {phone.start_seconds:.3f} to "
                    f"{phone.end_seconds:.3f} s, expected a start at {edge:.3f} s and an end after it; "
                    "fill gaps with SIL phones."
                )
            edge = phone.end_seconds
        if abs(edge - self.seconds) > 1e-3:
            raise UserError(f"Phones of {self.text!r} end at {edge:.3f} s, but the sound lasts {self.seconds:.3f} s.")

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.samples) / SAMPLE_RATE
