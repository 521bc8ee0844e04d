"""`snakemake plan` as a user runs it: before anything is there, and with a plan then followed."""

import re

import pytest

from .test_workflow import one_message

BUDGET = {"rts": {"datasets": {"cifar100": {"model": "cnn", "train": {"batch_size": 50}}}}}


def plan(checkout, *config):
    return checkout.snakemake("--config", *config, "--", "plan")


def listed(done):
    """Return the seeds of the training jobs that a dry run lists, by method."""
    found = {}
    for method, seed in re.findall(
        r"output: \S+/([^/]+)/seed(\d+)/record\.json", done.stdout + done.stderr
    ):
        found.setdefault(method, []).append(int(seed))
    return {method: sorted(seeds) for method, seeds in found.items()}


@pytest.fixture
def fresh(make_checkout):
    return make_checkout(values=BUDGET)


@pytest.mark.long
def test_a_plan_without_data_is_followed_to_the_run(fresh):
    target = "results/tables/cifar100.csv"
    done = plan(fresh, f"target={target}")
    assert done.returncode == 0, done.stderr
    assert "75: 0 finished, 75 to do" in done.stdout
    assert re.search(r"on cpu .*kWh \(calibration", done.stdout)
    assert not (fresh.results / "runs").exists() and not (fresh.results / "data").exists()

    refused = plan(fresh, f"target={target}", "budget=1m", "gpus=4")
    one_message(refused, "is too small", "The smallest that fits is")
    smallest = int(re.search(r"\(budget=(\d+)m\)", refused.stderr)[1])
    done = plan(fresh, f"target={target}", f"budget={smallest}m", "gpus=4")
    assert done.returncode == 0, done.stderr
    assert "snakemake --configfile test.yaml results/plan/cifar100.yaml -- " in done.stdout
    fresh.configfiles.append("results/plan/cifar100.yaml")
    seeds = listed(fresh.snakemake("-n", "-q", "host", "--", target))
    assert len(seeds) == 25
    assert all(chosen == [0, 1, 2] for chosen in seeds.values())
    for name in ("seeds", "budget", "schedule"):
        assert (fresh.results / f"plan/cifar100_{name}.png").stat().st_size > 10_000


@pytest.mark.long
def test_toys_are_planned(fresh):
    done = plan(fresh, "target=results/tables/gradients_smoke.csv")
    assert done.returncode == 0, done.stderr
    assert "8: 0 finished, 8 to do" in done.stdout
    assert re.search(r"on cpu .*kWh \(calibration of a small run", done.stdout)
    refused = plan(fresh, "target=gradients_smoke", "budget=1h")
    one_message(refused, "a budget cannot choose the seeds of study gradients")


def test_a_misspelt_target_is_one_message(fresh):
    one_message(plan(fresh, "target=cifar1000"), "Did you mean 'cifar100'")
    one_message(plan(fresh, "budget=soon"), "no length of time")


@pytest.mark.long
def test_finished_runs_are_counted_and_timed_and_sized(checkout):
    run = "results/runs/digits/cnn/sgd_2/seed1"
    planned = plan(checkout, f"target={run}/record.json").stdout
    made = checkout.snakemake("--", f"{run}/record.json")
    assert made.returncode == 0, made.stderr
    done = plan(checkout, "target=digits")
    assert done.returncode == 0, done.stderr
    assert "10: 1 finished, 9 to do" in done.stdout
    assert re.search(r"on cpu .*\(1 finished run\)", done.stdout)
    size = sum(file.stat().st_size for file in (checkout.path / run).rglob("*") if file.is_file())
    kilobytes = float(re.search(r"disk +([\d.]+) kB to come", planned)[1])
    assert kilobytes * 1000 == pytest.approx(size, rel=0.05)
