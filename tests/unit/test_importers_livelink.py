import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from importer_samples import JAW, jaw_motion, speech, write_csv, write_sound

from deeptalk.corpus import Corpus
from deeptalk.corpus.importers import import_corpus
from deeptalk.corpus.resample import arkit_lip_gap, closings
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS
from deeptalk.face.live_link import SHAPE_COLUMNS, read_live_link_csv, read_live_link_frames

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "arkit_range_of_motion" / "live_link_face_sample.csv"

BROW = 2 + SHAPE_COLUMNS.index("BrowInnerUp")


def take(folder: Path, name: str, seconds: float = 3.0, rate: float = 60.0, **sound: float) -> Path:
    """A CSV and its sound, which lasts `sound_seconds` (0 for none)."""
    length = sound.get("sound_seconds", seconds)
    if length:
        write_sound(folder / f"{name}.wav", speech(length, 44100), 44100)
    return write_csv(folder / f"{name}.csv", jaw_motion(seconds, rate), rate)


def edit(path: Path, change) -> None:
    """Change the lines of a file, each a list of cells; the header is line 0."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\n".join(",".join(cells) for cells in change(lines)))


def result(tmp_path: Path, *words: str):
    report = import_corpus("livelink", tmp_path / "takes", tmp_path / "corpus", words=words, overwrite=True)
    return report, Corpus.open(tmp_path / "corpus")


def test_takes_of_two_rates_spellings_and_places(tmp_path):
    takes = tmp_path / "takes"
    take(takes, "flat", rate=30.0)
    other = take(takes / "20260101_MySlate_2", "MySlate_2_iPhone", sound_seconds=0)
    write_sound(takes / "20260101_MySlate_2" / "boom.wav", speech(3.0))  # the only sound of its take folder
    edit(other, lambda lines: [[cell.replace("BlendShapeCount", "BlendshapeCount") for cell in lines[0]], *lines[1:]])
    (takes / "20260101_MySlate_2" / "frame_log.csv").write_text("frame,dropped\n1,0\n")
    (takes / "20260101_MySlate_2" / "MySlate_2_iPhone.mov").write_bytes(b"film")
    take(takes, "silent", sound_seconds=0)
    report, corpus = result(tmp_path)
    assert report.count("imported") == 3
    assert report.reasons("skipped") == {"other CSV": 1, "video": 1}
    assert "ffmpeg -i MySlate_2_iPhone.mov" in json.dumps(report.as_dict())
    rows = {row.speech_id.rsplit("/", 1)[1]: row for row in corpus.speech}
    assert set(rows) == {"flat", "MySlate_2_iPhone"}
    assert rows["flat"].origin == {"motion_rate": 30.0, "sound": "flat.wav"}
    assert rows["MySlate_2_iPhone"].origin == {"motion_rate": 60.0, "sound": "boom.wav"}
    assert {row.speaker for row in corpus.performances} == {"livelink-takes"}
    assert [row.performance_id for row in corpus.performances if row.speech is None] == [
        "livelink-takes/silent/motion/0"
    ]
    assert report.notes() == {"no sound: motion alone": 1}
    assert len(corpus.motion(0)) == 75


def test_motion_is_that_of_the_file_and_closures_survive(tmp_path):
    take(tmp_path / "takes", "one")
    _, corpus = result(tmp_path)
    motion, source = corpus.motion(0), read_live_link_csv(tmp_path / "takes" / "one.csv")
    expected = jaw_motion(3.0, 25.0)
    assert np.abs(motion - expected).max() < 0.06
    assert np.all(motion[:, CHANNELS.index("browInnerUp")] == np.float32(0.5))
    gap = arkit_lip_gap(source.motion)
    inner = closings(gap)[1:-1]
    for seconds in (inner + 0.5) / 60.0:
        near = slice(max(0, int(seconds * 25) - 1), int(seconds * 25) + 2)
        assert arkit_lip_gap(motion)[near].min() < 0.0005


def test_columns_are_found_by_name(tmp_path):
    path = take(tmp_path / "takes", "one")
    order = [0, 1, *np.random.default_rng(0).permutation(np.arange(2, 63)).tolist()]
    edit(path, lambda lines: [[cells[place] for place in order] for cells in lines])
    _, corpus = result(tmp_path)
    assert np.abs(corpus.motion(0)[:, JAW] - jaw_motion(3.0, 25.0)[:, JAW]).max() < 0.06


def test_defects_are_mended_within_limits_and_noted(tmp_path):
    takes = tmp_path / "takes"
    gap = take(takes, "gap")
    edit(gap, lambda lines: [*lines[:50], *lines[56:]])  # 6 of 60 frames a second
    nan = take(takes, "nan")
    edit(nan, lambda lines: [*lines[:50], [*lines[50][:BROW], "nan", *lines[50][BROW + 1 :]], *lines[51:]])
    over = take(takes, "over")
    edit(over, lambda lines: [*lines[:50], [*lines[50][:BROW], "1.003", *lines[50][BROW + 1 :]], *lines[51:]])
    twice = take(takes, "twice")
    edit(twice, lambda lines: [*lines[:50], lines[49], *lines[50:]])
    take(takes, "long sound", sound_seconds=3.4)
    take(takes, "short sound", sound_seconds=2.7)
    loud = take(takes, "loud")
    square = np.sign(np.sin(2 * np.pi * 440 * np.arange(3 * 44100) / 44100))
    write_sound(loud.with_suffix(".wav"), square * 0.9999, 44100)
    report, corpus = result(tmp_path)
    notes = {r.name.rsplit("/", 1)[1]: [note.kind for note in r.notes] for r in report.results}
    assert notes == {
        "gap": ["missing frames bridged"],
        "nan": ["frames with NaN bridged"],
        "over": ["values set to 0 or 1"],
        "twice": ["repeated frames dropped"],
        "long sound": ["sound cut to its motion"],
        "short sound": ["motion cut to its sound"],
        "loud": ["peak above 1 scaled"],
    }
    texts = {note.kind: note.text for r in report.results for note in r.notes}
    assert texts["missing frames bridged"].startswith("6 frames")
    assert "browInnerUp is 1.0030 at frame 49" in texts["values set to 0 or 1"]
    assert "ran on for 0.400 s" in texts["sound cut to its motion"]
    frames = {row.performance_id.split("/")[1]: row.frames for row in corpus.performances}
    assert frames["long sound"] == 75
    assert frames["short sound"] == 68
    values = {row.performance_id.split("/")[1]: corpus.motion(i) for i, row in enumerate(corpus.performances)}
    assert 0.8 < values["over"].max() <= 1.0
    assert np.abs(values["gap"] - values["twice"]).max() < 0.25
    assert np.abs(values["nan"] - values["twice"]).max() < 0.1


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda lines: [*lines[:50], *lines[80:]], "frames missing", r"0\.50 s of motion are missing before frame"),
        (
            lambda lines: [lines[0], *([*cells[:2], "nan", *cells[3:]] for cells in lines[1:])],
            "NaN",
            "all 180 frames hold NaN",
        ),
        (
            lambda lines: [lines[0], *([*cells[:BROW], "50.0", *cells[BROW + 1 :]] for cells in lines[1:])],
            "out of range",
            r"browInnerUp is 50\.0000 at frame 0.*divide them by 100",
        ),
        (
            lambda lines: [[c.replace("JawOpen", "Jaw") for c in lines[0]], *lines[1:]],
            "unreadable CSV",
            "lacks .*JawOpen",
        ),
        (
            lambda lines: [lines[0], *(["00:00:01:00.0", *cells[1:]] for cells in lines[1:])],
            "unreadable CSV",
            "timecodes stand still",
        ),
        (lambda lines: lines[:2], "unreadable CSV", "has 1 frames"),
        (lambda lines: [["version https://git-lfs.github.com/spec/v1"]], "Git LFS pointer", "git lfs pull"),
        (lambda lines: [], "empty file", "0 bytes"),
    ],
)
def test_defects_beyond_the_limits_are_refused(tmp_path, change, kind, message):
    take(tmp_path / "takes", "good")
    edit(take(tmp_path / "takes", "bad"), change)
    report, corpus = result(tmp_path)
    assert report.reasons("refused") == {kind: 1}
    (refused,) = [one for one in report.results if one.outcome == "refused"]
    assert refused.name == "bad"
    assert re.search(message, refused.reason)
    assert len(corpus.speech) == 1


def test_lengths_that_do_not_fit(tmp_path):
    takes = tmp_path / "takes"
    take(takes, "good")
    take(takes, "half", sound_seconds=6.0)  # as if 60 frames a second were 30
    take(takes, "much longer", sound_seconds=4.4)
    take(takes, "mute")
    write_sound(takes / "mute.wav", np.zeros(48000))
    (takes / "broken.wav").write_text("no sound")
    take(takes, "broken", sound_seconds=0)
    take(takes / "a", "twin", sound_seconds=0)
    for suffix in ("flac", "wav"):
        write_sound(takes / "a" / f"twin.{suffix}", speech(3.0))
    report, _ = result(tmp_path)
    reasons = {one.name: (one.kind, one.reason) for one in report.results if one.outcome == "refused"}
    assert {name: kind for name, (kind, _) in reasons.items()} == {
        "half": "wrong frame rate",
        "much longer": "lengths differ",
        "mute": "silent sound",
        "broken": "unreadable sound",
        "twin": "several sounds fit",
    }
    assert "at 30 frames a second they would fit" in reasons["half"][1]
    assert "lasts 3.00 s at 60 frames a second, its sound 4.40 s" in reasons["much longer"][1]


def test_calibrated_twins_count_once(tmp_path):
    takes = tmp_path / "takes"
    for name in ("shot_iPhone_cal", "shot_iPhone_raw", "shot_iPhone_neutral"):
        take(takes, name, sound_seconds=0)
    write_sound(takes / "shot_iPhone.wav", speech(3.0))
    report, corpus = result(tmp_path)
    assert [row.speech_id for row in corpus.speech] == ["livelink-takes/shot_iPhone_cal"]
    assert report.reasons("skipped") == {"calibration pose": 1, "uncalibrated twin": 1}


def test_corpus_and_report_appear_at_once(tmp_path, monkeypatch):
    take(tmp_path / "takes", "one")
    out, replace = tmp_path / "corpus", os.replace

    def put_in_place(new, place):
        if Path(place) == out:
            assert json.loads((Path(new) / "import.json").read_text())["imported"] == 1
        replace(new, place)

    monkeypatch.setattr("os.replace", put_in_place)
    result(tmp_path)
    assert (out / "import.json").is_file()


def test_sounds_without_motion_are_counted(tmp_path):
    takes = tmp_path / "takes"
    take(takes, "good")
    write_sound(takes / "lost.wav", speech(2.0))
    take(takes, "broken")
    (takes / "broken.csv").write_bytes(b"")
    report, _ = result(tmp_path)
    assert report.reasons("skipped") == {"sound without motion": 1}
    assert [one.name for one in report.results if one.outcome == "skipped"] == ["lost.wav"]
    assert report.count("refused") == 1


def test_takes_of_one_name_are_told_apart_by_their_folders(tmp_path):
    take(tmp_path / "takes" / "monday", "a")
    take(tmp_path / "takes" / "tuesday", "a")
    _, corpus = result(tmp_path, "speaker=ann")
    assert {row.speech_id for row in corpus.speech} == {"ann/monday/a", "ann/tuesday/a"}
    assert corpus.speech[0].speaker == "ann"


def test_labels_splits_text_and_other_folders(tmp_path):
    takes = tmp_path / "takes"
    for name in ("a_1", "a_2", "b_1"):
        take(takes, name, sound_seconds=0)
        write_sound(tmp_path / "sounds" / f"{name}.wav", speech(3.0))
    (tmp_path / "sounds" / "a_1.txt").write_text("Good morning,\n everyone.\n")
    words = [f"sounds={tmp_path / 'sounds'}", "emotion=joy", "intensity=0.8", "val=a_2", "test=b_*"]
    _, corpus = result(tmp_path, *words)
    assert [row.split for row in corpus.speech] == ["train", "val", "test"]
    assert corpus.speech[0].text == "Good morning, everyone."
    assert {(row.emotion, row.intensity) for row in corpus.speech} == {(2, 0.8)}
    assert {(row.emotion, row.intensity) for row in corpus.performances} == {(2, 0.8)}
    with pytest.raises(UserError, match="Unknown emotion 'joyful'"):
        result(tmp_path, "emotion=joyful")
    with pytest.raises(UserError, match="sounds=nowhere is not a folder"):
        result(tmp_path, "sounds=nowhere")


def test_long_takes_are_cut_in_pauses_and_nothing_is_lost(tmp_path):
    take(tmp_path / "takes", "long", seconds=31.0)
    _, whole = result(tmp_path, "clip_seconds=0")
    whole_sound, whole_motion = whole.waveform(0), whole.motion(0)
    report, corpus = result(tmp_path)
    assert 4 <= len(corpus.speech) <= 7
    assert all(5.0 <= row.num_samples / 16000 <= 10.0 for row in corpus.speech[:-1])
    assert np.array_equal(np.concatenate([corpus.waveform(i) for i in range(len(corpus.speech))]), whole_sound)
    assert np.array_equal(np.concatenate([corpus.motion(i) for i in range(len(corpus.speech))]), whole_motion)
    for place in range(len(corpus.speech) - 1):
        sound = corpus.waveform(place)
        assert np.abs(sound[-640:]).max() < 0.5 * np.abs(sound).max()
    assert report.count("imported") == len(corpus.speech)


def test_head_rotation_is_not_lost_silently(tmp_path):
    path = take(tmp_path / "takes", "one")
    edit(path, lambda lines: [lines[0], *([*cells[:54], "0.3", *cells[55:]] for cells in lines[1:])])
    report, _ = result(tmp_path)
    assert report.notes() == {"head rotation left out": 1}


def test_a_folder_without_takes(tmp_path):
    write_sound(tmp_path / "takes" / "a.wav", speech(1.0))
    with pytest.raises(UserError, match=r"holds no Live Link Face CSV \(1 other files\)"):
        import_corpus("livelink", tmp_path / "takes", tmp_path / "corpus")


def test_a_take_runs_past_midnight(tmp_path):
    path = take(tmp_path / "takes", "late", rate=30.0)
    edit(path, lambda lines: [lines[0], *([_later(cells[0]), *cells[1:]] for cells in lines[1:])])
    frames = read_live_link_frames(path)
    assert frames.frame_rate == 30.0
    assert not frames.uneven_rows.size
    assert frames.seconds[-1] > 86_400 > frames.seconds[0]
    report, _ = result(tmp_path)
    assert report.notes() == {}


def _later(code: str) -> str:
    """A timecode 23:59:59 later."""
    seconds = int(code[6:8]) + 59 + 60 * (59 + 60 * 23)
    return f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{code[9:]}"


@pytest.mark.shared
@pytest.mark.skipif(not SAMPLE.exists(), reason="shared/data is not here")
def test_the_sample_of_the_app(tmp_path):
    report = import_corpus("livelink", SAMPLE.parent, tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    assert (len(corpus.speech), len(corpus.performances)) == (0, 1)
    assert report.notes() == {"no sound: motion alone": 1}
    assert corpus.performances[0].frames == 250
    source = read_live_link_csv(SAMPLE)
    at = np.round((np.arange(250) + 0.5) / 25 * 30 - 0.5).astype(int)
    assert np.abs(corpus.motion(0, blink_and_gaze=True) - source.motion[at]).max() < 0.2
