"""Idle life: its statistics over long runs against the figures cited in the module, and its guarantees."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch

from deeptalk.errors import UserError
from deeptalk.face import BLINK_AND_GAZE, CHANNELS, idle, load_rig
from deeptalk.face.idle import idle_life
from deeptalk.face.lids import lid_margins

BLINK = CHANNELS.index("eyeBlinkLeft")


def sentence(seconds, pauses):
    """Noise at 16 kHz that swells five times a second, silent in the pauses (start, end)."""
    times = np.arange(round(seconds * 16000)) / 16000
    noise = np.random.default_rng(0).normal(size=len(times)) * 0.1
    noise *= 0.55 + 0.45 * np.sin(2 * np.pi * 5 * times)
    for start, end in pauses:
        noise[(times >= start) & (times < end)] = 0.0
    return noise.astype(np.float32)


def gaze_degrees(motion, side="Left"):
    value = {name: motion[:, CHANNELS.index(f"eyeLook{name}{side}")] for name in ("In", "Out", "Up", "Down")}
    left = value["Out"] - value["In"] if side == "Left" else value["In"] - value["Out"]
    return np.stack([left, value["Up"] - value["Down"]], axis=1) * idle.FULL_GAZE_DEGREES


def test_same_seed_same_bytes_and_others_differ():
    speech = sentence(8.0, [(3.0, 3.5)])
    first, again = (idle_life(200, 25.0, 7, speech) for _ in range(2))
    assert first.motion.tobytes() == again.motion.tobytes()
    assert first.head_rotation_radians.tobytes() == again.head_rotation_radians.tobytes()
    other = idle_life(200, 25.0, 8, speech)
    assert not np.array_equal(first.motion, other.motion)
    assert first.motion.dtype == first.head_rotation_radians.dtype == np.float32


@pytest.mark.parametrize("rate", [25.0, 30.0, 60.0, 24000 / 1001])
def test_only_blink_and_gaze_move_and_stay_within_the_rig(rate):
    for seed in range(30):
        life = idle_life(250, rate, seed)
        others = [index for index, name in enumerate(CHANNELS) if name not in BLINK_AND_GAZE]
        assert not life.motion[:, others].any()
        assert life.motion.min() >= 0.0
        assert life.motion.max() <= 1.0
        for name in ("Up", "Down", "In", "Out"):
            opposite = {"Up": "Down", "Down": "Up", "In": "Out", "Out": "In"}[name]
            a, b = (life.motion[:, CHANNELS.index(f"eyeLook{one}Left")] for one in (name, opposite))
            assert not np.any((a > 0) & (b > 0))


def test_without_sound_a_short_clip_is_the_beginning_of_a_long_one():
    long, short = idle_life(1000, 25.0, 3), idle_life(137, 25.0, 3)
    np.testing.assert_array_equal(short.motion, long.motion[:137])
    np.testing.assert_allclose(short.head_rotation_radians, long.head_rotation_radians[:137], atol=1e-7)


def test_rates_show_the_same_instants():
    slow, fast = idle_life(500, 25.0, 5), idle_life(1500, 75.0, 5)
    # frame f at 25 Hz and frame 3 f + 1 at 75 Hz are the same instant
    np.testing.assert_allclose(fast.motion[1::3], slow.motion, atol=1e-6)
    np.testing.assert_allclose(fast.head_rotation_radians[1::3], slow.head_rotation_radians, atol=1e-6)


def test_blink_rate_and_intervals():
    rates, logs = [], []
    for seed in range(300):
        starts, _, _ = idle.draw_blinks(np.random.default_rng([seed, 0]), 300.0)
        rates.append(np.sum(starts >= 0) / 5.0)
        log_intervals = np.log(np.diff(starts))
        logs.append((log_intervals - log_intervals.mean()) / log_intervals.std())
    assert 19.0 < np.mean(rates) < 24.0  # the middle of Doughty's 10.5 to 32.5
    assert np.mean([10.5 <= rate <= 32.5 for rate in rates]) > 0.94
    pooled = np.concatenate(logs)
    assert abs(scipy.stats.skew(pooled)) < 0.1  # log-normal, so highly skewed itself
    assert scipy.stats.skew(np.exp(pooled * idle.LOG_INTERVAL_SPREAD)) > 1.0  # Garcia et al. 2011


def test_blinks_last_a_third_of_a_second_close_fast_and_are_always_seen_closed():
    lasts, closings, openings = [], [], []
    for seed in range(60):
        closure = idle_life(6000, 200.0, seed).motion[:, BLINK]
        starts, ends = (np.flatnonzero(np.diff((closure > 0.02).astype(int)) == sign) for sign in (1, -1))
        for start, end in zip(starts, ends[ends > starts[0]] if len(starts) else []):
            course = closure[start : end + 1]
            if np.sum(np.diff((course > 0.5).astype(int)) == 1) != 1:
                continue  # two blinks that touch
            lasts.append((end - start) / 200)
            shut = np.flatnonzero(course > 0.999)
            closings.append(shut[0] / 200)
            openings.append((len(course) - shut[-1]) / 200)
    assert len(lasts) > 500
    assert np.mean(lasts) == pytest.approx(0.334, abs=0.067)  # VanderWerf et al. 2003
    assert np.mean(openings) > 1.5 * np.mean(closings)
    for seed in range(40):
        starts, _, _ = idle.draw_blinks(np.random.default_rng([seed, 0]), 60.0)
        closure = idle_life(1500, 25.0, seed).motion[:, BLINK]
        for start in starts[(starts > 0.2) & (starts < 59.5)]:
            assert closure[int(start * 25) : int(start * 25) + 5].max() > 0.99


def test_blinks_prefer_pauses():
    pauses = [(4.0 * k + 3.2, 4.0 * k + 4.0) for k in range(15)]
    speech = sentence(60.0, pauses)
    starts = np.concatenate(
        [idle.draw_blinks(np.random.default_rng([seed, 0]), 60.0, idle.speech_level(speech))[0] for seed in range(200)]
    )
    starts = starts[starts > 0]
    within = np.mean([any(a <= start < b for a, b in pauses) for start in starts])
    ratio = (within / 0.2) / ((1 - within) / 0.8)
    assert ratio == pytest.approx(idle.PAUSE_FACTOR, rel=0.25)
    assert len(starts) / 200 == pytest.approx(21.8, rel=0.1)  # as many as without sound


def test_fixations_and_saccades():
    at_viewer, away, sizes = [], [], []
    for seed in range(100):
        starts, targets = idle.draw_gaze(np.random.default_rng([seed, 1]), 120.0)
        lasts, size = np.diff(starts), np.linalg.norm(targets, axis=1)[:-1]
        on_face = size < 3.5
        sizes.extend(size[~on_face])
        away.extend(lasts[~on_face])
        bounds = np.flatnonzero(~on_face)
        at_viewer.extend(starts[b] - starts[a + 1] for a, b in itertools.pairwise(bounds))
        assert (lasts > idle.SHORTEST_FIXATION_SECONDS - 1e-9).all()
    assert np.mean(away) == pytest.approx(0.93, rel=0.1)  # Lee et al. 2002
    assert np.mean(at_viewer) == pytest.approx(3.13, rel=0.15)
    assert np.sum(at_viewer) / (np.sum(at_viewer) + np.sum(away)) > 0.7
    assert min(sizes) >= 4.0 - 1e-9
    assert np.median(sizes) == pytest.approx(6.9 * np.log(2), rel=0.05)  # exponential, as in Lee et al.
    assert max(sizes) < 14.0


def test_saccades_follow_the_main_sequence():
    targets = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [7.0, 0.0], [-5.0, 0.0]])
    starts = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    times = np.arange(0.0, 4.0, 0.0005)
    yaw = idle._eye_degrees(times, starts, targets)[:, 0]
    speed = np.abs(np.gradient(yaw, times))
    for start, before, after in zip(starts[1:], targets[:-1, 0], targets[1:, 0]):
        amplitude = abs(after - before)
        moving = (times > start - 1e-9) & (times < start + 0.2) & (speed > 1e-3)
        assert moving.sum() * 0.0005 == pytest.approx(0.021 + 0.0022 * amplitude, abs=0.004)
        # peak over mean speed of a movement of least jerk is 1.875
        peak = speed[moving].max()
        assert peak == pytest.approx(1.875 * amplitude / (0.021 + 0.0022 * amplitude), rel=0.03)


def test_eyes_hold_the_gaze_against_the_head():
    life, still = idle_life(1500, 25.0, 11), idle_life(1500, 25.0, 11, head=False)
    assert not still.head_rotation_radians.any()
    head = np.degrees(life.head_rotation_radians[:, :2]) * (1.0, -1.0)
    free = np.abs(gaze_degrees(still.motion) - head) < idle.FULL_GAZE_DEGREES
    gaze = gaze_degrees(life.motion) + head
    np.testing.assert_allclose(gaze[free], gaze_degrees(still.motion)[free], atol=1e-4)
    np.testing.assert_array_equal(life.motion[:, BLINK], still.motion[:, BLINK])
    np.testing.assert_allclose(gaze_degrees(life.motion, "Left"), gaze_degrees(life.motion, "Right"), atol=1e-5)


def test_degrees_are_those_of_the_built_in_head():
    rig = load_rig("arkit")
    eye = rig.regions["left_eye"]
    for name, axis, full in (("eyeLookOutLeft", 0, 14.0), ("eyeLookUpLeft", 1, 10.0)):
        at = rig.neutral[eye].astype(float)
        moved = at + rig.deltas[rig.channels.index(name)][eye]
        u, _, vt = np.linalg.svd((at - at.mean(0)).T @ (moved - moved.mean(0)))
        forward = (u @ vt).T @ [0.0, 0.0, 1.0]
        assert np.degrees(np.arcsin(forward[axis])) == pytest.approx(full, abs=0.7)


def test_a_character_with_wider_eyes_looks_as_far_in_degrees():
    ours = idle_life(500, 25.0, 2, head=False)
    wider = idle_life(500, 25.0, 2, head=False, full_gaze_degrees=idle.ARKIT_FULL_GAZE_DEGREES)
    factors = np.divide(idle.FULL_GAZE_DEGREES, idle.ARKIT_FULL_GAZE_DEGREES)
    expected = gaze_degrees(ours.motion) * factors
    np.testing.assert_allclose(gaze_degrees(wider.motion), expected, atol=1e-5)


def test_lids_follow_the_gaze_down():
    rig = load_rig("arkit")
    lid = np.abs(rig.deltas[rig.channels.index("eyeBlinkLeft")][:, 1]) > 0.006
    down = rig.deltas[rig.channels.index("eyeLookDownLeft")][lid, 1]
    # an eye of 14.5 mm that turns by 10 degrees moves its front by 2.5 mm
    assert down.min() < -0.0025


def test_lids_meet_and_do_not_pass_each_other():
    rig = load_rig("arkit")
    rng = np.random.default_rng(5)
    motion = np.zeros((200, 52), np.float32)
    for name in ("eyeSquintLeft", "cheekSquintLeft", "eyeSquintRight", "eyeWideRight"):
        motion[:, CHANNELS.index(name)] = rng.random(200)
    life = idle_life(200, 25.0, 1)
    life.motion[:, [BLINK, BLINK + 1]] = 1.0
    joined = idle.with_idle(motion, life.motion, rig)
    assert not motion[:, BLINK].any()
    others = [column for column in range(52) if column not in idle.BLINK_AND_GAZE_COLUMNS]
    np.testing.assert_array_equal(joined[:, others], motion[:, others])
    for side in ("Left", "Right"):
        upper, lower = lid_margins(rig, side)
        vertices = rig.vertices(torch.from_numpy(joined)).numpy()
        gap_mm = 1000 * (vertices[:, upper, 1] - vertices[:, lower, 1])
        assert gap_mm.min() > -0.05
        assert np.median(gap_mm) < 2.0  # closed, but for eyes opened wide


def test_head_moves_a_few_degrees_slowly_and_smoothly():
    turns = np.degrees(np.stack([idle_life(3000, 25.0, seed).head_rotation_radians for seed in range(20)]))
    spread = turns.reshape(-1, 3).std(axis=0)
    np.testing.assert_allclose(spread, idle.DRIFT_DEGREES, rtol=0.15)
    assert np.abs(turns).max() < 8.0
    speed = np.abs(np.diff(turns, axis=1)) * 25.0
    assert speed.max() < 15.0  # degrees a second; a deliberate turn of the head is over 50
    jumps = np.abs(np.diff(turns, n=2, axis=1)).max()
    assert jumps < 0.2
    power = np.abs(np.fft.rfft(turns[..., 0] * np.hanning(3000), axis=1)) ** 2
    frequencies = np.fft.rfftfreq(3000, 0.04)
    band = (frequencies > 0.15) & (frequencies < 1.0)
    slope = np.polyfit(np.log(frequencies[band]), np.log(power.mean(axis=0)[band]), 1)[0]
    assert -3.2 < slope < -1.2  # slow motion carries most


def test_loud_syllables_get_nods():
    speech = sentence(30.0, [(k + 0.5, k + 1.0) for k in range(30)])
    silence = np.zeros_like(speech)
    nods = (
        idle_life(750, 25.0, 4, speech).head_rotation_radians - idle_life(750, 25.0, 4, silence).head_rotation_radians
    )
    assert not nods[:, [0, 2]].any()
    depth = np.degrees(nods[:, 1])
    assert depth.min() >= -1e-5  # down is positive
    assert 0.6 < depth.max() < 4.0
    frame = np.arange(750) % 25
    assert depth[frame < 13].mean() > 2 * depth[frame >= 16].mean()


def test_errors():
    with pytest.raises(UserError, match="frame_count=0: ask for at least one frame"):
        idle_life(0, 25.0, 0)
    with pytest.raises(UserError, match=r"frame_rate=nan: expected frames a second"):
        idle_life(10, float("nan"), 0)
    with pytest.raises(UserError, match="seed=-1"):
        idle_life(10, 25.0, -1)
    with pytest.raises(UserError, match=r"lasts 3.00 s at 16 kHz, but 25 frames at 25 Hz last 1.00 s"):
        idle_life(25, 25.0, 0, np.zeros(48000, np.float32))
    assert np.isfinite(idle_life(1, 25.0, 0, np.zeros(640, np.float32)).motion).all()
