import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_talker import write_tiny_parts

import deeptalk.pipeline as pipeline
from deeptalk.arguments import as_waveform
from deeptalk.bundle import write_bundle
from deeptalk.emotion_request import EmotionRequest
from deeptalk.errors import UserError
from deeptalk.face import load_rig
from deeptalk.pipeline import Talker, load
from deeptalk.speech import build_encoder, check_samples, frame_count
from deeptalk.take import Take


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    return write_bundle(folder / "bundle", write_tiny_parts(folder, build_encoder("logmel").cache_key()))


@pytest.fixture(scope="module")
def talker(bundle: Path) -> Talker:
    return load(bundle, device="cpu")


def sound(seconds: float, seed: int = 0, rate: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * 200 * time) * np.sin(7 * time) + 0.05 * noise).astype(np.float32)


SPEECH = (sound(1.3), 16000)


def motions(takes: list[Take]) -> list[bytes]:
    return [take.motion.tobytes() for take in takes]


def test_takes_have_the_frames_of_the_speech_and_the_limits_of_the_rig(talker):
    takes = talker.perform(SPEECH, takes=3)
    low, high = load_rig("arkit").limits.T
    for take in takes:
        assert take.motion.shape == (frame_count(len(SPEECH[0])), 52) == (33, 52)
        assert take.motion.dtype == np.float32
        assert (take.rig, take.frame_rate) == ("arkit", 25.0)
        assert (take.motion >= low).all()
        assert (take.motion <= high).all()
        assert np.array_equal(take.samples, SPEECH[0])


def test_same_seed_same_take_and_other_seed_other_take(talker):
    first = motions(talker.perform(SPEECH, takes=3, seed=7))
    assert motions(talker.perform(SPEECH, takes=3, seed=7)) == first
    assert len({*first, *motions(talker.perform(SPEECH, takes=3, seed=8))}) == 6


def test_take_i_is_the_same_however_many_are_asked_for(talker):
    eight = motions(talker.perform(SPEECH, takes=8, seed=1))
    assert motions(talker.perform(SPEECH, takes=2, seed=1)) == eight[:2]
    assert motions(talker.perform(SPEECH, takes=1, seed=1)) == eight[:1]
    assert len(set(eight)) == 8


def test_each_take_is_told(talker):
    told = []
    talker.perform([SPEECH, SPEECH], takes=3, on_take=lambda: told.append("take"))
    assert len(told) == 6


def test_take_i_is_the_same_whatever_else_is_performed(talker):
    other = (sound(0.7, seed=1), 16000)
    alone = talker.perform(SPEECH, takes=2)
    together = talker.perform([other, SPEECH, other], takes=2)
    assert motions(together[1]) == motions(alone)
    assert motions(together[0]) == motions(together[2]) != motions(alone)


def test_no_spread_and_no_temperature_is_one_take(talker):
    takes = motions(talker.perform(SPEECH, takes=4, seed=3, spread=0, temperature=0))
    assert len(set(takes)) == 1
    assert motions(talker.perform(SPEECH, takes=1, seed=99, spread=0, temperature=0)) == takes[:1]


def test_spread_alone_and_each_temperature_alone_give_variety(talker):
    one = motions(talker.perform(SPEECH, takes=1, spread=0, temperature=0))[0]
    for settings in (
        {"spread": 3.0, "temperature": 0},
        {"spread": 0, "temperature": (2.0, 0.0)},
        {"spread": 0, "temperature": (0.0, 2.0)},
    ):
        takes = motions(talker.perform(SPEECH, takes=3, **settings))
        assert len({one, *takes}) == 4, settings


def test_variety_grows_with_temperature(talker):
    def variety(temperature: float) -> float:
        takes = np.stack([t.motion for t in talker.perform(SPEECH, takes=12, spread=0, temperature=temperature)])
        return float(np.ptp(takes, axis=0).mean())

    assert variety(0.0) == 0.0
    assert variety(0.0) < variety(0.3) < variety(3.0)


def test_labels_and_intensity_steer(talker):
    def act(emotion: str | None, intensity: float | None) -> bytes:
        settings = {"emotion": emotion, "intensity": intensity, "spread": 0, "temperature": 0}
        return motions(talker.perform(SPEECH, takes=1, **settings))[0]

    asked = ((None, None), ("happy", 0.4), ("happy", 1.0), ("sad", 1.0), ("neutral", None))
    assert len({act(*one) for one in asked}) == 5
    # at intensity 0 every emotion is neutral; half is meant where none is given; other spellings are read
    assert act("happy", 0.0) == act("sad", 0.0) == act("neutral", 0.7)
    assert act("joy", None) == act("happy", 0.5)


def test_speakers_by_name(talker):
    takes = {name: motions(talker.perform(SPEECH, takes=1, speaker=name))[0] for name in (None, "anna", "ben")}
    assert len(set(takes.values())) == 3
    with pytest.raises(UserError, match="knows no speaker 'dora'; it knows anna, ben, cleo"):
        talker.perform(SPEECH, speaker="dora")


def test_the_recipe_makes_the_take_again(talker, tmp_path):
    soundfile.write(tmp_path / "hello.wav", SPEECH[0], 16000)
    take = talker.perform(tmp_path / "hello.wav", takes=3, seed=5, emotion="angry", temperature=(1.0, 0.5))[2]
    recipe = json.loads(json.dumps(take.recipe))
    assert recipe["speech"] == "hello.wav"
    assert recipe["bundle"] == talker.bundle.sha256
    assert len(recipe["speech_sha256"]) == 64
    again = talker.perform(
        tmp_path / "hello.wav",
        takes=recipe["take"] + 1,
        temperature=tuple(recipe["temperature"]),
        **{key: recipe[key] for key in ("seed", "emotion", "intensity", "spread", "speaker")},
    )[recipe["take"]]
    assert np.array_equal(again.motion, take.motion)
    assert again.recipe == take.recipe


def test_limiting_is_counted(talker, monkeypatch):
    prior = talker.bundle.motion_prior
    monkeypatch.setitem(prior._buffers, "motion_mean", prior.motion_mean + 5.0)
    take = talker.perform(SPEECH, takes=1)[0]
    assert take.motion.max() == 1.0
    assert take.recipe["limited"]["values"] == take.motion.size
    assert take.recipe["limited"]["largest_excess"] > 3


def test_speech_as_path_array_waveform_and_integers(talker, tmp_path):
    soundfile.write(tmp_path / "a.wav", SPEECH[0], 16000, subtype="FLOAT")
    expected = motions(talker.perform(SPEECH, takes=1))
    assert motions(talker.perform(tmp_path / "a.wav", takes=1)) == expected
    assert motions(talker.perform(str(tmp_path / "a.wav"), takes=1)) == expected
    assert motions(talker.perform(check_samples(*SPEECH), takes=1)) == expected
    stereo = (np.stack([sound(0.5, rate=8000)] * 2, axis=1) * 32767).astype(np.int16)
    assert talker.perform((stereo, 8000), takes=1)[0].frame_count == 13


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.04, 0.1])
def test_very_short_speech_and_silence(talker, seconds):
    takes = talker.perform([(sound(seconds), 16000), (np.zeros(round(16000 * seconds)), 16000)], takes=2)
    assert all(take.frame_count == frame_count(round(seconds * 16000)) for pair in takes for take in pair)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"takes": 0}, "takes is 0; expected at least 1"),
        ({"spread": -1}, "spread is -1; expected a number of 0 or more"),
        ({"spread": float("nan")}, "spread is nan"),
        ({"temperature": -0.1}, r"temperature is -0\.1; expected a number of 0 or more"),
        ({"temperature": (1.0, -1.0)}, r"temperature is -1\.0; expected numbers of 0 or more"),
        ({"emotion": "hapy"}, "Unknown emotion 'hapy'.*Did you mean 'happy'"),
        ({"emotion": "happy", "intensity": 1.2}, r"intensity is 1\.2; expected a number from 0 \(neutral\) to 1"),
        ({"intensity": 0.5}, "intensity is 0.5 but no emotion is given"),
    ],
)
def test_bad_settings_are_one_sentence(talker, settings, message):
    with pytest.raises(UserError, match=message):
        talker.perform(SPEECH, **settings)


def test_settings_of_another_type_are_one_sentence():
    # past `perform`, whose annotations are checked in tests but not where people run it
    good = {"takes": 1, "seed": 0, "emotion": EmotionRequest(), "spread": 1, "temperature": 1, "speaker": None}
    assert pipeline._check_settings(**{**good, "takes": np.int64(3)}).takes == 3
    for name, value, message in (
        ("takes", 1.5, r"takes is 1\.5; expected a whole number"),
        ("takes", True, "takes is True; expected a whole number"),
        ("seed", "x", "seed is 'x'; expected a whole number"),
        ("spread", "wide", "spread is 'wide'; expected a number of 0 or more"),
        ("temperature", (1, 1, 1), r"temperature has 3 values; expected one number, or two as \(top, bottom\)"),
        ("temperature", "hot", "temperature is 'hot'; expected a number of 0 or more"),
    ):
        with pytest.raises(UserError, match=message):
            pipeline._check_settings(**{**good, name: value})


def test_bad_speech_is_one_sentence(talker, tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        talker.perform(tmp_path / "nothing.wav")
    with pytest.raises(UserError, match="0 samples"):
        talker.perform((np.zeros(0), 16000))
    with pytest.raises(UserError, match="Speech is given as ndarray; expected"):
        as_waveform(SPEECH[0])
    with pytest.raises(UserError, match=r"lasts 130\.0 s; up to 120 s can be performed at once"):
        talker.perform((np.zeros(130 * 16000, np.float32), 16000))


def test_an_emotion_that_was_never_seen_is_refused(talker, monkeypatch):
    fitted = talker.bundle.dee.prototypes["motion"].fitted.clone()
    fitted[3] = False
    monkeypatch.setitem(talker.bundle.dee.prototypes["motion"]._buffers, "fitted", fitted)
    with pytest.raises(UserError, match="cannot act 'sad': No prototype for sad; fitted: neutral"):
        talker.perform(SPEECH, emotion="sad")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any bundle; its cache is the path that is given."""
    monkeypatch.delenv("DEEPTALK_BUNDLE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "shipped_bundle", lambda: tmp_path / "shipped")
    return tmp_path


def test_where_load_looks(bare, bundle, monkeypatch):
    with pytest.raises(UserError, match=r"No bundle found.*Run `deeptalk demo`.*or `deeptalk train`"):
        pipeline.find_bundle()
    pipeline.remember_demo(bundle)
    assert pipeline.last_demo_file() == bare / "cache" / "deeptalk" / "last_demo"
    assert pipeline.find_bundle() == bundle
    (bare / "shipped").mkdir()
    assert pipeline.find_bundle() == bare / "shipped"
    monkeypatch.setenv("DEEPTALK_BUNDLE", str(bare))
    assert pipeline.find_bundle() == bare
    assert pipeline.find_bundle(bundle) == bundle
    assert load(bundle, device="cpu").bundle.folder == bundle


def test_a_demo_that_is_gone_is_named(bare):
    pipeline.remember_demo(bare / "gone")
    with pytest.raises(UserError, match=r"bundle of the last demo, .*gone, is gone. Run `deeptalk demo` again"):
        pipeline.find_bundle()


def test_what_is_neither_folder_nor_hub_name(bare, monkeypatch):
    for name in ("nothing", "./a/b", "/x/y", "a/b/c"):
        with pytest.raises(UserError, match=f"There is no bundle at {name}; give a bundle's folder, or a hub name"):
            pipeline.find_bundle(name)


def test_the_hub_is_asked_for_safe_files_only(bare, bundle, monkeypatch):
    asked = {}

    def download(name: str, **settings: object) -> str:
        asked.update(settings, name=name)
        return str(bundle)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert pipeline.find_bundle("owner/talker") == bundle
    assert asked == {"name": "owner/talker", "allow_patterns": ["*.safetensors", "*.json", "*.md"]}

    def fail(name: str, **settings: object) -> str:
        raise ConnectionError("no route to host.\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(UserError, match=r"no folder owner/talker, and the hub did not give it: no route to host\.$"):
        pipeline.find_bundle("owner/talker")


def test_another_encoder_than_in_training_is_refused(tmp_path):
    folder = write_bundle(tmp_path / "bundle", write_tiny_parts(tmp_path, "another"))
    with pytest.raises(UserError, match=r"was trained on speech features logmel \(another\), the encoder at hand"):
        load(folder, device="cpu")
