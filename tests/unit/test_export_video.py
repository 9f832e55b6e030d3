"""Videos decoded again: frames, duration, sound, labels, and what is refused."""

import json
import os
import resource
import signal
import sys

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("numba")

import av

from deeptalk.errors import UserError
from deeptalk.export.video import write_side_by_side, write_video
from deeptalk.face import CHANNELS
from deeptalk.render import contact_sheet, render_frames
from deeptalk.take import Take

SIZE = 64


def make_take(frame_count=13, frame_rate=25.0, sound=True, **fields):
    motion = np.zeros((frame_count, len(CHANNELS)), np.float32)
    motion[:, CHANNELS.index("jawOpen")] = np.linspace(0, 1, frame_count)
    samples = None
    if sound:
        times = np.arange(round(16_000 * frame_count / frame_rate)) / 16_000
        samples = (0.4 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    return Take(motion=motion, frame_rate=frame_rate, samples=samples, recipe={"seed": 3, "name": "ü"}, **fields)


def decode(path):
    """(frames (frame, height, width, 3), their times in seconds, sound, its rate, metadata)."""
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
        metadata = {key.lower(): value for key, value in container.metadata.items()}
    sound, rate = np.zeros(0, np.float32), 0
    with av.open(str(path)) as container:
        if container.streams.audio:
            parts = list(container.decode(audio=0))
            sound, rate = np.concatenate([part.to_ndarray()[0] for part in parts]), parts[0].sample_rate
    frames = np.stack([picture.to_ndarray(format="rgb24") for picture in pictures])
    return frames, np.array([picture.time for picture in pictures]), sound, rate, metadata


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("frame_rate", [25.0, 30.0, 24000 / 1001])
def test_frames_times_and_sound_are_those_of_the_take(tmp_path, suffix, frame_rate):
    take = make_take(frame_rate=frame_rate)
    write_video(take, tmp_path / f"take{suffix}", SIZE)
    frames, times, sound, rate, metadata = decode(tmp_path / f"take{suffix}")
    assert frames.shape == (13, SIZE, SIZE, 3)
    assert times == pytest.approx(np.arange(13) / frame_rate, abs=0.0011)
    assert len(sound) / rate == pytest.approx(13 / frame_rate, abs=1 / frame_rate)
    drawn = render_frames_of(take)
    assert np.abs(frames.astype(int) - drawn).mean() < 4
    assert json.loads(metadata["comment"]) == [{"rig": "arkit", "recipe": {"seed": 3, "name": "ü"}}]


def render_frames_of(take):
    from deeptalk.face import load_rig

    return render_frames(load_rig(take.rig), take.motion, SIZE, head_rotation_radians=take.head_rotation_radians)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_the_sound_is_the_speech_at_its_time(tmp_path, suffix):
    """A click in the middle of the speech is heard at its place, within half a frame."""
    take = make_take(25)
    samples = np.zeros(16_000, np.float32)
    samples[8_000:8_040] = 0.9
    write_video(Take(motion=take.motion, samples=samples), tmp_path / f"click{suffix}", SIZE)
    _, _, sound, rate, _ = decode(tmp_path / f"click{suffix}")
    assert np.abs(sound).argmax() / rate == pytest.approx(0.5, abs=0.02)


def test_the_container_says_how_long_it_is(tmp_path):
    write_video(make_take(50), tmp_path / "two_seconds.mp4", SIZE)
    with av.open(str(tmp_path / "two_seconds.mp4")) as container:
        assert container.duration / av.time_base == pytest.approx(2.0, abs=0.04)
        for stream in container.streams:
            assert float(stream.duration * stream.time_base) == pytest.approx(2.0, abs=0.04)
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]


def test_a_take_without_sound_gives_a_silent_video(tmp_path):
    write_video(make_take(3, sound=False), tmp_path / "silent.mp4", SIZE)
    with av.open(str(tmp_path / "silent.mp4")) as container:
        assert not container.streams.audio
    assert len(decode(tmp_path / "silent.mp4")[0]) == 3


def test_one_frame_is_a_video(tmp_path):
    write_video(make_take(1), tmp_path / "one.webm", SIZE)
    assert len(decode(tmp_path / "one.webm")[0]) == 1


def test_width_and_height_may_differ(tmp_path):
    write_video(make_take(2), tmp_path / "tall.mp4", (48, 64))
    assert decode(tmp_path / "tall.mp4")[0].shape == (2, 64, 48, 3)


def test_the_head_turns(tmp_path):
    turn = np.zeros((4, 3), np.float32)
    turn[2:, 0] = 0.5
    write_video(make_take(4, head_rotation_radians=turn), tmp_path / "turn.mp4", SIZE)
    frames = decode(tmp_path / "turn.mp4")[0].astype(int)
    assert np.abs(frames[2] - frames[1]).mean() > 3 * np.abs(frames[1] - frames[0]).mean()


def test_takes_stand_side_by_side_over_their_labels(tmp_path):
    takes = [make_take(5), make_take(5, sound=False), make_take(5)]
    write_side_by_side(takes, tmp_path / "three takes.mp4", ["calm", "ängstlich", "angry"], size=SIZE)
    frames, _, sound, rate, metadata = decode(tmp_path / "three takes.mp4")
    expected = contact_sheet([*render_frames_of(takes[0])[4:]] * 3, ["calm", "ängstlich", "angry"], 3)
    height, width = expected.shape[:2]
    assert frames.shape[1:3] == (height + height % 2, width + width % 2)
    assert np.abs(frames[4][:height, :width].astype(int) - expected).mean() < 6
    assert len(sound) / rate == pytest.approx(0.2, abs=0.04)
    assert len(json.loads(metadata["comment"])) == 3


def test_takes_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(UserError, match="one length and rate"):
        write_side_by_side([make_take(5), make_take(6)], tmp_path / "a.mp4", size=SIZE)
    with pytest.raises(UserError, match="one length and rate"):
        write_side_by_side([make_take(5), make_take(5, frame_rate=30.0)], tmp_path / "a.mp4", size=SIZE)
    with pytest.raises(UserError, match="2 takes and 1 labels"):
        write_side_by_side([make_take(5)] * 2, tmp_path / "a.mp4", ["one"], size=SIZE)
    with pytest.raises(UserError, match="no take"):
        write_side_by_side([], tmp_path / "a.mp4", size=SIZE)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("size", [63, (64, 63)])
def test_odd_sizes_are_refused(tmp_path, size):
    with pytest.raises(UserError, match="even numbers of pixels"):
        write_video(make_take(2), tmp_path / "odd.mp4", size)
    assert not os.listdir(tmp_path)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"ends in .mp4 or .webm"):
        write_video(make_take(2), tmp_path / "take.avi", SIZE)


def test_zero_frames_are_refused(tmp_path):
    take = make_take(2)
    object.__setattr__(take, "motion", take.motion[:0])
    with pytest.raises(UserError, match="at least one frame"):
        write_video(take, tmp_path / "none.mp4", SIZE)
    assert not os.listdir(tmp_path)


def test_paths_with_spaces_and_other_alphabets(tmp_path):
    path = tmp_path / "ein Ordner 감정" / "das Gespräch, Nr. 1.mp4"
    write_video(make_take(2), path, SIZE)
    assert len(decode(path)[0]) == 2
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_made_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"Cannot write .*is a file, not a folder"):
        write_video(make_take(2), tmp_path / "file" / "a.mp4", SIZE)


@pytest.fixture
def small_files_only():
    """A limit on the size of files stands for a full disk: the same call fails, with EFBIG instead of ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_full_disk_leaves_one_sentence_and_no_file(tmp_path, small_files_only, suffix):
    with pytest.raises(UserError, match=r"^Cannot write .*: File too large") as raised:
        write_video(make_take(25), tmp_path / f"take{suffix}", SIZE)
    assert "\n" not in str(raised.value)
    assert not os.listdir(tmp_path)


def test_an_interrupted_video_leaves_nothing(tmp_path, monkeypatch):
    from deeptalk.export import video

    def two_then_stop(*_):
        yield np.zeros((SIZE, SIZE, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(video, "_pictures", two_then_stop)
    with pytest.raises(KeyboardInterrupt):
        write_video(make_take(4), tmp_path / "half.mp4", SIZE)
    assert not os.listdir(tmp_path)


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'deeptalk\[pictures\]'"):
        write_video(make_take(2), tmp_path / "a.mp4", SIZE)
    assert not os.listdir(tmp_path)
