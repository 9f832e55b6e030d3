"""The functions of benchmarks/dee_performer.py on embeddings small enough to know."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="needs scikit-learn (extra dev)")
pytest.importorskip("PIL", reason="needs Pillow (extra pictures)")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import dee_performer
import dee_performer_parts as parts
import plots

from dee import GaussianEmbedding
from dee.losses import sampled_distance
from deeptalk.corpus.performer import AffectCode
from deeptalk.speech import build_encoder


def code(sound_class, strength=0.5):
    return AffectCode(sound_class, strength, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0)


def embedded(performances=3, noise=0.01, seed=0):
    """Two sentences in eight classes; motions lie at their class, and act it."""
    generator = torch.Generator().manual_seed(seed)
    classes = np.tile(np.arange(8), 2)
    of = np.repeat(np.arange(16), performances)
    mean = torch.eye(8)[torch.from_numpy(classes)]

    def gaussian(centre):
        points = centre + noise * torch.randn(centre.shape, generator=generator)
        return GaussianEmbedding(torch.nn.functional.normalize(points, dim=-1), torch.full_like(points, -9.0))

    return parts.Embedded(
        speech=gaussian(mean),
        motion=gaussian(mean[torch.from_numpy(of)]),
        of=of,
        emotion=classes[of],
        intensity=np.where(classes[of] > 0, 0.55, 0.0),
        affect=[code(sound_class, 0.5 if sound_class else 0.0) for sound_class in classes.tolist()],
        sentence=np.repeat(["one", "two"], 8),
        speaker=np.repeat(["ann", "ben"], 8),
        frames=np.full(16, 50),
        pooled=mean.numpy(),
        shown=np.arange(16 * performances),
    )


def test_galleries_of_one_sentence():
    data = embedded()
    distance = sampled_distance(data.speech, data.motion)
    same = dee_performer.both_ways(distance, data, same_sentence=True)
    assert same["gallery"] == 8
    assert same["chance_at_1"] == pytest.approx(1 / 8)
    assert same["speech_to_motion"]["recall_at_1"] == same["motion_to_speech"]["recall_at_1"] == 1.0
    whole = dee_performer.both_ways(distance, data, same_sentence=False)
    assert whole["gallery"] == 16
    assert 0.2 < whole["speech_to_motion"]["recall_at_1"] < 0.8  # the other sentence in that tone looks the same


def test_acting_alone_prefers_the_class_that_acts_so():
    data = embedded()
    distance = dee_performer.acting_distance(data)
    assert distance.shape == (16, 48)
    same = dee_performer.both_ways(distance, data, same_sentence=True)
    assert same["motion_to_speech"]["recall_at_1"] == 1.0
    data.emotion = np.full_like(data.emotion, 4)  # all act anger: a motion says nothing of its speech
    data.intensity = np.full_like(data.intensity, 0.55)
    blind = dee_performer.both_ways(dee_performer.acting_distance(data), data, same_sentence=True)
    assert blind["motion_to_speech"]["recall_at_1"] <= 1 / 8


def test_rounds_hold_one_performance_of_each_piece():
    data = embedded(performances=3)
    assert [data.of[chosen].tolist() for chosen in data.rounds] == [list(range(16))] * 3
    assert data.draws == 3


def test_halves_do_not_overlap():
    for frames in (2, 51, 80):
        heard, seen = parts.View["halves"](frames)
        assert heard.stop == seen.start
        assert (heard.start, seen.stop) == (0, frames)


def test_columns_of_a_stack():
    columns = parts.pooled_columns(build_encoder("logmel+prosody"))
    assert {name: len(own) for name, own in columns.items()} == {"logmel": 160, "prosody": 14, "logmel+prosody": 174}
    together = np.sort(np.concatenate([columns["logmel"], columns["prosody"]]))
    assert np.array_equal(together, columns["logmel+prosody"])


def test_the_listener_names_classes_it_can_hear():
    data = embedded()
    probabilities = parts.listener(data, data, np.arange(8))
    assert np.array_equal(probabilities.argmax(axis=1), np.tile(np.arange(8), 2))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def test_resampling_keeps_ends_and_straight_lines():
    line = np.linspace(0.0, 1.0, 31)[:, None] * np.array([1.0, -2.0])
    values = parts._resampled(line).reshape(parts.PROBED_FRAMES, 2)
    np.testing.assert_allclose(values[:, 0], np.linspace(0, 1, parts.PROBED_FRAMES))
    np.testing.assert_allclose(values[:, 1], -2 * values[:, 0])


def test_ticks_are_round_and_inside():
    assert plots.ticks(0.0, 1.0) == [0.0, 0.25, 0.5, 0.75, 1.0]
    for low, high in ((0.64, 0.71), (1.3, 2.4), (-1.1, 1.1)):
        found = plots.ticks(low, high)
        assert 3 <= len(found) <= 9
        assert low <= found[0] <= found[-1] <= high
