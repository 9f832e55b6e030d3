"""The vendored demo speech: splits, sound, phone times, audible affect."""

import functools
import shutil

import numpy as np
import pytest
import swift_f0

from deeptalk.corpus.performer.event import SILENCE, VOWELS
from deeptalk.corpus.synthesis import DEMO_VOICES, demo_speech
from deeptalk.corpus.synthesis.vendored import default_folder, write_speech
from deeptalk.errors import UserError


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-9)


@functools.cache
def pitch():
    """log2 F0 of the voiced frames of every clip of two voices."""
    detector = swift_f0.SwiftF0(threads=1, spin=False)
    found = []
    for event in demo_speech():
        if event.speaker in ("birch", "fern"):
            result = detector.detect(event.samples, 16_000, fmin=50, fmax=600)
            found.append((event, np.log2(result.pitch_hz[result.confidence > 0.7])))
    return found


def test_splits_are_disjoint_by_voice_and_sentence():
    events = demo_speech()
    counts = {split: sum(e.split == split for e in events) for split in ("train", "val", "test")}
    assert counts == {"train": 128, "val": 16, "test": 24}
    for key in ("speaker", "sentence", "text"):
        groups = [{getattr(e, key) for e in events if e.split == split} for split in counts]
        assert sum(map(len, groups)) == len(set.union(*groups))
    assert {e.speaker: e.split for e in events} == {voice.name: voice.split for voice in DEMO_VOICES}
    for sentence in {e.sentence for e in events}:
        assert sorted(e.affect.sound_class for e in events if e.sentence == sentence) == list(range(8))


def test_it_is_small():
    assert sum(path.stat().st_size for path in default_folder().glob("demo_speech*")) <= 1_100_000


def test_sound_is_clean_and_phones_end_with_it():
    for event in demo_speech():
        assert event.samples.dtype == np.float32
        assert 1.0 < event.seconds < 5.0
        assert np.abs(event.samples).max() < 0.99
        assert -50 < decibels(event.samples) < -12
        assert event.phones[0].symbol == event.phones[-1].symbol == SILENCE
        assert event.phones[-1].end_seconds == pytest.approx(event.seconds, abs=1e-3)
        for rest in (event.phones[0], event.phones[-1]):
            assert 0.14 < rest.end_seconds - rest.start_seconds < 0.61


def contrast(shift_seconds):
    """Mean level of vowels less that of stops and silences, in dB, with phone times moved."""
    levels = {True: [], False: []}
    for event in demo_speech()[::3]:
        for phone in event.phones:
            if phone.symbol in (*VOWELS, "P", "T", "K", SILENCE):
                edges = np.array([phone.start_seconds, phone.end_seconds]) + shift_seconds
                part = event.samples[max(int(edges[0] * 16000), 0) : int(edges[1] * 16000)]
                if len(part) > 100:
                    levels[phone.symbol in VOWELS].append(decibels(part))
    return np.mean(levels[True]) - np.mean(levels[False])


def test_phone_times_fit_the_sound():
    """Vowels are louder than stops and pauses, and most so at the stated times: an error of 40 ms would show."""
    here = contrast(0.0)
    assert here > 18
    assert here > contrast(0.04) + 1.5
    assert here > contrast(-0.04) + 1.5


def test_affect_is_audible_in_pitch():
    def statistic(name, function):
        return np.mean([function(p) for event, p in pitch() if event.affect.class_name == name])

    assert statistic("surprised", np.std) > statistic("sad", np.std)
    for name in ("surprised", "happy", "angry", "fearful"):
        assert statistic(name, np.mean) > statistic("neutral", np.mean) > statistic("calm", np.mean) - 0.1
    shifts = [(event.affect.pitch_semitones / 12, p.mean()) for event, p in pitch() if event.speaker == "birch"]
    assert np.corrcoef(np.array(shifts).T)[0, 1] > 0.9


def test_affect_is_audible_in_level_and_rate():
    def mean_of(name, function):
        return np.mean([function(e) for e in demo_speech() if e.affect.class_name == name])

    assert mean_of("angry", lambda e: decibels(e.samples)) > mean_of("sad", lambda e: decibels(e.samples)) + 6
    for sentence in ("demo_01", "demo_21"):
        spoken = [
            (1 / e.affect.rate_factor, e.phones[-1].start_seconds - e.phones[0].end_seconds)
            for e in demo_speech()
            if e.sentence == sentence
        ]
        assert np.corrcoef(np.array(spoken).T)[0, 1] > 0.95


def test_what_is_written_is_read_back(tmp_path):
    events = demo_speech()[:3]
    write_speech(tmp_path, events, {"made_by": "test"})
    for event, read in zip(events, demo_speech(tmp_path)):
        assert (read.text, read.speaker, read.sentence, read.split) == (
            event.text,
            event.speaker,
            event.sentence,
            event.split,
        )
        assert read.affect == event.affect
        assert [p.symbol for p in read.phones] == [p.symbol for p in event.phones]
        assert np.allclose([p.end_seconds for p in read.phones], [p.end_seconds for p in event.phones], atol=1e-3)
        correlation = np.correlate(read.samples, event.samples[200:-200], mode="valid")
        assert abs(int(correlation.argmax()) - 200) <= 16  # Opus keeps its place within a millisecond


def test_damaged_files_are_refused(tmp_path):
    for path in default_folder().glob("demo_speech*"):
        shutil.copy(path, tmp_path)
    with open(tmp_path / "demo_speech_val.ogg", "r+b") as file:
        file.write(b"oops")
    with pytest.raises(UserError, match=r"demo_speech_val\.ogg is missing or damaged"):
        demo_speech(tmp_path)
