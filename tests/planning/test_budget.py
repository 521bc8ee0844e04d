"""From a budget to a config file that the workflow runs: seeds, schedule, figures, messages."""

import math
from dataclasses import replace

import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.figures import planning as figures
from perturb.figures.style import PAGE_WIDTH, style
from perturb.planning import budget, targets
from perturb.planning.costs import DeviceCost, Work, work_of
from perturb.planning.settings import Settings
from perturb.planning.sizes import RunSize
from perturb.planning.survey import MethodCost, Survey, Workload
from perturb.planning.survey import text as survey_text
from tests.planning.test_costs import finished

DEVICE = "cpu (made up)"
HOUR = 3600


@pytest.fixture
def make(make_workflow):
    """Return a function that plans the digits with made-up costs: an hour a gradient a step."""

    def plan(finished_runs=(), target="digits", **given):
        settings = Settings.of({"plan": {"solver_seconds": 5, **given}})
        workflow = make_workflow()
        asked = targets.resolve(target, workflow)
        cost = DeviceCost(DEVICE, 0.0, 0.0, 3600 / 450, {}, "a test")
        workloads: dict = {}
        for run in asked.runs:
            specification = studies.specification(workflow.config, run)
            group = (specification.study, run.dataset, run.model)
            works = workloads[group].works if group in workloads else {}
            trained = specification.study == "rts"
            found = (
                work_of(specification, 15, ()) if trained else Work(1, 225, "exact", "of a test")
            )
            workloads[group] = Workload(
                *group,
                size=RunSize(15, 4, 4, 4),
                threads=1,
                weights_bytes=1000,
                finished=tuple(finished_runs) if group[1:] == ("digits", "cnn") else (),
                devices={DEVICE: cost},
                works={**works, specification.method: found},
            )
        found = Survey(asked, workloads, (), 0, DEVICE, {"cpu": 12})
        return budget.make_plan(found, workflow.config, settings), workflow.config

    return plan


def chosen_runs(plan):
    return {c.run(seed) for c, seeds in plan.chosen for seed in seeds}


@pytest.mark.parametrize(
    "given", [{}, {"keep": "resolved", "resolve": 0.45}, {"intervals": "unpaired"}]
)
@pytest.mark.parametrize("hours", [41, 67])
def test_the_written_config_asks_for_the_chosen_runs_and_no_others(
    make, raw_config, root, given, hours
):
    plan, config = make(budget=hours * HOUR, gpus=4, **given)
    text = budget.config_text(plan, config)
    assert text == budget.config_text(plan, config)
    written = yaml.safe_load(text)
    assert written.pop("chapters") == ["digits"] and list(written) == ["rts"]
    before = studies.chapter(config, "digits")
    for name, entry in written["rts"]["datasets"].items():
        raw_config["rts"]["datasets"][name] |= entry  # as Snakemake merges config files
    again = studies.chapter(Config(raw_config, root / "config" / "schema.yaml"), "digits")
    assert set(again.runs) == chosen_runs(plan)
    assert set(again.landscape_runs) <= chosen_runs(plan)
    numbers = [len(seeds) for _, seeds in plan.chosen]
    assert all(n == 0 or 3 <= n <= 10 for n in numbers)
    if given.get("keep") == "resolved":
        assert 0 in numbers and len(again.landscape_runs) < len(before.landscape_runs)
    else:
        assert min(numbers) >= 3


@pytest.mark.parametrize("hours", [40, 47, 58])
def test_the_runs_are_done_within_the_budget(make, hours):
    plan, _ = make(budget=hours * HOUR, gpus=5)
    assert plan.packing.lower_bound <= plan.packing.makespan <= hours * HOUR
    assert {part.run for part in plan.packing.parts} == set(map(str, chosen_runs(plan)))


def test_finished_runs_are_free_and_not_scheduled(make):
    done = [finished(m, s, 90 + 0.1 * s) for m in ("sgd_30", "pugd_30") for s in (0, 1, 2, 5)]
    plain, _ = make(budget=40 * HOUR, gpus=4)
    plan, _ = make(done, budget=40 * HOUR, gpus=4)
    assert plan.allocation.widest / plan.spreads["digits"].sd < plain.allocation.widest / 0.23
    assert not {part.run for part in plan.packing.parts} & {str(run.run) for run in done}
    assert plan.spreads["digits"].methods == 2
    stale = [replace(run, current=False) for run in done]
    assert make(stale, budget=40 * HOUR, gpus=4)[0].allocation == replace(
        plain.allocation, solver_seconds=pytest.approx(0, abs=60)
    )


def test_a_left_out_method_keeps_what_is_finished(make):
    done = [finished("ugd_30", 7), finished("gsam_0.05_0.01_30", 1)]
    plan, config = make(done, budget=16 * HOUR, gpus=2, keep="resolved", resolve=0.6)
    seeds = {c.method: seeds for c, seeds in plan.chosen}
    assert plan.allocation.seeds["digits/gsam_0.05_0.01_30"] == 0
    assert seeds["gsam_0.05_0.01_30"] == [1]
    rows = yaml.safe_load(budget.config_text(plan, config))["rts"]["datasets"]["digits"]["methods"]
    assert {row["method"]: row.get("seeds") for row in rows}["gsam_0.05_0.01_30"] == [1]


def test_a_budget_that_is_too_small_names_the_smallest_that_fits(make):
    with pytest.raises(PerturbError, match="The smallest that fits is") as refused:
        make(budget=3 * HOUR, gpus=4)
    minutes = int(str(refused.value).rpartition("budget=")[2].removesuffix("m)."))
    plan, _ = make(budget=minutes * 60, gpus=4)
    assert {len(seeds) for _, seeds in plan.chosen} == {3}
    assert plan.packing.makespan <= minutes * 60
    with pytest.raises(PerturbError, match=rf"budget={minutes}m"):
        make(budget=(minutes - 1) * 60, gpus=4)


def test_a_budget_below_one_run_is_too_small_however_many_gpus(make):
    """The message does not say that no budget is enough, and then which one is."""
    with pytest.raises(PerturbError, match="smallest that fits is 2 h") as refused:
        make(budget=1.5 * HOUR, gpus=500)
    assert "a run of sgd_60 alone takes 2 h." in str(refused.value)
    assert "no budget" not in str(refused.value)
    plan, _ = make(budget=2 * HOUR, gpus=500)
    assert plan.packing.makespan == 2 * HOUR


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"target": "results/runs/digits/cnn/sgd_30/seed0/record.json"}, "is none"),
        ({"device": "H100"}, "nothing is known of 'H100'; known are cpu"),
        ({"priorities": {"pugd_31": 2}}, "no method of this target. Did you mean 'pugd_30'"),
        ({"keep": "resolved", "resolve": 0.01}, "no budget is enough for resolving 0.01 points"),
        ({"target": "gradients_smoke"}, "a budget cannot choose the seeds of study gradients"),
        ({"target": "results/tables/landscape_digits.csv"}, "is none"),
    ],
)
def test_mistakes_are_one_clear_message(make, given, says):
    with pytest.raises(PerturbError) as refused:
        make(budget=100 * HOUR, gpus=4, **given)
    assert says in str(refused.value)
    assert ("no budget" in says) == ("no budget" in str(refused.value))
    assert "smallest that fits" not in str(refused.value)


def test_runs_whose_seeds_are_not_chosen_are_made_within_the_budget(make):
    """Those of a study whose seeds a budget cannot choose, beside one whose it can."""
    alone, _ = make(budget=45 * HOUR, gpus=4)
    plan, config = make(target="", budget=45 * HOUR, gpus=4)
    others = ("gradients_smoke",)
    fixed = {str(run) for name in others for run in studies.chapter(config, name).runs}
    assert fixed and {task.name for task in plan.fixed} == fixed
    assert fixed <= {part.run for part in plan.packing.parts}
    assert plan.packing.makespan <= 45 * HOUR
    assert plan.allocation.cost < alone.allocation.cost
    assert "besides     10 runs whose seeds are not chosen" in budget.text(plan)
    assert yaml.safe_load(budget.config_text(plan, config))["chapters"] == ["digits"]


def test_the_seeds_of_a_variant_that_is_not_listed_are_chosen(make, raw_config, root):
    plan, config = make(target="digits_noise-0.3", budget=45 * HOUR, gpus=4)
    written = yaml.safe_load(budget.config_text(plan, config))
    raw_config["chapters"] = written["chapters"]
    raw_config["rts"]["datasets"] |= written["rts"]["datasets"]
    again = Config(raw_config, root / "config" / "schema.yaml")
    assert set(studies.chapter(again, "digits_noise-0.3").runs) == chosen_runs(plan)


def test_the_plan_in_words(make):
    plan, _ = make(budget=45 * HOUR, gpus=4, wall_time="5h")
    text = budget.text(plan)
    assert "proven optimal" in text and "of at most 5 h" in text
    assert f"+- {plan.allocation.widest:.3f} points, 27 comparisons" in text
    rows = budget.schedule_text(plan).splitlines()
    assert len(rows) == 1 + len(plan.packing.parts)
    assert rows[0] == "job,gpu,start_hours,end_hours,run,part,parts"
    hours = [float(row.split(",")[3]) for row in rows[1:]]
    assert max(hours) == pytest.approx(plan.packing.makespan / HOUR, abs=1e-3)


def test_the_cost_in_words():
    cost = DeviceCost(DEVICE, 0.0, 0.0, 8.0, {}, "a test")
    group, unit = ("rts", "digits", "cnn"), "gradient evaluations"
    works = {
        "sgd_30": Work(30, 450, "exact", unit),
        "aesam_0.05_30": Work(30, 900, "at most", unit),
    }
    size = RunSize(15, 4, 4, 4)
    work = Workload(*group, size, 2, 1000, (), {DEVICE: cost}, works)
    methods = (
        MethodCost(group, "sgd_30", 1, 2, works["sgd_30"], 2_000_000),
        MethodCost(group, "aesam_0.05_30", 0, 3, works["aesam_0.05_30"], 3_000_000),
    )
    asked = targets.Target("results/tables/digits.csv", "digits", ())
    found = Survey(asked, {group: work}, methods, 7_000, DEVICE, {"cpu": 10})
    text = survey_text(found)
    assert "6: 1 finished, 5 to do" in text
    assert "3,600 to do, of them 2,700 an upper bound" in text
    assert "5 MB to come, 7 kB there" in text
    kilowatt_hours = 3600 * 8 * 20 / 3.6e6
    assert f"8 h of one device, {kilowatt_hours:.3g} kWh (a test)" in text
    assert math.isclose(kilowatt_hours, 0.16)


@pytest.mark.parametrize("given", [{}, {"keep": "resolved", "resolve": 0.45}])
@pytest.mark.parametrize("name", list(figures.FIGURES))
@pytest.mark.parametrize("target", ["digits", ""])
def test_every_figure_is_drawn_inside_its_page(make, name, given, target):
    plan, _ = make(target=target, budget=50 * HOUR, gpus=4, **given)
    figure = figures.FIGURES[name](plan)
    with style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        page = figure.bbox.padded(1)
        for artist in [*figure.texts, *figure.legends, *figure.axes]:
            box = artist.get_tightbbox(canvas.get_renderer())
            assert page.x0 <= box.x0 and box.x1 <= page.x1, artist
            assert page.y0 <= box.y0 and box.y1 <= page.y1, artist
    assert figure.get_size_inches()[0] == PAGE_WIDTH
