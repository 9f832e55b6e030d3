import dataclasses
import sys

import numpy as np
import pytest

from deeptalk.corpus import ClipWindows, ClipWindowsConfig, Corpus, CorpusConfig, SwappedPairs, SwappedPairsConfig
from deeptalk.corpus.build import build_corpus
from deeptalk.corpus.performer import Performer
from deeptalk.corpus.sentences import demo_lines, lines_of_file
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.errors import UserError
from deeptalk.face import load_rig
from deeptalk.speech import build_encoder, frame_count

TINY = CorpusConfig(max_clips_per_split=10, train_performances=3, val_performances=2, reference_draws=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(tmp_path_factory.mktemp("build") / "corpus", TINY)


def test_counts_and_kinds(corpus):
    assert {split: entry["speech"] for split, entry in corpus.manifest["splits"].items()} == {
        "train": 10,
        "val": 10,
        "test": 10,
    }
    assert len(corpus.performances) == 10 * (3 + 2 + 3 + 3)
    for index in corpus.speech_in("test"):
        assert [corpus.performances[i].given for i in corpus.performances_of(index)] == ["speech"] * 3 + [
            "speech+label+speaker"
        ] * 3
    assert {corpus.performances[i].given for i in corpus.performances_in("train")} == {"speech"}
    assert corpus.manifest["disjoint"] == {"speaker": True, "sentence": True}
    assert corpus.manifest["performer"]["version"] == Performer(load_rig("arkit")).version
    assert corpus.manifest["config"]["seed"] == TINY.seed
    corpus.verify()


def test_motion_fits_its_speech(corpus):
    limits = np.asarray(load_rig("arkit").limits)
    for index, row in enumerate(corpus.performances):
        motion = corpus.motion(index)
        assert len(motion) == frame_count(corpus.speech[row.speech].num_samples)
        assert (motion >= limits[:, 0]).all()
        assert (motion <= limits[:, 1]).all()


def test_fixed_label_draws_share_label_and_speaker_of_the_first(corpus):
    rows = corpus.performances
    differing = 0
    for index in corpus.speech_in("test"):
        free, fixed = (corpus.performances_of(index, given) for given in ("speech", "speech+label+speaker"))
        target = rows[free[0]]
        assert {(rows[i].emotion, rows[i].intensity) for i in fixed} == {(target.emotion, target.intensity)}
        assert all(rows[i].style == target.style for i in fixed)
        differing += len({rows[i].emotion for i in free}) > 1
    assert differing > 0


def test_speech_is_the_vendored_speech(corpus):
    vendored = [event for event in demo_speech() if event.split == "val"][:10]
    for index, event in zip(corpus.speech_in("val"), vendored, strict=True):
        row = corpus.speech[index]
        assert (row.speaker, row.sentence, row.text) == (event.speaker, event.sentence, event.text)
        assert row.emotion == event.affect.sound_class
        assert np.abs(corpus.waveform(index) - event.samples).max() <= 1 / 32768
        back = corpus.event(index)
        assert back.affect == event.affect
        assert tuple(back.phones) == tuple(event.phones)


def test_performances_can_be_drawn_again_from_the_corpus(corpus):
    performer = Performer(load_rig("arkit"))
    for index in (0, corpus.speech_in("test")[4]):
        again = performer.performances(corpus.event(index), 2, given="speech", seed=TINY.seed)
        for place, drawn in zip(corpus.performances_of(index)[:2], again):
            assert np.array_equal(corpus.motion(place, blink_and_gaze=True), drawn.motion)


def test_same_seed_same_bytes_other_seed_other_motion(corpus, tmp_path):
    small = dataclasses.replace(TINY, max_clips_per_split=2)
    one, two = build_corpus(tmp_path / "1", small), build_corpus(tmp_path / "2", small)
    other = build_corpus(tmp_path / "3", dataclasses.replace(small, seed=8))
    assert one.hash == two.hash != other.hash
    for path in one.folder.iterdir():
        assert path.read_bytes() == (two.folder / path.name).read_bytes()
    assert (one.folder / "audio.npy").read_bytes() == (other.folder / "audio.npy").read_bytes()
    assert (one.folder / "motion.npy").read_bytes() != (other.folder / "motion.npy").read_bytes()
    by_id = {row.performance_id: index for index, row in enumerate(corpus.performances)}
    for index, row in enumerate(one.performances):  # a smaller corpus is part of a larger one
        assert np.array_equal(one.motion(index), corpus.motion(by_id[row.performance_id]))


def test_it_feeds_the_data_modules(corpus):
    store = corpus.features(build_encoder("logmel"))
    clips = ClipWindows(corpus, store, ClipWindowsConfig(batch_size=4, samples_per_epoch=8, val_split="test"))
    assert all(batch["features"].shape[:2] == batch["motion"].shape[:2] for batch in clips.train_dataloader())
    shown = [index for batch in clips.val_dataloader() for index in batch["performance"].tolist()]
    assert {corpus.performances[index].given for index in shown} == {"speech"}
    pairs = SwappedPairs(corpus, store, SwappedPairsConfig(samples_per_epoch=8))
    assert pairs.train_report.refused == 0
    assert pairs.train_report.quadruples > 0


def test_splits_must_be_disjoint(tmp_path):
    events = [event for event in demo_speech() if event.sentence == "demo_01"][:2]
    leaked = [events[0], dataclasses.replace(events[1], split="test")]
    with pytest.raises(UserError, match="speaker 'amber' is in the splits train and test"):
        build_corpus(tmp_path / "c", CorpusConfig(), events=leaked)
    renamed = [events[0], dataclasses.replace(events[1], split="test", speaker="zoe")]
    with pytest.raises(UserError, match="sentence 'demo_01' is in the splits train and test"):
        build_corpus(tmp_path / "c", CorpusConfig(), events=renamed)
    with pytest.raises(UserError, match="has no split"):
        build_corpus(tmp_path / "c", CorpusConfig(), events=[dataclasses.replace(events[0], split=None)])
    assert not (tmp_path / "c").exists()


def test_existing_corpus_is_kept_unless_told(corpus):
    with pytest.raises(UserError, match="already holds a corpus"):
        build_corpus(corpus.folder, TINY)
    assert Corpus.open(corpus.folder).hash == corpus.hash


def test_sentences_of_a_file_are_shared_among_voices(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(["One two.", "One two.", ""] + [f"Sentence {number}." for number in range(40)]))
    lines = lines_of_file(path)
    assert len(lines) == 41
    homes: dict[str, set[str]] = {}
    for split, voice, _, _ in lines:
        homes.setdefault(voice, set()).add(split)
    assert all(len(splits) == 1 for splits in homes.values())
    assert {split for split, *_ in lines} == {"train", "val", "test"}
    assert len([line for line in lines if line[0] == "val"]) == 4
    assert len({voice for split, voice, _, _ in lines if split == "train"}) == 4
    path.write_text("Only one.")
    with pytest.raises(UserError, match="1 different sentences; expected at least 10"):
        lines_of_file(path)
    with pytest.raises(UserError, match="Cannot read sentences"):
        lines_of_file(tmp_path / "none.txt")


def test_demo_lines():
    lines = demo_lines()
    assert len(lines) == 21
    assert len({voice for _, voice, _, _ in lines}) == 6


def test_synthesis_without_the_package_names_the_extra(tmp_path, monkeypatch):
    from deeptalk.corpus.synthesis import hibari

    hibari._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(UserError, match=r'pip install "deeptalk\[voice\]"'):
        build_corpus(tmp_path / "c", CorpusConfig(speech="synthesis"))


def test_synthesis_speaks_the_demo_sentences_in_new_tones(corpus, tmp_path):
    pytest.importorskip("hibari", reason="needs the extra `voice`")
    config = CorpusConfig(
        speech="synthesis", affects_per_class=2, max_clips_per_split=2, train_performances=1, reference_draws=1
    )
    spoken = build_corpus(tmp_path / "spoken", config)
    assert [row.speech_id for row in spoken.speech[:2]] == ["amber-demo_01-neutral", "amber-demo_01-neutral-2"]
    assert [row.split for row in spoken.speech] == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    affects = [row.affect["pitch_semitones"] for row in spoken.speech[:2]]
    assert len({*affects, corpus.speech[0].affect["pitch_semitones"]}) == 3
    assert spoken.speech[0].text == corpus.speech[0].text
    assert "hibari" in spoken.manifest["provenance"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_performances": 0}, "train_performances is 0"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"max_clips_per_split": -1}, "max_clips_per_split is -1"),
        ({"sentences": "x.txt"}, "sentences and affects_per_class need speech=synthesis"),
    ],
)
def test_config_checks_itself(arguments, message):
    with pytest.raises(UserError, match=message):
        CorpusConfig(**arguments)
