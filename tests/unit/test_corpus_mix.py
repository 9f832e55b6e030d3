import pickle

import numpy as np
import pytest
import torch
from corpus_samples import BLINK, add_clip, write_corpus

from deeptalk.corpus import (
    ClipWindows,
    ClipWindowsConfig,
    Corpus,
    CorpusMix,
    CorpusWriter,
    MotionWindows,
    MotionWindowsConfig,
    SwappedPairs,
    SwappedPairsConfig,
    motion_statistics,
    open_corpora,
)
from deeptalk.errors import UserError
from deeptalk.speech import build_encoder


def write(folder, fill, **settings):
    with CorpusWriter(folder, provenance="made", license="MIT", **settings) as writer:
        fill(writer)
    return Corpus.open(folder)


def fill_recorded(writer):
    """Another training speaker, a sound without motion, and a motion without sound."""
    for sentence in ("s1", "s2"):
        for emotion in (0, 2):
            add_clip(writer, "dan", sentence, emotion, "train", takes=1)
    writer.add_speech("sound", np.zeros(9000, np.float32), speaker="eve", sentence="", split="test")
    writer.add_performance("move", np.full((70, 52), 0.25, np.float32), split="train", speaker="fay")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mix")
    return write_corpus(folder / "performed"), write(folder / "recorded", fill_recorded)


@pytest.fixture(scope="module")
def mix(parts):
    return open_corpora([part.folder for part in parts])


def test_one_corpus_is_no_mix(parts):
    assert type(open_corpora([parts[0].folder])) is Corpus
    with pytest.raises(UserError, match="No corpus was given"):
        open_corpora([])


def test_rows_and_arrays_of_the_parts(mix, parts):
    one, two = parts
    assert isinstance(mix, CorpusMix)
    assert [row.speech_id for row in mix.speech] == [row.speech_id for part in parts for row in part.speech]
    assert len(mix.performances) == len(one.performances) + len(two.performances)
    for index in (0, len(one.speech) - 1, len(one.speech), len(mix.speech) - 1):
        part, own = (one, index) if index < len(one.speech) else (two, index - len(one.speech))
        assert np.array_equal(mix.waveform(index), part.waveform(own))
        for here, there in zip(mix.performances_of(index), part.performances_of(own), strict=True):
            assert mix.performances[here].speech == index
            assert np.array_equal(mix.motion(here, blink_and_gaze=True), part.motion(there, blink_and_gaze=True))
    assert np.array_equal(mix.waveform(-1), two.waveform(-1))
    assert mix.performances[-1].speech is None
    assert mix.performances[-1].speaker == "fay"
    assert not mix.motion(0)[:, BLINK].any()
    assert np.array_equal(mix.motion(0, part=slice(3, 9)), one.motion(0)[3:9])
    with pytest.raises(IndexError):
        mix.waveform(len(mix.speech))


def test_splits_and_speakers_are_joined(mix, parts):
    assert mix.speakers("train") == ("ann", "bob", "dan")
    assert mix.manifest["splits"]["train"]["speech"] == 13 + 4
    assert mix.manifest["splits"]["test"]["speech"] == 1
    assert len(mix.speech_in("train")) == 17
    assert mix.manifest["license"] == "CC0-1.0 | MIT"
    assert mix.manifest["disjoint"] == {"speaker": True, "sentence": True}
    assert mix.hash not in [part.hash for part in parts]
    assert open_corpora([part.folder for part in parts]).hash == mix.hash
    again = pickle.loads(pickle.dumps(mix))
    assert (again.hash, again.name) == (mix.hash, f"{parts[0].folder} + {parts[1].folder}")
    mix.verify()
    with pytest.raises(UserError, match=r"performed \+ .*recorded has no split 'dev'"):
        mix.speech_in("dev")


def test_features_and_data_modules(mix, parts):
    store = mix.features(build_encoder("logmel"))
    assert store.feature_size == parts[0].features(build_encoder("logmel")).feature_size
    for index, place in ((2, (0, 2)), (len(parts[0].speech) + 3, (1, 3))):
        own = parts[place[0]].features(build_encoder("logmel"))
        assert np.array_equal(store.get(index), own.get(place[1]))
        assert store.frames(index) == own.frames(place[1])
    assert np.array_equal(pickle.loads(pickle.dumps(store)).get(16), store.get(16))
    seen = set()
    for batch in ClipWindows(mix, store, ClipWindowsConfig(samples_per_epoch=200)).train_dataloader():
        for index, speaker in zip(batch["speech"].tolist(), batch["speaker"].tolist()):
            assert mix.speech[index].speaker == ("ann", "bob", "dan")[speaker]
            seen.add(mix.speech[index].speaker)
    assert seen == {"ann", "bob", "dan"}
    windows = MotionWindows(mix, MotionWindowsConfig(samples_per_epoch=300, batch_size=300, window_frames=16))
    batch = next(iter(windows.train_dataloader()))
    assert (batch["motion"][..., 0] == 0.25).any()  # the motion without sound
    pairs = SwappedPairs(mix, store, SwappedPairsConfig(samples_per_epoch=64, batch_size=64))
    assert 2 in next(iter(pairs.train_dataloader()))["speaker"]
    mean, _ = motion_statistics(mix)
    expected = np.concatenate([part.motion(i) for part in parts for i in part.performances_in("train")]).mean(0)
    assert torch.allclose(mean, torch.from_numpy(expected), atol=1e-5)


def test_what_does_not_fit_is_refused(parts, tmp_path):
    with pytest.raises(UserError, match="is given twice"):
        open_corpora([parts[0].folder, parts[0].folder])

    def fill(writer):
        writer.add_performance("p", np.zeros((9, 52), np.float32), split="train")

    fast = write(tmp_path / "fast", fill, frame_rate=30.0)
    with pytest.raises(UserError, match=r"differ in frame rate 25.0 and 30.0; import one of them again"):
        CorpusMix([parts[0], fast])


@pytest.mark.parametrize(
    ("speaker", "sentence", "message"),
    [("cat", "s1", "The speaker 'cat' is in the splits val and train"), ("gus", "s3", "The sentence 's3' is in the")],
)
def test_held_out_stays_held_out(parts, tmp_path, speaker, sentence, message):
    leaky = write(tmp_path / "leaky", lambda writer: add_clip(writer, speaker, sentence, 0, "train"))
    with pytest.raises(UserError, match=f"cannot be mixed. {message}"):
        CorpusMix([parts[0], leaky])


def test_a_moving_speaker_without_sound_is_held_out_too(parts, tmp_path):
    def fill(writer):
        writer.add_performance("p", np.zeros((9, 52), np.float32), split="train", speaker="cat")

    with pytest.raises(UserError, match="The speaker 'cat'"):
        CorpusMix([parts[0], write(tmp_path / "c", fill)])


def test_a_part_that_holds_out_no_sentence_is_told(parts, tmp_path):
    def fill(writer):
        add_clip(writer, "gus", "s1", 0, "train")
        add_clip(writer, "hal", "s1", 0, "val")

    mix = CorpusMix([parts[0], write(tmp_path / "c", fill)])
    assert mix.manifest["disjoint"] == {"speaker": True, "sentence": False}
