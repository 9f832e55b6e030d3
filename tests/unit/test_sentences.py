"""The stored sentences: many, rich in sounds, split; and sentences of a user's file."""

import re
from collections import Counter
from itertools import pairwise

import pytest

from deeptalk.corpus.performer.event import PHONES
from deeptalk.corpus.sentences import load_sentences, sentences_of_file
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.errors import UserError


def test_there_are_thousands_all_different_and_well_formed():
    sentences = load_sentences()
    assert len(sentences) >= 3000
    assert len({s.text.lower() for s in sentences}) == len({s.name for s in sentences}) == len(sentences)
    for sentence in sentences:
        assert 4 <= len(sentence.text.split()) <= 14
        assert re.fullmatch(r"[A-Z][A-Za-z' ,.\-]*[.?]", sentence.text), sentence.text
        assert not re.search(r"\ba [aeio]|\ban [^aeiouh]|\b(\w+) \1\b", sentence.text), sentence.text


def test_splits_are_a_tenth_each_and_hold_no_sentence_of_the_demo():
    counts = Counter(sentence.split for sentence in load_sentences())
    total = sum(counts.values())
    assert counts["val"] == counts["test"] == total // 10
    assert not {e.text for e in demo_speech()} & {sentence.text for sentence in load_sentences()}


def test_every_phone_and_most_diphones_occur_and_lips_have_work():
    pytest.importorskip("hibari")
    from deeptalk.corpus.synthesis.hibari import phonemes_of
    from deeptalk.corpus.synthesis.phonemes import pronounced

    words = {w for s in load_sentences() for w in re.findall(r"[A-Za-z'\-]+", s.text)}
    assert len(words) > 1200
    counts, diphones = Counter(), Counter()
    for sentence in load_sentences()[::8]:
        phones = [symbol for symbol, _ in pronounced(phonemes_of(sentence.text))]
        counts.update(phones)
        diphones.update(pairwise(phones))
    assert set(counts) == set(PHONES) - {"SIL"}
    total = sum(counts.values())
    assert min(counts.values()) > 0.002 * total
    assert sum(counts[lip] for lip in ("P", "B", "M", "F", "V", "W")) > 0.14 * total
    assert len(diphones) > 850


def test_sentences_of_a_file(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\n".join([f"Sentence number {'x' * n}." for n in range(1, 21)] * 2) + "\n\n")
    sentences = sentences_of_file(path)
    assert [s.split for s in sentences].count("val") == [s.split for s in sentences].count("test") == 2
    assert len(sentences) == 20
    assert sentences[0].name == "line_00001"
    path.write_text("One.\nTwo.\n")
    with pytest.raises(UserError, match="holds 2 different sentences; expected at least 10"):
        sentences_of_file(path)
    with pytest.raises(UserError, match="Cannot read sentences"):
        sentences_of_file(tmp_path / "none.txt")
