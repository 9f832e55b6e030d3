"""The functions of benchmarks/affect_listeners.py on data small enough to know."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn (extra dev)")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import affect_listeners as listeners

from deeptalk.speech.prosody import LEVEL, LOG_F0, VOICING


def clips(statistic, voices=6, sentences=10, test_voices=2):
    """Every voice says every sentence in eight classes; `statistic(class, voice, sentence)` is what is heard."""
    homes = [(v, s, c) for v in range(voices) for s in range(sentences) for c in range(8)]
    voice, sentence, sound_class = (np.array(column) for column in zip(*homes))
    values = np.array([statistic(c, v, s) for v, s, c in homes], np.float32)
    return listeners.Clips(
        statistics={"heard": values},
        sound_class=sound_class,
        settings=np.zeros((len(homes), 10)),
        split=np.where(voice < voices - test_voices, "train", "test"),
        speaker=np.array([f"v{v}" for v in voice]),
        sentence=np.array([f"s{s}" for s in sentence]),
    )


def test_statistics_hold_level_spread_and_course_and_survive_silence():
    frames = np.zeros((60, 7), np.float32)
    frames[10:50, VOICING] = 1.0
    frames[:, LEVEL] = -2.0
    frames[10:50, LEVEL] = 1.0
    frames[10:50, LOG_F0] = np.linspace(-1, 1, 40)
    found = listeners.prosody_statistics(frames)
    mean, std, slope = found[:7], found[7:14], found[49:56]
    assert mean[LEVEL] == 1.0
    assert mean[LOG_F0] == pytest.approx(0, abs=1e-6)
    assert std[LOG_F0] == pytest.approx(frames[10:50, LOG_F0].std())
    assert slope[LOG_F0] == pytest.approx(2 / 39 * 60, rel=1e-4)  # a clip's length
    assert slope[LEVEL] == pytest.approx(0, abs=1e-5)
    for silent in (np.zeros((60, 7), np.float32), frames[:12], frames[10:50]):
        assert np.isfinite(listeners.prosody_statistics(silent)).all()
        assert listeners.prosody_statistics(silent).shape == found.shape


def test_a_voice_is_taken_out_and_never_by_the_clip_itself():
    data = clips(lambda c, v, s: [10.0 * v + c + 0.1 * s, 1.0])
    values = data.statistics["heard"].astype(np.float64)
    neutral = listeners.beside_speaker(data, values, neutral_only=True)
    loud = data.sound_class == 3
    mean_sentence = 0.1 * np.arange(10).mean()
    expected = 3 + 0.1 * np.array([int(s[1:]) for s in data.sentence[loud]]) - mean_sentence
    np.testing.assert_allclose(neutral[loud, 0], expected, atol=1e-5)
    first = np.flatnonzero((data.speaker == "v2") & (data.sentence == "s0") & (data.sound_class == 0))[0]
    assert neutral[first, 0] == pytest.approx(-0.1 * np.arange(1, 10).mean())
    own = data.speaker == "v2"
    others = listeners.beside_speaker(data, values, neutral_only=False)
    left_out = (values[own, 0].sum() - values[first, 0]) / (own.sum() - 1)
    assert others[first, 0] == pytest.approx(values[first, 0] - left_out)


def test_the_twin_is_the_same_sentence_said_neutrally():
    data = clips(lambda c, v, s: [10.0 * v + 3.0 * s + c])
    twin, has = listeners.beside_neutral(data, data.statistics["heard"])
    assert np.array_equal(has, data.sound_class > 0)
    np.testing.assert_allclose(twin[:, 0], data.sound_class, atol=1e-5)


def test_listeners_find_what_is_there_and_nothing_in_noise():
    generator = np.random.default_rng(0)
    everyone = np.ones(480, bool)
    shown = clips(lambda c, v, s: [*(3.0 * np.eye(8)[c]), 8.0 * v])
    found = listeners.listen(shown, listeners.beside_speaker(shown, shown.statistics["heard"], False), everyone)
    assert found["class"] == 1.0
    assert found["emotion"] == pytest.approx(listeners.CONFUSION.max(axis=1).mean(), abs=0.03)
    noise = clips(lambda c, v, s: generator.standard_normal(8).tolist())
    assert listeners.listen(noise, noise.statistics["heard"], everyone)["class"] < 0.25


def test_knowing_the_voices_helps_where_each_has_a_code_of_its_own():
    data = clips(lambda c, v, s: [*(3.0 * np.eye(8)[(c + v) % 8]), *(np.eye(6)[v])])
    values, everyone = data.statistics["heard"], np.ones(480, bool)
    alone = listeners.listen(data, values, everyone)["class"]
    assert listeners.listen_with_voices(data, values, 0)["class"] > alone + 0.3


def test_hearing_settings_worse_names_fewer(monkeypatch):
    monkeypatch.setattr(listeners, "DRAWN", 120)
    shares = [listeners.with_errors(np.full(10, size), 0) for size in (0.0, 0.5, 2.0)]
    assert shares[0]["class"] > 0.85
    assert shares[0]["class"] > shares[1]["class"] > shares[2]["class"] > 0.2
    assert all(0 < row["emotion"] < row["class"] for row in shares)
