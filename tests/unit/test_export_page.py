"""The page's file; what it does in a browser is tested end to end."""

import html.parser
import json

import numpy as np

from deeptalk.export.page import Page, PageScene, write_page
from deeptalk.face import load_rig


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
    three, data, viewer = parser.contents
    assert "<" not in data  # a browser, unlike this parser, reads `<!--<script` in a script as the start of another
    (read,) = json.loads(data)["scenes"]
    assert [read["title"], read["note"], read["takes"][0]["label"]] == [title] * 3
