"""Every cell of a table leads to the runs that it was made from."""

import json

import pandas as pd
import pytest

from perturb.analysis import provenance, runs, tables
from perturb.errors import PerturbError
from perturb.files import write_json
from perturb.landscape import provenance as landscape_provenance
from perturb.landscape import table as landscape_table
from perturb.landscape.files import write_plane
from tests.landscape.planes import make_plane

from .study import DIVERGED, make_plan, write_run, write_study

OF_THE_PLAN = {"section", "method", "label", "seeds_asked", "published_accuracy", "reference"}
OF_THE_PLAN |= {"equivalence_margin"}


@pytest.fixture
def traced(tmp_path):
    plan = make_plan(sgd="sgd_30")
    found = runs.collect(write_study(tmp_path, plan, missing=[("pugdt_6_30", 1)]))
    return tables.build(plan, found).frame, provenance.of_table(plan, found, tmp_path), tmp_path


def seeds(lines, method):
    return sorted(lines.loc[lines["run"].str.contains(f"/{method}/"), "seed"])


def test_every_cell_that_runs_were_made_for_has_its_runs(traced):
    table, lines, results = traced
    for row in table.to_dict("records"):
        for column in table.columns.difference(list(OF_THE_PLAN)):
            found = provenance.runs_of(lines, column, method=row["method"])
            if row[column] not in ("", 0) and not pd.isna(row[column]) and row["seeds_finished"]:
                assert len(found), (row["method"], column)
    line = lines.iloc[0]
    record = json.loads((results / line["run"] / "record.json").read_text())
    for name in provenance.HASHES:
        assert line[f"{name}_sha256"] == record["sha256"][name]
    assert not lines.duplicated(["method", "run"]).any()


def test_a_cell_lists_every_run_that_it_was_made_from_and_no_other(traced):
    _, lines, _ = traced
    mean = provenance.runs_of(lines, "last_epoch_test_accuracy_mean", method="sgd_60")
    assert list(mean["run"]) == [f"runs/digits/cnn/sgd_60/seed{seed}" for seed in range(3)]
    difference = provenance.runs_of(lines, "p_value", method="pugdt_6_30")
    assert seeds(difference, "pugdt_6_30") == seeds(difference, "pugd_30") == [0, 2]
    cost = provenance.runs_of(lines, "gradient_evaluations_relative_to_sgd", method="pugdt_6_30")
    assert seeds(cost, "sgd_30") == [0, 1, 2] and len(cost) == 5
    method, seed = DIVERGED
    spoilt = lines[(lines["method"] == method) & (lines["status"] == "diverged")]
    assert list(spoilt["seed"]) == [seed]
    assert len(provenance.runs_of(spoilt, "diverged_runs"))
    assert spoilt.pipe(provenance.runs_of, "last_epoch_test_accuracy_mean").empty
    assert provenance.runs_of(lines, "difference_to_pugd_30_mean", method="pugd_30").empty
    pooled = provenance.runs_of(lines, "pooled_difference_to_pugd_30_ci95_low", method="sgd_60")
    every = lines[(lines["status"] == "ok") & (lines["method"] != "*")]
    assert set(pooled["run"]) == set(every["run"]) and len(pooled) == every["run"].nunique()


def test_no_run_is_no_line(tmp_path):
    plan = make_plan()
    lines = provenance.of_table(plan, runs.collect([]), tmp_path)
    assert lines.empty and list(lines.columns) == list(provenance.COLUMNS)


def test_the_cells_of_landscapes_lead_to_files_and_runs(tmp_path):
    record = write_run(tmp_path, "sgd_30", 0)
    folder = tmp_path / "landscapes/digits/cnn/sgd_30/seed0"
    known = {"checkpoint_sha256": "f" * 64, "versions": {"torch": "2"}, "code_sha256": "e" * 64}
    planes = []
    for seed in range(2):
        planes.append(folder / f"plane{seed}.npz")
        plane = make_plane(lambda x, y: x * x + y * y, 5, **known, direction_seed=seed)
        write_plane(planes[-1], plane)
    curvature = folder / "curvature.json"
    attributes = plane.attributes | {"curvature": {"trace": {"mean": 1.0}, "images": 9}}
    write_json(curvature, {k: v for k, v in attributes.items() if k != "direction_seed"})
    table = landscape_table.build(landscape_table.read_checkpoints(planes, [curvature]))
    lines = landscape_provenance.of_table(planes, [curvature], [record], tmp_path)
    for column, value in table.iloc[0].drop(["method", "seed"]).items():
        found = provenance.runs_of(lines, column, method="sgd_30", seed=0)
        if column != "flat_area_margin" and value != "" and not pd.isna(value):
            assert len(found), column
    trace = provenance.runs_of(lines, "trace", method="sgd_30", seed=0)
    assert list(trace["file"]) == ["landscapes/digits/cnn/sgd_30/seed0/curvature.json"]
    assert len(provenance.runs_of(lines, "loss", method="sgd_30")) == 1
    assert set(lines["run"]) == {"runs/digits/cnn/sgd_30/seed0"}
    assert set(lines["run_final_weights_sha256"]) == {"f" * 64}
    other = write_run(tmp_path / "other", "sgd_30", 0, sha256={"final_weights": "0" * 64})
    with pytest.raises(PerturbError, match=r"plane0\.npz: not a landscape of the last weights"):
        landscape_provenance.of_table(planes, [curvature], [other], tmp_path)
    # Of a run that trained two networks each row leads to the files of its own.
    assert "network" not in lines
    both = []
    for network, ending in (("net0", ""), ("net1", "_net1")):
        both.append(folder / f"plane0{ending}.npz")
        write_plane(both[-1], make_plane(lambda x, y: x * x, 5, **known, network=network))
    lines = landscape_provenance.of_table(both, [], [record], tmp_path)
    own = provenance.runs_of(lines, "loss", method="sgd_30", seed=0, network="net1")
    assert list(own["file"]) == ["landscapes/digits/cnn/sgd_30/seed0/plane0_net1.npz"]
