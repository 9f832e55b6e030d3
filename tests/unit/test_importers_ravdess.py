import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from importer_samples import segments, speech, write_ravdess, write_sound

from deeptalk.corpus import Corpus
from deeptalk.corpus.importers import REPORT, import_corpus
from deeptalk.corpus.importers.importer import Refusal
from deeptalk.corpus.importers.phone_times import read_phone_times, tiled_phones
from deeptalk.corpus.importers.ravdess_names import STRESSED, parse_name
from deeptalk.corpus.performer import Phone
from deeptalk.emotions import EMOTIONS
from deeptalk.errors import UserError
from deeptalk.speech import frame_count

SHARED = Path(__file__).parents[3] / "shared" / "data" / "ravdess16k"
NAMES = [
    "03-01-01-01-01-01-01",  # neutral, train
    "03-01-03-02-01-01-02",  # happy strong, train
    "03-01-05-01-01-02-13",  # angry normal, val
    "03-01-08-02-01-01-15",  # surprised strong, test
]
FEW = ("train_performances=2", "val_performances=1", "reference_draws=2")


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A set with every kind of file that is not speech, and the report of its import."""
    folder = tmp_path_factory.mktemp("ravdess")
    source = write_ravdess(folder / "set", [*NAMES, "03-01-04-01-02-01-03"], aligned=NAMES)
    write_sound(source / "Actor_01" / "03-02-01-01-01-01-01.wav", speech(1.0))
    write_sound(source / "Actor_01" / "my voice.wav", speech(1.0))
    (source / "Actor_01" / "01-01-01-01-01-01-01.mp4").write_bytes(b"film")
    (source / "Actor_05").mkdir()
    (source / "Actor_05" / "03-01-06-01-01-01-05.wav").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    (source / "Actor_05" / "03-01-07-01-01-01-05.wav").write_bytes(b"")
    write_sound(source / "Actor_05" / "03-01-02-01-01-01-05.wav", np.zeros(16000))
    (source / "copy" / "Actor_02").mkdir(parents=True)
    shutil.copy(source / "Actor_02" / "03-01-03-02-01-01-02.wav", source / "copy" / "Actor_02")
    report = import_corpus("ravdess", source, folder / "corpus", words=FEW)
    return source, report, Corpus.open(folder / "corpus")


def test_every_file_is_counted(imported):
    _, report, corpus = imported
    assert report.count("imported") == len(corpus.speech) == 4
    assert report.reasons("skipped") == {"song": 1, "not a RAVDESS name": 1, "video": 1}
    assert report.reasons("refused") == {
        "not aligned": 1,
        "Git LFS pointer": 1,
        "empty file": 1,
        "silent sound": 1,
        "name used twice": 1,
    }
    assert report.notes()["channels averaged"] == 2
    text = report.text()
    assert "4 clips imported, 5 refused, 3 files skipped" in text
    assert "git lfs pull" in text
    saved = json.loads((corpus.folder / REPORT).read_text())
    assert saved["imported"] == 4
    assert saved["refused"]["empty file"] == 1
    assert len(saved["clips"]) == 12


def test_rows_hold_what_the_names_say(imported):
    _, _, corpus = imported
    rows = {row.speech_id: row for row in corpus.speech}
    happy = rows["ravdess-03-01-03-02-01-01-02"]
    assert (EMOTIONS[happy.emotion], happy.intensity, happy.speaker, happy.split) == (
        "happy",
        1.0,
        "ravdess-02",
        "train",
    )
    assert happy.text == "kids are talking by the door"
    assert happy.sentence == "ravdess-kids"
    assert rows["ravdess-03-01-01-01-01-01-01"].intensity == 0.0
    assert rows["ravdess-03-01-05-01-01-02-13"].split == "val"
    assert rows["ravdess-03-01-08-02-01-01-15"].split == "test"
    # 48 kHz stereo became 16 kHz mono of the same length
    assert rows["ravdess-03-01-01-01-01-01-01"].num_samples == round(1.8 * 16000)
    assert "not by sentence" in corpus.manifest["provenance"]
    assert "made it from the speech" in corpus.manifest["provenance"]
    assert "BY-NC-SA" in corpus.manifest["license"]


def test_motion_acts_the_label(imported):
    _, _, corpus = imported
    for place, row in enumerate(corpus.speech):
        drawn = [corpus.performances[i] for i in corpus.performances_of(place)]
        assert {one.emotion for one in drawn} == {row.emotion}
        assert {one.intensity for one in drawn} == {row.intensity}
        assert {one.frames for one in drawn} == {frame_count(row.num_samples)}
        kinds = [one.given for one in drawn]
        count = {"train": 2, "val": 1, "test": 2}[row.split]
        assert kinds == ["speech"] * count + ["speech+label+speaker"] * (2 if row.split == "test" else 0)
        if row.split == "test":
            assert drawn[0].style != drawn[1].style  # another actor
            assert drawn[2].style == drawn[3].style == drawn[0].style
            motions = [corpus.motion(i) for i in corpus.performances_of(place)]
            assert all(np.abs(a - b).max() > 0.01 for a, b in itertools.pairwise(motions))


def test_phones_tile_the_clip_and_it_can_be_performed_again(imported):
    _, _, corpus = imported
    event = corpus.event(0)  # SpeechEvent refuses phones that do not tile
    assert [phone.symbol for phone in event.phones[:3]] == ["SIL", "K", "IH"]
    assert event.phones[0].end_seconds == pytest.approx(0.3)
    stressed = [(phone.symbol, phone.stress) for phone in event.phones if phone.stress]
    assert stressed == [("IH", 1), ("AO", 1), ("AO", 1)]  # kids, talking, door


def test_same_seed_same_bytes(imported, tmp_path):
    source, _, corpus = imported
    import_corpus("ravdess", source, tmp_path / "again", words=FEW)
    assert Corpus.open(tmp_path / "again").hash == corpus.hash
    import_corpus("ravdess", source, tmp_path / "other", words=[*FEW, "seed=8"])
    other = Corpus.open(tmp_path / "other")
    assert np.abs(other.motion(0) - corpus.motion(0)).max() > 0.01
    assert np.array_equal(other.waveform(0), corpus.waveform(0))


def test_heard_draws_the_emotion(tmp_path):
    source = write_ravdess(tmp_path / "set", ["03-01-02-01-01-01-01"])
    import_corpus("ravdess", source, tmp_path / "corpus", words=["acted=heard", "train_performances=40"])
    corpus = Corpus.open(tmp_path / "corpus")
    acted = [EMOTIONS[row.emotion] for row in corpus.performances]
    assert acted.count("calm") > 8  # half of what sounds calm is acted calm, 29 % sad
    assert len(set(acted)) > 1


def test_speech_alone_needs_no_alignment(tmp_path):
    source = write_ravdess(tmp_path / "set", NAMES)
    (source / "align_pocketsphinx.json").unlink()
    none = ["train_performances=0", "val_performances=0", "reference_draws=0"]
    report = import_corpus("ravdess", source, tmp_path / "corpus", words=none)
    corpus = Corpus.open(tmp_path / "corpus")
    assert (len(corpus.speech), len(corpus.performances)) == (4, 0)
    assert report.count("refused") == 0
    assert corpus.manifest["performer"] is None
    with pytest.raises(UserError, match=r"phone times are needed.*alignment=pocketsphinx.*deeptalk\[align\]"):
        import_corpus("ravdess", source, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_set_cut_to_one_length_is_noticed(tmp_path):
    names = [f"03-01-0{emotion}-01-01-01-0{actor}" for emotion in (1, 2, 3, 4) for actor in (1, 2)]
    source = write_ravdess(tmp_path / "set", names)
    for path in source.rglob("*.wav"):
        write_sound(path, speech(1.9, seed=len(path.name)))
    report = import_corpus("ravdess", source, tmp_path / "corpus", words=FEW)
    assert "all 8 clips last 1.900 s: this is a copy that was cut" in report.text()
    write_sound(source / "Actor_01" / f"{names[0]}.wav", speech(2.0))
    assert not import_corpus("ravdess", source, tmp_path / "corpus", words=FEW, overwrite=True).warnings


def test_an_alignment_of_another_copy_is_refused(tmp_path):
    source = write_ravdess(tmp_path / "set", NAMES[:2])
    (source / "align_pocketsphinx.json").write_text(
        json.dumps({NAMES[0]: segments(), NAMES[1]: segments(start=150)}),
    )
    report = import_corpus("ravdess", source, tmp_path / "corpus", words=FEW)
    assert report.reasons("refused") == {"alignment does not fit": 1}
    assert "made of another copy" in report.text()


def test_nothing_imported_is_one_sentence_and_no_folder(tmp_path):
    source = write_ravdess(tmp_path / "set", NAMES[:3], aligned=["03-01-01-01-01-01-24"])
    with pytest.raises(
        UserError, match=r"Nothing was imported from .*all 3 recordings were refused \(3 x not aligned\)"
    ):
        import_corpus("ravdess", source, tmp_path / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no RAVDESS speech \(no files\)"):
        import_corpus("ravdess", tmp_path / "empty", tmp_path / "corpus")
    with pytest.raises(UserError, match="nowhere does not exist; give the folder"):
        import_corpus("ravdess", tmp_path / "nowhere", tmp_path / "corpus")
    with pytest.raises(UserError, match="Unknown kind of data 'mead'; what can be imported: ravdess"):
        import_corpus("mead", source, tmp_path / "corpus")
    with pytest.raises(UserError, match="Unknown config key 'performances'"):
        import_corpus("ravdess", source, tmp_path / "corpus", words=["performances=3"])
    with pytest.raises(UserError, match="expected actors 1 to 24"):
        import_corpus("ravdess", source, tmp_path / "corpus", words=["val_actors=[0]"])


@pytest.mark.parametrize(
    "stem",
    ["03-01-01-02-01-01-01", "03-01-09-01-01-01-01", "03-01-01-01-01-01-25", "03-01-01-01-03-01-01", "03-1-1-1-1-1-1"],
)
def test_names_that_the_set_does_not_have(stem):
    assert parse_name(stem) is None


def test_names_are_decoded():
    name = parse_name("03-01-06-02-02-01-12")
    assert (EMOTIONS[name.emotion], name.strong, name.statement, name.repetition, name.actor) == (
        "fearful",
        True,
        1,
        1,
        12,
    )
    assert name.intensity == 1.0
    assert [parse_name(f"03-01-0{n}-01-01-01-01").emotion for n in range(1, 9)] == list(range(8))


def test_phone_times_become_tiles():
    times = [("are(2)", "ER", 10, 5), ("talking", "T", 15, 5), ("talking", "AO", 20, 10), ("<s>", "+BREATH+", 32, 4)]
    phones = tiled_phones(times, 0.5, STRESSED)
    assert phones == [
        Phone("SIL", 0.0, 0.10),
        Phone("ER", 0.10, 0.15),
        Phone("T", 0.15, 0.20),
        Phone("AO", 0.20, 0.30, 1),
        Phone("SIL", 0.30, 0.5),
    ]
    # a last phone that ends a little late is cut to the sound; one that is far off is refused
    assert tiled_phones([("door", "R", 10, 45)], 0.5, STRESSED)[-1].end_seconds == 0.5
    with pytest.raises(Refusal, match="made of another copy"):
        tiled_phones([("door", "R", 10, 60)], 0.5, STRESSED)
    with pytest.raises(Refusal, match=r"after 0\.20 s"):
        tiled_phones([("door", "D", 10, 10), ("door", "AO", 15, 10)], 0.5, STRESSED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "does not hold alignments"),
        ('{"a": 3}', "expected a list of"),
        ('{"a": [["kids", "K", 1.5, 3]]}', "times whole numbers of 10 ms"),
        ("version https://git-lfs", "is not valid JSON"),
    ],
)
def test_alignment_files_that_are_none(tmp_path, content, message):
    (tmp_path / "align.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_phone_times(tmp_path / "align.json")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="shared/data is not here")
def test_one_actor_of_the_real_set(tmp_path):
    source = tmp_path / "set"
    source.mkdir()
    for path in SHARED.glob("*-15.flac"):
        (source / path.name).symlink_to(path)
    words = ["reference_draws=1", f"alignment={SHARED / 'align_pocketsphinx.json'}"]
    report = import_corpus("ravdess", source, tmp_path / "corpus", words=words)
    corpus = Corpus.open(tmp_path / "corpus")
    assert report.count("imported") == 60
    assert corpus.manifest["splits"]["test"]["performances"] == 120
    assert not report.warnings
    assert {row.phones[0].symbol for row in corpus.speech} == {"SIL"}
