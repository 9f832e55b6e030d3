"""The viewer in a real browser, offline, on a desk and on a phone: it draws, seeks, plays, takes keys."""

import base64
import re
import shutil

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from smallest_chain import page_data

from deeptalk.export.page import ASSETS, Page, PageScene, PageTable, write_page
from deeptalk.face import CHANNELS, load_rig

pytestmark = [pytest.mark.slow, pytest.mark.browser]
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",  # WebGL without a graphics card
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
DESK, PHONE = (1000, 700), (390, 844)
FRAMES = 40


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, in the extra dev")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium on PATH")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """Three pieces of speech, with four takes, two, and one that talk and smile differently."""
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.normal(size=FRAMES * 640)).astype(np.float32)
    talk = gaussian_filter1d(rng.random(FRAMES), 1.5)

    def motion(emotion, strength):
        values = np.zeros((FRAMES, 52), np.float32)
        values[:, CHANNELS.index("jawOpen")] = 0.8 * talk
        for side in ("Left", "Right"):
            values[:, CHANNELS.index(emotion + side)] = strength
        return values

    four = [("mouthSmile", 0.7), ("browDown", 0.9), ("mouthFrown", 0.8), ("eyeWide", 0.9)]
    takes = [(f"take {number + 1}", motion(*one)) for number, one in enumerate(four)]
    scenes = [
        PageScene("Four", noise, 16000, 25.0, takes, "four takes"),
        PageScene("Two", noise, 16000, 25.0, takes[:2], "two takes"),
        PageScene("One", noise, 16000, 25.0, takes[:1], "one take"),
    ]
    path = tmp_path_factory.mktemp("viewer") / "Grüße und mehr.html"
    table = PageTable("Numbers", ["system", "error"], [["ours", "1.0"]], "a note")
    write_page(path, Page("Viewer", "Introduction.", scenes, [table]), load_rig("arkit"))
    return path


@pytest.fixture
def view(browser, page_file):
    """Open a page offline at a size; after the test nothing must have been complained about or fetched."""
    troubles, contexts = [], []

    def open_page(size, path=page_file, **options):
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.as_uri())
        page.wait_for_function("window.viewer !== undefined")
        page.wait_for_timeout(200)  # textures
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


PIXELS = """() => {
  const canvas = document.getElementById("canvas"), copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const bytes = context.getImageData(0, 0, copy.width, copy.height).data;
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return [copy.height, copy.width, btoa(text)];
}"""


def picture(page) -> np.ndarray:
    """Pixels (row, column, 4) of the canvas; where nothing is drawn, alpha is 0."""
    height, width, text = page.evaluate(PIXELS)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4).astype(np.float32)


def seek(page, frame):
    page.evaluate(f"viewer.seek({frame})")
    page.wait_for_timeout(50)


def labels(page):
    return page.locator("#labels span").all_text_contents()


def test_the_demo_s_page_is_this_viewer(view, chain):
    page = view(DESK, chain.page)
    for number, scene in enumerate(page_data(chain.page)["scenes"], start=1):
        page.keyboard.press(str(number))
        assert page.locator("#scenes button[aria-pressed=true]").all_text_contents() == [scene["title"]]
        assert labels(page) == [take["label"] for take in scene["takes"]]
        assert page.locator("#note").text_content() == scene["note"]
        assert page.evaluate("viewer.frame()") == 0
    seek(page, 8)
    assert (picture(page)[..., 3] > 0).mean() > 0.2


def test_heads_are_drawn_whole_and_differ(view):
    page = view(DESK)
    assert not page.locator("#still").is_visible()
    page.locator("#life").uncheck()
    seek(page, 12)
    quarters = np.array_split(picture(page), 4, axis=1)
    assert labels(page) == ["take 1", "take 2", "take 3", "take 4"]
    for quarter in quarters:
        drawn = quarter[..., 3] > 128
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        assert rows[0] > 0.01 * len(drawn)  # the crown is in the picture, and so are the ears
        assert columns[0] > 0.02 * drawn.shape[1]
        assert columns[-1] < 0.98 * drawn.shape[1]
        face = quarter[drawn]
        assert (face[:, 0] > face[:, 2] + 10).mean() > 0.7  # skin
        assert ((face[:, 2] > face[:, 0] + 8) & (face[:, 2] > 60)).sum() > 20  # irises are blue
        assert (face[:, :3].min(axis=1) > 175).sum() > 20  # the white of the eyes
    width = min(quarter.shape[1] for quarter in quarters)
    heads = [quarter[:, :width] for quarter in quarters]
    assert all(np.abs(heads[0] - head).max() > 60 for head in heads[1:])


def test_seeking_changes_the_picture_and_comes_back(view):
    page = view(DESK)
    pictures = []
    for frame in (4, 12, 4):
        seek(page, frame)
        pictures.append(picture(page))
        assert page.evaluate("viewer.frame()") == frame
        assert page.locator("#clock").text_content() == f"{frame / 25:.2f} / 1.60 s"
    assert np.abs(pictures[0] - pictures[1]).max() > 60
    np.testing.assert_array_equal(pictures[0], pictures[2])
    seek(page, 10_000)
    assert page.evaluate("viewer.frame()") == FRAMES - 1
    seek(page, -5)
    assert page.evaluate("viewer.frame()") == 0
    page.locator("#scrub").fill("17")
    assert page.evaluate("viewer.frame()") == 17
    assert page.locator("#scrub").get_attribute("aria-valuetext") == "0.68 seconds, frame 18 of 40"
    assert page.evaluate("document.getElementById('audio').currentTime") == pytest.approx(17.5 / 25, abs=0.001)


def test_playing_moves_on_and_loops(view):
    page = view(DESK)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("viewer.frame() > 5")
    assert page.evaluate("viewer.playing()")
    assert page.locator("#play").text_content() == "Pause"
    page.wait_for_function("viewer.frame() > 25")
    page.wait_for_function("viewer.frame() < 15")
    assert page.evaluate("viewer.playing()")
    ahead = page.evaluate("viewer.frame() - (document.getElementById('audio').currentTime * 25 - 0.5)")
    assert abs(ahead) < 8  # picture and sound; this machine draws few frames a second
    page.locator("#play").click()
    page.wait_for_function("!viewer.playing()")
    stopped = page.evaluate("viewer.frame()")
    page.wait_for_timeout(300)
    assert page.evaluate("viewer.frame()") == stopped
    page.locator("#loop").uncheck()
    seek(page, 30)
    page.locator("#play").click()
    page.wait_for_function("document.getElementById('audio').ended")
    assert not page.evaluate("viewer.playing()")
    page.locator("#play").click()  # from the end it starts again
    page.wait_for_function("viewer.playing() && viewer.frame() < 30")


def test_keys(view):
    page = view(DESK)
    page.keyboard.press("3")  # one head is drawn sooner than four
    page.keyboard.press("Space")
    page.wait_for_function("viewer.playing() && viewer.frame() > 2")
    page.keyboard.press("k")
    page.wait_for_function("!viewer.playing()")
    seek(page, 5)
    for key, frame in (("ArrowRight", 6), ("ArrowLeft", 5), ("Shift+ArrowRight", 15), ("Shift+ArrowLeft", 5)):
        page.keyboard.press(key)
        assert page.evaluate("viewer.frame()") == frame
    page.keyboard.press("End")
    assert page.evaluate("viewer.frame()") == FRAMES - 1
    page.keyboard.press("Home")
    assert page.evaluate("viewer.frame()") == 0
    for key, box in (("l", "loop"), ("m", "mute"), ("w", "wireframe"), ("b", "life")):
        before = page.locator(f"#{box}").is_checked()
        page.keyboard.press(key)
        assert page.locator(f"#{box}").is_checked() != before
    assert page.evaluate("document.getElementById('audio').muted")
    page.keyboard.press(",")
    page.keyboard.press(",")
    assert page.evaluate("document.getElementById('audio').playbackRate") == 0.25
    page.keyboard.press(".")
    assert page.locator("#speed").input_value() == "0.5"
    page.keyboard.press("]")
    assert page.evaluate("viewer.turn()") > 0.1
    page.keyboard.press("f")
    assert page.evaluate("viewer.turn()") == 0
    for number, count in ((2, 2), (1, 4), (3, 1)):
        page.keyboard.press(str(number))
        assert len(labels(page)) == count
        assert page.evaluate("document.getElementById('audio').playbackRate") == 0.5  # a new sound keeps the speed


def test_keys_on_the_page_are_all_there_are(view):
    page = view(DESK)
    page.locator("#keys summary").click()
    told = set(page.locator("#keys kbd").all_text_contents())
    script = (ASSETS / "viewer.js").read_text(encoding="utf-8")
    names = re.search(r"const KEYS = \{(.*?)\};", script, re.DOTALL).group(1)
    used = set(re.findall(r'(?:^|[\s,])"?([^\s":,]|Arrow\w+|Home|End|,|\.)"?:', names))
    spelled = {" ": "Space", "ArrowLeft": "←", "ArrowRight": "→"}
    assert {spelled.get(key, key.upper() if key.isalpha() and len(key) == 1 else key) for key in used} <= told
    assert {
        "Space",
        "K",
        "←",
        "→",
        "Shift",
        "Home",
        "End",
        ",",
        ".",
        "L",
        "M",
        "B",
        "W",
        "[",
        "]",
        "F",
        "1",
        "9",
    } == told


def test_keys_after_clicking_a_button_and_in_a_select(view):
    page = view(DESK)
    page.locator("#scenes button").nth(1).click()  # the button keeps the focus
    page.keyboard.press("3")
    assert page.locator("#scenes button[aria-pressed=true]").text_content() == "One"
    page.locator("#channel").focus()
    page.keyboard.press("w")  # a select finds options by letters
    assert not page.locator("#wireframe").is_checked()
    page.locator("#scrub").focus()
    page.keyboard.press("ArrowRight")  # the slider's own key, once
    assert page.evaluate("viewer.frame()") == 1


def test_idle_life_can_be_switched(view):
    page = view(DESK)
    page.locator("#channel").select_option("eyeBlinkLeft")
    figure = page.locator("#plots figure").nth(1)
    assert figure.locator("figcaption span").first.text_content() != "eyeBlinkLeft, 0.00 to 0.00"
    page.locator("#life").uncheck()
    assert figure.locator("figcaption span").first.text_content() == "eyeBlinkLeft, 0.00 to 0.00"
    seek(page, 20)
    without = picture(page)
    page.locator("#life").check()
    assert np.abs(picture(page) - without).max() > 60


def test_takes_can_be_hidden_but_for_one(view):
    page = view(DESK)
    boxes = page.locator("#legend input")
    for number in (0, 1, 2):
        boxes.nth(number).uncheck()
    assert labels(page) == ["take 4"]
    assert page.locator("#plots figure").first.locator("polyline").count() == 1
    boxes.nth(3).click()
    assert boxes.nth(3).is_checked()
    assert labels(page) == ["take 4"]
    boxes.nth(0).check()
    assert labels(page) == ["take 1", "take 4"]


def test_curves_are_chosen_removed_and_pressed(view):
    page = view(DESK)
    names = page.locator("#plots figcaption > span:first-child")
    assert "browDownLeft" in " ".join(names.all_text_contents())
    page.locator("#channel").select_option("jawOpen")
    assert names.nth(1).text_content().startswith("jawOpen, 0.00 to 0.")
    count = page.locator("#plots figure").count()
    page.get_by_role("button", name="Remove the plot of jawOpen").click()
    assert page.locator("#plots figure").count() == count - 1
    seek(page, 3)
    box = page.locator("#plots svg").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 40)
    assert page.evaluate("viewer.frame()") == pytest.approx(0.5 * (FRAMES - 1), abs=0.5)
    readings = page.locator("#plots figure").first.locator(".readings span").all_text_contents()
    assert len(readings) == 4
    assert all(re.fullmatch(r"-?\d+\.\d\d", text) for text in readings)


def test_heads_turn_by_dragging_and_show_their_wires(view):
    page = view(DESK)
    seek(page, 8)
    before = picture(page)
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 320, box["y"] + 200, steps=4)
    page.mouse.up()
    assert page.evaluate("viewer.turn()") == pytest.approx(0.8, abs=0.1)
    assert np.abs(picture(page) - before).mean() > 5
    page.get_by_role("button", name="Front view").click()
    np.testing.assert_array_equal(picture(page), before)
    page.locator("#wireframe").check()
    assert np.abs(picture(page) - before).mean() > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(view, scheme):
    page = view(PHONE, is_mobile=True, has_touch=True, device_scale_factor=2, color_scheme=scheme)
    seek(page, 12)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    assert page.evaluate("innerWidth") == PHONE[0]  # it was not zoomed out to fit something wider
    pixels = picture(page)
    assert pixels.shape[0] > pixels.shape[1]  # the heads stand in rows below each other
    places = page.locator("#labels span").evaluate_all("labels => labels.map(label => label.style.left)")
    assert len(set(places)) == 2  # two in a row
    for name in ("play", "scrub", "speed", "channel", "life"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
    assert page.locator("#play").bounding_box()["height"] >= 44
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.locator("#play").bounding_box()["y"] < PHONE[1]  # in sight wherever the page is
    page.locator("#play").tap()
    page.wait_for_function("viewer.playing() && viewer.frame() > 2")


def test_reduced_motion_is_respected(view):
    page = view(DESK, reduced_motion="reduce")
    assert page.locator("#still").is_visible()
    assert not page.locator("#life").is_checked()
    assert not page.evaluate("viewer.playing()")
    page.locator("#play").click()
    for _ in range(4):
        page.wait_for_timeout(150)
        assert page.evaluate("viewer.frame()") % 5 == 0


def test_everything_has_a_name_and_is_reached_in_order(view):
    page = view(DESK)
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, canvas")].filter((one) =>
      !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.[0]?.textContent.trim()))
      .map((one) => one.outerHTML)""")
    assert nameless == []
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        if reached[-1] == "channel":
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    controls = ["play", "back", "scrub", "forward", "speed", "loop", "mute", "life", "wireframe", "front", "Keyboard"]
    assert reached[:3] == ["Four", "Two", "One"]
    assert reached[3 : 3 + len(controls)] == controls
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1


def luminance(colour):
    value = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(first, second):
    """Contrast ratio of WCAG 2."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(view, scheme):
    page = view(DESK, color_scheme=scheme)
    names = ["ink", "soft", "line", "paper", "stage", "accent", *(f"take-{number}" for number in range(8))]
    read = (
        "names => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim())"
    )
    colour = dict(zip(names, page.evaluate(read, names)))
    assert all(re.fullmatch("#[0-9a-f]{6}", value) for value in colour.values())
    for name in ("ink", "soft", "accent", *(f"take-{number}" for number in range(8))):
        assert contrast(colour[name], colour["paper"]) >= 4.5, name  # text
    for name in ("ink", *(f"take-{number}" for number in range(8))):
        assert contrast(colour[name], colour["stage"]) >= 3.0, name  # lines
    assert contrast(colour["line"], colour["paper"]) >= 3.0  # borders of controls
