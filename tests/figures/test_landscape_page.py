import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from perturb.figures import landscape_page
from tests.browser import faults
from tests.landscape.planes import make_plane

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def hills(x, y):
    return 0.02 + x * x + 0.3 * y * y + 0.5 * np.maximum(x, 0) ** 3 + 0.2 * x * y


class Loads(HTMLParser):
    """Collects what a page would load, and the text outside scripts."""

    def __init__(self):
        super().__init__()
        self.loads, self.text, self.quiet = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.loads += [v for k, v in attributes if k in ("src", "href", "data", "action")]
        self.quiet += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.quiet -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.quiet:
            self.text.append(data)


def parse(path):
    parser = Loads()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.loads, " ".join(" ".join(parser.text).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "landscape.html"
    landscape_page.write(make_plane(hills, 21), path)
    return path


def test_the_page_loads_nothing_and_offers_no_upload(page):
    loads, _ = parse(page)
    text = page.read_text(encoding="utf-8")
    assert loads == []
    assert "default-src 'none'" in text
    config = json.loads(re.search(r'\{[^{}]*"displaylogo"[^{}]*\}', text)[0])
    assert (config["displaylogo"], config["showSendToCloud"]) == (False, False)


def test_the_words_say_what_was_computed(page):
    _, text = parse(page)
    assert "Loss landscape: digits, cnn, sgd_30" in text
    for part in ("seed 0", "direction seed 0", "filter-normalised", "500 images", "cpu", "float32"):
        assert part in text, part
    assert "Smoke" not in text and "no finite loss" not in text


def test_smoke_and_masked_points_are_said_and_markup_is_escaped(tmp_path):
    plane = make_plane(hills, 21, scale="smoke", method="<script>alert(1)</script>")
    plane.loss[0, :3] = np.inf
    landscape_page.write(plane, tmp_path / "page.html")
    _, text = parse(tmp_path / "page.html")
    assert "Smoke run: shortened training" in text
    assert "3 of 441 points have no finite loss" in text
    assert "<script>alert" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_same_plane_is_the_same_bytes(page, tmp_path):
    landscape_page.write(make_plane(hills, 21), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_heights_are_the_losses_in_one_scale_and_the_right_surface_is_chosen(tmp_path, open_page):
    left, right, third = (make_plane(hills, 21, method=f"sgd_{name}") for name in (1, 2, 3))
    left.loss[3, 4] = np.nan
    right.loss[:] *= 3
    third.loss[:] += 1
    landscape_page.write([left, right, third], tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    read = "plot => document.getElementById(plot).data[0]"

    def surface(place):
        found = page.evaluate(read, place)
        return found, np.array([[np.nan if z is None else z for z in row] for row in found["z"]])

    page.wait_for_function("() => document.getElementById('beside').data")
    found, heights = surface("landscape")
    assert heights == pytest.approx(np.log10(left.loss), nan_ok=True, rel=1e-5)
    assert found["customdata"][10][10] == "loss 0.02 nats<br>accuracy 98.0 %"
    assert f"loss {left.loss[7, 4]:.4g} nats" in found["customdata"][4][7]  # [column][row]
    other, beside = surface("beside")
    assert beside == pytest.approx(np.log10(right.loss), rel=1e-5)
    assert (found["cmin"], found["cmax"]) == (other["cmin"], other["cmax"])
    ticks = found["colorbar"]
    assert np.power(10, ticks["tickvals"]) == pytest.approx(np.array(ticks["ticktext"], float))
    pin = page.evaluate("() => document.getElementById('landscape').data[1].z")
    assert pin[0] == pytest.approx(np.log10(left.loss[10, 10]), rel=1e-5)

    page.get_by_label("Right:").select_option(label="sgd_3, seed 0, direction seed 0")
    page.get_by_label("linear", exact=True).check()
    page.wait_for_function("() => document.getElementById('beside').data[0].cmin < 2")
    linear, beside = surface("beside")
    inside = third.loss <= linear["cmax"]
    assert beside[inside] == pytest.approx(third.loss[inside], rel=1e-5)
    assert "sgd_3" in page.locator("option:checked").last.inner_text()


def test_the_networks_of_a_run_are_told_apart(tmp_path):
    planes = [make_plane(hills, 7, method="core_8", network=f"net{at}") for at in (0, 1)]
    landscape_page.write(planes, tmp_path / "page.html")
    _, text = parse(tmp_path / "page.html")
    for network in ("net0", "net1"):
        assert f"core_8, {network}, seed 0, direction seed 0" in text
    assert "Loss landscapes: digits, cnn, core_8" in text


def test_two_surfaces_turn_together(tmp_path, open_page):
    planes = [make_plane(hills, 11, method=f"sgd_{name}") for name in (1, 2)]
    landscape_page.write(planes, tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    eye = "() => document.getElementById('beside')?.layout?.scene.camera.eye.x"
    page.wait_for_function(f"() => ({eye})() !== undefined")
    before = page.evaluate(eye)
    box = page.locator("#landscape").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 10, steps=6)
    page.mouse.up()
    page.wait_for_function(f"before => Math.abs(({eye})() - before) > 0.05", arg=before)


@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_no_serious_fault(page, open_page, axe, width):
    shown = open_page(page, viewport={"width": width, "height": 900})
    shown.locator(".gl-container").first.wait_for(state="attached")
    assert faults(shown, axe) == []


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_plane_without_a_loss_above_0_has_a_page(tmp_path, value):
    landscape_page.write(make_plane(np.full((5, 5), value)), tmp_path / "page.html")
    assert "Loss landscape" in parse(tmp_path / "page.html")[1]


def browse(page, folder, fragment=""):
    """Open a page in a headless browser without network: its picture, its requests, its log."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    folder.mkdir()
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--no-first-run",
        "--disable-background-networking",
        "--proxy-server=127.0.0.1:9",
        "--enable-logging=stderr",
        "--hide-scrollbars",
        "--window-size=1000,700",
        "--virtual-time-budget=20000",
        f"--user-data-dir={folder / 'profile'}",
        f"--log-net-log={folder / 'net.json'}",
        f"--screenshot={folder / 'picture.png'}",
        f"{page.as_uri()}{fragment}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert (folder / "picture.png").exists(), result.stderr[-2000:]
    with Image.open(folder / "picture.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    events = json.loads((folder / "net.json").read_text(encoding="utf-8"))["events"]
    requests = [
        event["params"]["url"]
        for event in events
        # What the browser asks of its own has no origin.
        if event.get("params", {}).get("initiator", "not an origin") != "not an origin"
    ]
    log = "\n".join(line for line in result.stderr.splitlines() if "CONSOLE" in line)
    return picture, requests, log


def plot_of(picture):
    return picture[120:600, 100:800]


def test_it_turns_in_a_browser_without_network(page, tmp_path):
    pictures = []
    for angle in (0, 90):
        picture, requests, log = browse(page, tmp_path / str(angle), f"#turn={angle}")
        pictures.append(plot_of(picture))
        assert requests == []
        assert not re.search("refused|violates|error", log, re.I), log
    first, turned = pictures
    colourful = np.ptp(first, axis=2) > 60  # viridis, not the grey of axes
    assert colourful.mean() > 0.05
    assert len(np.unique(first[colourful], axis=0)) > 500
    assert (np.abs(first - turned).sum(axis=2) > 30).mean() > 0.05

    control = tmp_path / "control.html"  # the check above can fail
    control.write_text('<img src="http://peer.invalid/a.png">', encoding="utf-8")
    assert "http://peer.invalid/a.png" in browse(control, tmp_path / "control")[1]


def test_a_page_without_a_turn_is_a_turn_of_0(page, tmp_path):
    plain, turned = (
        plot_of(browse(page, tmp_path / name, fragment)[0])
        for name, fragment in (("plain", ""), ("zero", "#turn=0"))
    )
    assert (np.abs(plain - turned).sum(axis=2) > 30).mean() < 0.01


HOVER = """<script>
const plot = document.getElementById("landscape");
plot.on("plotly_hover", hover => console.log("HOVER " + JSON.stringify(
  [hover.points[0].x, hover.points[0].y, hover.points[0].customdata])));
setInterval(() => {
  const canvas = plot.querySelector("canvas"), box = canvas.getBoundingClientRect();
  for (const target of [canvas, plot.querySelector(".gl-container > div")])
    target.dispatchEvent(new MouseEvent("mousemove", {bubbles: true, buttons: 0,
      clientX: box.left + 0.4 * box.width, clientY: box.top + 0.4 * box.height}));
}, 100);
</script></body>"""


def test_pointing_at_the_surface_says_loss_and_accuracy_there(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    place = text.rindex("</body>")
    pointed = tmp_path / "pointed.html"
    pointed.write_text(text[:place] + HOVER + text[place + len("</body>") :], encoding="utf-8")
    log = browse(pointed, tmp_path / "pointed")[2]
    x, y, said = re.search(r"HOVER \[([-.\de]+),([-.\de]+),(.*?)\]", log).groups()
    plane = make_plane(hills, 21)
    row = np.abs(plane.beta - float(y)).argmin()
    column = np.abs(plane.alpha - float(x)).argmin()
    assert f"loss {plane.loss[row, column]:.4g} nats" in said
    assert f"accuracy {100 * plane.accuracy[row, column]:.1f} %" in said
