"""The motion: closures, vowels, limits, readings as modes, and dependence on level and rate."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from deeptalk.corpus.performer import Acting, Performer, Phone, SpeechEvent
from deeptalk.corpus.performer.distribution import Choice
from deeptalk.corpus.performer.emotion import emotion_pose
from deeptalk.corpus.performer.event import VOWELS
from deeptalk.corpus.performer.facs import UNITS
from deeptalk.corpus.performer.life import OTHERS
from deeptalk.corpus.performer.lips import lip_below_teeth
from deeptalk.corpus.performer.mouth import MouthParameters, mouth_curves, split_diphthongs, undershoot_gain
from deeptalk.corpus.performer.parameters import Parameters
from deeptalk.corpus.performer.readings import READINGS
from deeptalk.corpus.performer.style import Style, StyleParameters
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.emotions import EMOTIONS
from deeptalk.face import BLINK_AND_GAZE, CHANNELS, load_rig
from deeptalk.face.lids import lid_margins
from deeptalk.speech import frame_count

PLAIN = Style(upper_gain=1.0, lower_gain=1.0, articulation_gain=1.0, emphasis=0.2, asymmetry=0.03)


@pytest.fixture(scope="module")
def rig():
    return load_rig("arkit")


@pytest.fixture(scope="module")
def performer(rig):
    return Performer(rig)


def choice_of(reading, intensity=0.6):
    emotion = EMOTIONS.index(reading.emotion)
    return Choice(emotion, 0.0 if emotion == 0 else intensity, reading)


def timing_of(seed=0):
    return StyleParameters().draw_timing(np.random.default_rng(seed), len(UNITS))


def act(performer, event, reading, seed=0, intensity=0.6):
    return performer.perform(event, Acting(choice_of(reading, intensity), PLAIN, timing_of(seed), seed))


def test_motion_is_one_row_a_frame_within_the_limits(performer, rig):
    moved = np.zeros(52, bool)
    for event in demo_speech()[::5]:
        for performance in performer.performances(event, 2):
            motion = performance.motion
            assert motion.dtype == np.float32
            assert motion.shape == (frame_count(len(event.samples)), 52)
            assert np.isfinite(motion).all()
            assert motion.min() >= 0
            assert motion.max() <= 1
            assert motion[:, [i for i, name in enumerate(CHANNELS) if name.startswith("mouthSmile")]].max() <= 0.8
            moved |= np.ptp(motion, axis=0) > 0.01
    still = {name for name, moves in zip(CHANNELS, moved) if not moves}
    assert not set(BLINK_AND_GAZE) & still
    assert len(still) <= 8


def test_closures_close_with_the_emotion_active(performer, rig):
    """Signed gap of every central lip pair at the 25 Hz frame nearest to the middle of each /p b m/, +-1 frame."""
    closed, count, widest_reading = 0, 0, 0.0
    for event in demo_speech():
        for performance in performer.performances(event, 2, seed=11):
            millimetres = 1e3 * (rig.lip_gap_neutral + performance.motion @ rig.lip_gap_deltas)
            fits = ((millimetres >= -1.0) & (millimetres <= 0.5)).all(1)
            for phone in event.phones:
                if phone.symbol in ("P", "B", "M"):
                    frame = int(phone.middle_seconds * 25)
                    closed += fits[max(frame - 1, 0) : frame + 2].any()
                    count += 1
            widest_reading = max(widest_reading, float(performance.motion[:, CHANNELS.index("mouthUpperUpLeft")].max()))
    assert count > 1000
    assert widest_reading > 0.4  # lip-opening emotions took part
    assert closed / count >= 0.98


def test_without_contacts_the_lips_would_stay_open(performer, rig, monkeypatch):
    """The oracle of the test above: the same motion fails it when the contacts are switched off."""
    event = next(e for e in demo_speech() if e.text.startswith("Bob"))
    snarl = next(reading for reading in READINGS if reading.name == "snarl")
    frames = [int(p.middle_seconds * 25) for p in event.phones if p.symbol in ("P", "B", "M")]

    def worst_gap():
        motion = act(performer, event, snarl).motion[frames]
        return 1e3 * (rig.lip_gap_neutral + motion @ rig.lip_gap_deltas).max()

    assert worst_gap() <= 0.5
    monkeypatch.setattr("deeptalk.corpus.performer.performer.lips.touch", lambda pose, wanted, rig: pose)
    assert worst_gap() > 2.0


def test_lips_never_pass_far_through_each_other(performer, rig):
    for event in demo_speech()[::27]:
        for reading in READINGS:
            motion = act(performer, event, reading, intensity=1.0).motion
            assert 1e3 * (rig.lip_gap_neutral + motion @ rig.lip_gap_deltas).min() > -1.8


def test_the_mouth_opens_on_vowels(performer, rig):
    plain = next(reading for reading in READINGS if reading.name == "at_rest")
    correlations = []
    for event in demo_speech()[::6]:
        motion = act(performer, event, plain).motion
        opening = motion @ rig.lip_gap_deltas[:, 0]
        instants = (np.arange(len(motion)) + 0.5) / 25
        vowel = np.zeros(len(motion))
        for phone in event.phones:
            if phone.symbol in VOWELS:
                vowel[(instants >= phone.start_seconds) & (instants < phone.end_seconds)] = 1.0
        correlations.append(np.corrcoef(opening, vowel)[0, 1])
    assert np.mean(correlations) > 0.45


def test_rounding_and_lip_to_teeth_are_articulated(performer):
    plain = next(reading for reading in READINGS if reading.name == "at_rest")
    pucker, roll = CHANNELS.index("mouthPucker"), CHANNELS.index("mouthRollLower")
    values: dict[str, list[np.ndarray]] = {}
    for event in demo_speech()[:128:3]:
        motion = act(performer, event, plain).motion
        for phone in event.phones:
            values.setdefault(phone.symbol, []).append(motion[min(int(phone.middle_seconds * 25), len(motion) - 1)])
    mean = {symbol: np.mean(rows, axis=0) for symbol, rows in values.items()}
    assert min(mean["UW"][pucker], mean["W"][pucker]) > 2.5 * max(mean["AE"][pucker], mean["IY"][pucker])
    assert min(mean["F"][roll], mean["V"][roll]) > 3 * mean["T"][roll]


def test_louder_speech_opens_the_mouth_wider(performer, rig):
    event, plain = demo_speech()[3], READINGS[0]
    soft = replace(event, samples=event.samples * 0.4)
    loud = replace(event, samples=np.clip(event.samples * 2.0, -1, 1))
    openings = [(act(performer, e, plain).motion @ rig.lip_gap_deltas[:, 0]).max() for e in (soft, event, loud)]
    assert openings[0] < 0.95 * openings[1] < 0.95 * openings[2]


def test_fast_speech_moves_less():
    def peak(scale):
        symbols = ("SIL", "T", "AA", "T", "AA", "T", "AA", "T", "SIL")
        edges = np.arange(len(symbols) + 1) * 0.16 * scale
        phones = [Phone(s, a, b, int(s == "AA")) for s, a, b in zip(symbols, edges, edges[1:])]
        samples = 0.07 * np.sin(np.arange(round(edges[-1] * 16000)) * 0.05).astype(np.float32)
        event = SpeechEvent(samples, phones, "ta ta ta", "x", "tatata")
        jaw = mouth_curves(event, MouthParameters()).pose[:, CHANNELS.index("jawOpen")]
        middle = jaw[int(edges[2] * 100) : int(edges[6] * 100)]
        return np.ptp(middle)

    assert peak(0.35) < 0.75 * peak(1.0)


def test_diphthongs_become_two_parts_of_the_same_length_in_all():
    parts = split_diphthongs([Phone("SIL", 0.0, 0.1), Phone("AY", 0.1, 0.3, 1), Phone("M", 0.3, 0.4)], 0.55)
    assert [part.symbol for part in parts] == ["SIL", "AY", "IY", "M"]
    assert all(a.end_seconds == b.start_seconds for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_readings_are_modes(performer, emotion):
    """Two readings of one emotion lie more than twice as far apart as two draws of the same reading."""
    event = demo_speech()[40]
    own = [reading for reading in READINGS if reading.emotion == emotion]
    means = [np.stack([act(performer, event, r, seed).motion[:, OTHERS].mean(0) for seed in range(8)]) for r in own]

    def distance(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    for i, first in enumerate(means):
        within = distance(first, first)[~np.eye(8, dtype=bool)].mean()
        for second in means[:i]:
            between = distance(first, second).mean()
            assert between > 0.3
            assert between > 2 * max(within, distance(second, second)[~np.eye(8, dtype=bool)].mean())


def test_intensity_and_asymmetry_are_acted(performer):
    event = demo_speech()[20]
    grin = next(reading for reading in READINGS if reading.name == "bright_grin")
    cheek = CHANNELS.index("cheekSquintLeft")
    weak, strong = (act(performer, event, grin, intensity=i).motion[:, cheek].mean() for i in (0.1, 0.9))
    assert strong > 1.25 * weak
    leaning = replace(PLAIN, asymmetry=-0.2)
    motion = performer.perform(event, Acting(choice_of(grin), leaning, timing_of(), 0)).motion.mean(0)
    assert motion[CHANNELS.index("mouthSmileRight")] > 1.1 * motion[CHANNELS.index("mouthSmileLeft")]


def test_the_weak_side_of_a_one_sided_reading_is_still_not_turned_upside_down():
    event, parameters = demo_speech()[20], Parameters()
    one_sided = next(reading for reading in READINGS if reading.one_sided > 0.5 and "AU14" in reading.units)
    mouth = mouth_curves(event, parameters.mouth)
    for asymmetry in (-0.25, 0.25):
        actor = replace(PLAIN, asymmetry=asymmetry)
        reading = replace(one_sided, one_sided=0.9)
        pose = emotion_pose(choice_of(reading), actor, timing_of(), event, mouth, parameters.acting)
        assert (pose >= 0.0).all()
        side = "Right" if asymmetry > 0 else "Left"
        assert not pose[:, CHANNELS.index(f"mouthDimple{side}")].any()


def spoken(symbols, seconds, level=0.05):
    """An event of these phones, each as long; a stressed vowel is written `AA1`."""
    phones = [
        Phone(symbol.rstrip("1"), index * seconds, (index + 1) * seconds, int(symbol.endswith("1")))
        for index, symbol in enumerate(symbols)
    ]
    samples = level * np.sin(np.arange(round(len(symbols) * seconds * 16000)) * 0.05).astype(np.float32)
    return SpeechEvent(samples, phones, " ".join(symbols), "tester", "words")


def at_rest():
    return next(reading for reading in READINGS if reading.name == "at_rest")


def test_the_mouth_rests_closed_before_after_and_between_words(performer, rig):
    event = spoken(["SIL", "SIL", "AA1", "SIL", "SIL", "IY1", "SIL", "SIL"], 0.25)
    acting = Acting(choice_of(at_rest()), PLAIN, timing_of(), 0)
    control = performer.control_motion(event, acting)
    millimetres = 1e3 * (rig.lip_gap_neutral + control @ rig.lip_gap_deltas).max(1)
    for first, last in ((0.0, 0.35), (0.92, 1.08), (1.68, 2.0)):
        assert np.abs(millimetres[int(first * 100) : int(last * 100)]).max() < 0.5
    assert millimetres[60:70].max() > 6
    shares = mouth_curves(event, MouthParameters()).speaking
    assert shares[60] == 1.0
    assert shares[100] == shares[0] == 0.0


def test_a_short_pause_does_not_bring_the_mouth_to_rest():
    event = spoken(["SIL", "AA1", "SIL", "AA1", "SIL"], 0.08)
    assert 0.5 < mouth_curves(event, MouthParameters()).speaking[20] < 1.0


def test_the_lower_lip_meets_the_upper_teeth(performer, rig):
    event = spoken(["SIL", "AA1", "F", "AA1", "V", "IY1", "SIL"], 0.12)
    for reading in READINGS:
        control = performer.control_motion(event, Acting(choice_of(reading), PLAIN, timing_of(), 0))
        below = 1e3 * lip_below_teeth(control, rig)
        for middle in (30, 54):
            assert np.abs(below[middle]) < 1.0, reading.name
        assert below[18] > 5


def test_undershoot_grows_as_vowels_shorten():
    gains = undershoot_gain(np.array([0.03, 0.06, 0.1, 0.2, 0.6]), MouthParameters())
    assert (np.diff(gains) > 0).all()
    assert gains[2] == pytest.approx(1.0)
    assert gains[0] < 0.65
    assert gains[-1] == pytest.approx(1 / (1 - 0.8 * np.exp(-0.1 / 0.06)), rel=1e-4)


def test_stressed_vowels_open_wider(rig):
    jaw = CHANNELS.index("jawOpen")
    weak, strong = (
        mouth_curves(spoken(["SIL", "T", vowel, "T", "SIL"], 0.12), MouthParameters()).pose[30, jaw]
        for vowel in ("AA", "AA1")
    )
    assert strong == pytest.approx(weak * 1.08 / 0.88)


def test_the_tongue_shows_at_dentals():
    tongue = CHANNELS.index("tongueOut")
    shown = {
        symbol: mouth_curves(spoken(["SIL", "AA1", symbol, "AA1", "SIL"], 0.1), MouthParameters()).pose[25, tongue]
        for symbol in ("TH", "L", "N", "K")
    }
    assert shown["TH"] > 1.5 * shown["L"] > 1.5 * shown["N"] > 3 * shown["K"]


def test_control_motion_is_the_motion_between_its_frames(performer):
    event = demo_speech()[5]
    acting = performer.draw(event, 1)[0]
    control, motion = performer.control_motion(event, acting), performer.perform(event, acting).motion
    frames = np.arange(len(motion))
    same = (control[2 + 4 * frames][:, OTHERS] == motion[:, OTHERS]).all(1)
    closures = {int(phone.middle_seconds * 25) for phone in event.phones if phone.symbol in ("P", "B", "M")}
    assert {int(frame) for frame in frames[~same]} <= closures
    assert same.mean() > 0.7


def test_a_quick_reading_rises_faster(performer):
    event, brow = demo_speech()[9], CHANNELS.index("browOuterUpLeft")
    reading = next(reading for reading in READINGS if reading.name == "open")
    timing = replace(timing_of(), onset_seconds=0.1, rise_seconds=0.5)
    slow, fast = (
        performer.control_motion(event, Acting(choice_of(replace(reading, pace=pace)), PLAIN, timing, 0))[:, brow]
        for pace in (1.0, 2.0)
    )
    first = next(phone.start_seconds for phone in event.phones if phone.symbol != "SIL")
    assert fast[int((first + 0.35) * 100)] > slow[int((first + 0.35) * 100)] + 0.05


def test_a_blink_closes_the_lids_and_no_further(performer, rig):
    """With the lids narrowed by the reading: the lid gap never falls below zero, and is zero in a blink."""
    event = next(event for event in demo_speech() if event.seconds > 2.5)
    reading = next(reading for reading in READINGS if reading.name == "contained")
    upper, lower = lid_margins(rig, "Left")
    gaps = []
    for seed in range(12):
        motion = performer.perform(event, Acting(choice_of(reading, 1.0), PLAIN, timing_of(), seed)).motion
        slopes = rig.deltas[:, upper, 1] - rig.deltas[:, lower, 1]
        gaps.append(1e3 * (rig.neutral[upper, 1] - rig.neutral[lower, 1] + motion @ slopes))
    assert -0.05 < np.concatenate(gaps).min() < 0.3
    assert np.median(np.concatenate(gaps)) > 1.0
