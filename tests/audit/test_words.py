"""What an audit says of a folder of another tool's logs: no false word, counts with their nouns."""

import dataclasses
import re

import pytest
import yaml

from perturb.audit import formats, words
from perturb.audit.plan import AuditPlan, ClaimAsked
from perturb.audit.study import build
from perturb.figures.audit import draw, nothing_to_show
from perturb.figures.catalogue import AUDIT

from .folders import make_plan, rising, write

LAST = {"adamw": (0.896, 0.8937, 0.8951), "mixup": (0.9137, 0.909, 0.9049)}
RUNS = {f"{name}_seed{i}": last for name, all in LAST.items() for i, last in enumerate(all)}


def write_logs(folder, again=()):
    """Six logs of another tool's; those named in `again` were started again after 8 epochs."""
    for run, last in RUNS.items():
        rows = [f"{epoch},{accuracy:.4f}" for epoch, accuracy in enumerate(rising(last))]
        if run in again:
            rows = [*(f"{epoch},{epoch / 100:.4f}" for epoch in range(8)), *rows[5:]]
        (folder / f"{run}.csv").write_text("\n".join(["epoch,val_acc", *rows]) + "\n")
    return AuditPlan("mine", str(folder))


@pytest.fixture
def audit(tmp_path):
    return build(write_logs(tmp_path, again=("mixup_seed2",)))


def said(audit):
    return formats.markdown(audit, "snakemake")


def test_names_of_another_tool_are_no_findings(audit):
    assert not audit.of_kind("name")
    assert "Closest valid name" not in said(audit)
    assert "None is named by perturb's rules" in words.accounts(audit)


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (("pugd_20", "sgd_20", "pugdd_20"), {}),
        (("pugdd_20", "adamw"), {"baselines": ("pugd",)}),
    ],
)
def test_a_folder_that_follows_the_grammar_has_its_misspelt_names_said(tmp_path, names, settings):
    for name in names:
        write(tmp_path / f"{name}-0.json", rising(0.9))
    found = build(make_plan(tmp_path, **settings)).of_kind("name")
    assert "pugdd_20-0.json" in {finding.path for finding in found}


def test_files_are_counted_by_what_their_names_are(tmp_path):
    for name in ("pugd_20", "sgd_20", "mixup"):
        write(tmp_path / f"{name}-0.json", rising(0.9))
    counted = words.accounts(build(make_plan(tmp_path)))
    assert "2 named by perturb's rules (docs/method-names.md), 1 named otherwise" in counted


def test_a_restart_leaves_its_file_usable_and_the_page_says_so(audit):
    (claim,) = audit.claims
    assert claim.verdict == "holds"
    assert "a file of the method was started again (its last complete attempt counts)" in said(
        audit
    )
    assert "A file that was started again is: its last complete attempt counts." in said(audit)
    assert "neither file is suspect" not in said(audit)
    figure = draw("best_against_last", audit)
    assert any("started again" in text.get_text() for text in figure.legends[0].get_texts())


def test_healthy_files_that_ran_through_are_drawn_without_a_ring(tmp_path):
    figure = draw("best_against_last", build(write_logs(tmp_path)))
    assert not any("started again" in text.get_text() for text in figure.legends[0].get_texts())


def test_only_definitions_that_have_a_noise_floor_are_called_other_ones(audit):
    (claim,) = audit.claims
    assert set(claim.verdicts.values()) == {"holds", "cannot be told"}
    assert len(words.floors_table(audit).rows) == 1
    assert "another definition" not in said(audit)


def test_a_definition_with_a_floor_of_its_own_is_still_said(audit):
    floors = {key: dict(own) for key, own in audit.floors.items()}
    for own in floors.values():
        own["near_name"] = own["same_name"]
    other = dataclasses.replace(audit, floors=floors)
    assert "cannot be told under another definition of a repeat" in said(other)


def test_one_is_called_one(audit):
    text = said(audit)
    assert "The one headline claim holds." in text
    assert "The one headline claim that can be told gains" in text
    for wrong in (r"\ball 1 ", r"\bThe 1 ", r"\b1 of 1\b", r"\b1 (?:names|files|parts|epochs)\b"):
        assert not re.search(wrong, text), wrong


def test_several_are_counted(tmp_path):
    for run, last in RUNS.items():
        for name in (run, run.replace("mixup", "cutout")):
            rows = [f"{epoch},{accuracy:.4f}" for epoch, accuracy in enumerate(rising(last))]
            (tmp_path / f"{name}.csv").write_text("\n".join(["epoch,val_acc", *rows]) + "\n")
    audit = build(AuditPlan("mine", str(tmp_path)))
    assert "2 of 2 headline claims hold; 0 within noise" in said(audit)
    assert "over all 2 comparisons" in said(audit)


def test_a_folder_without_claims_says_so(tmp_path):
    write(tmp_path / "mine_20-0.json", rising(0.9))
    assert words.summary(build(make_plan(tmp_path)))[0] == "There is no comparison with a baseline."


def test_the_claims_of_unnamed_data_are_drawn_under_their_baseline(audit):
    titles = {text.get_text() for text in draw("claims", audit).axes[0].texts}
    assert "against adamw" in titles


def test_figures_that_show_nothing_say_why(audit):
    reasons = {name: nothing_to_show(name, audit) for name in AUDIT}
    assert {name for name, reason in reasons.items() if reason} == {
        "names_against_curves",
        "suspicious_curves",
        "comparisons",
    }


def test_the_printed_configuration_is_the_whole_audit(tmp_path):
    """What was guessed stands in it, and nothing that was not: no baselines of the grammar."""
    plan = write_logs(tmp_path)
    guessed = build(plan)
    values = yaml.safe_load(guessed.configuration)["audits"]["mine"]
    assert values["folder"] == str(tmp_path)
    assert "baselines" not in values
    claims = tuple(ClaimAsked(**claim) for claim in values.pop("claims"))
    again = build(AuditPlan(name="mine", **values, claims=claims))
    assert not again.guessed
    assert again.claims[0].verdict == guessed.claims[0].verdict
    assert again.claims[0].difference == guessed.claims[0].difference


def test_the_printed_configuration_keeps_what_was_given(tmp_path):
    plan = dataclasses.replace(
        write_logs(tmp_path),
        folder_given="logs",
        title='Mine: a "title"',
        dataset="cifar10",
        claims=(ClaimAsked("mixup", "adamw", "cifar10"),),
    )
    values = yaml.safe_load(build(plan).configuration)["audits"]["mine"]
    assert values["folder"] == "logs"
    assert (values["title"], values["dataset"]) == ('Mine: a "title"', "cifar10")
    assert values["claims"] == [{"method": "mixup", "baseline": "adamw", "dataset": "cifar10"}]
