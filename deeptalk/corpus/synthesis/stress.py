"""Stress for phones of an engine or aligner that has none, from hibari's pronunciation of the same words."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from deeptalk.corpus.performer.event import VOWELS, Phone


def with_stress(phones: Sequence[Phone], pronounced: Sequence[tuple[str, int]]) -> list[Phone]:
    """Phones whose vowels carry the stress of the vowels that they correspond to.

    Args:
        phones: phones of a clip.
        pronounced: (ARPAbet symbol, stress) of the same words, from whatever dictionary.
    """
    own = [(place, phone.symbol) for place, phone in enumerate(phones) if phone.symbol in VOWELS]
    other = [(symbol, stress) for symbol, stress in pronounced if symbol in VOWELS]
    stressed = list(phones)
    matcher = SequenceMatcher(None, [symbol for _, symbol in own], [symbol for symbol, _ in other], autojunk=False)
    for _, first, end, other_first, other_end in matcher.get_opcodes():
        # Where the dictionaries differ, vowels go with one another in order.
        for (place, _), (_, stress) in zip(own[first:end], other[other_first:other_end]):
            stressed[place] = replace(stressed[place], stress=stress)
    return stressed
