"""The known truth: draws follow the tables, keep what they promise, and repeat."""

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import chisquare

from deeptalk.corpus.performer import VARIANTS, AffectCode, Performer, Phone, SpeechEvent, draw_affect
from deeptalk.corpus.performer import version as version_module
from deeptalk.corpus.performer.affect import affect_from_settings, audible_class, audible_strength
from deeptalk.corpus.performer.distribution import CONFUSION, Truth
from deeptalk.corpus.performer.life import GROUP, OTHERS
from deeptalk.corpus.performer.parameters import Parameters
from deeptalk.corpus.performer.performer import _check_request
from deeptalk.corpus.performer.readings import reading_probabilities, readings_of
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
        assert len(own) >= 3
        for intensity in (0.0, 0.3, 1.0):
            assert reading_probabilities(own, intensity).sum() == pytest.approx(1.0)


def test_sad_and_calm_sound_alike():
    calm, sad = EMOTIONS.index("calm"), EMOTIONS.index("sad")
    for row, other in ((calm, sad), (sad, calm)):
        rest = np.delete(CONFUSION[row], [calm, sad])
        assert CONFUSION[row, other] > 2 * rest.max() or CONFUSION[row, other] > 0.25


def test_performances_follow_the_tables(performer):
    draws = [acting.choice for acting in performer.draw(short_event(SAD), 2000, seed=3)]
    joint = Truth().joint_probabilities(SAD)
    possible = {key: p for key, p in joint.items() if p > 0}
    counts = [sum((EMOTIONS[d.emotion], d.reading.name) == key for d in draws) for key in possible]
    assert sum(counts) == 2000
    assert chisquare(counts, [2000 * p for p in possible.values()]).pvalue > 0.01
    emotions = np.bincount([d.emotion for d in draws], minlength=8)
    row = CONFUSION[SAD.sound_class]
    assert emotions[row == 0].sum() == 0
    assert chisquare(emotions[row > 0], 2000 * row[row > 0]).pvalue > 0.01
    sad_intensity = np.array([d.intensity for d in draws if d.emotion == SAD.sound_class])
    assert sad_intensity.mean() == pytest.approx(Truth().mean_intensity(SAD.sound_class, SAD.strength), abs=0.02)


def test_entropy_is_that_of_the_draws_and_differs_between_classes():
    generator = np.random.default_rng(0)
    keys = [(c.emotion, c.reading.name) for c in (Truth().draw_choice(SAD, generator) for _ in range(6000))]
    counts = np.unique([f"{e} {r}" for e, r in keys], return_counts=True)[1] / len(keys)
    assert Truth().conditional_entropy(SAD) == pytest.approx(-(counts * np.log(counts)).sum(), abs=0.04)
    assert sum(Truth().joint_probabilities(SAD).values()) == pytest.approx(1.0)
    entropies = [
        Truth().conditional_entropy(AffectCode(sound_class, 0.5, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0))
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
        (dict(k=1, given="speech+label+speaker"), "like"),
        (dict(k=1, label=(3, 0.5)), "exactly where the affect is unknown"),
        (dict(k=1, label=(8, 0.5)), "index of an emotion"),
        (dict(k=1, label=(2, 1.5)), "intensity from 0 to 1"),
    ],
)
def test_contradictory_requests_are_refused(performer, arguments, words):
    with pytest.raises(UserError, match=words):
        performer.performances(short_event(SAD), **arguments)


def test_an_unknown_kind_of_draws_is_refused():
    with pytest.raises(UserError, match="given='words' is unknown"):
        _check_request(short_event(SAD), 1, "words", None, None, None)


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


def test_a_label_is_acted_as_told(performer):
    drawn = performer.performances(short_event(None), 40, label=(EMOTIONS.index("happy"), 0.7))
    assert {(p.emotion_name, p.intensity) for p in drawn} == {("happy", 0.7)}
    assert {p.reading for p in drawn} == {reading.name for reading in readings_of(EMOTIONS.index("happy"))}
    assert len({tuple(p.style.values()) for p in drawn}) == 40


def test_the_control_has_one_performance_of_a_piece_of_speech():
    control = Performer.variant("one_reading")
    first, second, third = control.performances(short_event(SAD), 3)
    assert np.array_equal(first.motion[:, OTHERS], second.motion[:, OTHERS])
    assert np.array_equal(first.motion[:, OTHERS], third.motion[:, OTHERS])
    assert {p.emotion for p in (first, second, third)} == {SAD.sound_class}
    assert first.intensity == pytest.approx(0.25 + 0.6 * SAD.strength)
    assert control.conditional_entropy(SAD) == 0.0
    loud = replace(SAD, sound_class=EMOTIONS.index("angry"))
    assert control.performances(short_event(loud), 1)[0].emotion_name == "angry"


def test_the_judges_performer_means_the_same_and_acts_otherwise(performer):
    judge, event = Performer.variant("judge"), demo_speech()[12]
    ours, theirs = performer.performances(event, 30), judge.performances(event, 30)
    assert [(p.emotion, p.reading) for p in ours] == [(p.emotion, p.reading) for p in theirs]
    assert judge.conditional_entropy(event.affect) == performer.conditional_entropy(event.affect)
    assert np.mean([np.abs(a.motion - b.motion).mean() for a, b in zip(ours, theirs)]) > 0.01


def test_variants_are_told_apart_by_their_version(performer):
    versions = [Performer.variant(name).version for name in VARIANTS]
    assert [version.partition("-")[0] for version in versions] == list(VARIANTS) == ["standard", "one_reading", "judge"]
    assert len({version.partition("-")[2] for version in versions}) == 3
    assert versions[0] == performer.version
    with pytest.raises(UserError, match="standard, one_reading, judge"):
        Performer.variant("jduge")


def test_probabilities_must_sum_to_one():
    one_each = tuple(readings_of(emotion)[0] for emotion in range(8))
    with pytest.raises(UserError, match="sum to"):
        Truth(readings=one_each)
    with pytest.raises(UserError, match="8 rows"):
        Truth(confusion=CONFUSION[:7])


def every_parameter():
    parts = {"truth": Parameters().truth, "mouth": Parameters().mouth}
    parts |= {"acting": Parameters().acting, "style": Parameters().style}
    return [(part, entry.name) for part, value in parts.items() for entry in fields(value)]


@pytest.mark.parametrize(("part", "name"), every_parameter())
def test_version_changes_with_every_parameter(performer, part, name):
    standard = getattr(Parameters(), part)
    value = getattr(standard, name)
    if name == "readings":
        changed = (replace(value[0], pace=1.01), *value[1:])
    elif name == "confusion":
        changed = value[[1, 0, *range(2, 8)]]
    elif name == "action_units":
        changed = {**value, "AU1": {"browInnerUp": 0.99}}
    else:
        changed = tuple(np.array(value) + 0.01) if isinstance(value, tuple) else value + 0.01
    other = Parameters(**{part: replace(standard, **{name: changed})})
    assert Performer(performer.rig, other).version != performer.version


def test_version_changes_with_the_code_and_not_with_its_comments(performer, monkeypatch):
    read = version_module.read_source

    def edited(old, new):
        def source(module):
            text = read(module)
            return text.replace(old, new) if module.endswith(".mouth") else text

        assert old in read("deeptalk.corpus.performer.mouth")
        monkeypatch.setattr(version_module, "read_source", source)
        return Performer(performer.rig).version

    assert edited("** 1.5", "** 1.6") != performer.version
    assert edited("CONTROL_RATE = 100\n", "CONTROL_RATE = 50\n") != performer.version
    assert edited('"""Factor (control,) on the opening', '"""Gain (control,) on the opening') == performer.version
    assert edited("CONTROL_RATE = 100\n", "CONTROL_RATE  =  100  # Hertz\n\n\n") == performer.version


def test_indentation_and_strings_are_code():
    code = version_module.code_text
    assert code("if a:\n    b()\nc()\n") != code("if a:\n    b()\n    c()\n")
    assert code("x = 'one'\n") != code("x = 'two'\n")
    assert code("def f():\n    'doc'\n    return 1\n") == code("def f():\n    return 1\n")
    assert code("f(a,\n  b)\n") == code("f(a, b)\n")


def test_blinks_and_gaze_are_a_group_of_their_own(performer):
    """The same draws with another seed of the life layer: only the ten columns of blinks and gaze differ."""
    event = demo_speech()[30]
    acting = performer.draw(event, 1)[0]
    first, second = (performer.perform(event, replace(acting, life_seed=seed)).motion for seed in (1, 2))
    assert np.array_equal(first[:, OTHERS], second[:, OTHERS])
    assert not np.array_equal(first[:, GROUP], second[:, GROUP])
    assert len(GROUP) == 10
    life_seeds = {acting.life_seed for acting in performer.draw(event, 20)}
    assert len(life_seeds) == 20


def test_version_changes_with_the_rig(performer):
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
