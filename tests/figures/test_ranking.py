import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from perturb.analysis import ranking
from perturb.figures import ranking as figure
from perturb.figures import style
from tests.analysis.test_ranking import made

NAMES = ("pugd", "sgd", "ugd", "samx1", "sam_0.05", "asam_0.5", "looksam_0.05", "aesam_0.05")


@pytest.mark.parametrize("datasets", [2, 9])
def test_a_row_a_method_inside_the_page_and_bars_only_after_a_test(tmp_path, datasets):
    noise = np.random.default_rng(0).normal(0, 0.004, (datasets, len(NAMES)))
    values = [
        {name: 0.9 - 0.01 * m + noise[d, m] for m, name in enumerate(NAMES)}
        for d in range(datasets)
    ]
    tables = made(tmp_path, values)
    frame = ranking.build(tables)
    drawn = figure.draw(frame, tables)
    axes = drawn.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(frame["method"])
    bars = [line for line in axes.lines if line.get_linewidth() == 2.4]
    if datasets == 2:
        assert not bars and "No test" in drawn.texts[0].get_text()
    else:
        distance = frame["critical_difference"].iloc[0]
        assert len(bars) == len(ranking.groups(frame["mean_rank"].to_numpy(), distance)) > 1
    with style.style():
        canvas = FigureCanvasAgg(drawn)
        canvas.draw()
        page = drawn.bbox.padded(1)
        for artist in [*drawn.texts, *drawn.legends, axes]:
            box = artist.get_tightbbox(canvas.get_renderer())
            assert page.x0 <= box.x0 and box.x1 <= page.x1, artist
    assert style.render(drawn, "png") == style.render(figure.draw(frame, tables), "png")
