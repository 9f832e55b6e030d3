"""Make deeptalk/corpus/assets/sentences.txt again: python scripts/build_sentences.py (needs the extra `voice`).

Our own sentences, CC0: those of `sentences_by_hand.txt`, and the phonetically richest of many that a small grammar of
everyday statements and questions gives. No words that carry an emotion: the affect is in the voice.
"""

import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from sentence_grammar import TEMPLATES, WORDS

from deeptalk.corpus.synthesis.hibari import phonemes_of
from deeptalk.corpus.synthesis.phonemes import pronounced
from deeptalk.files import write_text

SEED = 20261121
COUNT = 4000
POOL = 24_000
TRIED_AT_A_TIME = 60
"""Candidates of which the best is taken: the fewer, the more alike the frequencies of English stay."""
MOST_WORDS, LEAST_WORDS = 14, 4
HERE = Path(__file__).parent
TARGET = HERE.parent / "deeptalk" / "corpus" / "assets" / "sentences.txt"


def symbols_of(text: str) -> list[str]:
    """ARPAbet symbols of a text, without pauses and stress."""
    return [symbol for symbol, _ in pronounced(phonemes_of(text))]


def from_grammar(generator: np.random.Generator) -> str:
    """One sentence: a template whose slots are filled with different words of their kinds."""
    template = TEMPLATES[int(generator.integers(len(TEMPLATES)))]
    used: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        choices = [word for word in WORDS[match[1]] if word not in used]
        word = choices[int(generator.integers(len(choices)))]
        used.add(word)
        return word

    text = re.sub(r"\{(\w+)\}", fill, template)
    text = re.sub(r"\ba (?=[aeiou])(?!us|ewe)", "an ", text)
    return text[0].upper() + text[1:]


def richest(texts: list[str], chosen: list[str], count: int, generator: np.random.Generator) -> list[str]:
    """Add texts until there are `count`, each time that of a few with the rarest diphones and the freshest words."""
    sounds = {text: [*pairwise(symbols_of(text))] for text in (*texts, *chosen)}
    diphones = Counter(diphone for text in chosen for diphone in sounds[text])
    words = Counter(word for text in chosen for word in text.lower().split())
    chosen, rest = list(chosen), list(texts)
    while len(chosen) < count:
        places = generator.choice(len(rest), TRIED_AT_A_TIME, replace=False)

        def gain(place: int) -> float:
            text = rest[place]
            rare = np.mean([1.0 / (1.0 + diphones[diphone]) for diphone in sounds[text]])
            fresh = np.mean([1.0 / (1.0 + words[word]) for word in text.lower().split()])
            return float(rare + fresh)

        best = max((int(place) for place in places), key=gain)
        text = rest.pop(best)
        chosen.append(text)
        diphones.update(sounds[text])
        words.update(text.lower().split())
    return chosen


def main() -> None:
    """Write the sentences and print what is in them."""
    generator = np.random.default_rng(SEED)
    by_hand = (HERE / "sentences_by_hand.txt").read_text(encoding="utf-8").splitlines()
    pool = dict.fromkeys(from_grammar(generator) for _ in range(2 * POOL))
    fitting = [text for text in pool if LEAST_WORDS <= len(text.split()) <= MOST_WORDS and text not in by_hand]
    chosen = richest(fitting[:POOL], by_hand, COUNT, generator)
    order = generator.permutation(len(chosen))
    write_text(TARGET, "".join(f"{chosen[int(place)]}\n" for place in order))
    sys.stdout.write(f"{len(chosen)} sentences, {len(by_hand)} by hand, written to {TARGET}\n{report(chosen)}\n")


def report(texts: list[str]) -> str:
    """Words, phones per 1000 and diphones of some texts."""
    phones = [symbols_of(text) for text in texts]
    counts = Counter(symbol for sequence in phones for symbol in sequence)
    diphones = Counter(diphone for sequence in phones for diphone in pairwise(sequence))
    total = sum(counts.values())
    vocabulary = {word.strip(".,?'").lower() for text in texts for word in text.split()}
    lines = [
        f"{len(vocabulary)} different words, {total} phones, {len(diphones)} of {39 * 39} diphones within a sentence "
        f"({sum(n >= 5 for n in diphones.values())} at least five times)",
        "per 1000 phones: " + ", ".join(f"{symbol} {1000 * n / total:.1f}" for symbol, n in counts.most_common()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
