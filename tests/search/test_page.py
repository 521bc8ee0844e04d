"""The page of parallel coordinates: without network, and an axis that can be dragged."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from perturb.search import page
from perturb.search.parts import Material
from tests.browser import faults

from .made_up import DEPTH, LR, MadeUp, bowl, stages

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What a user does: press on the first axis, move down along it, let go.
DRAG = """
<script>
function at(kind, x, y, target) {
  target.dispatchEvent(new MouseEvent(kind, {clientX: x, clientY: y, bubbles: true, view: window,
                                             cancelable: true, button: 0}));
}
addEventListener("load", () => setTimeout(() => {
  const axis = document.querySelector(".axis-brush rect.background");
  const box = axis.getBoundingClientRect(), x = box.left + box.width / 2;
  const from = box.top + 0.2 * box.height, to = box.top + 0.6 * box.height;
  at("mousemove", x, from, axis);
  at("mousedown", x, from, axis);
  for (let step = 1; step <= 8; step++) at("mousemove", x, from + (to - from) * step / 8, window);
  at("mouseup", x, to, window);
  setTimeout(() => {
    const chosen = document.querySelector(".js-plotly-plot").data[0].dimensions[0].constraintrange;
    document.title = "chosen " + JSON.stringify(chosen);
  }, 300);
}, 500));
</script>
"""


@pytest.fixture
def material(tmp_path):
    def score(values, seed, epochs):
        return float("nan") if values["lr"] == 0.1 else bowl(1e-3, values)

    made = MadeUp(tmp_path, stages(LR, DEPTH), score, lambda v, s: np.ones(1000, dtype=np.int64))
    return Material(made.search, made.run())


def test_the_same_trials_are_the_same_page_which_loads_nothing(material):
    text = page.render(material)
    assert text == page.render(material)
    head = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(r"\b(src|href)=", head)
    assert "default-src 'none'" in head
    assert "Stage depth, after lr" in head


def test_axes_have_every_trial_and_a_place_for_infeasible_ones(material):
    figure = page.figure(material.search.stages[0], material.steps["lr"])
    lr, validation, _ = figure.data[0].dimensions
    assert np.allclose(lr["values"], [-4, -3, -2, -1])
    assert list(lr["ticktext"]) == ["0.0001", "0.001", "0.01", "0.1"]
    assert validation["ticktext"][0] == "✕"
    assert validation["values"][3] == min(validation["values"]) < validation["tickvals"][1]


def test_a_dragged_axis_chooses_trials_in_chromium(material, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser here: " + ", ".join(BROWSERS))
    plain, dragged = tmp_path / "plain.html", tmp_path / "dragged.html"
    page.write(material, plain)
    dragged.write_text(plain.read_text(encoding="utf-8").replace("</html>", DRAG + "</html>"))

    def look(file, *options):
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,700"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=4000"]
        command += ["--enable-unsafe-swiftshader", *options, file.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    title = re.search(r"<title>(.*?)</title>", look(dragged, "--dump-dom").stdout)[1]
    low, high = map(float, re.search(r"chosen \[(.*),(.*)\]", title).groups())
    # The axis runs from lr 1e-4 to 1e-1; of its ticks 0.01 alone lies between a fifth and three
    # fifths from the top.
    assert -3 < low < -2 < high < -1, title
    shots = []
    for file in (plain, dragged):
        look(file, f"--screenshot={tmp_path / file.stem}.png")
        shots.append(np.asarray(Image.open(tmp_path / f"{file.stem}.png").convert("RGB"), int))
    coloured = [(np.ptp(shot[180:640, 100:850], axis=2) > 60).mean() for shot in shots]
    assert coloured[0] > 0.001, "lines are drawn"
    assert coloured[1] < coloured[0], "those outside of the range are grey"


@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_no_serious_fault(material, open_page, axe, tmp_path, width):
    (tmp_path / "trials.html").write_text(page.render(material), encoding="utf-8")
    shown = open_page(tmp_path / "trials.html", viewport={"width": width, "height": 900})
    shown.locator(".main-svg").first.wait_for()
    assert faults(shown, axe) == []
