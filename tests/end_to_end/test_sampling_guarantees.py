"""What a user may rely on when taking takes, through the library and through `deeptalk sample`."""

import json

import numpy as np
import pytest
import torch
from smallest_chain import page_data, speech_like

import deeptalk as package
from deeptalk.emotions import EMOTIONS
from deeptalk.export import read_live_link_csv
from deeptalk.face import CHANNELS
from deeptalk.take import Take

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def talker(chain):
    return package.load(chain.bundle)


@pytest.fixture
def sample(chain, deeptalk, tmp_path):
    """Run `deeptalk sample` on the recording; gives the folder of the results."""

    def run(name, *words):
        out = tmp_path / name
        outcome = deeptalk("sample", chain.recording, "--bundle", chain.bundle, "--out", out, *words)
        assert outcome.code == 0, outcome
        assert outcome.stderr == ""
        written = outcome.stdout.splitlines()
        assert sorted(written) == sorted(str(path) for path in out.iterdir())
        return out

    return run


def motions(folder, takes=4):
    return np.stack([Take.load(folder / f"my voice_take{number}.npz").motion for number in range(1, takes + 1)])


def test_same_seed_same_takes_other_seed_other_takes(talker, chain):
    first, again, other = (
        np.stack([take.motion for take in talker.perform(chain.recording, takes=3, seed=seed)]) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    for one in first:
        for another in other:
            assert np.abs(one - another).max() > 0.01


def test_a_take_does_not_depend_on_how_many_were_asked_for(talker, chain):
    two = talker.perform(chain.recording, takes=2, seed=3)
    eight = talker.perform(chain.recording, takes=8, seed=3)
    for few, many in zip(two, eight):
        np.testing.assert_array_equal(few.motion, many.motion)


def test_a_take_does_not_depend_on_what_else_is_performed(talker, chain):
    alone = talker.perform(chain.recording, takes=2, seed=3)
    beside = talker.perform([(speech_like(0.7, seed=1), 16000), chain.recording], takes=2, seed=3)
    for one, other in zip(alone, beside[1]):
        np.testing.assert_array_equal(one.motion, other.motion)


def test_without_spread_and_temperature_there_is_one_take(talker, chain):
    takes = talker.perform(chain.recording, takes=4, seed=0, spread=0, temperature=0)
    other_seed = talker.perform(chain.recording, takes=1, seed=99, spread=0, temperature=0)
    for take in (*takes[1:], *other_seed):
        np.testing.assert_array_equal(take.motion, takes[0].motion)
    drawn = talker.perform(chain.recording, takes=1, seed=0)
    assert np.abs(drawn[0].motion - takes[0].motion).max() > 0.01


def test_files_hold_what_the_library_performs(sample, talker, chain):
    out = sample("out", "--takes", 3, "--seed", 11)
    performed = talker.perform(chain.recording, takes=3, seed=11)
    takes = [take.with_idle(11 + number) for number, take in enumerate(performed)]
    assert len(list(out.iterdir())) == 3 + 3 + 2
    recipes = json.loads((out / "my voice_takes.json").read_text())
    for number, take in enumerate(takes, start=1):
        read = Take.load(out / f"my voice_take{number}.npz")
        np.testing.assert_array_equal(read.motion, take.motion)
        np.testing.assert_array_equal(read.samples, take.samples)
        recording = read_live_link_csv(out / f"my voice_take{number}.csv")
        np.testing.assert_allclose(recording.motion, take.motion, atol=1e-7)
        assert recording.motion.shape == (take.frame_count, len(CHANNELS))
        assert read.recipe == recipes[number - 1] == take.recipe
        assert (read.recipe["seed"], read.recipe["take"], read.recipe["speech"]) == (11, number - 1, "my voice.wav")
    scenes = page_data(out / "my voice.html")["scenes"]
    assert [len(scene["takes"]) for scene in scenes] == [3]
    still = sample("still", "--takes", 3, "--seed", 11, "--no-idle", "--format", "npz")
    for number, take in enumerate(performed, start=1):
        read = Take.load(still / f"my voice_take{number}.npz")
        np.testing.assert_array_equal(read.motion, take.motion)
        assert read.head_rotation_radians is None


def test_a_recipe_is_enough_to_make_the_take_again(sample, talker, chain):
    words = ("--takes", 2, "--emotion", "anger", "--intensity", 0.8, "--spread", 0.5, "--temperature", 0.7)
    out = sample("out", "--format", "npz", "--seed", 2, *words)
    take = Take.load(out / "my voice_take2.npz")
    asked = {key: take.recipe[key] for key in ("seed", "emotion", "intensity", "spread", "speaker")}
    assert asked == {"seed": 2, "emotion": "angry", "intensity": 0.8, "spread": 0.5, "speaker": None}
    again = talker.perform(chain.recording, takes=2, temperature=tuple(take.recipe["temperature"]), **asked)
    made = again[take.recipe["take"]].with_idle(take.recipe["idle_seed"])
    np.testing.assert_array_equal(made.motion, take.motion)
    np.testing.assert_array_equal(made.head_rotation_radians, take.head_rotation_radians)


def test_command_repeats_itself_byte_for_byte(sample):
    one, other = sample("one", "--takes", 2), sample("other", "--takes", 2)
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def test_steps_of_intensity_ask_for_other_emotion_vectors(talker):
    # On the vectors: a talker trained for seconds may well choose the same likeliest codes for two of them.
    # Only up to what this corpus's few happy clips show: beyond, there may be no direction to go on in.
    happy = torch.full((3,), EMOTIONS.index("happy"))
    means = talker.bundle.dee.emotion_vector(happy, torch.linspace(0, 0.4, 3)).mean
    assert (means[1:] - means[:-1]).norm(dim=-1).min() > 1e-3


def test_emotion_and_intensity_change_the_motion(sample):
    words = ("--format", "npz", "--takes", 1, "--spread", 0, "--temperature", 0)
    heard = motions(sample("heard", *words), 1)
    acted = {
        (emotion, intensity): motions(
            sample(f"{emotion}{intensity}", *words, "--emotion", emotion, "--intensity", intensity), 1
        )
        for emotion in ("happy", "angry")
        for intensity in (0, 1)
    }
    np.testing.assert_array_equal(acted["happy", 0], acted["angry", 0])  # without intensity both are neutral
    for one, other in (
        (acted["happy", 1], acted["angry", 1]),
        (acted["happy", 1], acted["happy", 0]),
        (acted["happy", 1], heard),
    ):
        assert np.abs(one - other).max() > 0.01
