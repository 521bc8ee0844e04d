import random
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from perturb.errors import PerturbError
from perturb.figures import registry, style
from perturb.figures.catalogue import CATALOGUE, names_for
from perturb.figures.material import gather
from perturb.figures.sheet import make_sheet
from tests.analysis.study import make_plan, write_run, write_study


def texts(figure):
    """Return everything written on a figure."""
    found = list(figure.texts)
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        found += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    for legend in figure.legends:
        found += legend.get_texts()
    return [text.get_text() for text in found if text.get_text()]


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_every_figure_is_drawn_inside_its_page(material, name):
    figure = registry.draw(name, material)
    with style.style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        page = figure.bbox.padded(1)
        for artist in [*figure.texts, *figure.legends, *figure.axes]:
            box = artist.get_tightbbox(renderer)
            assert page.x0 <= box.x0 and box.x1 <= page.x1, artist
            assert page.y0 <= box.y0 and box.y1 <= page.y1, artist
    assert figure.get_size_inches()[0] == style.PAGE_WIDTH


@pytest.mark.parametrize("name", ["curves_baselines", "accuracy", "loss_variance"])
def test_the_panels_do_not_touch_legend_or_note(material, name):
    figure = registry.draw(name, material)
    with style.style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        below = [*figure.legends, *figure.texts]
        lowest = min(axes.get_tightbbox(renderer).y0 for axes in figure.axes)
        tops = [artist.get_tightbbox(renderer).y1 for artist in below]
    assert max(tops) <= lowest + 1


def test_diverged_and_missing_runs_are_named(material):
    radius = " ".join(texts(registry.draw("curves_radius", material)))
    assert "pugdr_icos_2_0.01_30: diverged 1 of 3 (seed 2 at step 143)" in radius
    baselines = " ".join(texts(registry.draw("curves_baselines", material)))
    assert "gsam_0.05_0.01_30: not run (0 of 3)" in baselines.replace("\n", " ")
    assert "asam_0.5_30: missing 1 of 3" in baselines.replace("\n", " ")


@pytest.mark.parametrize("name", ["accuracy", "test_loss_variance"])
def test_a_row_a_method_and_empty_ones_say_why(material, plan, name):
    written = texts(registry.draw(name, material))
    for row in plan["rows"]:
        assert row["method"] in written
    assert "not run (0 of 3)" in written
    assert "not asked for" in written


def test_curves_are_the_means_over_finished_seeds(material):
    curve = material.mean("sgd_30", "test_accuracy")
    runs = material.curves[material.curves["method"] == "sgd_30"]
    by_epoch = runs.pivot(index="epoch", columns="seed", values="test_accuracy")
    assert curve["mean"].to_numpy() == pytest.approx(by_epoch.mean(axis=1).to_numpy())
    assert curve["sd"].to_numpy() == pytest.approx(by_epoch.std(axis=1, ddof=1).to_numpy())
    figure = registry.draw("curves_baselines", material)
    drawn = [line.get_ydata() for line in figure.axes[1].lines]
    assert any(np.array_equal(line, 100 * curve["mean"]) for line in drawn)


def test_at_equal_gradients_the_reference_and_sgd_twice_as_long_end_together(material):
    figure = registry.draw("sgd_against_pugd", material)
    ends = {round(float(line.get_xdata()[-1])) for line in figure.axes[1].lines}
    assert ends == {30 * 14, 60 * 14}
    assert {len(line.get_xdata()) for line in figure.axes[0].lines} == {30, 60}


def test_a_smoke_run_is_marked_on_every_figure(tmp_path):
    plan = make_plan(seeds=(0,), scale="smoke")
    keep = {"sgd_30", "sgd_60", "pugd_30", "pugdr_isin_2_0.01_30"}
    plan["rows"] = [row for row in plan["rows"] if row["method"] in keep]
    material = gather(plan, write_study(tmp_path, plan, scale="smoke"))
    for name in names_for(plan):
        assert "SMOKE RUN" in texts(registry.draw(name, material)), name
        assert CATALOGUE[name].caption(plan).startswith("Smoke run, not a result")


def test_all_figures_are_drawn_without_any_run(plan):
    material = gather(plan, [])
    for name in CATALOGUE:
        assert registry.draw(name, material).axes, name


def test_one_test_batch_has_no_variance_and_says_so(tmp_path):
    plan = make_plan(seeds=(0,))
    plan["rows"] = [row for row in plan["rows"] if row["method"] in ("sgd_30", "sgd_60", "pugd_30")]
    paths = [write_run(tmp_path, method, 0) for method in ("sgd_30", "pugd_30")]
    material = gather(plan, paths)
    material.curves[["test_loss_variance", "validation_loss_variance"]] = 0.0
    for name in ("loss_variance", "test_loss_variance"):
        assert "no variance" in " ".join(texts(registry.draw(name, material))) or (
            "variance of test batch losses is 0" in " ".join(texts(registry.draw(name, material)))
        )


@pytest.mark.parametrize("kind", ["pdf", "png"])
def test_the_same_figure_is_the_same_bytes(material, tmp_path, kind):
    for part in ("a", "b"):
        style.save(registry.draw("curves_scale", material), tmp_path / f"{part}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert b"CreationDate" not in (tmp_path / f"a.{kind}").read_bytes()


def test_a_figure_does_not_depend_on_where_memory_lies():
    """The layout's solver orders variables by address; ties of rounding then came out both ways."""
    draw, junk, found = random.Random(0), [], set()
    for _ in range(40):
        junk += [bytearray(draw.randint(16, 300)) for _ in range(draw.randint(0, 2000))]
        draw.shuffle(junk)
        del junk[len(junk) // 2 :]
        with style.style():
            sheet = make_sheet(2, 2, panel_height=2.15, legend=[("pugd_2", style.REFERENCE)])
            for axes in sheet.axes.flat:
                axes.plot([0, 1], [0.5, 3.0])
                axes.set(xlabel="Epochs completed", ylabel="Test loss (nats)", title="Test loss")
        found.add(style.render(sheet.figure, "pdf"))
    assert len(found) == 1


def test_figures_are_those_with_something_to_show(plan):
    assert names_for(plan) == list(CATALOGUE)
    timing = {"section": "Timing", "method": "pugdt_6_30"}
    few = plan | {"rows": [timing], "sgd": None}
    assert names_for(few) == [
        "accuracy",
        "schedules",
        "curves_timing",
        "loss_variance",
        "test_loss_variance",
    ]


def test_an_unknown_figure_is_one_message(material):
    with pytest.raises(PerturbError, match="Did you mean 'accuracy'"):
        registry.draw("acuracy", material)


def test_the_catalogue_loads_without_matplotlib():
    code = "import sys, perturb.figures.catalogue; print('matplotlib' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
