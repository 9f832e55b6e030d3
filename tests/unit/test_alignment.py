"""Alignment of recordings with their text: against exact times, over words nobody knows, and what is refused."""

import json
import sys
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deeptalk.corpus import alignment
from deeptalk.corpus.alignment import align, words_of
from deeptalk.corpus.performer.event import SILENCE, SpeechEvent
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.errors import UserError


@pytest.fixture
def sphinx():
    pytest.importorskip("pocketsphinx")


def test_starts_agree_with_the_exact_ones_of_synthesis(sphinx):
    differences = []
    for event in demo_speech()[:48:6]:
        phones = align(event.samples, event.text)
        SpeechEvent(event.samples, phones, event.text, "x", "x")  # they tile the clip
        exact = [p for p in event.phones if p.symbol != SILENCE]
        found = [p for p in phones if p.symbol != SILENCE]
        matcher = SequenceMatcher(None, [p.symbol for p in exact], [p.symbol for p in found], autojunk=False)
        for block in matcher.get_matching_blocks():
            pairs = zip(exact[block.a : block.a + block.size], found[block.b : block.b + block.size])
            differences += [one.start_seconds - other.start_seconds for one, other in pairs]
    assert len(differences) > 60
    assert np.median(np.abs(differences)) < 0.025
    assert np.percentile(np.abs(differences), 90) < 0.08


def test_the_same_clip_aligns_alike_whatever_came_before(sphinx):
    one, other = demo_speech()[0], demo_speech()[40]
    first = align(one.samples, one.text)
    align(0.01 * other.samples, other.text)
    assert align(one.samples, one.text) == first


def test_stress_comes_with_the_phones(sphinx):
    pytest.importorskip("hibari")
    event = demo_speech()[0]  # Bob bought five fresh apples yesterday.
    phones = align(event.samples, event.text)
    assert next(p.stress for p in phones if p.symbol == "AA") == 1
    assert {p.stress for p in phones if p.symbol == "AH"} == {0}


def test_words_that_the_dictionary_lacks_are_pronounced_or_named(sphinx, monkeypatch):
    pytest.importorskip("hibari")
    event = demo_speech()[0]
    unknown = event.text.replace("Bob", "Bobb")
    phones = [p.symbol for p in align(event.samples, unknown) if p.symbol != SILENCE]
    assert phones[:3] == ["B", "AA", "B"]
    monkeypatch.setattr(alignment.hibari, "phonemes_of", _no_voice)
    with pytest.raises(UserError, match="word 'bobbblo' is not in the aligner's dictionary"):
        align(event.samples, event.text.replace("Bob", "Bobbblo"))


def _no_voice(text):
    raise UserError("hibari is missing")


def test_words_of_a_text():
    assert words_of("Don’t stop: the café's well-known, Ann!") == [
        "don't",
        "stop",
        "the",
        "cafe's",
        "well",
        "known",
        "ann",
    ]
    with pytest.raises(UserError, match="holds '3rd'; write numbers out"):
        words_of("On the 3rd of May.")
    with pytest.raises(UserError, match="holds no words"):
        words_of("...!")


def test_what_does_not_fit_is_refused(sphinx):
    event = demo_speech()[0]
    long_text = " ".join(["geography mathematics philosophy architecture"] * 8)
    with pytest.raises(UserError, match="could not be aligned"):
        align(event.samples[:8000], long_text)
    with pytest.raises(UserError, match="is silent"):
        align(np.zeros(16_000, np.float32), event.text)
    with pytest.raises(UserError, match="NaN"):
        align(np.full(16_000, np.nan, np.float32), event.text)
    with pytest.raises(UserError, match=r"lasts 61 s; at most 60"):
        align(np.ones(61 * 16_000, np.float32), event.text)
    with pytest.raises(UserError, match=r"shape \(2, 16000\)"):
        align(np.zeros((2, 16_000), np.float32), event.text)


def test_missing_extra_is_named(monkeypatch):
    alignment._decoder.cache_clear()
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(UserError, match=r'pip install "deeptalk\[align\]"'):
        align(demo_speech()[0].samples, "hello")
    alignment._decoder.cache_clear()


@pytest.mark.shared
def test_real_speech_agrees_with_the_stored_alignment(sphinx):
    folder = Path(__file__).parents[3] / "shared" / "data" / "ravdess16k"
    stored = json.loads((folder / "align_pocketsphinx.json").read_text())
    differences = []
    for path in sorted(folder.rglob("*.flac"))[::240]:
        text = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}[path.stem.split("-")[4]]
        phones = [p for p in align(soundfile.read(path, dtype="float32")[0], text) if p.symbol != SILENCE]
        known = [entry for entry in stored.get(path.stem, []) if entry[1] != "SIL"]
        if [entry[1] for entry in known] == [p.symbol for p in phones]:
            differences += [abs(p.start_seconds - entry[2] / 100) for p, entry in zip(phones, known)]
    assert len(differences) > 20
    assert np.median(differences) <= 0.02


@pytest.mark.shared
def test_soft_and_drawn_out_speech_aligns_whole(sphinx):
    folder = Path(__file__).parents[3] / "shared" / "data" / "ravdess16k"
    for name in ("03-01-02-02-02-02-05", "03-01-04-01-01-02-09", "03-01-06-02-01-01-06"):  # calm, sad, screamed
        text = {"01": "kids are talking by the door", "02": "dogs are sitting by the door"}[name.split("-")[4]]
        phones = [p for p in align(soundfile.read(folder / f"{name}.flac", dtype="float32")[0], text)]
        assert [p.symbol for p in phones if p.symbol != SILENCE][-6:] in (
            ["AY", "DH", "AH", "D", "AO", "R"],
            ["AY", "DH", "IY", "D", "AO", "R"],
        )
