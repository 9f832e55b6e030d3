"""The page's file; what it does in a browser is tested end to end."""

import base64
import html.parser
import json

import numpy as np
import pytest
import torch
from bent_rig import BentRig

from deeptalk.errors import UserError
from deeptalk.export.page import Page, PageScene, PageTake, write_page
from deeptalk.face import load_rig
from deeptalk.face.idle import BLINK_AND_GAZE_COLUMNS, idle_life
from deeptalk.take import Take


class Scripts(html.parser.HTMLParser):
    """Collects what a browser takes for the content of each script element."""

    def __init__(self):
        super().__init__()
        self.contents, self.inside = [], False

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "script"
        if self.inside:
            self.contents.append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.contents[-1] += data


def test_a_title_cannot_break_the_page(tmp_path):
    title = "<!--<script></script>&.wav"
    motion = np.zeros((4, 52), np.float32)
    scene = PageScene(title, np.zeros(2560, np.float32), 16000, 25.0, [(title, motion)], title)
    write_page(tmp_path / "page.html", Page(title, title, [scene]), load_rig("arkit"))
    parser = Scripts()
    parser.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    _, data, _ = parser.contents
    assert "<" not in data  # a browser, unlike this parser, reads `<!--<script` in a script as the start of another
    (read,) = json.loads(data)["scenes"]
    assert [read["title"], read["note"], read["takes"][0]["label"]] == [title] * 3


def read_page(path):
    parser = Scripts()
    parser.feed(path.read_text(encoding="utf-8"))
    return json.loads(parser.contents[1])


def steps(packed, width):
    values = np.frombuffer(base64.b64decode(packed["steps"]), "<i2") * packed["scale"]
    return values.reshape(-1, width)


def scene(*takes, frames=50):
    samples = (0.1 * np.random.default_rng(0).normal(size=frames * 640)).astype(np.float32)
    return PageScene("One", samples, 16000, 25.0, takes)


def test_motion_is_kept_and_idle_life_lies_beside_it(tmp_path):
    motion = np.random.default_rng(1).random((50, 52), dtype=np.float32)
    motion[:, BLINK_AND_GAZE_COLUMNS] = 0.0
    write_page(tmp_path / "page.html", Page("P", "", [scene(("a", motion), ("b", motion))]), load_rig("arkit"))
    first, second = read_page(tmp_path / "page.html")["scenes"][0]["takes"]
    np.testing.assert_allclose(steps(first["motion"], 52), motion, atol=2e-5)
    assert first["weights"] is None
    for take in (first, second):
        assert take["life"]["columns"] == BLINK_AND_GAZE_COLUMNS
        assert np.frombuffer(base64.b64decode(take["life"]["turn"]), "<f4").size == 150
    blinks = [steps(take["life"]["motion"], 10) for take in (first, second)]
    assert not np.array_equal(*blinks)  # faces beside each other do not blink as one
    opening = np.frombuffer(base64.b64decode(first["mouth_opening_mm"]), "<f4")
    ours = load_rig("arkit").mouth_opening(torch.from_numpy(motion)).numpy()
    np.testing.assert_allclose(opening, 1000 * ours, atol=1e-4)


def test_a_take_keeps_its_own_blinks_and_head(tmp_path):
    life = idle_life(50, 25.0, 9)
    own = PageTake("a", life.motion, life.head_rotation_radians)
    write_page(tmp_path / "page.html", Page("P", "", [scene(own)]), load_rig("arkit"))
    (take,) = read_page(tmp_path / "page.html")["scenes"][0]["takes"]
    np.testing.assert_allclose(steps(take["life"]["motion"], 10), life.motion[:, BLINK_AND_GAZE_COLUMNS], atol=2e-5)
    turn = np.frombuffer(base64.b64decode(take["life"]["turn"]), "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(turn, life.head_rotation_radians)
    assert not steps(take["motion"], 52)[:, BLINK_AND_GAZE_COLUMNS].any()


def test_a_rig_that_is_not_linear_plays_by_fitted_targets(tmp_path):
    rig = BentRig()
    motions = [np.random.default_rng(seed).random((20, 2), dtype=np.float32) for seed in (1, 2)]
    scenes = [scene(("a", motions[0]), frames=20), scene(("b", motions[1]), frames=20)]
    write_page(tmp_path / "page.html", Page("P", "", scenes), rig)
    data = read_page(tmp_path / "page.html")
    count, own = len(data["head"]["targets"]), len(rig.neutral)
    neutral = np.frombuffer(base64.b64decode(data["head"]["neutral"]), "<f4").reshape(-1, 3)
    for one, motion in zip(data["scenes"], motions):
        (take,) = one["takes"]
        weights = steps(take["weights"], count)
        vertices = np.repeat(neutral[None].astype(float), 20, axis=0)
        for weight, target in zip(weights.T, data["head"]["targets"]):
            index = np.frombuffer(base64.b64decode(target["index"]), "<u2")
            vertices[:, index] += weight[:, None, None] * steps(target, 3)
        ours = rig.vertices(torch.from_numpy(motion)).numpy()
        assert 1000 * np.linalg.norm(vertices[:, :own] - ours, axis=2).max() < 0.1
        np.testing.assert_allclose(steps(take["motion"], 2), motion, atol=2e-5)


def test_one_take_is_a_page_with_or_without_sound(tmp_path):
    motion = np.zeros((30, 52), np.float32)
    Take(motion, recipe={"seed": 3}).save(tmp_path / "silent.html")
    (only,) = read_page(tmp_path / "silent.html")["scenes"]
    assert only["frames"] == 30
    assert "seed: 3" in only["note"]
    assert (tmp_path / "silent.html").stat().st_size < 2.5e6


def test_errors(tmp_path):
    def refuse(message, *takes):
        with pytest.raises(UserError, match=message):
            write_page(tmp_path / "page.html", Page("P", "", [scene(*takes)] if takes else []), load_rig("arkit"))

    motion = np.zeros((50, 52), np.float32)
    refuse("at least one piece of speech")
    refuse(r"have \[49, 50\] frames; expected one length", ("a", motion), ("b", motion[:49]))
    refuse("'a' is not a finite motion of 52 channels", ("a", motion[:, :51]))
    refuse("'a' is not a finite motion", ("a", np.full_like(motion, np.nan)))
    refuse(r"have \[0\] frames", ("a", motion[:0]))
    assert list(tmp_path.iterdir()) == []
