import dataclasses
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import WORDS, add_clip, phones_of, write_corpus

from deeptalk.corpus import Corpus, CorpusWriter
from deeptalk.corpus.format import VERSION, manifest_hash
from deeptalk.corpus.rows import PerformanceRow, SpeechRow
from deeptalk.errors import UserError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("format") / "corpus")


@pytest.fixture
def copy(tmp_path):
    return write_corpus(tmp_path / "corpus").folder


def rewrite_manifest(folder, **changes):
    manifest = json.loads((folder / "corpus.json").read_text()) | changes
    manifest["hash"] = manifest_hash(manifest)
    (folder / "corpus.json").write_text(json.dumps(manifest))


def test_round_trip(corpus):
    again = Corpus.open(corpus.folder)
    assert (again.rig, again.frame_rate, again.sample_rate) == ("arkit", 25.0, 16000)
    row = again.speech[3]
    assert (row.speech_id, row.speaker, row.sentence, row.emotion, row.split) == ("ann-s2-0", "ann", "s2", 0, "train")
    assert [phone.symbol for phone in row.phones] == list(WORDS["s2"])
    assert row.phones == phones_of("s2", 0)
    assert row.affect == {"sound_class": 0, "strength": 0.25}
    performance = again.performances[again.performances_of(3)[1]]
    assert (performance.speech, performance.emotion, performance.intensity, performance.given) == (3, 0, 0.5, "speech")
    assert performance.style == {"gain": 2.0}
    assert again.speakers("train") == ("ann", "bob")
    assert again.manifest["splits"]["val"]["speech"] == 4
    assert again.manifest["disjoint"] == {"speaker": True, "sentence": True}
    again.verify()


def test_arrays_come_back(tmp_path):
    generator = np.random.default_rng(0)
    samples = [generator.uniform(-1, 1, size).astype(np.float32) for size in (8000, 1, 12345)]
    motions = [generator.standard_normal((size, 52)).astype(np.float32) for size in (13, 1, 19)]
    with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
        for number, (sound, motion) in enumerate(zip(samples, motions)):
            speech = writer.add_speech(f"s{number}", sound, speaker="a", sentence="x", split="train")
            writer.add_performance(f"p{number}", motion, speech=speech)
    corpus = Corpus.open(tmp_path / "c")
    for number in (2, 0, 1):
        assert np.abs(corpus.waveform(number) - samples[number]).max() <= 1 / 32768
        assert np.array_equal(corpus.motion(number, blink_and_gaze=True), motions[number])
    changed = corpus.motion(0, blink_and_gaze=True)
    changed[:] = 0  # a copy: writing to it must not reach the file or the next reader
    assert np.array_equal(corpus.motion(0, blink_and_gaze=True), motions[0])


def test_speech_alone_and_motion_alone(corpus):
    alone = [index for index in corpus.speech_in("train") if not corpus.performances_of(index)]
    assert [corpus.speech[index].speech_id for index in alone] == ["audio-only"]
    assert corpus.speech[alone[0]].emotion == -1
    assert corpus.speech[alone[0]].phones == ()
    row = corpus.performances[-1]
    assert (row.performance_id, row.speech, row.split) == ("motion-only", None, "train")
    assert corpus.performances_in("train")[-1] == len(corpus.performances) - 1


def test_same_content_same_hash_and_bytes(tmp_path):
    one, two, other = (write_corpus(tmp_path / n, amount) for n, amount in (("1", 1.0), ("2", 1.0), ("3", 0.5)))
    assert one.hash == two.hash
    assert one.hash != other.hash
    for name in os.listdir(one.folder):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name


def test_two_openings_share_one_file_mapping(corpus):
    first, second = Corpus.open(corpus.folder), pickle.loads(pickle.dumps(corpus))
    first.motion(0), second.motion(0)
    assert isinstance(first._motion, np.memmap)
    assert isinstance(second._motion, np.memmap)
    assert first._motion.filename == second._motion.filename
    assert not first._motion.flags.writeable
    maps = Path("/proc/self/maps").read_text().count(str(corpus.folder / "motion.npy"))
    assert maps >= 2


def test_opening_reads_no_array(corpus):
    assert not {"_motion", "_audio", "speech", "performances"} & set(vars(Corpus.open(corpus.folder)))


@pytest.mark.parametrize("name", ["speech.parquet", "performances.parquet", "audio.npy", "motion.npy"])
def test_missing_and_cut_files(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-100])
    with pytest.raises(UserError, match=rf"{name} has \d+ bytes where corpus.json says {len(content)}"):
        Corpus.open(copy)
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        Corpus.open(copy)


def test_changed_bytes_are_found_by_verify(copy):
    path = copy / "motion.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"motion.npy differs"):
        Corpus.open(copy).verify()


def test_changed_table_is_found(copy):
    table = pq.read_table(copy / "performances.parquet").slice(1)
    pq.write_table(table, copy / "performances.parquet")
    manifest = json.loads((copy / "corpus.json").read_text())
    manifest["files"]["performances.parquet"]["bytes"] = (copy / "performances.parquet").stat().st_size
    (copy / "corpus.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"40 rows where corpus\.json says 41"):
        _ = Corpus.open(copy).performances


def test_row_outside_the_array(copy):
    manifest = json.loads((copy / "corpus.json").read_text())
    rewrite_manifest(copy, counts=manifest["counts"] | {"frames": manifest["counts"]["frames"] - 1})
    with pytest.raises(UserError, match="a row outside its array"):
        _ = Corpus.open(copy).performances
    with pytest.raises(UserError, match=r"motion.npy holds float32"):
        _ = Corpus.open(copy)._motion


def test_edited_manifest(copy):
    path = copy / "corpus.json"
    text = path.read_text()
    path.write_text(text.replace("made for a test", "made for a rest"))
    with pytest.raises(UserError, match="edited after it was written"):
        Corpus.open(copy)
    path.write_text(text[:200])
    with pytest.raises(UserError, match="not valid JSON"):
        Corpus.open(copy)
    path.write_text('{"some": "thing"}')
    with pytest.raises(UserError, match="not the manifest of a corpus"):
        Corpus.open(copy)


def test_version_and_rig(copy):
    manifest = json.loads((copy / "corpus.json").read_text())
    swapped = [manifest["channels"][1], manifest["channels"][0], *manifest["channels"][2:]]
    rewrite_manifest(copy, channels=swapped)
    with pytest.raises(UserError, match=r"52 channels are not the 52 of rig 'arkit' \(first difference at channel 0\)"):
        Corpus.open(copy)
    rewrite_manifest(copy, channels=manifest["channels"], rig="no such rig")
    with pytest.raises(UserError, match="no such rig"):
        Corpus.open(copy)
    rewrite_manifest(copy, version=99)
    with pytest.raises(
        UserError, match=r"format version 99; this program reads version 2\. Install the newer deeptalk"
    ):
        Corpus.open(copy)


def test_not_a_corpus(tmp_path):
    with pytest.raises(UserError, match=r"is not a corpus: it has no corpus\.json"):
        Corpus.open(tmp_path)


def test_unknown_split(corpus):
    with pytest.raises(UserError, match="no split 'tset'; there are: train, val"):
        corpus.speech_in("tset")


def test_a_failed_write_leaves_nothing(tmp_path):
    def write():
        with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
            add_clip(writer, "a", "s1", 0, "train")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_writer_replaces_only_corpora_and_only_when_told(tmp_path, copy):
    with pytest.raises(UserError, match="already holds a corpus"):
        CorpusWriter(copy, provenance="-", license="-")
    with CorpusWriter(copy, provenance="-", license="-", overwrite=True) as writer:
        add_clip(writer, "a", "s1", 0, "train")
    assert len(Corpus.open(copy).speech) == 1
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not a corpus; it will not be replaced"):
        CorpusWriter(tmp_path / "home", provenance="-", license="-", overwrite=True)


def test_empty_corpus_is_refused(tmp_path):
    with pytest.raises(UserError, match="Nothing was added"), CorpusWriter(tmp_path / "c", provenance="-", license="-"):
        pass
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": np.zeros(0, np.float32)}, "0 samples are none"),
        ({"samples": np.array([0.0, np.nan], np.float32)}, "hold NaN"),
        ({"samples": np.array([0.0, 1.5], np.float32)}, "peak 1.500 is above 1"),
        ({"emotion": 8}, r"emotion 8; expected -1 \(unknown\) or 0..7"),
        ({"speech_id": "first"}, "used twice"),
        ({"phones": phones_of("s1", 0)[::-1]}, "run backwards"),
    ],
)
def test_bad_speech(tmp_path, arguments, message):
    good = {"speech_id": "second", "samples": np.zeros(800, np.float32)} | arguments
    with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
        writer.add_speech("first", np.zeros(800, np.float32), speaker="a", sentence="x", split="train")
        with pytest.raises(UserError, match=message):
            writer.add_speech(**good, speaker="a", sentence="x", split="train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"motion": np.zeros((26, 52), np.float32)}, "26 frames where its speech has 25"),
        ({"motion": np.zeros((25, 51), np.float32)}, "52 finite channels"),
        ({"motion": np.full((25, 52), np.inf, np.float32)}, "finite channels"),
        ({"intensity": 1.5}, "intensity 1.5 is outside 0..1"),
        ({"split": "val"}, "and not both"),
        ({"speech": None}, "a split for motion alone"),
    ],
)
def test_bad_performance(tmp_path, arguments, message):
    good = {"motion": np.zeros((25, 52), np.float32), "speech": 0} | arguments
    with CorpusWriter(tmp_path / "c", provenance="-", license="-") as writer:
        writer.add_speech("first", np.zeros(16000, np.float32), speaker="a", sentence="x", split="train")
        with pytest.raises(UserError, match=message):
            writer.add_performance("p", **good)


def test_the_page_on_formats_names_every_column_and_the_version():
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    assert f"| `format`, `version` | `deeptalk-corpus`, {VERSION} |" in page
    for title, kind in (("speech.parquet", SpeechRow), ("performances.parquet", PerformanceRow)):
        table = page.split(f"`{title}`:")[1].split("\n\n")[1]
        named = [name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
        assert sorted(named) == sorted(field.name for field in dataclasses.fields(kind))
