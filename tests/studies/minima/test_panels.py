import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from perturb.studies.minima import panels
from perturb.studies.minima.figures import smoothed
from perturb.studies.minima.panels import Line, Panel, Sheet

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
                Line("guide", [1, 3], [85.0, 85.0], look=-2),
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


def test_a_drawing_is_the_same_bytes_each_time(tmp_path):
    from perturb.figures.style import render

    assert render(panels.draw(SHEET), "png") == render(panels.draw(SHEET), "png")


def test_smoothing_looks_back_only():
    values = np.array([1.0, 3.0, 5.0, 7.0])
    assert smoothed(values, 2).tolist() == [1, 2, 4, 6]
    assert smoothed(values, 1).tolist() == values.tolist()
