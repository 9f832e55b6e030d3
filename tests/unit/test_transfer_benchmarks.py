"""The functions of benchmarks/emotion_transfer.py and benchmarks/mouth_transfer.py on data small enough to know."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deeptalk.corpus.performer import Performer
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.emotions import EMOTIONS
from deeptalk.face import load_rig
from deeptalk.speech.augment import with_gain


def benchmark(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def emotion():
    pytest.importorskip("sklearn", reason="needs scikit-learn (extra dev)")
    return benchmark("emotion_transfer")


@pytest.fixture(scope="module")
def mouth():
    return benchmark("mouth_transfer")


def voice(hertz, rise_semitones=0.0, seconds=1.5, amplitude=0.05):
    times = np.arange(int(seconds * 16000)) / 16000
    pitch = hertz * 2 ** (rise_semitones / 12 * times / seconds)
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * times)
    samples = amplitude * syllables * sum(np.sin(k * phase) / k for k in range(1, 20))
    return np.pad(samples, 4000).astype(np.float32)


def test_statistics_measure_what_they_are_called(emotion):
    flat, high, rising = (emotion.clip_statistics(samples) for samples in (voice(120), voice(240), voice(120, 6.0)))
    assert high["pitch_mean"] - flat["pitch_mean"] == pytest.approx(12, abs=0.3)
    assert rising["pitch_slope"] - flat["pitch_slope"] == pytest.approx(6, abs=0.5)
    assert rising["pitch_end"] > 1.5 > -1.5 > rising["pitch_start"]
    assert rising["pitch_range"] == pytest.approx(0.9 * 6, abs=0.6)
    assert flat["pitch_range"] < 0.5
    assert math.exp(flat["syllable_rate"]) * 50 == pytest.approx(4, abs=0.8)


def test_gain_changes_the_three_levels_and_nothing_else(emotion):
    samples = voice(150)
    samples += 0.003 * np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    before, after = (emotion.clip_statistics(one) for one in (samples, with_gain(samples, 6.0)))
    for name in before:
        expected = 6.0 if name in emotion.LEVELS else 0.0
        tolerance = 0.3 if name.startswith("irregularity") else 0.03  # of an even voice: the detector's own noise
        assert after[name] - before[name] == pytest.approx(expected, abs=tolerance), name


def test_silence_around_a_clip_and_a_click_change_nothing(emotion):
    samples = voice(150)
    longer = np.pad(samples, (8000, 16000))
    longer[-3000:-2990] = 0.3
    before, after = (emotion.clip_statistics(one) for one in (samples, longer))
    for name in ("pitch_mean", "pitch_range", "level_mean", "tilt", "syllable_rate"):
        assert after[name] == pytest.approx(before[name], abs=0.3), name


def made_clips(emotion, speakers=6, each=4, shift=10.0, seed=0):
    """Clips whose level is the emotion's number plus the speaker's habit, one more statistic for each emotion too."""
    generator = np.random.default_rng(seed)
    rows = []
    for speaker in range(speakers):
        habits = shift * generator.standard_normal(9)
        for index in range(len(EMOTIONS)):
            for _ in range(each):
                values = {"level_mean": index + habits[8] + 0.1 * generator.standard_normal()}
                values |= {name: 3.0 * (name == EMOTIONS[index]) + habit for name, habit in zip(EMOTIONS, habits)}
                rows.append((values, index, str(speaker), 0.0))
    return emotion.gathered(rows)


def test_a_reference_takes_the_speaker_out_and_never_holds_the_clip_itself(emotion):
    clips = made_clips(emotion)
    relative = clips.relative()[:, 0]
    assert np.allclose(relative, clips.emotion, atol=0.5)
    own = np.flatnonzero((clips.speaker == "0") & (clips.emotion == 0))
    others = clips.values[own[1:], 0].mean()
    assert relative[own[0]] == pytest.approx(clips.values[own[0], 0] - others)


def test_one_wav_does_not_see_the_level(emotion):
    views = emotion.views(made_clips(emotion))
    assert views["one wav"].shape[1] == 8
    assert views["reference"].shape[1] == 9


def test_transfer_finds_what_is_there_and_nothing_in_noise(emotion):
    train, test = made_clips(emotion), made_clips(emotion, seed=1)
    scores = emotion.transfer(train, {"other": test})["other"]
    assert scores["reference"]["accuracy"] > 0.95 > 0.8 > scores["one wav"]["accuracy"]
    confusion = np.array(scores["reference"]["confusion_percent"])
    assert np.allclose(confusion.sum(axis=1), 100, atol=0.5)
    assert confusion.diagonal().mean() / 100 == pytest.approx(scores["reference"]["mean_recall"], abs=0.01)
    folds = emotion.ceiling(made_clips(emotion, speakers=8), None)
    assert folds["reference"]["accuracy"] > 0.8


def test_class_means_are_relative_to_neutral(emotion):
    means = emotion.class_means(made_clips(emotion))
    assert means["angry"]["level_mean"][0] == pytest.approx(4, abs=0.2)
    assert math.isnan(means["angry"]["level_mean"][1])


def test_the_jaw_is_compared_at_the_captured_frames(mouth):
    curve = lambda times: np.sin(2 * np.pi * 1.3 * times) + 0.5 * np.sin(2 * np.pi * 0.4 * times)  # noqa: E731
    heard, captured = curve((np.arange(500) + 0.5) / 50), curve((np.arange(300) + 0.5) / 30)
    assert mouth.jaw_correlation(heard, captured, 30.0) > 0.999
    assert mouth.jaw_correlation(np.roll(heard, 10), captured, 30.0) < 0.7
    level = np.cos(2 * np.pi * 1.7 * (np.arange(500) + 0.5) / 50)
    mixed = heard + 3 * level
    assert mouth.jaw_correlation(mixed, captured, 30.0) < 0.5
    assert mouth.jaw_correlation(mixed, captured, 30.0, held=level) > 0.99


ROWS = [("<s>", "SIL", 0, 10), ("the", "AH", 10, 10), ("by", "B", 20, 8), ("by", "AY", 28, 20), ("door", "D", 48, 6)]


def test_closure_is_the_least_opening_in_the_phone_against_its_vowels(mouth):
    opening = np.full(40, 4.0)
    opening[11] = 0.5  # centred on 0.23 s
    opening[16] = 10.0  # 0.33 s, in the vowel after it
    (found,) = mouth.openings(opening, ROWS, "B", "by")
    assert found == (0.5, 10.0)
    opening[11], opening[9] = 4.0, 0.0  # 0.19 s: still in the vowel before
    (found,) = mouth.openings(opening, ROWS, "B", "by")
    assert found == (4.0, 10.0)
    assert mouth.openings(opening, [("by(2)", "B", 20, 8), *ROWS[3:]], "B", "by")[0][1] == 10.0
    assert mouth.openings(opening, ROWS, "B", "bye") == []
    assert mouth.openings(opening, ROWS, "D", "door") == [(4.0, 10.0)]


def test_shares_of_closure(mouth):
    shares = mouth.closure_shares([(0.0, 10.0), (3.0, 10.0), (4.0, 10.0), (-0.2, 10.0)])
    assert shares == {"count": 4, "below_35_percent": 0.75, "below_1_mm": 0.5}


def test_targets_close_where_the_performer_does_and_have_no_emotion(mouth):
    performer = Performer(load_rig("arkit"))
    events = [event for event in demo_speech() if event.split == "test"]
    event = next(event for event in events if any(phone.symbol in "PBM" for phone in event.phones))
    frames = round(event.seconds * 50)
    wanted = mouth.targets(performer, event, frames)
    assert wanted.shape == (frames, 2)
    for phone in event.phones:
        if phone.symbol in ("P", "B", "M"):
            middle = int(phone.middle_seconds * 50)
            assert wanted[max(middle - 1, 0) : middle + 2, mouth.OPENING].min() * mouth.TARGET_SCALE[1] < 1.0
    assert np.array_equal(wanted, mouth.targets(performer, event, frames))


def test_the_mouth_model_learns_and_repeats(mouth):
    generator = np.random.default_rng(0)
    pairs = []
    for length in (60, 150, 240):
        features = generator.standard_normal((length, 5)).astype(np.float32)
        smooth = np.convolve(features[:, 0], np.ones(5) / 5, "same")
        pairs.append((features, np.stack([smooth, 0.5 * smooth], axis=1).astype(np.float32)))
    first, again = (mouth.fit(pairs, epochs=180, seed=1) for _ in range(2))
    features, wanted = pairs[2]
    predicted = mouth.predict(first, features)
    assert np.corrcoef(predicted[:, mouth.JAW], wanted[:, 0])[0, 1] > 0.5
    assert np.array_equal(predicted, mouth.predict(again, features))


def test_the_mouth_hears_fifteen_frames_each_way(mouth):
    model = mouth.MouthModel(3).eval()
    features = torch.zeros(1, 80, 3, requires_grad=True)
    model(features)[0, 40, 0].backward()
    touched = features.grad[0].abs().sum(-1).nonzero().flatten()
    assert (int(touched.min()), int(touched.max())) == (40 - 14, 40 + 14)
