import pytest

from perturb.errors import PerturbError
from perturb.studies.reid import methods


@pytest.mark.parametrize(
    "name",
    [
        "ce_61",
        "self_lr0-0.05_61",
        "core_lr0-0.01_lr1-0.05_61",
        "core_lr1-1e-3_stage1-roles_selective-true_stages-4_switch-20_warmup-2_clip-5_61",
        "act_tau-0.05_61",
        "lcnl_margin-0.5_10",
        "tsnt_switch-3_10",
    ],
)
def test_names_parse_and_print_back(name):
    assert methods.format(methods.parse(name)) == name
    assert methods.method(name).epochs == int(name.rpartition("_")[2])


def test_a_learning_rate_of_each_network_in_any_spelling():
    parsed = methods.parse("core_lr0-0.01_lr1-0.001_61")
    assert (parsed.values["lr0"], parsed.values["lr1"], parsed.epochs) == (0.01, 0.001, 61)
    # Numbers are printed in their shortest form, as in all names.
    assert methods.format(parsed) == "core_lr0-0.01_lr1-1e-3_61"
    assert methods.parse(methods.format(parsed)) == parsed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cores_61", "did you mean .core"),
        ("core_stage1-slef_61", "stage1 is one of self, ce, roles"),
        ("core_stages-3_61", r"4 \(1-2-1-2\)"),
        ("core_switch-62_61", "at most 61"),
        ("ce_lr1-0.1_61", ".lr1-0.1. is no setting of ce"),
        ("act_lr0--1_61", "lr0 is not below 0"),
        ("ce", "number of epochs"),
    ],
)
def test_what_means_nothing_is_refused(name, said):
    with pytest.raises(PerturbError, match=f"(?i){said}"):
        methods.parse(name)


def stages(name: str) -> str:
    method = methods.method(name)
    return "".join(method.stages[method.stage_number(e)].name[0] for e in range(method.epochs))


def test_stages():
    assert stages("core_61") == "1" * 21 + "2" * 40  # epochs 0 to 20
    assert stages("core_switch-2_6") == "112222"
    assert stages("core_stages-4_switch-4_12") == "112222112222"
    assert stages("core_1") == "1"
    assert stages("act_150") == "w" * 50 + "r" * 100
    assert stages("lcnl_4") == "wmmm"
    assert stages("ce_3") == "111"


def test_every_definition_says_what_flows():
    for head in methods.HEADS:
        method = methods.method(f"{head}_6")
        assert len(method.terms) == method.definition.networks
        for stage in method.stages:
            assert len(stage.losses) == method.definition.networks
            for loss in stage.losses:
                for term in loss:
                    assert term.sources and set(term.sources) <= set(methods.SOURCES)
                    selecting = {methods.SELECTION, methods.MIXTURE} & set(term.sources)
                    assert bool(stage.selection) or not selecting
