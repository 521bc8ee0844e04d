"""The figures of an audit: drawn from what was found, the same bytes twice."""

import pytest

from perturb.audit.simulation import make_folder, plan_of
from perturb.audit.study import build
from perturb.figures.audit import FIGURES, draw
from perturb.figures.catalogue import AUDIT
from perturb.figures.style import render


@pytest.fixture(scope="module")
def truth_and_audit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    truth = make_folder(folder, 0)
    return truth, build(plan_of(folder))


def texts(figure):
    return {text.get_text() for text in figure.findobj() if hasattr(text, "get_text")}


def test_every_figure_is_drawn_and_the_same_twice(truth_and_audit):
    _, audit = truth_and_audit
    assert list(FIGURES) == list(AUDIT)
    for name in FIGURES:
        assert render(draw(name, audit), "png") == render(draw(name, audit), "png")


def test_the_forest_has_a_row_a_claim_at_its_difference(truth_and_audit):
    _, audit = truth_and_audit
    figure = draw("claims", audit)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        claim.method.name for claim in audit.claims
    ]
    drawn = {round(float(x), 6) for line in axes.lines for x in line.get_xdata()}
    inside = [c for c in audit.claims if abs(100 * c.difference) < axes.get_xlim()[1]]
    assert len(inside) > 10
    assert {round(100 * claim.difference, 6) for claim in inside} <= drawn


def test_what_was_planted_is_drawn_as_suspicious(truth_and_audit):
    truth, audit = truth_and_audit
    said = " ".join(texts(draw("suspicious_curves", audit)))
    for name in truth.swapped:
        assert f"{name}\nnot as named" in said
    assert "sgd_60\nlearning rate climbs" in said


def test_a_folder_with_nothing_to_draw_says_so(tmp_path):
    (tmp_path / "mine_20-0.json").write_text('{"test_accuracy": [0.1, 0.2]}')
    audit = build(plan_of(tmp_path))
    for name, words in {
        "claims": "no claims",
        "comparisons": "no claims",
        "names_against_curves": "no schedule of the radius could be tested",
        "suspicious_curves": "no suspicious curve",
    }.items():
        assert words in texts(draw(name, audit))
