import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import write_corpus
from importer_samples import JAW, jaw_motion, speech

from deeptalk.corpus import Corpus, CorpusConfig, CorpusWriter, build_corpus
from deeptalk.corpus.importers import REPORT
from deeptalk.corpus.inspect import IMPORT_REPORT, inspect_corpus
from deeptalk.corpus.inspect_entropy import conditional_entropy_nats, entropy_nats
from deeptalk.corpus.inspect_motion import ChannelStatistics, Closures
from deeptalk.corpus.inspect_sound import LagCurve, frame_levels, is_clipped, lag_curve, lags_as_dict
from deeptalk.corpus.performer import AffectCode, Performer, Phone
from deeptalk.errors import UserError
from deeptalk.face import CHANNELS, load_rig


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Corpus:
    """24 pieces of speech of 3 speakers, 1 of speech alone, 1 motion alone."""
    return write_corpus(tmp_path_factory.mktemp("inspect") / "small")


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """Draws no faces except for tests that ask for `drawn`."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("deeptalk.corpus.inspect.face_pictures", lambda corpus, faces: [])


@pytest.fixture
def drawn():
    """Faces are drawn."""
    pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def page(small, tmp_path_factory):
    """The page of the small corpus with its faces, and what it shows."""
    pytest.importorskip("PIL")
    path = tmp_path_factory.mktemp("page") / "page.html"
    return path, inspect_corpus(small, path)


def writer(folder: Path, **header) -> CorpusWriter:
    return CorpusWriter(folder, **{"provenance": "made for a test", "license": "CC0-1.0"} | header)


def texts(inspection, level: str) -> str:
    return "\n".join(one["text"] for one in inspection.findings if one["level"] == level)


def test_counts_and_balance_are_those_of_the_tables(small):
    values = inspect_corpus(small).values
    counts = values["counts"]
    assert (counts["speech"], counts["performances"]) == (len(small.speech), len(small.performances))
    assert counts["speech_hours"] == pytest.approx(sum(row.num_samples for row in small.speech) / 16000 / 3600)
    assert counts["motion_hours"] == pytest.approx(sum(row.frames for row in small.performances) / 25 / 3600)
    assert (counts["speech_alone"], counts["motion_alone"]) == (1, 1)
    assert (counts["speakers"], counts["sentences"]) == (3, 4)
    assert counts["with_phones"] == len(small.speech) - 1
    assert counts["splits"]["val"] == pytest.approx(
        {
            "speech": 4,
            "speech_minutes": small.manifest["splits"]["val"]["speech_seconds"] / 60,
            "performances": 4,
            "motion_minutes": small.manifest["splits"]["val"]["performance_seconds"] / 60,
            "speakers": 1,
            "sentences": 2,
        },
        rel=1e-3,
    )
    balance = values["balance"]
    assert balance["label_by_split"]["happy"] == {"train": 4, "val": 2}
    assert balance["label_by_split"]["unknown"] == {"train": 1, "val": 0}
    assert balance["acted_by_label"]["calm"] == {"neutral": 4, "happy": 0, "angry": 0}  # the last take of each
    assert balance["speakers"]["ann"]["clips"] == 7
    assert values["intensity"]["acted"]["happy"]["clips"] == 10
    assert json.loads(json.dumps(values)) == values


def test_findings_say_what_is_odd(small):
    inspection = inspect_corpus(small)
    assert "1 piece of speech has no motion." in texts(inspection, "note")
    assert "5 of 8 emotions are absent" in texts(inspection, "note")
    assert "At the limit for more than 5% of the frames: eyeBlinkLeft (" in texts(inspection, "note")
    assert "No sentence is in two splits." in texts(inspection, "good")
    assert "small: 17 pieces of speech" in inspection.text()


def test_overlapping_splits_are_a_problem(tmp_path):
    with writer(tmp_path / "corpus") as out:
        for number, split in enumerate(("train", "val")):
            out.add_speech(f"clip{number}", speech(1.0), speaker=f"s{number}", sentence="same", split=split)
    assert "Some sentences are in several splits" in texts(inspect_corpus(tmp_path / "corpus"), "problem")


@pytest.mark.parametrize("late", [0, 4, -3])
def test_lag_of_clips_is_found_with_its_sign(tmp_path, late):
    with writer(tmp_path / "corpus") as out:
        for number in range(6):
            shift = late if number < 5 else late + 7
            jaw = np.roll(jaw_motion(4.0, 25.0) * syllables(4.0, seed=number)[:, None], shift, axis=0)
            place = out.add_speech(
                f"clip{number}",
                speech_with(syllables(4.0, seed=number)),
                speaker="a",
                sentence=f"s{number}",
                split="train",
            )
            out.add_performance(f"motion{number}", jaw.astype(np.float32), speech=place)
    inspection = inspect_corpus(tmp_path / "corpus")
    lag = inspection.values["lag"]
    assert lag["median_frames"] == late
    assert [(one["clip"], one["lag_frames"]) for one in lag["outliers"]] == [("clip5", late + 7)]
    assert ("shifted against each other" in texts(inspection, "problem")) == (abs(late) > 1)


def syllables(seconds: float, seed: int) -> np.ndarray:
    """Heights of the syllables (frame,) of a clip: no two clips have one rhythm."""
    heights = np.random.default_rng(seed).uniform(0.1, 1.0, round(seconds * 4) + 1)
    return np.repeat(heights, 7)[: round(seconds * 25)]


def speech_with(heights: np.ndarray) -> np.ndarray:
    samples = speech(len(heights) / 25)
    return samples * np.repeat(heights, 640)


def test_a_lag_of_rhythm_is_not_a_lag():
    twice = np.zeros(25)
    twice[[12, 24]] = 0.5, 0.55
    assert LagCurve("a", twice).lag() == 12
    assert LagCurve("a", twice).lag(near=0.0) == 0
    twice[12] = 0.4
    assert LagCurve("a", twice).lag(near=0.0) == 12


def test_what_hardly_moves_has_no_lag():
    level = frame_levels(speech(4.0), 100)
    assert lag_curve("still", np.zeros(100), level) is None
    assert lag_curve("short", np.arange(20.0), level[:20]) is None
    assert lag_curve("silent", np.sin(np.arange(100.0)), frame_levels(np.zeros(64000), 100)) is None
    assert lags_as_dict([], 3)["still"] == 3
    assert lags_as_dict([], 0) == {}


def test_levels_and_clipping():
    tone = 0.5 * np.sqrt(2) * np.sin(2 * np.pi * 400 * np.arange(16000) / 16000)
    assert frame_levels(tone, 25) == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert frame_levels(np.concatenate([tone, np.zeros(16000)]), 50)[-1] == pytest.approx(
        20 * np.log10(0.5) - 40, abs=1e-3
    )
    quieter = np.concatenate([tone, 0.1 * tone])  # frames of 533 and 534 samples
    assert frame_levels(quieter, 60, 30.0) == pytest.approx(20 * np.log10(np.repeat([0.5, 0.05], 30)), abs=0.1)
    loud = (np.clip(2 * tone, -1, 32767 / 32768)).astype(np.float32)
    assert is_clipped(loud)
    assert not is_clipped(tone)
    assert not is_clipped(np.array([0.1, 1.0, 0.1]))  # a peak of one sample


def test_closures_are_measured_at_their_phones(small):
    rig = load_rig("arkit")
    motion = np.zeros((50, 52), np.float32)
    motion[:, JAW] = 0.3
    motion[10, JAW] = 0.0  # closed at 0.42 s
    motion[30, CHANNELS.index("mouthClose")] = 0.2  # the jaw stays open: lips part by 0.1 x 33 mm
    phones = (Phone("B", 0.38, 0.46), Phone("M", 1.18, 1.26), Phone("AA", 1.26, 1.6), Phone("P", 1.6, 1.7))
    closures = Closures(small)
    closures.add("take", motion, phones)
    found = closures.as_dict()
    assert found["count"] == 3
    assert found["closed_share"] == pytest.approx(1 / 3)
    assert found["by_phone"] == {"P": 0.0, "B": 1.0, "M": 0.0}
    gap = dict(zip("BMP", (gap for gap, _, _ in closures.gaps)))
    expected = 1000 * (rig.lip_gap_neutral + motion @ rig.lip_gap_deltas).max(axis=1)
    assert gap["B"] == pytest.approx(expected[10], abs=1e-4)
    assert gap["M"] == pytest.approx(expected[30], abs=1e-4)
    assert [one["phone"] for one in found["worst"]] == ["P", "M"]
    # beside the middle by one frame it still counts, by two not
    for offset, share in ((1, 1.0), (2, 0.0)):
        moved = Closures(small)
        moved.add("take", np.roll(motion, offset, axis=0), phones[:1])
        assert moved.as_dict()["closed_share"] == share


def test_lips_through_each_other_are_no_closure(small):
    motion = np.zeros((20, 52), np.float32)
    motion[:, CHANNELS.index("mouthShrugLower")] = 0.8
    closures = Closures(small)
    closures.add("take", motion, (Phone("B", 0.2, 0.4),))
    (gap, _, _), found = closures.gaps[0], closures.as_dict()
    assert gap < -2.0
    assert found["closed_share"] == 0.0


def test_channel_statistics_are_those_of_all_frames():
    rng = np.random.default_rng(0)
    parts = [rng.random((frames, 52)).astype(np.float32) for frames in (3, 40, 1)]
    for part in parts:
        part[:, 0] = 0.25
    statistics = ChannelStatistics(CHANNELS)
    for part in parts:
        statistics.add(part)
    whole, found = np.concatenate(parts), statistics.as_dict()
    for place, name in enumerate(CHANNELS):
        one = found[name]
        assert one["least"] == pytest.approx(whole[:, place].min())
        assert one["most"] == pytest.approx(whole[:, place].max())
        assert one["mean"] == pytest.approx(whole[:, place].mean(), rel=1e-5)
        assert one["std"] == pytest.approx(whole[:, place].std(), abs=1e-5)
        assert one["active"] == pytest.approx((whole[:, place] > 0.01).mean())
    assert [name for name in CHANNELS if found[name]["dead"]] == [CHANNELS[0]]


def test_values_out_of_range_are_a_problem(tmp_path):
    motion = jaw_motion(2.0, 25.0)
    motion[3, JAW] = 1.2
    with writer(tmp_path / "corpus") as out:
        out.add_performance("over", motion, split="train")
    inspection = inspect_corpus(tmp_path / "corpus")
    assert "jawOpen (0.000..1.200)" in texts(inspection, "problem")
    assert inspection.values["lag"] == {}
    assert inspection.values["closures"] == {}


def test_entropies():
    assert entropy_nats(list(range(8)) * 3) == pytest.approx(np.log(8))
    assert entropy_nats(["a"] * 5) == 0.0
    assert conditional_entropy_nats("xyxyzz", "aabbcc") == pytest.approx(2 / 3 * np.log(2))


def test_entropy_of_a_performer_corpus_is_that_of_its_tables(tmp_path):
    config = CorpusConfig(max_clips_per_split=2, train_performances=3, val_performances=1, reference_draws=1)
    corpus = build_corpus(tmp_path / "corpus", config)
    inspection = inspect_corpus(corpus)
    known = inspection.values["entropy"]["known"]
    performer = Performer.variant("standard")
    exact = [performer.conditional_entropy(AffectCode(**row.affect)) for row in corpus.speech]
    assert known["mean"] == pytest.approx(np.mean(exact))
    assert known["same_version"]
    assert inspection.values["closures"]["closed_share"] > 0.9
    assert inspection.values["closures"]["count"] > 5
    assert inspection.values["balance"]["readings"]
    given_speech = [row for row in corpus.performances if row.given == "speech"]
    assert inspection.values["entropy"]["drawn"]["performances"] == len(given_speech) < len(corpus.performances)
    assert set(inspection.values["balance"]["given"]) == {"speech", "speech+label+speaker"}


class _Tags(HTMLParser):
    """Opens and closes every element, and keeps what is loaded from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for key, value in attrs if key in ("src", "href") and not value.startswith("data:")]
        self.images += [dict(attrs)] if tag == "img" else []
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(path: Path) -> tuple[str, _Tags]:
    text, tags = path.read_text(encoding="utf-8"), _Tags()
    tags.feed(text)
    assert not tags.open
    return text, tags


def test_page_and_json(page, small, tmp_path):
    path, inspection = page
    text, tags = page_of(path)
    assert json.loads(path.with_suffix(".json").read_text()) == inspection.values
    assert tags.loaded == []
    assert len(tags.images) == len(inspection.faces) >= 8
    assert all(image["alt"] for image in tags.images)
    assert all(picture.startswith(b"\xff\xd8") for _, picture in inspection.faces)
    assert "{{" not in text
    for one in inspection.findings:
        assert one["text"].split("(")[0][:40].replace("/", "/") in text
    with pytest.raises(UserError, match=r"page\.pdf is not the name of a page"):
        inspect_corpus(tmp_path / "is asked for later", tmp_path / "page.pdf")
    manifest = (small.folder / "corpus.json").read_bytes()
    for name in ("corpus", "import"):
        with pytest.raises(UserError, match=rf"would be written as {name}\.json, the name of a file of corpora"):
            inspect_corpus(small, small.folder / f"{name}.html")
    assert (small.folder / "corpus.json").read_bytes() == manifest


def test_names_cannot_break_the_page(tmp_path):
    with writer(tmp_path / "corpus", provenance="<script>alert(1)</script> & co {{style}}") as out:
        place = out.add_speech("<b>", speech(2.0), speaker='"><i>', sentence="</table>", split="<img src=x>", emotion=2)
        out.add_performance("</td><script>", jaw_motion(2.0, 25.0), speech=place, emotion=2, reading="<u>")
    inspect_corpus(tmp_path / "corpus", tmp_path / "page.html")
    text, tags = page_of(tmp_path / "page.html")
    assert "<script" not in text
    assert tags.loaded == []


def test_without_the_extra_the_page_has_no_pictures_and_says_so(small, drawn, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    inspection = inspect_corpus(small, tmp_path / "page.html")
    text, tags = page_of(tmp_path / "page.html")
    assert not inspection.faces
    assert not tags.images
    assert "No faces: drawing needs the package" in text
    assert "pip install &#x27;deeptalk[pictures]&#x27;" in text


def test_speech_alone_and_motion_alone(drawn, tmp_path):
    with writer(tmp_path / "speech") as out:
        for number in range(3):
            out.add_speech(f"c{number}", speech(1.0 + number), speaker="a", sentence="s", split="train", emotion=number)
    alone = inspect_corpus(tmp_path / "speech", tmp_path / "speech.html")
    assert alone.values["counts"]["speech_alone"] == 3
    assert alone.values["channels"] == {}
    assert "the corpus has no motion" in alone.values["faces"]
    page_of(tmp_path / "speech.html")
    with writer(tmp_path / "motion") as out:
        out.add_performance("m", jaw_motion(3.0, 25.0), split="train", speaker="a")
    moved = inspect_corpus(tmp_path / "motion", tmp_path / "motion.html")
    assert moved.values["counts"]["speakers"] == 1
    assert moved.values["sound"] == {}
    assert moved.values["lengths"]["motion_alone"]["most"] == 3.0
    assert len(moved.faces) == 12  # of one take
    assert {face.label.split(", ")[0] for face, _ in moved.faces} == {"m"}
    page_of(tmp_path / "motion.html")


def test_the_report_of_an_import_is_shown(small, tmp_path):
    assert IMPORT_REPORT == REPORT
    shutil.copytree(small.folder, tmp_path / "corpus")
    report = {"kind": "livelink", "source": "takes", "imported": 3, "refused": {"NaN": 2}, "skipped": {}, "notes": {}}
    (tmp_path / "corpus" / REPORT).write_text(json.dumps(report | {"warnings": ["all odd"], "clips": []}))
    inspection = inspect_corpus(tmp_path / "corpus", tmp_path / "page.html")
    assert "Refused when it was imported: 2 recordings" in texts(inspection, "note")
    assert "all odd" in texts(inspection, "problem")
    assert re.search("Imported as <b>livelink</b> from takes: 3 clips", page_of(tmp_path / "page.html")[0])


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_page_fits_desk_and_phone(page, width):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no system Chromium")
    with sync_api.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium)
        tab = browser.new_page(viewport={"width": width, "height": 800})
        errors: list[str] = []
        tab.on("console", lambda message: errors.append(message.text))
        tab.goto(page[0].as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert not errors
        browser.close()
