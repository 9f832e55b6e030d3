import json

import numpy as np
import pytest

from deeptalk.errors import UserError
from deeptalk.export.arkit_json import read_arkit_json, write_arkit_json
from deeptalk.face import CHANNELS, pascal_case
from deeptalk.take import Take

RECIPE = {"seed": 7, "take": 2, "speech": {"sha256": "ab"}, "note": "Ümläut"}


def take(frames=7, head=False):
    random = np.random.default_rng(0)
    turned = random.normal(0, 0.1, (frames, 3)).astype(np.float32) if head else None
    motion = random.random((frames, 52)).astype(np.float32)
    return Take(motion, "arkit", 30000 / 1001, RECIPE, None, turned)


@pytest.mark.parametrize("head", [False, True])
def test_what_is_written_reads_back_exactly(tmp_path, head):
    written = take(head=head)
    write_arkit_json(written, tmp_path / "Ärger und Freude.json")
    found = Take(**read_arkit_json(tmp_path / "Ärger und Freude.json"))
    np.testing.assert_array_equal(found.motion, written.motion)
    assert found.motion.dtype == np.float32
    assert (found.rig, found.frame_rate, found.recipe) == ("arkit", written.frame_rate, RECIPE)
    assert (found.head_rotation_radians is not None) == head
    if head:
        np.testing.assert_array_equal(found.head_rotation_radians, written.head_rotation_radians)


def test_layout_is_that_of_audio2face(tmp_path):
    write_arkit_json(take(), tmp_path / "happy.json")
    content = json.loads((tmp_path / "happy.json").read_text(encoding="utf-8"))
    assert content["facsNames"] == list(CHANNELS)
    assert (content["numPoses"], content["numFrames"], content["trackPath"]) == (52, 7, "happy")
    assert np.array(content["weightMat"]).shape == (7, 52)
    assert content["exportFps"] == pytest.approx(29.97, abs=1e-3)
    assert len((tmp_path / "happy.json").read_text().splitlines()) == 7 + 12  # a line a frame


def test_other_orders_and_spellings_are_mapped_by_name(tmp_path):
    motion = take().motion
    order = np.random.default_rng(1).permutation(52)
    names = [pascal_case(CHANNELS[index]) for index in order]
    content = {"exportFps": 60, "facsNames": names, "weightMat": motion[:, order].tolist()}
    (tmp_path / "other.json").write_text(json.dumps(content))
    found = read_arkit_json(tmp_path / "other.json")
    np.testing.assert_array_equal(found["motion"], motion)
    assert found["frame_rate"] == 60
    assert found["recipe"] == {}


def test_another_rig_is_refused(tmp_path):
    flame = Take(np.zeros((2, 53), np.float32), "flame")
    with pytest.raises(UserError, match="of rig 'flame'"):
        write_arkit_json(flame, tmp_path / "flame.json")
    assert not list(tmp_path.iterdir())


GOOD = {"exportFps": 25, "facsNames": list(CHANNELS), "weightMat": [[0.0] * 52] * 2}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([], "lacks exportFps"),
        ({"exportFps": 25}, "lacks exportFps, facsNames"),
        ({**GOOD, "facsNames": ["jawOpen"]}, "each of ARKit's 52 names once; look at browDownLeft"),
        ({**GOOD, "facsNames": [*CHANNELS[:-1], "jawOpen"]}, "look at jawOpen, tongueOut"),
        ({**GOOD, "facsNames": "jawOpen"}, "52 names once"),
        ({**GOOD, "weightMat": [[0.0] * 51]}, r"shape \(1, 51\); expected one row of 52"),
        ({**GOOD, "weightMat": [[0.0] * 52, [0.0] * 3]}, "not a table of numbers"),
        ({**GOOD, "weightMat": [["a"] * 52]}, "not a table of numbers"),
        ({**GOOD, "weightMat": [[float("nan")] * 52]}, "must be finite"),
        ({**GOOD, "weightMat": []}, r"shape \(0,\)"),
        ({**GOOD, "exportFps": 0}, "exportFps is 0"),
        ({**GOOD, "exportFps": "25"}, "exportFps is '25'"),
        ({**GOOD, "head_rotation_radians": [[0, 0, 0]]}, "2 frames of weights and 1 of the head"),
    ],
)
def test_files_that_are_no_weights_say_why(tmp_path, content, text):
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=text):
        read_arkit_json(tmp_path / "bad.json")


def test_missing_and_cut_files(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_arkit_json(tmp_path / "none.json")
    write_arkit_json(take(), tmp_path / "whole.json")
    text = (tmp_path / "whole.json").read_text(encoding="utf-8")
    (tmp_path / "cut.json").write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON"):
        read_arkit_json(tmp_path / "cut.json")
