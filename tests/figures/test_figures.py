import random
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec.structs import replace

from perturb.figures import catalogue, sheet, style
from perturb.figures.material import gather
from perturb.figures.sheet import make_sheet
from perturb.studies.rts.figures import figures
from perturb.study import Measure, load
from tests.analysis.study import make_plan, make_row, write_run, write_study

NAMES = tuple(figures(make_plan()))


def draw(name, material):
    """Draw a figure of a made-up chapter as the maker of its part does."""
    entry = figures(material.plan)[name]
    with style.style():
        return load(entry.draw)(material, **({"section": entry.section} if entry.section else {}))


def only(plan, methods):
    """Return the plan with the rows of these methods alone."""
    return replace(plan, rows=tuple(row for row in plan.rows if row.method in methods))


def texts(figure):
    """Return everything written on a figure."""
    found = list(figure.texts)
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        found += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    for legend in figure.legends:
        found += legend.get_texts()
    return [text.get_text() for text in found if text.get_text()]


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_inside_its_page(material, name):
    figure = draw(name, material)
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
    figure = draw(name, material)
    with style.style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        below = [*figure.legends, *figure.texts]
        lowest = min(axes.get_tightbbox(renderer).y0 for axes in figure.axes)
        tops = [artist.get_tightbbox(renderer).y1 for artist in below]
    assert max(tops) <= lowest + 1


def test_diverged_and_missing_runs_are_named(material):
    radius = " ".join(texts(draw("curves_radius", material)))
    assert "pugdr_icos_2_0.01_30: diverged 1 of 3 (seed 2 at step 143)" in radius
    baselines = " ".join(texts(draw("curves_baselines", material)))
    assert "gsam_0.05_0.01_30: not run (0 of 3)" in baselines.replace("\n", " ")
    assert "asam_0.5_30: missing 1 of 3" in baselines.replace("\n", " ")


@pytest.mark.parametrize("name", ["accuracy", "test_loss_variance"])
def test_a_row_a_method_and_empty_ones_say_why(material, plan, name):
    written = texts(draw(name, material))
    for row in plan.rows:
        assert row.method in written
    assert "not run (0 of 3)" in written
    assert "not asked for" in written


def test_curves_are_the_means_over_finished_seeds(material):
    curve = material.mean("sgd_30", "test_accuracy")
    runs = material.curves[material.curves["method"] == "sgd_30"]
    by_epoch = runs.pivot(index="epoch", columns="seed", values="test_accuracy")
    assert curve["mean"].to_numpy() == pytest.approx(by_epoch.mean(axis=1).to_numpy())
    assert curve["sd"].to_numpy() == pytest.approx(by_epoch.std(axis=1, ddof=1).to_numpy())
    figure = draw("curves_baselines", material)
    drawn = [line.get_ydata() for line in figure.axes[1].lines]
    assert any(np.array_equal(line, 100 * curve["mean"]) for line in drawn)


def test_at_equal_gradients_the_reference_and_sgd_twice_as_long_end_together(material):
    figure = draw("sgd_against_pugd", material)
    ends = {round(float(line.get_xdata()[-1])) for line in figure.axes[1].lines}
    assert ends == {30 * 14, 60 * 14}
    assert {len(line.get_xdata()) for line in figure.axes[0].lines} == {30, 60}


def test_a_smoke_run_is_marked_on_every_figure(tmp_path):
    plan = make_plan(seeds=(0,), scale="smoke")
    keep = {"sgd_30", "sgd_60", "pugd_30", "pugdr_isin_2_0.01_30"}
    plan = only(plan, keep)
    material = gather(plan, write_study(tmp_path, plan, scale="smoke"))
    for name, entry in figures(plan).items():
        assert "SMOKE RUN" in texts(draw(name, material)), name
        assert entry.caption(plan).startswith("Smoke run, not a result")


def test_all_figures_are_drawn_without_any_run(plan):
    material = gather(plan, [])
    for name in NAMES:
        assert draw(name, material).axes, name


def test_one_test_batch_has_no_variance_and_says_so(tmp_path):
    plan = make_plan(seeds=(0,))
    plan = only(plan, ("sgd_30", "sgd_60", "pugd_30"))
    paths = [write_run(tmp_path, method, 0) for method in ("sgd_30", "pugd_30")]
    material = gather(plan, paths)
    material.curves[["test_loss_variance", "validation_loss_variance"]] = 0.0
    for name in ("loss_variance", "test_loss_variance"):
        assert "no variance" in " ".join(texts(draw(name, material))) or (
            "variance of test batch losses is 0" in " ".join(texts(draw(name, material)))
        )


def test_all_figures_are_drawn_where_every_loss_is_0(tmp_path):
    """As of one train image learned by heart: there is nothing to draw on a logarithmic axis."""
    plan = only(make_plan(seeds=(0,)), ("sgd_30", "sgd_60", "pugd_30", "pugdr_isin_2_0.01_30"))
    material = gather(plan, write_study(tmp_path, plan))
    losses = [name for name in material.curves if "_loss" in name]
    material.curves[losses] = 0.0
    for name in figures(plan):
        figure = draw(name, material)
        with style.style():
            FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("kind", ["pdf", "png"])
def test_the_same_figure_is_the_same_bytes(material, tmp_path, kind):
    for part in ("a", "b"):
        style.save(draw("curves_scale", material), tmp_path / f"{part}.{kind}")
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
    every = ["accuracy", "curves_baselines", "curves_radius", "curves_scale"]
    every += ["curves_radius_and_scale", "curves_timing"]
    assert list(catalogue.comparison(plan)) == every
    own = ["accuracy", "sgd_against_pugd", "schedules", *every[1:]]
    assert list(NAMES) == [*own, "loss_variance", "test_loss_variance"]
    few = replace(plan, rows=(make_row("pugdt_6_30", "Timing"),), sgd="")
    assert list(figures(few)) == [
        "accuracy",
        "curves_timing",
        "loss_variance",
        "test_loss_variance",
    ]
    assert list(catalogue.comparison(few)) == ["accuracy", "curves_timing"]


def test_only_captions_of_timed_methods_speak_of_switches(plan):
    said = {name: entry.caption(plan) for name, entry in catalogue.comparison(plan).items()}
    assert "Ticks in the first panel" in said["curves_timing"]
    assert "Ticks in the first panel" not in said["curves_radius"]
    assert "selected on test" in said["accuracy"]


def test_another_measure_is_drawn_in_its_unit(tmp_path):
    error = Measure(
        name="made_up_error",
        words="made-up error",
        unit="mm",
        factor=1000.0,
        larger_is_better=False,
    )
    level = {"pugd_30": 0.5, "ugd_30": 0.52, "sgd_30": 0.51, "sam_0.05_30": 0.53}
    level |= {"asam_0.5_30": 0.54, "samx1_30": 40.0}
    rows = tuple(make_row(method) for method in level)
    plan = make_plan(rows=rows, measure=error, sgd="", sgd_double="", protocol="")
    paths = [
        write_run(tmp_path, method, seed, series={"made_up_error": value + 0.01 * seed})
        for method, value in level.items()
        for seed in range(3)
    ]
    material = gather(plan, paths)
    entries = catalogue.comparison(plan)
    assert list(entries) == ["made-up_error", "curves_baselines"]
    with style.style():
        by_method = load(entries["made-up_error"].draw)(material).axes[0]
        curves = load(entries["curves_baselines"].draw)(material, section="Baselines")
    assert by_method.get_xlabel() == "Made-up error (mm)"
    low, high = by_method.get_xlim()
    assert low < 510 < high < 5000
    assert "40010.0" in [text.get_text() for text in by_method.texts]
    assert "Made-up error (mm)" in [axes.get_ylabel() for axes in curves.axes]


def test_the_catalogue_loads_without_matplotlib():
    code = (
        "import sys, perturb.figures.catalogue, perturb.studies.rts.figures, "
        "perturb.analysis.parts, perturb.landscape.parts; "
        "print({'matplotlib', 'torch', 'pandas'} & set(sys.modules) or False)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [
        ([1.43512], ["1.44"]),
        ([6.1, 7.3], ["6.1", "7.3"]),
        ([0.9, 2.1], ["1", "2"]),
        ([1e-6, 1e6], None),
    ],
)
def test_a_logarithmic_axis_of_any_range_has_a_few_labels(numbers, labels):
    axes = Figure().add_subplot()
    sheet.mark_logarithmic(axes.yaxis, numbers)
    found = [text.get_text() for text in axes.get_yticklabels()]
    assert found == labels if labels else 2 <= len(found) <= 5
