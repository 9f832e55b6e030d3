import logging
from collections import Counter

import numpy as np
import pytest
import torch
from corpus_samples import BLINK, JAW, add_clip, phones_of, write_corpus

from deeptalk.corpus import CorpusWriter, SwappedPairs, SwappedPairsConfig
from deeptalk.corpus.pairs import TimeMap, align_motion, phone_time_map
from deeptalk.corpus.performer import Phone
from deeptalk.corpus.resample import arkit_lip_gap
from deeptalk.errors import UserError
from deeptalk.speech import build_encoder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("pairs") / "corpus")


@pytest.fixture(scope="module")
def store(corpus):
    return corpus.features(build_encoder("logmel"))


@pytest.fixture(scope="module")
def pairs(corpus, store):
    return SwappedPairs(corpus, store, SwappedPairsConfig(batch_size=4, samples_per_epoch=40))


def values_at_middles(motion, phones):
    """Jaw of a motion (frame, channel) at the middle of every phone inside the clip."""
    centres = (np.arange(len(motion)) + 0.5) / 25.0
    return np.interp([phone.middle_seconds for phone in phones], centres, motion[:, JAW])


def test_map_takes_boundaries_and_middles_to_each_other():
    target, source = phones_of("s2", 0), phones_of("s2", 5)
    time_map = phone_time_map(target, source, target[-1].end_seconds, source[-1].end_seconds, 1.0)
    assert time_map is not None
    for here, there in zip(target, source):
        for name in ("start_seconds", "middle_seconds", "end_seconds"):
            assert time_map.source_of(np.array([getattr(here, name)]))[0] == pytest.approx(getattr(there, name))


def test_map_through_common_phones_or_none():
    target = phones_of("s2", 0)
    longer = (*target[:2], Phone("Z", 0.0, 0.0), *target[2:])
    source = phones_of("s2", 5, tuple(phone.symbol for phone in longer))
    ends = target[-1].end_seconds, source[-1].end_seconds
    time_map = phone_time_map(target, source, *ends, 0.8)
    assert time_map is not None
    matches = [0, 1, 3, 4, 5, 6]
    for here, there in zip(target, matches):
        assert time_map.source_of(np.array([here.middle_seconds]))[0] == pytest.approx(source[there].middle_seconds)
    assert phone_time_map(target, source, *ends, 0.9) is None
    assert phone_time_map(target, (), *ends, 0.1) is None
    assert phone_time_map((), (), 1.0, 1.0, 0.1) is None


def test_map_never_runs_backwards_or_leaves_the_clip():
    target, source = phones_of("s1", 1), phones_of("s1", 6)
    time_map = phone_time_map(target, source, 3.0, 2.5, 1.0)
    assert time_map is not None
    mapped = time_map.source_of(np.linspace(0, 3.0, 500))
    assert (np.diff(mapped) >= 0).all()
    assert mapped[0] == 0.0
    assert mapped[-1] == 2.5


def test_align_motion_identity_and_ends():
    motion = np.random.default_rng(0).standard_normal((30, 52)).astype(np.float32)
    identity = TimeMap(np.array([0.0, 1.2]), np.array([0.0, 1.2]))
    assert np.allclose(align_motion(motion, identity, 30, 25.0), motion, atol=1e-5)
    stretched = align_motion(motion, TimeMap(np.array([0.0, 2.4]), np.array([0.0, 1.2])), 60, 25.0)
    assert stretched.dtype == np.float32
    assert np.allclose(stretched[0], motion[0])
    assert np.allclose(stretched[-1], motion[-1])
    assert np.allclose(stretched[1], 0.75 * motion[0] + 0.25 * motion[1], atol=1e-5)


def test_aligned_motion_says_each_phone_when_the_audio_does(corpus, pairs):
    worst_without = 0.0
    for index in range(len(pairs.train_data)):
        for seed in range(5):
            item = pairs.train_data[index, seed]
            clip_12 = pairs.train_data.anchors[index]
            for name in ("motion_11", "motion_12"):
                jaw = values_at_middles(item[name].numpy(), corpus.speech[clip_12].phones)
                assert np.abs(jaw - np.arange(len(jaw)) / 10).max() < 0.02
    for clip in corpus.speech_in("train")[:-1]:
        other = corpus.motion(corpus.performances_of(clip)[0])
        for target in corpus.speech_in("train")[:-1]:
            if corpus.speech[target].sentence == corpus.speech[clip].sentence:
                jaw = values_at_middles(other, corpus.speech[target].phones)
                worst_without = max(worst_without, np.abs(jaw - np.arange(len(jaw)) / 10).max())
    assert worst_without > 0.08  # what the alignment mends


def test_quadruples_have_two_sentences_and_two_emotions_of_one_speaker(corpus, store, pairs):
    seen = Counter()
    for index, clip_12 in enumerate(pairs.train_data.anchors):
        row = corpus.speech[clip_12]
        for seed in range(30):
            item = pairs.train_data[index, seed]
            one, two = int(item["emotion_1"]), int(item["emotion_2"])
            assert two == row.emotion != one
            # Brow channel 0 says the acted emotion: it is the label's, in all three motions.
            for name, acted in (("motion_11", one), ("motion_12", two), ("motion_22", two)):
                assert item[name][:, 0].numpy() == pytest.approx(acted / 10)
            assert not item["motion_11"][:, BLINK].any()
            assert len(item["features_12"]) == len(item["motion_11"]) == len(item["motion_12"]) == item["lengths_12"]
            assert len(item["features_21"]) == len(item["motion_22"]) == item["lengths_21"]
            clip_21 = next(
                i
                for i in corpus.speech_in("train")
                if len(store.get(i)) == len(item["features_21"])
                and np.array_equal(store.get(i), item["features_21"].numpy())
            )
            assert corpus.speech[clip_21].sentence != row.sentence
            assert corpus.speech[clip_21].speaker == row.speaker == ("ann", "bob")[int(item["speaker"])]
            assert corpus.speech[clip_21].emotion == one
            # Channel 1 says the take, whose intensity is 1 for even takes and 0.5 for odd ones.
            for name, key in (("motion_11", "intensity_1"), ("motion_12", "intensity_2"), ("motion_22", "intensity_2")):
                take = round(float(item[name][0, 1]) * 100)
                assert float(item[key]) == (0.5 if take % 2 else 1.0)
            seen[clip_12, one] += 1
    assert len(seen) == 12 * 2


def test_report_counts(pairs):
    report = pairs.train_report
    assert (report.same_phones, report.common_phones, report.refused) == (24, 0, 0)
    assert report.quadruples == 12 * 2  # two other emotions, one other sentence
    assert pairs.val_report.quadruples == 4


def test_no_performance_acts_the_label(tmp_path, store):
    with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
        for sentence in ("s1", "s2"):
            for emotion in (0, 2):
                speech = add_clip(writer, "ann", sentence, emotion, "train", takes=1)
                frames = writer.performances[-1].frames
                del writer.performances[-1]
                writer.add_performance(f"x{speech}", np.zeros((frames, 52), np.float32), speech=speech, emotion=7)
    corpus = writer.corpus
    assert corpus is not None
    store = corpus.features(build_encoder("logmel"))
    data = SwappedPairs(corpus, store, SwappedPairsConfig(val_split="train"))
    assert int(data.train_data[0, 0]["emotion_2"]) == 0  # the label of the speech, although 7 was acted


def test_recordings_that_do_not_fit_are_counted_and_left_out(tmp_path, caplog):
    with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
        for sentence in ("s1", "s2"):
            for emotion in (0, 2, 4):
                speech = add_clip(writer, "ann", sentence, emotion, "train")
                if emotion == 4:
                    row = writer.speech[speech]
                    phones = phones_of(sentence, emotion, ("SIL", "Z", "OY", "Z", "SIL"))
                    writer.speech[speech] = type(row)(
                        **{n: getattr(row, n) for n in row.__slots__} | {"phones": phones}
                    )
    corpus = writer.corpus
    assert corpus is not None
    store = corpus.features(build_encoder("logmel"))
    with caplog.at_level(logging.WARNING):
        data = SwappedPairs(corpus, store, SwappedPairsConfig(val_split="train"))
    report = data.train_report
    assert (report.same_phones, report.common_phones, report.refused) == (4, 0, 8)
    assert "refused: 8" in caplog.text
    emotions = {int(data.train_data[i, seed]["emotion_1"]) for i in range(len(data.train_data)) for seed in range(9)}
    assert emotions == {0, 2}
    assert sorted(corpus.speech[index].emotion for index in data.train_data.anchors) == [0, 0, 2, 2]


def test_a_corpus_without_pairs_is_refused(tmp_path):
    with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
        add_clip(writer, "ann", "s1", 0, "train")
        add_clip(writer, "ann", "s1", 2, "train")
    corpus = writer.corpus
    assert corpus is not None
    store = corpus.features(build_encoder("logmel"))
    with pytest.raises(UserError, match=r"no swapped pairs in split 'train' \(0 quadruples; .*They need a speaker"):
        SwappedPairs(corpus, store, SwappedPairsConfig(val_split="train"))


def test_batches_are_padded_and_repeat(pairs):
    batches = list(pairs.train_dataloader())
    assert sum(len(batch["speaker"]) for batch in batches) == 40
    for batch in batches:
        assert batch["motion_11"].shape == batch["motion_12"].shape
        assert batch["motion_12"].shape[:2] == batch["features_12"].shape[:2]
        assert batch["motion_22"].shape[:2] == batch["features_21"].shape[:2]
        for row, length in enumerate(batch["lengths_12"].tolist()):
            assert not batch["features_12"][row, length:].any()
            assert (batch["motion_12"][row, length:] == batch["motion_12"][row, length - 1]).all()
    for one, two in zip(batches, pairs.train_dataloader(), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_config_checks_itself():
    with pytest.raises(UserError, match="min_common_phones is 0"):
        SwappedPairsConfig(min_common_phones=0.0)


@pytest.mark.parametrize("pace", [0.83, 0.97, 1.0, 1.21])
def test_alignment_keeps_closures_that_interpolation_opens(pace):
    gap = np.full(200, 0.008)
    closed = np.arange(6, 195, 7)
    gap[closed] = 0.0
    motion = gap.astype(np.float32)[:, None]
    time_map = TimeMap(np.array([0.0, 8.0 * pace]), np.array([0.0, 8.0]))
    frames = round(200 * pace)
    aligned = align_motion(motion, time_map, frames, 25.0, gap)[:, 0]
    places = np.floor((closed + 0.5) * pace).astype(int)
    assert aligned[places] == pytest.approx(0.0, abs=1e-6)
    others = np.setdiff1d(np.arange(frames), places)
    plain = align_motion(motion, time_map, frames, 25.0)[:, 0]
    assert np.array_equal(aligned[others], plain[others])
    assert (plain[places] > 0.0005).any() == (pace != 1.0)


def test_swapped_pairs_keep_closures(corpus, store, monkeypatch):
    given = []
    monkeypatch.setattr("deeptalk.corpus.pairs.align_motion", lambda *all: given.append(all) or align_motion(*all))
    data = SwappedPairs(corpus, store, SwappedPairsConfig())
    next(iter(data.train_dataloader()))
    assert given
    for motion, *_, gap in given:
        assert np.array_equal(gap, arkit_lip_gap(motion))
