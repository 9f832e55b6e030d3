import dataclasses
import itertools
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deeptalk.corpus import ClipWindows, ClipWindowsConfig, Corpus, CorpusConfig, SwappedPairs, SwappedPairsConfig
from deeptalk.corpus.build import CorpusBuild, build_corpus
from deeptalk.corpus.clips import plan_clips
from deeptalk.corpus.performer import Performer
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.corpus.synthesis.plan import speak
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


def test_speech_of_ones_own(tmp_path):
    events = [event for event in demo_speech() if event.split == "test"][:2]
    corpus = build_corpus(tmp_path / "c", CorpusConfig(reference_draws=1), events=events)
    assert [row.text for row in corpus.speech] == [event.text for event in events]
    assert len(corpus.performances) == 4


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


def test_synthesis_without_the_package_names_the_extra(tmp_path, monkeypatch):
    from deeptalk.corpus.synthesis import hibari

    hibari._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(UserError, match=r"^Clip hibari-.*pip install .deeptalk\[voice\]"):
        build_corpus(tmp_path / "c", spoken_config(tmp_path))
    assert not (tmp_path / "c").exists()
    assert not list(tmp_path.glob(".c*"))


def spoken_config(folder, **changes):
    """Twelve clips by hibari of sentences of a file."""
    path = folder / "sentences.txt"
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    path.write_text("\n".join(f"Number {name}." for name in names))
    settings = {"sentences": str(path), "shares": {"hibari": 1.0, "joe": 0.0}, "clips": 12, "affects_per_sentence": 2}
    settings |= {"train_performances": 1, "val_performances": 1, "reference_draws": 1}
    return CorpusConfig(speech="synthesis", **settings | changes)


def test_synthesis_speaks_a_plan(tmp_path):
    pytest.importorskip("hibari", reason="needs the extra `voice`")
    config = spoken_config(tmp_path, augmented_share=0.5)
    spoken = build_corpus(tmp_path / "spoken", config)
    assert [row.split for row in spoken.speech] == ["train"] * 10 + ["val", "test"]
    assert {row.origin["engine"] for row in spoken.speech} == {"hibari"}
    for index, row in enumerate(spoken.speech):
        assert row.text in Path(config.sentences).read_text()
        assert row.emotion == row.affect["sound_class"]
        assert row.intensity == row.affect["strength"]
        assert np.abs(spoken.waveform(index)).max() > 0.01
    assert "hibari" in spoken.manifest["provenance"]
    assert "That of the sentences" in spoken.manifest["license"]


def test_a_stopped_build_does_not_go_on_with_another_flite(tmp_path, monkeypatch):
    pytest.importorskip("hibari", reason="needs the extra `voice`")
    if not shutil.which("flite"):
        pytest.skip("the program flite is not installed")

    def stopped(*_):
        raise RuntimeError("stopped")

    config = spoken_config(tmp_path, clips=4, unseen_share=1.0)
    monkeypatch.setattr(CorpusBuild, "_join", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        build_corpus(tmp_path / "c", config)
    monkeypatch.undo()
    monkeypatch.setattr("deeptalk.corpus.synthesis.flite.version", lambda: "flite-0")
    with pytest.raises(UserError, match=r"programs.flite was 'flite-\d.* and is 'flite-0'"):
        build_corpus(tmp_path / "c", config)
    monkeypatch.undo()
    spoken = build_corpus(tmp_path / "c", config)
    assert [spoken.speech[index].origin["engine"] for index in spoken.speech_in("test")] == ["flite"]


def test_sentences_joined_to_longer_clips(tmp_path):
    pytest.importorskip("hibari", reason="needs the extra `voice`")
    config = spoken_config(tmp_path, clips=1600, affects_per_sentence=8, join_sentences=3)
    clips = plan_clips(config)
    sizes = Counter(len(clip.source) for clip in clips)
    assert set(sizes) == {1, 2, 3}
    assert sum(size * count for size, count in sizes.items()) == 1600
    tones = {}
    for clip in clips:
        assert len({line.affect for line in clip.source}) == 1
        assert len({(line.voice, line.split) for line in clip.source}) == 1
        tones.setdefault((clip.speaker, clip.sentence), set()).add(clip.source[0].affect.sound_class)
    assert sum(len(own) == 8 for own in tones.values()) > 0.5 * len(tones)
    longest = next(clip for clip in clips if len(clip.source) == 3)
    event = longest.speech()
    parts = [speak(line) for line in longest.source]
    assert np.array_equal(event.samples, np.concatenate([part.samples for part in parts]))
    assert event.sentence == "+".join(part.sentence for part in parts)
    second = next(phone for phone in parts[1].phones if phone.symbol != "SIL")
    starts = [phone.start_seconds for phone in event.phones if phone.symbol == second.symbol]
    assert np.isclose(starts, parts[0].seconds + second.start_seconds).any()
    symbols = [phone.symbol for phone in event.phones]
    assert ("SIL", "SIL") not in list(itertools.pairwise(symbols))
    assert event.affect == longest.source[0].affect


def test_expectations_before_the_build(tmp_path):
    build = CorpusBuild(tmp_path / "c", TINY)
    corpus = build.run()
    assert build.expected_hours == pytest.approx(sum(row.num_samples for row in corpus.speech) / 16000 / 3600)
    arrays = sum((corpus.folder / name).stat().st_size for name in ("audio.npy", "motion.npy"))
    assert build.expected_bytes == pytest.approx(arrays, rel=0.01)
    assert set(build.seconds) == {"speak", "augment", "perform", "join"}
    spoken = plan_clips(spoken_config(tmp_path, clips=0, hours=0.05))
    assert sum(clip.expected_seconds for clip in spoken) == pytest.approx(180, rel=0.1)


def test_a_disk_too_small_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match=r"will take about 0.0 GB, and twice that while .* Free some"):
        build_corpus(tmp_path / "c", TINY)


def test_references_of_some_clips_only(tmp_path):
    some = build_corpus(tmp_path / "c", dataclasses.replace(TINY, max_clips_per_split=4, reference_clips=3))
    counts = [Counter(some.performances[i].given for i in some.performances_of(j)) for j in some.speech_in("test")]
    assert counts == [{"speech": 3, "speech+label+speaker": 3}] * 3 + [{"speech": 2}]


def test_augmentation_changes_the_sound_and_nothing_else(tmp_path):
    small = dataclasses.replace(TINY, max_clips_per_split=8)
    clean = build_corpus(tmp_path / "clean", small)
    changed = build_corpus(tmp_path / "changed", dataclasses.replace(small, augmented_share=0.5))
    assert (clean.folder / "motion.npy").read_bytes() == (changed.folder / "motion.npy").read_bytes()
    touched = [index for index, row in enumerate(changed.speech) if row.origin and "augmentation" in row.origin]
    assert 4 <= len(touched) <= 12
    assert not set(touched) & set(changed.speech_in("test"))
    for index in range(len(clean.speech)):
        same = np.array_equal(clean.waveform(index), changed.waveform(index))
        assert same == (index not in touched)
    row = changed.speech[touched[0]]
    assert row.phones == clean.speech[touched[0]].phones
    assert {"noise", "rt60_seconds", "codec"} <= set(row.origin["augmentation"])
    with pytest.raises(UserError, match=rf"sound of {row.speech_id} was augmented; .* Use a clip without"):
        changed.event(touched[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_performances": 0}, "train_performances is 0"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"max_clips_per_split": -1}, "max_clips_per_split is -1"),
        ({"sentences": "x.txt"}, "sentences needs speech=synthesis"),
        ({"hours": 1.0}, "hours needs speech=synthesis"),
        ({"augmented_share": 1.5}, r"augmented_share is 1.5; expected 0 to 1"),
        ({"speech": "synthesis"}, "needs hours above 0, or clips"),
    ],
)
def test_config_checks_itself(arguments, message):
    with pytest.raises(UserError, match=message):
        CorpusConfig(**arguments)
