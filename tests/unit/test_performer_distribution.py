"""The known truth: draws follow the tables, keep what they promise, and repeat."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import chisquare

from deeptalk.corpus.performer import AffectCode, Performer, Phone, SpeechEvent, draw_affect
from deeptalk.corpus.performer.affect import affect_from_settings, audible_class, audible_strength
from deeptalk.corpus.performer.distribution import (
    CONFUSION,
    conditional_entropy,
    draw_choice,
    joint_probabilities,
    mean_intensity,
)
from deeptalk.corpus.performer.readings import READINGS, reading_probabilities, readings_of
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.face import load_rig


@pytest.fixture(scope="module")
def performer():
    return Performer(load_rig("arkit"))


def short_event(affect):
    samples = 0.1 * np.sin(np.arange(6400) * 0.05).astype(np.float32)
    phones = (Phone("SIL", 0.0, 0.1), Phone("M", 0.1, 0.2), Phone("AA", 0.2, 0.35, 1), Phone("SIL", 0.35, 0.4))
    return SpeechEvent(samples, phones, "ma", "tester", "ma", affect)


SAD = AffectCode(EMOTIONS.index("sad"), 0.6, -2.0, 0.6, 0.8, -5.0, 5.0, -1.0)


def test_every_row_of_the_tables_sums_to_one():
    assert np.allclose(CONFUSION.sum(1), 1.0, atol=1e-12)
    assert (CONFUSION >= 0).all()
    for emotion in range(8):
        own = readings_of(emotion)
        assert len(own) >= 2
        for intensity in (0.0, 0.3, 1.0):
            assert reading_probabilities(own, intensity).sum() == pytest.approx(1.0)
    assert max(len(readings_of(emotion)) for emotion in range(8)) >= 3


def test_sad_and_calm_sound_alike():
    calm, sad = EMOTIONS.index("calm"), EMOTIONS.index("sad")
    for row, other in ((calm, sad), (sad, calm)):
        rest = np.delete(CONFUSION[row], [calm, sad])
        assert CONFUSION[row, other] > 2 * rest.max() or CONFUSION[row, other] > 0.25


def test_performances_follow_the_tables(performer):
    draws = performer.performances(short_event(SAD), 2000, seed=3)
    joint = joint_probabilities(SAD)
    possible = {key: p for key, p in joint.items() if p > 0}
    counts = [sum((d.emotion_name, d.reading) == key for d in draws) for key in possible]
    assert sum(counts) == 2000
    assert chisquare(counts, [2000 * p for p in possible.values()]).pvalue > 0.01
    emotions = np.bincount([d.emotion for d in draws], minlength=8)
    row = CONFUSION[SAD.sound_class]
    assert emotions[row == 0].sum() == 0
    assert chisquare(emotions[row > 0], 2000 * row[row > 0]).pvalue > 0.01
    sad_intensity = np.array([d.intensity for d in draws if d.emotion == SAD.sound_class])
    assert sad_intensity.mean() == pytest.approx(mean_intensity(SAD.sound_class, SAD.strength), abs=0.02)


def test_entropy_is_that_of_the_draws_and_differs_between_classes():
    generator = np.random.default_rng(0)
    keys = [(c.emotion, c.reading.name) for c in (draw_choice(SAD, generator) for _ in range(6000))]
    counts = np.unique([f"{e} {r}" for e, r in keys], return_counts=True)[1] / len(keys)
    assert conditional_entropy(SAD) == pytest.approx(-(counts * np.log(counts)).sum(), abs=0.04)
    assert sum(joint_probabilities(SAD).values()) == pytest.approx(1.0)
    entropies = [
        conditional_entropy(AffectCode(sound_class, 0.5, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0))
        for sound_class in range(len(EMOTIONS))
    ]
    assert max(entropies) - min(entropies) > 0.5


def test_same_seed_same_motion_other_seed_other(performer):
    event = demo_speech()[0]
    first, again, other = (performer.performances(event, 2, seed=seed) for seed in (5, 5, 6))
    assert all(np.array_equal(a.motion, b.motion) and a.style == b.style for a, b in zip(first, again))
    assert not any(np.array_equal(a.motion, b.motion) for a, b in zip(first, other))
    assert not np.array_equal(first[0].motion, first[1].motion)


def test_performance_i_does_not_depend_on_how_many(performer):
    event = demo_speech()[9]
    few, many = performer.performances(event, 2, seed=1), performer.performances(event, 5, seed=1)
    assert all(np.array_equal(a.motion, b.motion) for a, b in zip(few, many))


def test_label_and_speaker_keep_what_they_say_and_draw_the_rest(performer):
    event = short_event(SAD)
    like = next(p for p in performer.performances(event, 50) if p.emotion_name == "sad")
    drawn = performer.performances(event, 60, given="speech+label+speaker", like=like, seed=2)
    assert {p.emotion for p in drawn} == {like.emotion}
    assert {p.intensity for p in drawn} == {like.intensity}
    assert all(p.style == like.style for p in drawn)
    assert {p.reading for p in drawn} == {reading.name for reading in readings_of(like.emotion)}
    assert len({p.motion.tobytes() for p in drawn}) == 60
    styles = {tuple(p.style.values()) for p in performer.performances(event, 20)}
    assert len(styles) == 20


def test_speech_of_unknown_affect_needs_a_prior(performer):
    unknown = short_event(None)
    with pytest.raises(UserError, match="class_prior"):
        performer.performances(unknown, 1)
    with pytest.raises(UserError, match="class_prior"):
        performer.performances(short_event(SAD), 1, class_prior="uniform")
    only_angry = np.eye(8)[EMOTIONS.index("angry")]
    drawn = performer.performances(unknown, 120, class_prior=list(only_angry))
    assert np.mean([p.emotion_name == "angry" for p in drawn]) == pytest.approx(CONFUSION[4, 4], abs=0.1)
    uniform = performer.performances(unknown, 80, class_prior="uniform")
    assert len({p.emotion for p in uniform}) == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(k=0), "k=0"),
        (dict(k=1, given="words"), "given='words'"),
        (dict(k=1, given="speech+label+speaker"), "like"),
    ],
)
def test_contradictory_requests_are_refused(performer, arguments, words):
    with pytest.raises(UserError, match=words):
        performer._check_request(short_event(SAD), like=None, class_prior=None, **{"given": "speech"} | arguments)


def test_the_affect_code_is_a_function_of_audible_settings():
    generator = np.random.default_rng(0)
    for sound_class in range(8):
        strengths = []
        for _ in range(50):
            affect = draw_affect(sound_class, generator)
            assert affect.sound_class == sound_class == audible_class(affect.settings())
            assert affect.strength == pytest.approx(audible_strength(affect.settings()))
            assert affect_from_settings(affect.settings()).pitch_semitones == pytest.approx(affect.pitch_semitones)
            strengths.append(affect.strength)
        assert (np.ptp(strengths) > 0.5) == (sound_class != 0)


def test_version_changes_with_the_repertoire(performer):
    one_each = tuple(readings_of(emotion)[0] for emotion in range(8))
    with pytest.raises(UserError, match="sum to"):
        Performer(load_rig("arkit"), one_each)
    from dataclasses import replace

    single = tuple(replace(reading, weak=1.0, strong=1.0) for reading in one_each)
    control = Performer(load_rig("arkit"), single)
    assert control.version != performer.version == Performer(load_rig("arkit"), READINGS).version
    drawn = control.performances(short_event(SAD), 40)
    assert all(p.reading == readings_of(p.emotion)[0].name for p in drawn)
    assert len(performer.describe()["readings"]) == len(READINGS)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("distribution.INTENSITY_CONCENTRATION", 13.0),
        ("affect.CLASS_SETTINGS", np.zeros((8, 6))),
        ("affect.STRONGEST_GAIN", 1.4),
        ("style.EMPHASIS_RANGE", (0.0, 0.1)),
        ("style.TIMING_RANGES", {"onset_seconds": (0.0, 0.0)}),
        ("mouth.DIPHTHONG_ENDS", {"AW": "UW"}),
        ("mouth.JAW_SECONDS", 0.05),
        ("visemes.JAW_DOMINANCE", {}),
        ("lips.TEETH_GAP_METRES", 0.003),
        ("emotion.LEAST_AMPLITUDE", 0.5),
        ("emotion.UPPER_FACE", ("AU1",)),
        ("frames.FRAME_RATE", 50.0),
        ("performer.SMILE_LIMIT", 0.7),
    ],
)
def test_version_changes_with_every_constant(performer, monkeypatch, place, value):
    before = performer.version
    monkeypatch.setattr(f"deeptalk.corpus.performer.{place}", value)
    assert performer.version != before


def test_version_changes_with_the_rig(performer):
    from dataclasses import replace

    rig = load_rig("arkit")
    deltas = rig.deltas.copy()
    deltas[3, 100, 1] += 1e-4
    assert Performer(replace(rig, deltas=deltas)).version != performer.version
    assert Performer(replace(rig)).version == performer.version


def test_version_is_that_of_another_process(performer):
    code = "from deeptalk.corpus.performer import Performer; from deeptalk.face import load_rig; "
    code += "print(Performer(load_rig('arkit')).version)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == performer.version


def test_phones_must_tile_the_clip():
    samples = np.zeros(1600, np.float32)
    with pytest.raises(UserError, match=r"expected a start at 0\.050"):
        SpeechEvent(samples, (Phone("AA", 0.0, 0.05), Phone("M", 0.06, 0.1)), "am", "x", "am")
    with pytest.raises(UserError, match="sound lasts"):
        SpeechEvent(samples, (Phone("AA", 0.0, 0.05),), "a", "x", "a")
    with pytest.raises(UserError, match="Unknown phone 'AX'"):
        SpeechEvent(samples, (Phone("AX", 0.0, 0.1),), "a", "x", "a")
