"""How much of the acting the speech leaves open: entropies of the known distribution, and of what was drawn."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from deeptalk.corpus.format import Corpus
from deeptalk.corpus.inspect_counts import emotion_name
from deeptalk.corpus.performer import VARIANTS, AffectCode, Performer
from deeptalk.errors import UserError

REPEATED_LABEL = "speech+label+speaker"
"""Draws of this kind repeat the emotion of another: they would make it look more certain than it is."""


def entropy_nats(values: Sequence[Hashable]) -> float:
    """Entropy of the shares of the values, in nats."""
    counts = np.array(list(Counter(values).values()), float)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def conditional_entropy_nats(values: Sequence[Hashable], given: Sequence[Hashable]) -> float:
    """H(value | given) of paired samples, in nats."""
    total = 0.0
    for condition, count in Counter(given).items():
        total += count / len(given) * entropy_nats([v for v, g in zip(values, given) if g == condition])
    return total


def entropies_of(corpus: Corpus) -> dict[str, Any]:
    """Entropies of the performances as they are, and exact ones of the performer where its speech has affect codes."""
    found: dict[str, Any] = {}
    drawn = [row for row in corpus.performances if row.emotion >= 0 and row.given != REPEATED_LABEL]
    if drawn:
        acted = [row.emotion for row in drawn]
        found["drawn"] = {"performances": len(drawn), "emotion": entropy_nats(acted)}
        if any(row.reading for row in drawn):
            found["drawn"]["reading_given_emotion"] = conditional_entropy_nats([row.reading for row in drawn], acted)
        labels = corpus.speech.column("emotion")
        heard = [(row, labels[row.speech]) for row in drawn if row.speech is not None and labels[row.speech] >= 0]
        if heard:
            found["drawn"]["emotion_given_label"] = conditional_entropy_nats(
                [row.emotion for row, _ in heard], [label for _, label in heard]
            )
            found["drawn"]["emotion_and_reading_given_label"] = conditional_entropy_nats(
                [(row.emotion, row.reading) for row, _ in heard], [label for _, label in heard]
            )
    known = _known(corpus)
    return found | ({"known": known} if known else {})


def _known(corpus: Corpus) -> dict[str, Any]:
    """H(emotion, reading | affect) by audible class, exact from the tables of the performer that made the corpus."""
    made_by = (corpus.manifest.get("performer") or {}).get("version")
    rows = [row for row in corpus.speech if row.affect]
    if not made_by or not rows:
        return {}
    performer = _performer_of(made_by)
    by_class: dict[int, list[float]] = {}
    try:
        for row in rows:
            affect = AffectCode(**row.affect)  # type: ignore[arg-type]
            by_class.setdefault(affect.sound_class, []).append(performer.conditional_entropy(affect))
    except TypeError as error:  # codes of a version with other fields
        raise UserError(f"{corpus.folder} has affect codes that this version does not know ({error}).") from error
    return {
        "version": made_by,
        "same_version": made_by == performer.version,
        "mean": float(np.mean([value for values in by_class.values() for value in values])),
        "by_audible_class": {emotion_name(index): float(np.mean(by_class[index])) for index in sorted(by_class)},
    }


def _performer_of(version: str) -> Performer:
    """The variant of the performer whose name a version begins with, else the standard one."""
    return Performer.variant(next((name for name in VARIANTS if version.startswith(f"{name}-")), "standard"))
