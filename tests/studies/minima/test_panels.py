import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from perturb.studies.minima import panels
from perturb.studies.minima.figures import smoothed
from perturb.studies.minima.panels import GUIDE, Line, Panel, Sheet

SHEET = Sheet(
    [
        Panel(
            "Accuracy & 50 % of_it",
            "Epoch",
            "Test accuracy, %",
            [
                Line(
                    "plain", [1, 2, 3], [90.0, 91.0, 92.0], [1.0, 1.0, 0.5], [89.0, 91, 93], look=-1
                ),
                Line("s 10, w 0.01", [1, 2, 3], [80.0, np.nan, 85.0], look=0),
                Line("guide", [1, 3], [85.0, 85.0], look=GUIDE),
            ],
        ),
        Panel("Norms", "lr", "norm^2", [Line("", [0.1, 1.0], [0.0, 1e-3], look=1)], True, True),
        Panel(
            "Scores",
            "",
            "NLL",
            [
                Line(
                    "mean of logits",
                    [0, 1],
                    [0.5, 0.4],
                    [0.1, 0.2],
                    marks=True,
                    look=2,
                    hollow=True,
                )
            ],
            ticks=["FGE", "SWA of the FGE's"],
        ),
        Panel("Empty", "Epoch", "D", []),
    ],
    mark="Smoke run",
)


def test_the_csv_has_every_point(tmp_path):
    path = tmp_path / "figure.csv"
    path.write_text(panels.csv_text(SHEET))
    frame = pd.read_csv(path)
    assert len(frame) == 3 + 3 + 2 + 2 + 2
    plain = frame[frame["line"] == "plain"]
    assert plain["y"].tolist() == [90, 91, 92]
    assert plain["raw"].tolist() == [89, 91, 93]
    assert frame[frame["panel"] == "Scores"]["x"].tolist() == ["FGE", "SWA of the FGE's"]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_pgfplots_compile_as_they_are(tmp_path):
    if shutil.which("kpsewhich"):
        found = subprocess.run(
            ["kpsewhich", "pgfplots.sty"], capture_output=True, text=True, check=False
        )
        if not found.stdout.strip():
            pytest.skip("LaTeX has no pgfplots")
    (tmp_path / "figure.tex").write_text(panels.pgfplots(SHEET))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "figure.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_points_that_a_logarithmic_axis_has_not_are_left_out():
    text = panels.pgfplots(SHEET)
    assert "(1,0.001)" in text
    assert "(0.1,0)" not in text
    assert "nan" not in text


@pytest.mark.parametrize("largest", [20.0, 2e4])
def test_an_interval_that_reaches_below_zero_ends_where_a_logarithmic_axis_does(largest):
    band = Line("s", [1, 2, 3, 4], [0.0, 2.0, 5.0, largest], [0.0, 3.0, 1.0, largest])
    line = Line("guide", [1, 4], [2.0, 2.0], look=GUIDE)
    page = panels.draw(Sheet([Panel("Norms", "Epoch", "norm", [line, band], logarithmic_y=True)]))
    axes = page.axes[0]
    assert axes.get_yscale() == "log"
    (drawn,) = axes.collections
    corners = np.concatenate([path.vertices for path in drawn.get_paths()])
    corners = corners[corners[:, 0] >= 2]  # at 1 there is nothing that can be shown
    lowest = {x: corners[corners[:, 0] == x, 1].min() for x in (2, 3, 4)}
    assert lowest[2] == lowest[4] == pytest.approx(2.0 / 1.15) and lowest[3] == 4.0
    written = [text.get_text() for text in axes.get_yticklabels()]
    assert any("10^" in text for text in written) == (largest > 1e3)


def test_a_drawing_is_the_same_bytes_each_time(tmp_path):
    from perturb.figures.style import render

    assert render(panels.draw(SHEET), "png") == render(panels.draw(SHEET), "png")


def test_smoothing_looks_back_only():
    values = np.array([1.0, 3.0, 5.0, 7.0])
    assert smoothed(values, 2).tolist() == [1, 2, 4, 6]
    assert smoothed(values, 1).tolist() == values.tolist()
