"""The figure of a chapter with wrong labels: who learns them by heart."""

import pytest

from perturb.figures import style
from perturb.figures.material import gather
from perturb.studies.rts import memorising
from perturb.studies.rts.figures import figures
from tests.analysis.study import make_plan, make_row, write_run

TRUE = {"sgd_30": 0.7, "sam_0.05_30": 0.8, "pugd_30": 0.9}
NOISY = "digits_noise-0.4"


def test_each_rule_once_on_given_and_true_labels(tmp_path):
    rows = tuple(make_row(method) for method in [*TRUE, "sgd_60", "pugdr_const_0.5_30"])
    plan = make_plan(rows=rows, dataset=NOISY)
    paths = [
        write_run(
            tmp_path,
            method,
            seed,
            dataset=NOISY,
            series={"train_true_accuracy": value + 0.01 * seed},
        )
        for method, value in TRUE.items()
        for seed in range(3)
    ]
    with style.style():
        figure = memorising.draw(gather(plan, paths))
    given, true, test = figure.axes
    ends = sorted(line.get_ydata()[-1] for line in true.lines)
    assert ends == pytest.approx([71, 81, 91])
    assert len(test.lines) == len(TRUE)
    assert given.lines[-1].get_ydata()[0] == pytest.approx(60)
    caption = figures(plan)["wrong_labels"].caption(plan)
    assert "40 % are wrong" in caption and "60 %" in caption and "{" not in caption


def test_no_figure_of_wrong_labels_without_wrong_labels():
    assert "wrong_labels" in figures(make_plan(dataset=NOISY))
    assert "wrong_labels" not in figures(make_plan())
