import csv
import re
from pathlib import Path

import numpy as np
import pytest

from deeptalk.errors import UserError
from deeptalk.export import check_format, read_live_link_csv, read_npz
from deeptalk.export.live_link import EYE_RADIANS, ROTATION_COLUMNS, SHAPE_COLUMNS, timecode
from deeptalk.face import CHANNELS, pascal_case
from deeptalk.take import Take

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "arkit_range_of_motion" / "live_link_face_sample.csv"


@pytest.fixture
def take() -> Take:
    rng = np.random.default_rng(0)
    return Take(
        motion=rng.random((40, 52), dtype=np.float32),
        recipe={"seed": 7, "take": 2, "emotion": "happy", "temperature": [1.0, 0.5], "speaker": None, "note": "Grüße"},
        samples=(0.1 * rng.standard_normal(25600)).astype(np.float32),
    )


def test_npz_round_trip_is_exact(take, tmp_path):
    path = take.save(tmp_path / "new" / "take.npz")
    again = Take.load(path)
    assert np.array_equal(again.motion, take.motion)
    assert np.array_equal(again.samples, take.samples)
    assert (again.rig, again.frame_rate, again.recipe) == (take.rig, take.frame_rate, take.recipe)
    assert again.motion.dtype == np.float32
    again.save(tmp_path / "again.npz")
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_npz_channels_are_mapped_by_name(take, tmp_path):
    take.save(tmp_path / "take.npz")
    arrays = dict(np.load(tmp_path / "take.npz"))
    order = np.random.default_rng(1).permutation(52)
    arrays |= {"motion": arrays["motion"][:, order], "channels": arrays["channels"][order]}
    np.savez(tmp_path / "shuffled.npz", **arrays)
    assert np.array_equal(read_npz(tmp_path / "shuffled.npz")["motion"], take.motion)
    arrays["channels"][0] = "browUpsideDown"
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(UserError, match="does not hold the 52 channels of rig 'arkit'"):
        read_npz(tmp_path / "other.npz")


def test_npz_errors(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.npz does not exist"):
        read_npz(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match=r"text\.npz is not a NumPy archive"):
        read_npz(tmp_path / "text.npz")
    np.savez(tmp_path / "half.npz", motion=np.zeros((1, 52)))
    with pytest.raises(UserError, match="lacks channels, rig, frame_rate, recipe"):
        read_npz(tmp_path / "half.npz")


def test_live_link_round_trip(take, tmp_path):
    path = take.save(tmp_path / "take.CSV")
    recording = read_live_link_csv(path)
    np.testing.assert_allclose(recording.motion, take.motion, atol=1e-7)
    assert recording.frame_rate == 25.0
    assert recording.start_seconds == 0.0
    look = {
        name: take.motion[:, CHANNELS.index(f"eyeLook{name}")] for name in ("InLeft", "OutLeft", "DownLeft", "UpLeft")
    }
    np.testing.assert_allclose(recording.rotations[:, 3], 0.6 * (look["InLeft"] - look["OutLeft"]), atol=1e-6)
    np.testing.assert_allclose(recording.rotations[:, 4], 0.6 * (look["DownLeft"] - look["UpLeft"]), atol=1e-6)
    assert not recording.rotations[:, :3].any()


def test_live_link_turns_the_head_as_the_app_counts(take, tmp_path):
    turns = np.random.default_rng(2).normal(0, 0.05, (40, 3)).astype(np.float32)
    recording = read_live_link_csv(Take(take.motion, head_rotation_radians=turns).save(tmp_path / "take.csv"))
    np.testing.assert_allclose(recording.rotations[:, :3], turns * (-1, 1, -1), atol=1e-7)


def test_live_link_file_is_as_the_app_writes_it(take, tmp_path):
    rows = list(csv.reader(take.save(tmp_path / "take.csv").open()))
    assert all(len(row) == 63 for row in rows)
    assert rows[0][:2] == ["Timecode", "BlendShapeCount"]
    assert {row[1] for row in rows[1:]} == {"61"}
    assert [row[0] for row in rows[1:4]] == ["00:00:00:00.000", "00:00:00:02.400", "00:00:00:04.800"]
    assert rows[26][0] == "00:00:01:00.000"
    assert re.fullmatch(r"\d\.\d{10}", rows[1][2])
    jaw_open = rows[0].index("JawOpen")
    assert float(rows[5][jaw_open]) == pytest.approx(take.motion[4, CHANNELS.index("jawOpen")], abs=1e-9)


@pytest.mark.shared
@pytest.mark.skipif(not SAMPLE.exists(), reason="shared/data is not here")
def test_live_link_sample_of_the_app(take, tmp_path):
    rows = list(csv.reader(SAMPLE.open()))
    assert tuple(rows[0]) == ("Timecode", "BlendShapeCount", *SHAPE_COLUMNS, *ROTATION_COLUMNS)
    recording = read_live_link_csv(SAMPLE)
    assert recording.frame_rate == 30.0
    assert recording.motion.shape == (300, 52)
    first = dict(zip(rows[0], rows[1]))
    values = {
        name: np.array([float(row[place]) for row in rows[1:]]) for place, name in enumerate(rows[0]) if place > 0
    }
    pairs = {  # the signs and the factor of the rotations that are written
        "LeftEyeYaw": values["EyeLookInLeft"] - values["EyeLookOutLeft"],
        "RightEyeYaw": values["EyeLookOutRight"] - values["EyeLookInRight"],
        "LeftEyePitch": values["EyeLookDownLeft"] - values["EyeLookUpLeft"],
    }
    for rotation, look in pairs.items():
        assert np.polyfit(look, values[rotation], 1)[0] == pytest.approx(EYE_RADIANS, abs=0.08)
    for index, name in enumerate(CHANNELS):
        assert recording.motion[0, index] == pytest.approx(float(first[pascal_case(name)]))
    assert recording.rotations[0, 3] == pytest.approx(float(first["LeftEyeYaw"]))
    assert recording.start_seconds == pytest.approx(13 * 3600 + 13 * 60 + 4 + 31.652 / 60)
    header = take.save(tmp_path / "take.csv").read_text().splitlines()[0]
    assert header == SAMPLE.read_text().splitlines()[0]


def test_columns_are_the_rig_channels():
    assert sorted(SHAPE_COLUMNS) == sorted(pascal_case(name) for name in CHANNELS)
    assert len(ROTATION_COLUMNS) == 9


@pytest.mark.parametrize("rate", [23.976023976, 24.0, 25.0, 29.97002997, 30.0, 50.0, 60.0, 12.5, 20.0, 90.0])
def test_frame_rate_comes_back_from_the_timecodes(take, tmp_path, rate):
    longer = np.tile(take.motion, (80, 1))
    path = Take(longer, frame_rate=rate).save(tmp_path / "take.csv")
    recording = read_live_link_csv(path)
    assert recording.frame_rate == pytest.approx(rate, rel=1e-6)
    assert len(recording.motion) == len(longer)


def test_timecode_carries():
    assert timecode(0, 25.0) == "00:00:00:00.000"
    assert timecode(25 * 3661 + 24, 25.0) == "01:01:01:57.600"
    # a hair under a whole second is rounded into the next one, never to 60.000
    assert timecode(1_000_000, 1_000_000 / 0.9999999) == "00:00:01:00.000"


def test_live_link_errors(take, tmp_path):
    path = take.save(tmp_path / "take.csv")
    lines = path.read_text().splitlines()

    def refuse(content: list[str], message: str) -> None:
        (tmp_path / "bad.csv").write_text("\n".join(content))
        with pytest.raises(UserError, match=message):
            read_live_link_csv(tmp_path / "bad.csv")

    refuse([lines[0].replace("JawOpen", "JawAjar"), *lines[1:]], "lacks the columns JawOpen;")
    refuse([*lines[:5], lines[5].replace(",61,", ",61,open"), *lines[6:]], "line 6: could not convert")
    refuse([*lines[:5], lines[5][:100], *lines[6:]], r"line 6: .*expected a timecode and 61 numbers")
    refuse([*lines[:9], *lines[11:]], "timecode of line 10 is not one frame after")
    refuse(lines[:2], "has 1 frames")
    cells = lines[3].split(",")
    refuse([*lines[:3], ",".join([*cells[:5], "nan", *cells[6:]]), *lines[4:]], "holds nan at frame 2")
    with pytest.raises(UserError, match="does not exist"):
        read_live_link_csv(tmp_path / "nothing.csv")
    # the other spelling in the wild is read
    (tmp_path / "b.csv").write_text("\n".join([lines[0].replace("BlendShapeCount", "BlendshapeCount"), *lines[1:]]))
    assert len(read_live_link_csv(tmp_path / "b.csv").motion) == 40


def test_unknown_formats_name_the_known_ones(take, tmp_path):
    with pytest.raises(UserError, match=r"Unknown format '\.pdf'; a take can be saved as npz, csv"):
        take.save(tmp_path / "take.pdf")
    with pytest.raises(UserError, match="Unknown format ''"):
        take.save(tmp_path / "take")
    assert check_format("CSV") == check_format(".csv") == "csv"
    assert list(tmp_path.iterdir()) == []


def test_takes_refuse_what_is_not_a_motion():
    broken = np.zeros((3, 52), np.float32)
    broken[1, 2] = np.nan
    with pytest.raises(UserError, match="holds nan at frame 1, channel 2"):
        Take(broken)
    with pytest.raises(UserError, match=r"has shape \(0, 52\); expected \(frame, channel\) with at least one frame"):
        Take(np.zeros((0, 52), np.float32))
    with pytest.raises(UserError, match="is float64; expected float32"):
        Take(np.zeros((3, 52)))
    with pytest.raises(UserError, match="frame rate of a take is 0"):
        Take(np.zeros((3, 52), np.float32), frame_rate=0.0)


def test_a_failed_write_leaves_the_old_file(take, tmp_path, monkeypatch):
    path = take.save(tmp_path / "take.csv")
    before = path.read_bytes()
    object.__setattr__(take, "motion", np.full((2, 52), np.inf, np.float32))
    with pytest.raises(UserError, match="holds inf"):
        take.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["take.csv"]


def test_live_link_is_for_arkit_only(take, tmp_path):
    with pytest.raises(UserError, match="this take is of rig 'flame'"):
        Take(take.motion, rig="flame").save(tmp_path / "take.csv")


def test_seconds(take):
    assert take.seconds == pytest.approx(1.6)
