from pathlib import Path

import numpy as np
import pytest
from importer_samples import speech, write_sound

from deeptalk.corpus import Corpus
from deeptalk.corpus.importers import import_corpus
from deeptalk.corpus.importers.rig_map import FACEGOOD_MAP, name_shift, read_rig_map
from deeptalk.corpus.resample import arkit_lip_gap, closings
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, mirrored_channel

SHARED = Path(__file__).parents[3] / "shared" / "data" / "facegood_zh_blendshapes"
MAP = read_rig_map(FACEGOOD_MAP)
NAMES = MAP.columns
SECONDS = 3.0


def weights_of(seconds: float = SECONDS, **values: float) -> np.ndarray:
    """Weights at 30 frames a second: the jaw speaks, closed every 0.25 s; the given weights stand still."""
    frames = int(30 * seconds)
    times = (np.arange(frames) + 0.5) / 30
    weights = np.zeros((frames, len(NAMES)), np.float32)
    weights[:, NAMES.index("mouth_stretch_c")] = 0.5 * np.maximum(np.sin(2 * np.pi * 4 * times), 0)
    for name, value in values.items():
        weights[:, NAMES.index(name)] = value
    return weights


def write_take(folder: Path, name: str, weights: np.ndarray, sound_seconds: float = SECONDS, **fields) -> None:
    folder.mkdir(exist_ok=True)
    content = {"weights": weights, "names": np.array(NAMES), "fps": np.array(30)} | fields
    np.savez(folder / f"{name}.npz", **{key: value for key, value in content.items() if value is not None})
    if sound_seconds:
        write_sound(folder / f"{name}.flac", speech(sound_seconds))


def result(tmp_path: Path, *words: str):
    report = import_corpus("facegood", tmp_path / "takes", tmp_path / "corpus", words=words, overwrite=True)
    return report, Corpus.open(tmp_path / "corpus")


def of(corpus: Corpus, channel: str, place: int = 0) -> np.ndarray:
    return corpus.motion(place)[:, CHANNELS.index(channel)]


def test_weights_become_channels_at_25_frames_a_second(tmp_path):
    still = {"mouth_funnel_dl": 0.4, "mouth_funnel_ur": 0.4, "mouth_lipCornerPull_l": 0.3, "mouth_suck_dr": 0.2}
    write_take(tmp_path / "takes", "one", weights_of(**still))
    report, corpus = result(tmp_path)
    assert report.notes() == {}
    assert len(corpus.motion(0)) == 75
    assert np.allclose(of(corpus, "mouthFunnel"), 0.2, atol=1e-6)
    assert np.allclose(of(corpus, "mouthSmileLeft"), 0.3, atol=1e-6)
    assert not of(corpus, "mouthSmileRight").any()
    assert np.allclose(of(corpus, "mouthRollLower"), 0.1, atol=1e-6)
    assert (
        np.abs(of(corpus, "jawOpen") - 0.5 * np.maximum(np.sin(8 * np.pi * (np.arange(75) + 0.5) / 25), 0)).max() < 0.08
    )


def test_short_closures_survive_the_change_of_rate(tmp_path):
    weights = weights_of()
    jaw = NAMES.index("mouth_stretch_c")
    weights[:, jaw] = 0.4
    closed = np.arange(7, 85, 7)
    weights[closed, jaw] = 0.0  # a thirtieth of a second
    write_take(tmp_path / "takes", "one", weights)
    _, corpus = result(tmp_path)
    gap = arkit_lip_gap(corpus.motion(0))
    assert len(closings(arkit_lip_gap(MAP.to_arkit(weights, NAMES, [])))) == len(closed)
    for frame in closed:
        at = int((frame + 0.5) / 30 * 25)
        assert gap[max(0, at - 1) : at + 2].min() < 0.0005


def test_the_raw_form_with_names_that_are_off_by_one(tmp_path):
    weights = weights_of(mouth_pucker_l=0.3, mouth_pucker_r=0.3, mouth_press_l=0.2, mouth_press_r=0.2)
    folder = tmp_path / "takes" / "bs_value"
    folder.mkdir(parents=True)
    np.save(folder / "bs_value_1114_2_01.npy", weights)
    write_sound(tmp_path / "takes" / "wav" / "1114_2_01.wav", speech(SECONDS))
    report, known = result(tmp_path)  # columns by the map
    assert report.notes() == {}
    assert known.speech[0].speech_id == "facegood-takes/1114_2_01"
    # the repository's own name file: column j has the name at j - 1
    np.save(folder / "shirley_1119_bs_name.npy", np.array([*NAMES[1:], "cheek_suck_l"]))
    report, moved = result(tmp_path)
    assert report.notes() == {"names moved by one column": 1}
    assert moved.manifest["content_sha256"]["motion.npy"] == known.manifest["content_sha256"]["motion.npy"]
    np.save(folder / "other.npy", np.zeros(3))
    report, _ = result(tmp_path, "frame_rate=30")
    assert report.reasons("skipped") == {"other array": 1}
    np.save(folder / "bs_value_short.npy", weights[:, :50])
    report, _ = result(tmp_path)
    assert report.reasons("refused") == {"weights not in the map": 1}


def test_name_shift_needs_a_reason():
    weights = weights_of(mouth_pucker_l=0.3, mouth_pucker_r=0.3)
    assert name_shift(weights, NAMES) == 0
    assert name_shift(weights, [*NAMES[1:], "cheek_suck_l"]) == 1
    assert name_shift(np.zeros((3, len(NAMES)), np.float32), NAMES) == 0
    one_sided = weights_of(mouth_lipCornerPull_l=0.3)
    assert name_shift(one_sided, NAMES) == 0


def test_what_the_map_drops_or_adds_up_is_noted(tmp_path):
    write_take(tmp_path / "takes", "dropped", weights_of(tooth_d_d=0.3))
    funnels = {f"mouth_funnel_{quarter}": 0.9 for quarter in ("dl", "dr", "ul", "ur")}
    write_take(tmp_path / "takes", "sum", weights_of(mouth_oh_c=0.9, **funnels))
    report, corpus = result(tmp_path)
    texts = {note.kind: note.text for one in report.results for note in one.notes}
    assert set(texts) == {"moving weights dropped by the map", "mapped sums over 1 set to 1"}
    assert texts["moving weights dropped by the map"].startswith("tooth_d_d (lower teeth alone")
    assert "at most mouthFunnel 1.440" in texts["mapped sums over 1 set to 1"]
    assert of(corpus, "mouthFunnel", 1).max() == 1.0


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"fps": None}, "other archive"),
        ({"fps": np.array(0)}, "wrong frame rate"),
        ({"fps": np.array(float("nan"))}, "wrong frame rate"),
        ({"fps": np.array(60)}, "wrong frame rate"),  # its motion would last 1.5 s
        ({"names": np.array(NAMES[:50])}, "not weights"),
        ({"names": np.array([NAMES[1]] * 116)}, "not weights"),
        (
            {"names": np.array(["weight"] + list(NAMES[1:74]) + ["strange"] + list(NAMES[75:]))},
            "weights not in the map",
        ),
        ({"names": np.array(list(NAMES), object)}, "unreadable array"),
        ({"weights": np.zeros((0, 116), np.float32)}, "no frames"),
        ({"weights": np.zeros(116, np.float32)}, "not weights"),
        ({"weights": np.full((90, 116), np.nan, np.float32)}, "NaN"),
        ({"weights": 100 * weights_of(mouth_oo_c=0.3)}, "out of range"),
    ],
)
def test_takes_that_are_refused(tmp_path, fields, kind):
    write_take(tmp_path / "takes", "good", weights_of())
    write_take(tmp_path / "takes", "bad", **{"weights": weights_of()} | fields)
    report, corpus = result(tmp_path)
    assert report.reasons("refused") == {kind: 1}
    assert len(corpus.speech) == 1


def test_small_defects_are_mended_and_files_that_are_none_refused(tmp_path):
    takes = tmp_path / "takes"
    over = weights_of(mouth_oo_c=1.003)
    over[40, 3] = np.nan
    write_take(takes, "over", over)
    write_take(takes, "silent", weights_of(), sound_seconds=0)
    (takes / "pointer.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (takes / "empty.npz").write_bytes(b"")
    (takes / "text.npz").write_text("hello")
    report, corpus = result(tmp_path)
    assert report.notes() == {"values set to 0 or 1": 1, "frames with NaN bridged": 1, "no sound: motion alone": 1}
    assert report.reasons("refused") == {"Git LFS pointer": 1, "empty file": 1, "unreadable array": 1}
    assert (len(corpus.speech), len(corpus.performances)) == (1, 2)


def test_sounds_without_weights_are_counted(tmp_path):
    write_take(tmp_path / "takes", "a", weights_of())
    write_sound(tmp_path / "takes" / "lost.wav", speech(SECONDS))
    report, _ = result(tmp_path)
    assert report.reasons("skipped") == {"sound without motion": 1}


def test_the_map_is_whole_and_even():
    assert len(NAMES) == 116
    for name in NAMES:
        if not MAP.factors[name]:
            assert len(MAP.why[name]) > 10, f"{name} is dropped without a reason"
        for ending, twin in (("_l", "_r"), ("_dl", "_dr"), ("_ul", "_ur")):
            other = name.removesuffix(ending) + twin
            if name.endswith(ending) and other in NAMES and "look" not in name:
                mirrored = {CHANNELS.index(mirrored_channel(CHANNELS[c])): f for c, f in MAP.factors[name].items()}
                assert MAP.factors[other] == mirrored
    looks = {name: [CHANNELS[c] for c in MAP.factors[name]] for name in NAMES if "lookLeft" in name}
    assert looks == {"eye_lookLeft_l": ["eyeLookOutLeft"], "eye_lookLeft_r": ["eyeLookInRight"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,jaw,jawOpens 1,", "'jawOpens 1' for 'jaw'; expected an ARKit channel, once, and a factor"),
        ("0,jaw,jawOpen,", "expected an ARKit channel, once, and a factor"),
        ("0,jaw,jawOpen nan,", "'jawOpen nan' for 'jaw'"),
        ("0,jaw,jawOpen 1 2,", "'jawOpen 1 2' for 'jaw'"),
        ("0,jaw,jawOpen 1 + jawOpen 0.5,", "'jawOpen 0.5' for 'jaw'; expected an ARKit channel, once"),
        ("x,jaw,jawOpen 1,", "'x,jaw,jawOpen 1,' in row 2; expected column, weight, arkit, why, the first a whole"),
        ("0,jaw", "'0,jaw' in row 2"),
        ("0,jaw,,opens, and closes", "quotes around text with a comma"),
        ("0,jaw,,", "drops 'jaw' without saying why"),
        ("0,,jawOpen 1,", "without a name"),
        ("0,jaw,jawOpen 1,\n1,jaw,jawOpen 1,", "'jaw' twice"),
    ],
)
def test_maps_that_are_refused(tmp_path, line, message):
    (tmp_path / "map.csv").write_text(f"column,weight,arkit,why\n{line}\n")
    with pytest.raises(UserError, match=message):
        read_rig_map(tmp_path / "map.csv")
    (tmp_path / "map.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="expected column, weight, arkit, why"):
        read_rig_map(tmp_path / "map.csv")
    (tmp_path / "map.csv").write_text("")
    with pytest.raises(UserError, match="has the columns none; expected column"):
        read_rig_map(tmp_path / "map.csv")
    with pytest.raises(UserError, match=r"Cannot read the map .*none\.csv"):
        read_rig_map(tmp_path / "none.csv")


def test_a_map_of_ones_own(tmp_path):
    (tmp_path / "map.csv").write_text(
        "column,weight,arkit,why\n0,open,jawOpen 0.5 + mouthFunnel 0.2,\n1,blink,,not needed\n"
    )
    weights = np.full((90, 2), 0.6, np.float32)
    write_take(tmp_path / "takes", "one", weights, names=np.array(["open", "blink"]))
    report, corpus = result(tmp_path, f"map={tmp_path / 'map.csv'}")
    assert report.notes() == {"moving weights dropped by the map": 1}
    assert np.allclose(of(corpus, "jawOpen"), 0.3, atol=1e-6)
    assert np.allclose(of(corpus, "mouthFunnel"), 0.12, atol=1e-6)
    assert "map.csv" in corpus.manifest["provenance"]


def test_names_of_takes_choose_their_splits(tmp_path):
    for name in ("1114_2_01", "1114_2_02", "1114_2_03"):
        write_take(tmp_path / "takes", name, weights_of())
    _, corpus = result(tmp_path, "val=1114_2_02", "test=*_03")  # YAML reads 1114_2_02 as a number
    assert [row.split for row in corpus.speech] == ["train", "val", "test"]
    with pytest.raises(UserError, match=r"val=1114_2_05 fits none of the 3 takes \(1114_2_01, 1114_2_02, 1114_2_03\)"):
        result(tmp_path, "val=1114_2_01,1114_2_05")
    with pytest.raises(UserError, match=r"The take 1114_2_02 fits both val=\*_02 and test=1114\*"):
        result(tmp_path, "val=*_02", "test=1114*")


def test_folders_and_settings_that_make_no_sense(tmp_path):
    (tmp_path / "takes").mkdir()
    with pytest.raises(UserError, match="holds no rig weights"):
        result(tmp_path)
    write_take(tmp_path / "takes", "one", weights_of())
    with pytest.raises(UserError, match="frame_rate is 0"):
        result(tmp_path, "frame_rate=0")
    with pytest.raises(UserError, match=r"clip_seconds is 0\.5"):
        result(tmp_path, "clip_seconds=0.5")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="shared/data is not here")
def test_the_real_captures(tmp_path):
    report = import_corpus("facegood", SHARED, tmp_path / "corpus", words=["val=1114_2_04"])
    corpus = Corpus.open(tmp_path / "corpus")
    assert report.reasons("refused") == {}
    assert report.notes() == {"moving weights dropped by the map": 3, "sound cut to its motion": 2}
    assert {row.split for row in corpus.speech if "/1114_2_04" in row.speech_id} == {"val"}
    assert {row.split for row in corpus.speech if "/1114_2_04" not in row.speech_id} == {"train"}
    seconds = sum(row.num_samples for row in corpus.speech) / 16000
    assert seconds == pytest.approx(446.2, abs=0.5)
    jaw = np.concatenate([of(corpus, "jawOpen", place) for place in range(len(corpus.performances))])
    level = []
    for place, row in enumerate(corpus.performances):
        samples = np.resize(corpus.waveform(place), row.frames * 640).reshape(row.frames, 640)
        level.append(np.log10((samples**2).mean(1) + 1e-6))
    level = np.concatenate(level)
    assert np.corrcoef(jaw[1:], level[:-1])[0, 1] > 0.7  # facts: 0.76 to 0.79 at a lag of one frame
