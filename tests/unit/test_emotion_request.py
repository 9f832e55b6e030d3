"""What is asked of the emotion, as values and as text, and how it is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deeptalk.emotion_request import EmotionRequest, KeyPoint, parse_references, read_request
from deeptalk.errors import UserError
from deeptalk.speech import check_samples
from deeptalk.take import Take

NOISE = np.random.default_rng(0)
SOUND = (0.1 * NOISE.standard_normal(8000)).astype(np.float32)
MOTION = NOISE.random((10, 52), dtype=np.float32)


def key(seconds, intensity=0.5, **labels):
    return KeyPoint(seconds, tuple(labels.items()), intensity)


@pytest.mark.parametrize(
    ("text", "values", "keys"),
    [
        ("happy", "happy", [key(0.0, happy=1.0)]),
        (" Joy ", "joy", [key(0.0, happy=1.0)]),
        ("sad:0.3,happy:0.7", {"sad": 0.3, "happy": 0.7}, [key(0.0, happy=0.7, sad=0.3)]),
        ("happy, sad", {"happy": 1, "sad": 1}, [key(0.0, happy=1.0, sad=1.0)]),
        ("happy@0,sad@4", [(0, "happy"), (4, "sad")], [key(0.0, happy=1.0), key(4.0, sad=1.0)]),
        ("happy@0.5 , sad @ end", [(0.5, "happy"), ("end", "sad")], [key(0.5, happy=1.0), key(math.inf, sad=1.0)]),
        (
            "happy@0,fear:1@END,sad:3@END",
            [[0.0, "happy"], [math.inf, {"fear": 1, "sad": 3}]],
            [key(0.0, happy=1.0), key(math.inf, sad=3.0, fearful=1.0)],
        ),
    ],
)
def test_text_and_values_ask_for_the_same(text, values, keys):
    assert read_request(text).keys == read_request(values).keys == tuple(keys)


def test_intensity_is_one_for_all_or_one_each():
    for given, expected in ((None, [0.5, 0.5]), (1, [1.0, 1.0]), ([0.2, 1], [0.2, 1.0]), ("0.2,1", [0.2, 1.0])):
        request = read_request("happy@0,sad@1", given)
        assert [point.intensity for point in request.keys] == expected
    assert read_request("happy", "0.8").keys[0].intensity == 0.8


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"emotion": "happy"},
        {"emotion": "joy", "intensity": 0.9, "emotion_weight": 0.4, "emotion_windows": 4},
        {"emotion": "happy:0.7,sad:0.3,mad:7", "intensity": "1"},
        {"emotion": "happy@0,sad:1@2,calm:2@2,angry@end", "intensity": [0.1, 0.2, 0.3]},
        {"emotion_windows": 3.0},
    ],
)
def test_the_recipe_asks_for_the_same_again(asked):
    request = read_request(**asked)
    recipe = json.loads(json.dumps(request.recipe()))
    again = read_request(**recipe)
    assert (again.keys, again.weight, again.window_seconds) == (request.keys, request.weight, request.window_seconds)
    assert again.recipe() == request.recipe()


def test_references_of_every_kind(tmp_path: Path):
    soundfile.write(tmp_path / "other.wav", SOUND, 16000, subtype="FLOAT")
    take = Take(MOTION)
    for suffix in ("npz", "json", "glb", "csv"):
        take.save(tmp_path / f"take.{suffix}")
    waveform = check_samples(SOUND, 16000)
    heard = [tmp_path / "other.wav", str(tmp_path / "other.wav"), (SOUND, 16000), waveform]
    hashes = {read_request(emotion_from=one).references[0].recipe()["sha256"] for one in heard}
    assert len(hashes) == 1
    assert [read_request(emotion_from=one).references[0].name for one in heard] == [
        "other.wav",
        "other.wav",
        None,
        None,
    ]
    seen = [take, *(tmp_path / f"take.{suffix}" for suffix in ("npz", "json", "glb", "csv"))]
    for one in seen:
        clip = read_request(emotion_from=one).references[0]
        assert clip.is_motion
        assert clip.recipe()["kind"] == "motion"
        assert np.allclose(clip.content.motion, MOTION, atol=1e-6)
        assert clip.content.frame_rate == 25.0


def test_several_references_are_the_same_in_any_order():
    take, waveform = Take(MOTION), check_samples(SOUND, 16000)
    recipes = [
        read_request(emotion_from=given).recipe()["emotion_from"]
        for given in ({take: 2, waveform: 0.5}, {waveform: 0.5, take: 2.0})
    ]
    assert recipes[0] == recipes[1]
    assert {one["kind"]: one["weight"] for one in recipes[0]} == {"motion": 2.0, "speech": 0.5}
    assert [one.weight for one in read_request(emotion_from=[take, waveform]).references] == [1.0, 1.0]


def test_long_references_are_refused(tmp_path: Path):
    still = np.zeros((1, 52), np.float32)
    file = Take(np.repeat(still, 3001, axis=0)).save(tmp_path / "long.npz")
    with pytest.raises(UserError, match=r"long.npz lasts 120\.0 s; up to 120 s can be heard or seen at once"):
        read_request(emotion_from=file)
    assert read_request(emotion_from=Take(np.repeat(still, 3000, axis=0))).references
    with pytest.raises(UserError, match=r"A reference lasts 121\.0 s"):
        read_request(emotion_from=(np.zeros(121 * 16000, np.float32), 16000))


def test_references_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("odd:2").write_text("")
    assert parse_references([]) is None
    assert parse_references(["a.wav", "b.npz:0.5"]) == {"a.wav": 1.0, "b.npz": 0.5}
    assert parse_references(["C:take.wav", "odd:2"]) == {"C:take.wav": 1.0, "odd:2": 1.0}
    with pytest.raises(UserError, match=r"The weight of a.wav is '-1'; expected a number above 0"):
        parse_references(["a.wav:-1"])
    with pytest.raises(UserError, match=r"reference a.wav is given twice"):
        parse_references(["a.wav", "a.wav:2"])


def test_key_points_end_with_the_speech():
    read_request("happy@0,sad@2").check_end(2.0, "it")
    read_request("happy@0,sad@end").check_end(2.0, "it")
    EmotionRequest().check_end(0.1, "it")
    with pytest.raises(UserError, match=r"emotion at 2.5 s lies beyond the end of a.wav, which lasts 2.00 s"):
        read_request("happy@0,sad@2.5").check_end(2.0, "a.wav")
    with pytest.raises(UserError, match=r"emotion at 2 s lies beyond"):  # nothing would be left of it before the end
        read_request("happy@2,sad@end").check_end(2.0, "a.wav")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"emotion": "hapy:1,sad:1"}, r"Unknown emotion 'hapy'.*Did you mean 'happy'"),
        ({"emotion": {"happy": -0.3, "sad": 1}}, r"The weight of 'happy' is -0\.3; expected a number above 0"),
        ({"emotion": {"happy": 0, "sad": 1}}, r"The weight of 'happy' is 0; .*Leave it out"),
        ({"emotion": "happy:much,sad"}, r"The weight of 'happy' is 'much'"),
        ({"emotion": "happy:0.3"}, r"two labels or more; 'happy' alone is given"),
        ({"emotion": {}}, r"two labels or more; nothing is given"),
        ({"emotion": {"joy": 1, "happy": 1}}, r"'happy' is given twice in one blend"),
        ({"emotion": "sad:1,sad:2"}, r"names a label twice"),
        ({"emotion": "happy@2,sad@1"}, r"times must rise: 1 s comes after 2 s"),
        ({"emotion": "happy@end,sad@1"}, r"times must rise: 1 s comes after end"),
        ({"emotion": [(1, "happy"), (1, "sad")]}, r"times must rise: 1 s comes after 1 s"),
        ({"emotion": [(-1, "happy")]}, r"The time of a key point is -1; expected seconds"),
        ({"emotion": "happy@soon"}, r"The time of a key point is 'soon'; expected seconds"),
        ({"emotion": "happy@0,sad"}, r"'happy@0,sad' cannot be read; expected a label"),
        ({"emotion": ""}, r"'' cannot be read"),
        ({"emotion": []}, r"no key points; give at least one"),
        ({"emotion": [(0, "happy", 0.5)]}, r"is no key point.*intensity=\[...\]"),
        ({"emotion": [(0, 3)]}, r"An emotion is given as 3; expected a label"),
        ({"emotion": "happy@0,sad@1", "intensity": [0.5]}, r"1 intensities for 2 key points"),
        ({"emotion": "happy", "intensity": [0.5, 1.0]}, r"2 intensities for 1 key point of"),
        ({"emotion": "happy", "intensity": "strong"}, r"intensity is 'strong'; expected a number from 0"),
        ({"intensity": 0.5}, r"intensity is 0.5 but no emotion is given"),
        ({"emotion": "happy", "emotion_from": "a.wav"}, r"Both an emotion and a reference .* give one"),
        ({"emotion_weight": 0.5}, r"emotion_weight is 0.5 but neither"),
        ({"emotion": "happy", "emotion_weight": 1.5}, r"emotion_weight is 1.5; expected a number from 0 to 1"),
        ({"emotion_windows": 0.5}, r"emotion_windows is 0.5; expected a number of seconds, 1 or more"),
        ({"emotion_windows": -1}, r"emotion_windows is -1; expected a number of seconds, 1 or more"),
        ({"emotion_windows": 4, "emotion": "happy"}, r"emotion_windows hears the speech's own emotion, but another"),
        ({"emotion_from": []}, r"emotion_from is empty"),
        ({"emotion_from": "nothing.wav"}, r"nothing.wav does not exist"),
        ({"emotion_from": "nothing.npz"}, r"nothing.npz does not exist"),
        ({"emotion_from": "nothing.csv"}, r"nothing.csv does not exist"),
    ],
)
def test_bad_requests_are_one_sentence(asked, message):
    with pytest.raises(UserError, match=message):
        read_request(**asked)
