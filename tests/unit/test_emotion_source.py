"""Steering a talker: which Gaussian emotion vectors are drawn from, and what that does to takes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_pipeline_perform import SPEECH, motions, sound
from tiny_talker import write_tiny_parts

from dee.steering import blend
from deeptalk import cli
from deeptalk.bundle import write_bundle
from deeptalk.emotion_request import EmotionRequest, read_request
from deeptalk.emotion_source import EmotionSource
from deeptalk.errors import UserError
from deeptalk.pipeline import Talker, load
from deeptalk.speech import build_encoder, check_samples
from deeptalk.take import Take

LONG = (np.concatenate([sound(2.0, seed=3), 3 * sound(2.0, seed=4)]), 16000)


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Talker:
    folder = tmp_path_factory.mktemp("made")
    return load(write_bundle(folder / "b", write_tiny_parts(folder, build_encoder("logmel").cache_key())), device="cpu")


def gaussian(talker: Talker, speech=LONG, **asked):
    waveform = check_samples(*speech)
    features, lengths = talker.encoder(torch.from_numpy(waveform.samples)[None], torch.tensor([len(waveform.samples)]))
    with torch.no_grad():
        source = EmotionSource(read_request(**asked), talker.bundle, talker.encoder, talker.device)
        return source.gaussian(features, lengths, waveform.seconds)


def same(a, b) -> bool:
    return torch.equal(a.mean, b.mean) and torch.equal(a.log_variance, b.log_variance)


def act(talker: Talker, speech=LONG, takes=2, **asked) -> list[bytes]:
    return motions(talker.perform(speech, takes=takes, **asked))


def test_nothing_asked_is_the_speech_and_a_label_is_its_prototype(talker):
    dee = talker.bundle.dee
    features, lengths = talker.encoder(torch.from_numpy(LONG[0])[None], torch.tensor([len(LONG[0])]))
    with torch.no_grad():
        assert same(gaussian(talker), dee.embed_speech(features, lengths))
        label = dee.emotion_vector(torch.tensor([2]), torch.tensor([0.8]), "motion")
    assert same(gaussian(talker, emotion="happy", intensity=0.8), label)


def test_labels_come_from_the_side_that_trained_the_talker(talker, monkeypatch):
    before = gaussian(talker, emotion="happy")
    object.__setattr__(talker.bundle.predictor.config, "emotion_source", "speech")
    try:
        with torch.no_grad():
            expected = talker.bundle.dee.emotion_vector(torch.tensor([2]), torch.tensor([0.5]), "speech")
        assert same(gaussian(talker, emotion="happy"), expected)
        assert not same(before, expected)
    finally:
        object.__setattr__(talker.bundle.predictor.config, "emotion_source", "motion")


def test_blended_labels_are_the_blend_of_prototypes_in_any_order(talker):
    dee = talker.bundle.dee
    with torch.no_grad():
        parts = dee.emotion_vector(torch.tensor([2, 3]), torch.tensor([0.5, 0.5]), "motion")
    expected = blend(parts, torch.tensor([0.7, 0.3]))
    mixed = gaussian(talker, emotion={"happy": 0.7, "sad": 0.3})
    torch.testing.assert_close(mixed.mean, expected.mean)
    assert same(mixed, gaussian(talker, emotion={"sad": 0.3, "happy": 0.7}))
    asked = [act(talker, emotion=one) for one in ({"happy": 7, "sad": 3}, "sad:3,happy:7", "happy", "sad")]
    assert asked[0] == asked[1]
    assert len({*asked[0], *asked[2], *asked[3]}) == 6


def test_other_speech_is_heard_and_a_motion_is_seen(talker, tmp_path):
    other = (sound(1.1, seed=9), 16000)
    soundfile.write(tmp_path / "other.wav", other[0], 16000, subtype="FLOAT")
    assert same(gaussian(talker, emotion_from=other), gaussian(talker, speech=other))
    assert act(talker, emotion_from=tmp_path / "other.wav") == act(talker, emotion_from=other)
    take = talker.perform(other, takes=1, emotion="angry")[0]
    with torch.no_grad():
        motion = torch.from_numpy(take.motion)[None]
        expected = talker.bundle.dee.embed_motion(motion, torch.tensor([take.frame_count]))
    assert same(gaussian(talker, emotion_from=take), expected)
    assert act(talker, emotion_from=take.save(tmp_path / "take.npz")) == act(talker, emotion_from=take)
    own, heard, seen = act(talker), act(talker, emotion_from=other), act(talker, emotion_from=take)
    assert len({tuple(takes) for takes in (own, heard, seen)}) == 3


def test_channels_that_never_moved_in_training_are_not_looked_at(talker, monkeypatch):
    dee, still = talker.bundle.dee, [8, 9, 10]  # blinks and gaze
    std = dee.motion_std.clone()
    std[still] = 1e-3
    monkeypatch.setitem(dee._buffers, "motion_std", std)
    motion = np.random.default_rng(0).random((20, 52), dtype=np.float32)
    blinking = motion.copy()
    blinking[5:9, still] = 1.0
    motion[:, still] = 0.0
    assert same(gaussian(talker, emotion_from=Take(motion)), gaussian(talker, emotion_from=Take(blinking)))


def test_references_blend_and_their_order_does_not_matter(talker):
    first, second = check_samples(sound(1.0, seed=1), 16000), check_samples(sound(1.5, seed=2), 16000)
    halves = gaussian(talker, emotion_from=[first, second])
    assert same(halves, gaussian(talker, emotion_from={second: 2.0, first: 2.0}))
    a, b = gaussian(talker, emotion_from=first), gaussian(talker, emotion_from=second)
    torch.testing.assert_close(halves.mean, a.interpolate(b, 0.5).mean, rtol=0, atol=1e-6)
    near = gaussian(talker, emotion_from={first: 1000.0, second: 1.0})
    torch.testing.assert_close(near.mean, a.mean, rtol=0, atol=0.02)


def test_weight_goes_from_the_speech_itself_to_what_is_asked(talker):
    own, asked = gaussian(talker), gaussian(talker, emotion="happy")
    torch.testing.assert_close(gaussian(talker, emotion="happy", emotion_weight=0.0).mean, own.mean)
    half = gaussian(talker, emotion="happy", emotion_weight=0.5)
    torch.testing.assert_close(half.mean, own.interpolate(asked, 0.5).mean)
    torch.testing.assert_close(half.log_variance, (own.log_variance + asked.log_variance) / 2)
    assert same(gaussian(talker, emotion="happy", emotion_weight=1), asked)


def test_key_points_move_from_one_to_the_other(talker):
    path = gaussian(talker, emotion=[(1.0, "happy"), (3.0, "sad")], intensity=0.9)
    assert path.mean.shape == (100, 8)  # 4 s
    start, end = (gaussian(talker, emotion=name, intensity=0.9) for name in ("happy", "sad"))
    assert torch.equal(path.mean[:25], start.mean.expand(25, -1))
    assert torch.equal(path.mean[75:], end.mean.expand(25, -1))
    middle = start.interpolate(end, 0.51)  # frame 50 is centred on second 2.02
    torch.testing.assert_close(path.mean[50:51], middle.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(path.log_variance[50:51], middle.log_variance, rtol=1e-4, atol=1e-5)
    to_end = gaussian(talker, emotion="happy@0,sad@end")
    torch.testing.assert_close(to_end.mean, gaussian(talker, emotion=[(0, "happy"), (4.0, "sad")]).mean)


def test_a_label_that_swells_keeps_to_its_own_way_from_neutral(talker, monkeypatch):
    bent = torch.nn.functional.normalize(torch.randn(8, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    monkeypatch.setitem(talker.bundle.dee.prototypes["motion"]._buffers, "anchors", bent)
    monkeypatch.setitem(
        talker.bundle.dee.prototypes["motion"]._buffers, "anchor_intensity", torch.tensor([[0.3, 0.8]]).expand(8, 2)
    )
    path = gaussian(talker, emotion=[(0.02, "happy"), (3.22, "happy")], intensity=[0.0, 1.0])
    for frame in (0, 10, 30, 40, 60, 80):  # multiples of an eighth of the way
        at = gaussian(talker, emotion="happy", intensity=frame / 80)
        torch.testing.assert_close(path.mean[frame : frame + 1], at.mean, rtol=0, atol=1e-4)
    ends = [gaussian(talker, emotion="happy", intensity=intensity) for intensity in (0.0, 1.0)]
    straight = ends[0].interpolate(ends[1], 0.5)
    assert (path.mean[40] - straight.mean[0]).norm() > 0.1


def test_label_and_intensity_move_together(talker):
    path = gaussian(talker, emotion=[(0.02, "happy"), (3.22, "sad")], intensity=[0.2, 0.8])
    middle = gaussian(talker, emotion={"happy": 1, "sad": 1}, intensity=0.5)
    torch.testing.assert_close(path.mean[40:41], middle.mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(path.mean[80:81], gaussian(talker, emotion="sad", intensity=0.8).mean, rtol=0, atol=1e-6)


def test_a_track_that_stands_still_is_the_label_to_the_bit(talker):
    label = act(talker, emotion="happy", intensity=0.7, seed=4)
    assert act(talker, emotion="happy@0,joy@2,happy@end", intensity=0.7, seed=4) == label
    assert act(talker, emotion=[(0.5, "happy")], intensity=0.7, seed=4) == label


def test_a_track_holds_its_first_and_last_emotion_in_a_take(talker):
    """Up to the first key point the emotion vectors are those of the label alone, drawn with the same noise."""
    source = EmotionSource(read_request("happy@2,sad@3"), talker.bundle, talker.encoder, talker.device)
    features, lengths = talker.encoder(torch.from_numpy(LONG[0])[None], torch.tensor([len(LONG[0])]))
    path = source.gaussian(features, lengths, 4.0).sample(torch.Generator().manual_seed(1), shared_noise=True)
    for name, frames in (("happy", slice(0, 50)), ("sad", slice(75, 100))):
        alone = gaussian(talker, emotion=name).sample(torch.Generator().manual_seed(1), shared_noise=True)
        torch.testing.assert_close(path[frames], alone.expand(len(path[frames]), -1), rtol=0, atol=1e-6)


def test_windows_hear_a_change_and_short_speech_as_a_whole(talker):
    path = gaussian(talker, emotion_windows=1)
    assert path.mean.shape == (100, 8)
    features, lengths = talker.encoder(torch.from_numpy(LONG[0])[None], torch.tensor([len(LONG[0])]))
    with torch.no_grad():
        first = talker.bundle.dee.embed_speech(features[:, :25], torch.tensor([25]))
        last = talker.bundle.dee.embed_speech(features[:, -25:], torch.tensor([25]))
    torch.testing.assert_close(path.mean[:12], first.mean.expand(12, -1), rtol=0, atol=1e-6)
    torch.testing.assert_close(path.mean[-12:], last.mean.expand(12, -1), rtol=0, atol=1e-6)
    steps = (path.mean[1:] - path.mean[:-1]).norm(dim=-1)
    assert steps.max() > 0
    assert steps.max() < 0.2 * (first.mean - last.mean).norm() + 0.05
    assert same(gaussian(talker, emotion_windows=4), gaussian(talker))
    assert act(talker, emotion_windows=60) == act(talker)


def test_windows_and_a_label_mix_frame_by_frame(talker):
    own, label = gaussian(talker, emotion_windows=1), gaussian(talker, emotion="sad")
    mixed = gaussian(talker, emotion="sad", emotion_windows=1, emotion_weight=0.25)
    assert mixed.mean.shape == own.mean.shape
    expected = own.interpolate(type(label)(label.mean.expand(100, -1), label.log_variance.expand(100, -1)), 0.25)
    torch.testing.assert_close(mixed.mean, expected.mean)


@pytest.mark.parametrize(
    "asked",
    [
        {"emotion": "happy:0.7,sad:0.3"},
        {"emotion": "happy@0,sad@end"},
        {"emotion_windows": 1},
        {"emotion_from": (sound(0.8, seed=5), 16000), "emotion_weight": 0.6},
    ],
)
def test_takes_are_seeded_and_do_not_depend_on_their_number_or_neighbours(talker, asked):
    three = act(talker, takes=3, seed=2, **asked)
    assert len(set(three)) == 3
    assert act(talker, takes=3, seed=2, **asked) == three
    assert act(talker, takes=1, seed=2, **asked) == three[:1]
    together = talker.perform([SPEECH, LONG], takes=2, seed=2, **asked)
    assert motions(together[1]) == three[:2]
    assert len({*act(talker, takes=3, seed=3, **asked), *three}) == 6
    still = act(talker, takes=2, spread=0, temperature=0, **asked)
    assert len(set(still)) == 1


def test_the_recipe_makes_a_steered_take_again(talker, tmp_path):
    take = talker.perform(LONG, takes=2, emotion="happy:3@0,sad:1@0,angry@end", intensity=[0.4, 1.0])
    recipe = json.loads(json.dumps(take[1].recipe))
    asked = {key: recipe[key] for key in EmotionRequest().recipe()}
    assert act(talker, **asked) == motions(take)
    soundfile.write(tmp_path / "other.wav", sound(1.0, seed=6), 16000, subtype="FLOAT")
    take = talker.perform(LONG, takes=1, emotion_from=tmp_path / "other.wav")[0]
    (reference,) = json.loads(json.dumps(take.recipe))["emotion_from"]
    assert reference["name"] == "other.wav"
    assert len(reference["sha256"]) == 64


def test_what_does_not_fit_the_bundle_is_one_sentence(talker, tmp_path: Path):
    motion = np.zeros((10, 52), np.float32)
    with pytest.raises(UserError, match=r"is of rig 'flame', the bundle of rig 'arkit'; give a motion"):
        talker.perform(SPEECH, emotion_from=Take(np.zeros((10, 53), np.float32), rig="flame"))
    file = Take(motion, frame_rate=30.0).save(tmp_path / "fast.npz")
    with pytest.raises(UserError, match=r"fast.npz has 30 frames a second, the bundle 25; resample it first"):
        talker.perform(SPEECH, emotion_from=file)
    with pytest.raises(UserError, match=r"emotion at 2 s lies beyond the end of the speech, which lasts 1\.30 s"):
        talker.perform([LONG, SPEECH], emotion="happy@0,sad@2")


def test_gradients_flow_from_the_vectors_of_a_track_into_dee(talker):
    """Embedding stays differentiable: a loss on the track reaches DEE's motion side."""
    dee = talker.bundle.dee
    motion = torch.rand(1, 20, 52, requires_grad=True)
    seen = dee.embed_motion(motion, torch.tensor([20]))
    blend(type(seen).concatenate([seen, gaussian(talker, emotion="sad")]), torch.ones(2)).mean[0, 0].backward()
    assert motion.grad.abs().sum() > 0


def test_the_command_steers_and_judges_before_it_loads(talker, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "a.wav", sound(1.2), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", sound(0.8, seed=2), 16000, subtype="FLOAT")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["deeptalk", "sample", "a.wav", "--takes", "1", "--format", "npz", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code

    bundle = ("--bundle", str(talker.bundle.folder), "--no-idle")
    assert run(*bundle, "--emotion", "happy:0.7@0,calm:0.3@0,sad@end", "--intensity", "0.4,1") == 0
    key_points = [(0, {"happy": 0.7, "calm": 0.3}), ("end", "sad")]
    expected = talker.perform("a.wav", takes=1, emotion=key_points, intensity=[0.4, 1])
    assert motions([Take.load("takes/a_take1.npz")]) == motions(expected)
    assert (
        run(*bundle, "--emotion-from", "b.wav:2", "--emotion-from", "takes/a_take1.npz", "--emotion-weight", ".5") == 0
    )
    recipe = Take.load("takes/a_take1.npz").recipe
    assert sorted((one["name"], one["weight"]) for one in recipe["emotion_from"]) == [("a_take1.npz", 1), ("b.wav", 2)]
    assert recipe["emotion_weight"] == 0.5
    capsys.readouterr()
    for words, message in (
        (("--emotion", "happy", "--emotion-from", "b.wav"), "Both an emotion and a reference"),
        (("--emotion", "happy@0,sad@7"), "lies beyond the end of a.wav"),
        (("--emotion", "hapy:1,sad:1"), "Did you mean 'happy'?"),
        (("--emotion-from", "c.wav"), "c.wav does not exist"),
    ):
        assert run("--bundle", "nothing/there", *words) == 2
        assert message in " ".join(capsys.readouterr().err.split())
