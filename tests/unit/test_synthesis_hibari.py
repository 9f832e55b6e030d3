"""Synthesis: phone times from durations, edits of the voice, the missing extra."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from deeptalk.corpus.performer import AffectCode
from deeptalk.corpus.performer.event import SILENCE
from deeptalk.corpus.synthesis import VOICES, hibari, synthesize, voice_named
from deeptalk.corpus.synthesis.phonemes import phones_from_durations
from deeptalk.corpus.synthesis.spectra import edited_f0
from deeptalk.errors import UserError

NEUTRAL = AffectCode(0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)


def test_missing_extra_names_the_extra_and_the_alternative(monkeypatch):
    hibari._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(UserError, match=r'pip install "deeptalk\[voice\]".*vendored demo speech'):
        synthesize("Hello there.", NEUTRAL, VOICES["amber"])
    hibari._engine.cache_clear()


def test_phones_from_durations():
    """'bˈɜɹd.': the stress mark's frames go to the vowel, the r colours it, all is 50 ms early, pauses are silence."""
    durations = np.array([10, 2, 3, 2, 4, 5, 6, 1])
    phones = phones_from_durations("bˈɜɹd.", durations, sound_seconds=0.825)
    assert [(p.symbol, p.stress) for p in phones] == [(SILENCE, 0), ("B", 0), ("ER", 1), ("D", 0), (SILENCE, 0)]
    starts = [p.start_seconds for p in phones]
    assert starts == pytest.approx([0.0, 0.200, 0.250, 0.475, 0.600])
    assert phones[-1].end_seconds == pytest.approx(0.825)


def test_a_blank_is_shared_by_its_neighbours_and_parts_r_from_its_schwa():
    phones = phones_from_durations("ə ɹ", np.array([4, 2, 2, 2, 4]), sound_seconds=0.35)
    assert [p.symbol for p in phones] == [SILENCE, "AH", "R"]
    assert phones[2].start_seconds == pytest.approx(0.175 - 0.050)


def test_unknown_sounds_are_refused():
    with pytest.raises(UserError, match="No ARPAbet phone"):
        phones_from_durations("ø", np.array([1, 1, 1]), 0.1)
    with pytest.raises(UserError, match="Unknown voice 'oak'"):
        voice_named("oak")


def test_pitch_edit_moves_mean_and_range_and_leaves_the_unvoiced():
    f0 = np.array([0.0, 150.0, 200.0, 250.0, 0.0], np.float32)
    voiced = f0 > 40
    moved = edited_f0(f0, voiced, replace(NEUTRAL, pitch_semitones=2.0, pitch_range_factor=1.5), VOICES["cedar"])
    before, after = np.log2(f0[voiced]), np.log2(moved[voiced])
    assert after.mean() - before.mean() == pytest.approx(2 / 12 + np.log2(0.78), abs=1e-5)
    assert after.std() / before.std() == pytest.approx(1.5, abs=1e-5)
    assert (moved[~voiced] == 0).all()


@pytest.fixture(scope="module")
def spoken():
    pytest.importorskip("hibari")
    return synthesize("Bob may move.", NEUTRAL, VOICES["amber"], seed=1)


def test_synthesis_repeats_and_has_phones_to_its_end(spoken):
    again = synthesize("Bob may move.", NEUTRAL, VOICES["amber"], seed=1)
    assert np.array_equal(spoken.samples, again.samples)
    assert not np.array_equal(spoken.samples, synthesize("Bob may move.", NEUTRAL, VOICES["amber"], seed=2).samples)
    assert [p.symbol for p in spoken.phones] == ["SIL", "B", "AA", "B", "M", "EY", "M", "UW", "V", "SIL"]
    assert spoken.phones[-1].end_seconds == pytest.approx(spoken.seconds, abs=1e-6)


def test_level_breath_tilt_and_rate_do_what_they_say(spoken):
    def speak(**settings):
        return synthesize("Bob may move.", replace(NEUTRAL, **settings), VOICES["amber"], seed=1)

    def band(event, low, high):
        power = np.abs(np.fft.rfft(event.samples)) ** 2
        hertz = np.fft.rfftfreq(len(event.samples), 1 / 16000)
        return 10 * np.log10(power[(hertz >= low) & (hertz < high)].sum())

    louder = speak(level_decibels=4.0)
    assert 20 * np.log10(np.std(louder.samples) / np.std(spoken.samples)) == pytest.approx(4.0, abs=0.05)
    bright = speak(tilt_decibels_per_octave=2.0)
    assert band(bright, 2000, 4000) - band(bright, 200, 800) > band(spoken, 2000, 4000) - band(spoken, 200, 800) + 2
    assert [p.symbol for p in bright.phones] == [p.symbol for p in spoken.phones]
    assert np.allclose([p.end_seconds for p in bright.phones], [p.end_seconds for p in spoken.phones], atol=0.03)
    assert speak(rate_factor=0.7).seconds > 1.15 * spoken.seconds
    breathy = speak(breath_decibels=12.0)
    assert np.corrcoef(breathy.samples[:8000], spoken.samples[:8000])[0, 1] < 0.999


def test_a_longer_vocal_tract_has_lower_formants(spoken):
    def centroid(event):
        power = np.abs(np.fft.rfft(event.samples)) ** 2
        hertz = np.fft.rfftfreq(len(event.samples), 1 / 16000)
        return (power * hertz).sum() / power.sum()

    long_tract = synthesize("Bob may move.", NEUTRAL, replace(VOICES["amber"], spectral_warp=0.8), seed=1)
    assert centroid(long_tract) < 0.93 * centroid(spoken)


def test_several_sentences_are_refused(spoken):
    with pytest.raises(UserError, match="Expected one sentence"):
        synthesize("One is here. Two are there.", NEUTRAL, VOICES["amber"])
