"""Phone times out of hibari: its phoneme string and durations, as ARPAbet phones.

Two facts measured on 21 sentences, against the energy of the sound and against a pocketsphinx alignment (481 phone
starts): the network's durations run 50 ms behind the sound (medians -50 and -57 ms), and the times fit best when a
stress mark's frames go to the vowel after it and a blank's are shared between its neighbours.
"""

from collections.abc import Sequence

import numpy as np

from deeptalk.corpus.performer.event import SILENCE, Phone
from deeptalk.errors import UserError

UNIT_SECONDS = 0.025
"""Length of hibari's unit of duration."""
LEAD_SECONDS = 0.050
"""How far the sound runs ahead of the durations."""

ARPABET: dict[str, str] = {
    **dict(A="EY", I="AY", O="OW", W="AW", Y="OY", i="IY", u="UW", T="T", h="HH", j="Y"),
    **{"ɪ": "IH", "ɛ": "EH", "æ": "AE", "ɑ": "AA", "ɔ": "AO", "ʊ": "UH", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɜ": "ER"},
    **{"ᵊ": "AH", "ᵻ": "IH", "ɒ": "AA", "ɚ": "ER", "ɡ": "G", "ŋ": "NG", "ɹ": "R", "ʃ": "SH", "ʒ": "ZH", "ʤ": "JH"},
    **{"ʧ": "CH", "θ": "TH", "ð": "DH", "ɾ": "D", "ʔ": "T"},
    **{letter: letter.upper() for letter in "bdfklmnpstvwz"},
}
"""Hibari's phoneme alphabet (misaki's, American English) to ARPAbet; capital T is a flapped t."""

_PAUSES = ";:,.!?—…"
_STRESS = {"ˈ": 1, "ˌ": 2}
_IGNORED = '"()“” '


def phones_from_durations(
    phonemes: str,
    durations: np.ndarray,
    sound_seconds: float,
    *,
    unit_seconds: float = UNIT_SECONDS,
    lead_seconds: float = LEAD_SECONDS,
) -> list[Phone]:
    """Phones that tile a sound of `sound_seconds`.

    Args:
        phonemes: hibari's phoneme string of one sentence.
        durations: (phoneme + 2,) in units, with the pads at both ends.
        sound_seconds: length of the sound.
        unit_seconds: length of the unit; hibari's by default.
        lead_seconds: how far the sound runs ahead of the durations; hibari's by default.

    Raises UserError for a symbol that has no ARPAbet counterpart.
    """
    edges = np.concatenate([[0.0], np.cumsum(durations)]) * unit_seconds - lead_seconds
    starts: list[tuple[str, float, int]] = [(SILENCE, 0.0, 0)]
    stress, early, schwa_end = 0, 0.0, -1
    for place, mark in enumerate(phonemes, start=1):
        length = edges[place + 1] - edges[place]
        if mark in _STRESS:
            stress, early = _STRESS[mark], early + length
        elif mark in _IGNORED:
            early += 0.5 * length
        elif mark in _PAUSES:
            starts.append((SILENCE, edges[place] - early, 0))
            early = 0.0
        elif mark == "ɹ" and schwa_end == place and early == 0.0:
            symbol, start, old_stress = starts[-1]
            starts[-1] = ("ER", start, old_stress)
        elif mark in ARPABET:
            starts.append((ARPABET[mark], edges[place] - early, stress))
            stress, early = 0, 0.0
            schwa_end = place + 1 if mark in "əɜ" else -1
        else:
            raise UserError(f"No ARPAbet phone is known for {mark!r} in {phonemes!r}; spell the word differently.")
    return _tile(starts, sound_seconds)


def _tile(starts: Sequence[tuple[str, float, int]], sound_seconds: float) -> list[Phone]:
    """Phones between successive starts; neighbouring silences become one."""
    kept: list[tuple[str, float, int]] = []
    for symbol, start, stress in starts:
        if not (kept and symbol == SILENCE and kept[-1][0] == SILENCE):
            kept.append((symbol, start, stress))
    ends = [start for _, start, _ in kept[1:]] + [sound_seconds]
    return [Phone(symbol, start, end, stress) for (symbol, start, stress), end in zip(kept, ends)]


def pronounced(phonemes: str) -> list[tuple[str, int]]:
    """(ARPAbet symbol, stress) of a phoneme string, without pauses."""
    phones = phones_from_durations(phonemes, np.full(len(phonemes) + 2, 4.0), 0.1 * (len(phonemes) + 2))
    return [(phone.symbol, phone.stress) for phone in phones if phone.symbol != SILENCE]
