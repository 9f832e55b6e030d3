import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from deeptalk.corpus.performer import Performer
from deeptalk.corpus.resample import arkit_lip_gap, closings, resample_motion
from deeptalk.corpus.synthesis import demo_speech
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS

CLOSED_METRES = 0.0005
JAW = CHANNELS.index("jawOpen")


@pytest.fixture(scope="module")
def performed():
    """(event, motion at 100 Hz whose frame i lies at i / 100 s) of two dozen clips in all emotions."""
    performer = Performer.variant("standard")
    events = demo_speech()[::7]
    return [(event, performer.control_motion(event, performer.draw(event, 1, seed=3)[0])) for event in events]


def at_instants(motion, times, rate, frames):
    """Plain linear interpolation at the frame centres."""
    centres = (np.arange(frames) + 0.5) / rate
    return np.stack([np.interp(centres, times, channel) for channel in motion.T], axis=1).astype(np.float32)


def closed_share(pairs, rate):
    """Share of the /p b m/ of (event, motion) with the lips within 0.5 mm at the nearest frame or one beside it."""
    closed = []
    for event, motion in pairs:
        gap = arkit_lip_gap(motion)
        middles = [int(phone.middle_seconds * rate) for phone in event.phones if phone.symbol in ("P", "B", "M")]
        closed += [gap[max(middle - 1, 0) : middle + 2].min() <= CLOSED_METRES for middle in middles]
    assert len(closed) > 30
    return np.mean(closed)


def control_times(motion):
    return np.arange(len(motion)) / 100


def frames_of(event, rate):
    return round(event.seconds * rate)


def test_closures_survive_from_100_hz(performed):
    source = closed_share(performed, 100)
    assert source > 0.95
    for rate in (25.0, 30.0, 60.0):
        made = [
            (event, resample_motion(motion, 100.0, rate, frames_of(event, rate), times=control_times(motion)))
            for event, motion in performed
        ]
        assert closed_share(made, rate) >= source


def lost_metres(pairs, made):
    """How much wider the lips stay at their closings: (closing,) over pairs (motion, rate) and what was made at 25."""
    lost = []
    for (motion, rate), new in zip(pairs, made, strict=True):
        gap, new_gap = arkit_lip_gap(motion), arkit_lip_gap(new)
        for place in closings(gap):
            frame = int((place + 0.5) / rate * 25)
            if frame < len(new):
                lost.append(new_gap[max(frame - 1, 0) : frame + 2].min() - gap[place])
    return np.array(lost)


@pytest.mark.parametrize("rate", [30.0, 60.0])
def test_closings_survive_where_interpolation_and_low_pass_open_them(performed, rate):
    """Fast speech: twice as fast as performed, as a captured actor may close the lips for one frame."""
    source = [
        (at_instants(motion, control_times(motion) / 2, rate, round(event.seconds / 2 * rate)), rate)
        for event, motion in performed
    ]
    kept = [resample_motion(motion, rate, 25.0) for motion, _ in source]
    plain = [
        at_instants(motion, (np.arange(len(motion)) + 0.5) / rate, 25, len(new))
        for (motion, _), new in zip(source, kept)
    ]
    smooth = [
        at_instants(
            uniform_filter1d(motion, round(rate / 25) + 1, axis=0), (np.arange(len(motion)) + 0.5) / rate, 25, len(new)
        )
        for (motion, _), new in zip(source, kept)
    ]
    assert np.percentile(lost_metres(source, kept), 99) < 0.00005
    assert np.percentile(lost_metres(source, plain), 90) > 0.0002
    assert np.percentile(lost_metres(source, smooth), 90) > 0.0005


def test_every_closing_is_shown_in_its_frame(performed):
    shown = moved = 0
    for _, motion in performed:
        times = control_times(motion)
        made = resample_motion(motion, 100.0, 25.0, times=times)
        gap, new_gap = arkit_lip_gap(motion), arkit_lip_gap(made)
        homes = np.floor(times[closings(gap)] * 25).astype(int)
        for frame in set(homes[homes < len(made)].tolist()):
            tightest = gap[closings(gap)[homes == frame]].min()
            assert new_gap[frame] <= tightest + 0.00003
            shown += 1
            moved += not np.allclose(made[frame], motion[min(4 * frame + 2, len(motion) - 1)], atol=1e-6)
    assert shown > 50
    assert 0 < moved < shown


def test_frames_keep_their_time(performed):
    for _, motion in performed:
        times = control_times(motion)
        marked = motion.copy()
        marked[:, 0] = times / 10  # a clock in a channel that moves no lip
        made = resample_motion(marked, 100.0, 25.0, times=times)
        late = made[:, 0] * 10 - (np.arange(len(made)) + 0.5) / 25
        assert np.abs(late[:-1]).max() <= 0.5 / 25 + 1e-6
        assert np.mean(np.abs(late[:-1]) < 1e-4) > 0.5  # most frames are where they belong
        assert (np.diff(made[:, 0]) >= 0).all()


def test_nothing_overshoots(performed):
    for _, motion in performed:
        made = resample_motion(motion, 100.0, 30.0, times=control_times(motion))
        assert made.min() >= 0.0
        assert (made.max(0) <= motion.max(0) + 1e-6).all()


def test_the_same_rate_changes_nothing():
    motion = np.random.default_rng(0).random((40, 52), np.float32)
    assert np.allclose(resample_motion(motion, 25.0, 25.0), motion, atol=1e-6)


@given(st.integers(1, 200), st.sampled_from([12.5, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 120.0]))
@settings(max_examples=40, deadline=None)
def test_length_is_the_duration(frames, rate):
    motion = np.full((frames, 52), 0.25, np.float32)
    made = resample_motion(motion, rate, 25.0)
    assert made.dtype == np.float32
    assert abs(len(made) / 25 - frames / rate) <= 0.5 / 25 + 1e-9 or len(made) == 1
    assert np.allclose(made, 0.25)


def test_times_of_a_recording_that_lost_frames():
    kept = np.array([0, 1, 2, 5, 6, 7, 8, 9])
    times = (kept + 0.5) / 30
    motion = np.zeros((len(kept), 52), np.float32)
    motion[:, 0] = times
    made = resample_motion(motion, 30.0, 25.0, times=times)
    assert len(made) == 8  # a third of a second
    centres = (np.arange(8) + 0.5) / 25
    assert np.allclose(made[:, 0], np.clip(centres, times[0], times[-1]), atol=1e-3)


def test_the_lips_of_another_rig():
    motion = np.zeros((60, 3), np.float32)
    motion[:, 0] = np.linspace(0, 1, 60)
    gap = np.full(60, 0.01)
    gap[31] = 0.0
    made = resample_motion(motion, 60.0, 25.0, lip_gap_metres=gap)
    assert motion[31, 0] in made[:, 0]
    with pytest.raises(UserError, match="Motion of 3 channels is not of the 52 ARKit channels"):
        resample_motion(motion, 60.0, 25.0)


def test_noise_of_open_lips_is_no_closing():
    generator = np.random.default_rng(0)
    assert len(closings(0.01 + 0.00003 * generator.standard_normal(500))) < 5
    dips = np.full(100, 0.01)
    dips[[20, 60]] = 0.0
    assert closings(dips).tolist() == [20, 60]
    held = np.full(50, 0.01)
    held[20:30] = 0.0
    assert all(20 <= place < 30 for place in closings(held))
    assert len(closings(held)) == 1
    ends = np.linspace(0.0, 0.01, 30)
    assert closings(ends).tolist() == [0]
    assert closings(ends[::-1]).tolist() == [29]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"motion": np.zeros((0, 52), np.float32)}, "has no frames"),
        ({"motion": np.full((5, 52), np.nan, np.float32)}, "holds NaN"),
        ({"source_rate": 0.0}, "Frame rates 0.0 and 25.0"),
        ({"target_rate": float("inf")}, "Frame rates 60.0 and inf"),
        ({"frames": 0}, "0 frames at 25 frames a second"),
        ({"frames": 40}, r"40 frames at 25 frames a second asked of motion that lasts 1.00 s; .* at most 26"),
        ({"times": np.zeros(60)}, "expected one a frame, rising"),
        ({"times": np.arange(3.0)}, "3 times for 60 frames"),
        ({"lip_gap_metres": np.zeros(3)}, r"lip_gap_metres has shape \(3,\) for 60"),
    ],
)
def test_errors(arguments, message):
    good = {"motion": np.zeros((60, 52), np.float32), "source_rate": 60.0, "target_rate": 25.0}
    with pytest.raises(UserError, match=message):
        resample_motion(**good | arguments)
