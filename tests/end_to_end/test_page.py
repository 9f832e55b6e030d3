"""The demo's page in a real browser: it draws, seeks, plays and takes keys, offline, on a desk and on a phone."""

import base64
import shutil

import numpy as np
import pytest
from smallest_chain import page_data

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
DESK, PHONE = (1280, 900), (390, 844)


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


@pytest.fixture
def view(browser, chain):
    """Open the page offline at a size; after the test nothing must have been complained about or fetched."""
    troubles, contexts = [], []

    def open_page(size, **options):
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, offline=True, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url) if request.url.startswith("http") else None)
        page.goto(chain.page.as_uri())
        page.wait_for_function("window.viewer !== undefined")
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
    """Pixels (row, column, 3) of the canvas."""
    height, width, text = page.evaluate(PIXELS)
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
    return pixels[..., :3].astype(np.float32)


def seek(page, frame):
    page.evaluate(f"viewer.seek({frame})")
    page.wait_for_timeout(100)


def test_four_heads_are_drawn_and_differ(view):
    page = view(DESK)
    seek(page, 12)
    quarters = np.array_split(picture(page), 4, axis=1)
    assert page.locator("#labels span").all_text_contents() == ["take 1", "take 2", "take 3", "take 4"]
    for quarter in quarters:
        face = quarter[quarter.shape[0] // 4 : -quarter.shape[0] // 4]
        assert face.std() > 10
        skin = (face[..., 0] > face[..., 2] + 10).mean()
        assert skin > 0.3
    width = min(quarter.shape[1] for quarter in quarters)
    heads = [quarter[:, :width] for quarter in quarters]
    assert all(np.abs(heads[0] - head).max() > 20 for head in heads[1:])


def test_seeking_changes_the_picture_and_comes_back(view, chain):
    page = view(DESK)
    pictures = []
    for frame in (4, 12, 4):
        seek(page, frame)
        pictures.append(picture(page))
        assert page.evaluate("viewer.frame()") == frame
        assert page.locator("#clock").text_content() == f"{frame / 25:.2f} s"
    assert np.abs(pictures[0] - pictures[1]).max() > 20
    np.testing.assert_array_equal(pictures[0], pictures[2])
    frames = page_data(chain.page)["scenes"][0]["frames"]
    seek(page, 10_000)
    assert page.evaluate("viewer.frame()") == frames - 1
    seek(page, -5)
    assert page.evaluate("viewer.frame()") == 0


def test_playing_moves_on_and_loops(view):
    page = view(DESK)
    assert page.locator("#play").text_content() == "Play"
    page.locator("#play").click()
    page.wait_for_function("viewer.frame() > 5")
    assert page.evaluate("viewer.playing()")
    assert page.locator("#play").text_content() == "Pause"
    page.wait_for_function("viewer.frame() > 20")
    page.wait_for_function("viewer.frame() < 10")
    assert page.evaluate("viewer.playing()")
    page.locator("#play").click()
    page.wait_for_function("!viewer.playing()")
    stopped = page.evaluate("viewer.frame()")
    page.wait_for_timeout(300)
    assert page.evaluate("viewer.frame()") == stopped


def test_keys(view, chain):
    page = view(DESK)
    page.keyboard.press("Space")
    page.wait_for_function("viewer.playing() && viewer.frame() > 2")
    page.keyboard.press("Space")
    page.wait_for_function("!viewer.playing()")
    seek(page, 5)
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.frame()") == 6
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("viewer.frame()") == 4
    for number, scene in enumerate(page_data(chain.page)["scenes"], start=1):
        page.keyboard.press(str(number))
        assert page.locator("#scenes button[aria-selected=true]").all_text_contents() == [scene["title"]]
        assert page.locator("#labels span").all_text_contents() == [take["label"] for take in scene["takes"]]
        assert page.locator("#note").text_content() == scene["note"]
        assert page.locator("#plots figure").count() == 6
        assert page.evaluate("viewer.frame()") == 0


def test_keys_after_clicking_a_scene(view):
    page = view(DESK)
    page.locator("#scenes button").nth(1).click()  # the button keeps the focus
    page.keyboard.press("3")
    assert page.locator("#scenes button[aria-selected=true]").text_content() == "Beside EmoTalk and the truth"


def test_channel_and_wireframe(view):
    page = view(DESK)
    page.locator("#channel").select_option("jawOpen")
    assert page.locator("#plots figcaption").all_text_contents()[1].startswith("jawOpen")
    seek(page, 8)
    before = picture(page)
    page.locator("#wireframe").check()
    assert np.abs(picture(page) - before).mean() > 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(view, tmp_path, scheme):
    page = view(PHONE, is_mobile=True, has_touch=True, device_scale_factor=2, color_scheme=scheme)
    seek(page, 12)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    assert page.evaluate("innerWidth") == PHONE[0]  # it was not zoomed out to fit something wider
    pixels = picture(page)
    assert pixels.std() > 10
    assert pixels.shape[0] > pixels.shape[1]  # the heads stand in rows below each other
    places = page.locator("#labels span").evaluate_all("labels => labels.map(label => label.style.left)")
    assert len(set(places)) == 2  # two in a row
    for name in ("play", "scrub", "speed", "channel"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        assert box["height"] >= 24 or name == "scrub"
    page.locator("#play").tap()
    page.wait_for_function("viewer.playing() && viewer.frame() > 2")
