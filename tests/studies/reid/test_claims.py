import numpy as np
import pandas as pd
import pytest

from perturb.analysis.plan import Plan, Row
from perturb.figures.style import render, style
from perturb.studies.reid import claims, diagrams, figures, methods
from perturb.studies.reid.catalogue import FIGURES, about, caption, drawn, titles
from perturb.studies.reid.chapters import ALSO, MEASURE
from perturb.studies.reid.material import Material

DATASET = "photo_patches_noise-0.5"
EPOCHS = 6


def run(method: str, seed: int, mAP: float, **told) -> dict:
    found = methods.method(method)
    return {
        "dataset": DATASET, "model": "embedding_small",
        "method": method, "seed": seed, "status": "ok",
        "last_test_mAP": mAP, "device": "cpu (made up)", "first_stage_mAP": np.nan,
        "empty_batches": 0, "wrong_labels": 384, "selects": found.selects, "diverged_at_step": None,
        **{key: found.values.get(key) for key in ("lr0", "lr1", "warmup", "clip")},
        **told,
    }  # fmt: skip


def material(runs: list[dict]) -> Material:
    names = list(dict.fromkeys(one["method"] for one in runs))
    rows = tuple(Row(method=name, section="Methods", seeds=(0, 1, 2)) for name in names)
    plan = Plan(
        study="reid", title="t", chapter="reid_made_up", dataset=DATASET, model="embedding_small",
        rows=rows, sections=("Methods",), reference=names[0], measure=MEASURE, also=ALSO,
    )  # fmt: skip
    curves = []
    for one in runs:
        done = EPOCHS if one["status"] == "ok" else 3
        found = methods.method(one["method"])
        for epoch in range(done):
            row = {key: one[key] for key in ("dataset", "model", "method", "seed", "status")}
            row |= {"epoch": epoch, "test_mAP": one["last_test_mAP"] or 0.1}
            for at in range(found.definition.networks):
                row[f"train_accuracy_net{at}"] = 0.5 if "act" in one["method"] else 0.2
                row[f"train_true_accuracy_net{at}"] = 0.6
                row[f"train_loss_net{at}"] = 2.0
                row[f"selected_fraction_net{at}"] = 0.3 if found.selects else None
                row[f"selection_precision_net{at}"] = 0.9 if found.selects else None
                row[f"selection_recall_net{at}"] = 0.5 if found.selects else None
                row[f"clean_weight_net{at}"], row[f"wrong_weight_net{at}"] = 2.0, 1.0
                for term in found.terms[at]:
                    row[f"train_{term}_net{at}"] = 1.0 + at
            curves.append(row)
    return Material((plan,), pd.DataFrame(runs), pd.DataFrame(curves))


def verdicts(runs: list[dict]) -> dict[str, str]:
    frame = claims.build(material(runs))
    assert len(frame) == 7 and frame["here"].str.len().gt(10).all()
    return dict(
        zip(frame["claim"].str.split().str[:2].str.join(" "), frame["verdict"], strict=True)
    )


def several(method: str, *values: float, **told) -> list[dict]:
    return [run(method, seed, value, **told) for seed, value in enumerate(values)]


def test_no_runs_tell_nothing():
    found = verdicts(several("ce_6", 0.3, 0.31, 0.32))
    assert set(found.values()) == {claims.NOT_TESTED}


def test_self_is_good_where_its_interval_is_above():
    base = several("ce_6", 0.30, 0.31, 0.32)
    assert verdicts(base + several("self_6", 0.36, 0.38, 0.38))["SELF is"] == claims.COMES_OUT
    assert verdicts(base + several("self_6", 0.25, 0.25, 0.27))["SELF is"] == claims.DOES_NOT
    assert verdicts(base + several("self_6", 0.35, 0.25, 0.34))["SELF is"] == claims.UNDECIDED
    assert verdicts(base + several("self_6", 0.35))["SELF is"] == claims.UNDECIDED


def test_a_rate_for_each_network():
    base = several("core_6", 0.40, 0.41, 0.42)
    own = "core_lr0-0.01_lr1-0.1_6"
    frame = claims.build(material(base + several(own, 0.30, 0.31, 0.33)))
    assert frame["verdict"][0] == claims.COMES_OUT and "core_6 41.0" in frame["here"][0]
    frame = claims.build(material(base + several(own, 0.50, 0.52, 0.53)))
    assert frame["verdict"][0] == claims.DOES_NOT


def test_low_mAP_and_empty_selections():
    name = "core_selective-true_6"
    low = several(name, 0.1, 0.1, 0.1, first_stage_mAP=0.05, empty_batches=9)
    high = several("act_6", 0.4, 0.4, 0.4, first_stage_mAP=0.4)
    (found,) = (r for r in claims.build(material(low + high)).itertuples() if "NaN" in r.claim)
    assert found.verdict == claims.COMES_OUT and "5.0 on average" in found.here
    for one in low:
        one["first_stage_mAP"] = 0.6
    (found,) = (r for r in claims.build(material(low + high)).itertuples() if "NaN" in r.claim)
    assert found.verdict == claims.DOES_NOT


def test_training_accuracy_selection_and_large_rates():
    runs = several("core_6", 0.3, 0.3, 0.3) + several("act_6", 0.3, 0.3, 0.3)
    runs += several("ce_lr0-0.1_6", None, None, status="diverged", diverged_at_step=12.0)
    runs += several("ce_lr0-0.1_warmup-2_6", 0.3, 0.3)
    frame = claims.build(material(runs)).set_index("claim")
    verdict = frame["verdict"]
    assert verdict[next(c for c in frame.index if "Training" in c)] == claims.COMES_OUT
    assert verdict["ACT selects, CORE does not"] == claims.COMES_OUT
    blown = frame.loc["A learning rate of 0.1 blows up at once"]
    assert blown["verdict"] == claims.COMES_OUT
    assert "2 of 2 runs diverged, the first at step 12" in blown["here"]
    assert "with warm-up 2 epochs 0 of 2 runs diverged" in blown["here"]
    # That a larger rate diverges says nothing of 0.1.
    runs = several("ce_lr0-0.1_6", 0.3, 0.3)
    runs += several("ce_lr0-2_6", None, None, status="diverged", diverged_at_step=3.0)
    blown = claims.build(material(runs)).set_index("claim").loc[blown.name]
    assert blown["verdict"] == claims.DOES_NOT
    assert blown["here"] == (
        "Largest learning rate 0.1 with neither warm-up nor clipping 0 of 2 runs diverged; 2 with "
        "neither warm-up nor clipping 2 of 2 runs diverged, the first at step 3."
    )


@pytest.fixture(scope="module")
def whole() -> Material:
    runs = several("ce_6", 0.3, 0.31, 0.32) + several("act_6", 0.3, 0.35, 0.37)
    for first in (0.01, 0.1):
        for second in (0.01, 0.1):
            name = f"core_lr0-{first}_lr1-{second}_6"
            status = (
                {"status": "diverged", "diverged_at_step": 7.0} if first == second == 0.1 else {}
            )
            runs += several(name, *([None] * 3 if status else [0.2, 0.2, second]), **status)
    return material(runs)


def test_figures_show_what_there_is(whole):
    assert list(titles(whole.plans)) == list(FIGURES)
    noiseless = [Plan.of({**whole.plans[0].values(), "dataset": "photo_patches"})]
    assert set(FIGURES) - set(titles(noiseless)) == {"selection", "weights"}
    with style():
        for name in set(FIGURES) - {"diagrams"}:
            figure = figures._DRAWN[name](whole, "Smoke run" if name == "mAP" else "")
            assert render(figure, "png") == render(figure, "png")
        axes = figures.rates(whole, "").axes[0]
    texts = {text.get_text() for text in axes.texts}
    assert "diverged\nstep 7" in texts and len(axes.texts) == 4


@pytest.fixture(scope="module")
def many() -> Material:
    """Every pair of four rates, with a warm-up and without."""
    runs = several("core_6", 0.4)
    for first in (0.001, 0.01, 0.1, 2):
        for second in (0.001, 0.01, 0.1, 2):
            for more in ("", "_warmup-2"):
                blown = first == second == 2 and not more
                told = {"status": "diverged", "diverged_at_step": 7.0} if blown else {}
                name = f"core_lr0-{first}_lr1-{second}_stage1-roles{more}_6"
                runs += several(name, None if blown else 0.2 + first / 10, **told)
    return material(runs)


def test_of_many_pairs_of_rates_figures_draw_the_equal_ones_and_the_map_all(many):
    names = drawn(many.methods)
    assert len(names) == 9 and "core_lr0-2_lr1-2_stage1-roles_6" in names
    assert "core_lr0-2_lr1-0.1_stage1-roles_6" not in names
    few = many.methods[:12]
    assert drawn(few) == few
    for name in ("mAP", "curves", "losses"):
        assert "only those whose rates are equal" in caption(name, many.plans)
    assert "only those" not in caption("rates", many.plans)
    with style():
        panels = figures.rates(many, "").axes
        assert [len(axes.texts) for axes in panels] == [16, 16]
        legend = figures.curves(many, "").legends[0]
        titles_of = [axes.get_title("left") for axes in figures.losses(many, "").axes]
    assert [text.get_text() for text in legend.get_texts()] == names
    assert [title.replace("\n", "") for title in titles_of] == names
    assert max(len(line) for title in titles_of for line in title.split("\n")) <= 26
    said = claims.build(many)["here"][0]
    assert "24 of 24 others finished, 20.0 to 40.0" in said


def test_the_names_above_a_diagram_fit_its_line(many):
    with style():
        figure = diagrams.draw(many.methods)
        texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    (listed,) = (text for text in texts if text.endswith(" more"))
    assert len(listed) < 115 and listed.startswith("core_lr0-0.001_lr1-0.001_stage1-roles_6, ")


def test_a_diagram_is_its_definition():
    for head in methods.HEADS:
        name = f"{head}_6"
        method = methods.method(name)
        with style():
            figure = diagrams.draw([name])
        texts = [t.get_text() for axes in figure.axes for t in axes.texts]
        for stage in method.stages:
            assert any(text.startswith(f"Stage {stage.name}: epochs") for text in texts)
            for loss in stage.losses:
                assert {term.formula for term in loss} <= set(texts)
        drawn = [text for text in texts if text.startswith("net ")]
        assert any(f"net {method.definition.networks - 1}" in text for text in drawn)
        approximate = any("approximation" in text for text in texts)
        assert approximate == bool(method.definition.approximation)


def test_methods_that_differ_in_rates_share_a_diagram():
    names = ["core_6", "core_lr0-0.01_lr1-0.05_6", "core_selective-true_6"]
    with style():
        assert len(diagrams.draw(names).axes) == 2


def test_the_data_are_introduced_and_told_from_the_diarys():
    names = ["photo_patches_noise-0.2", "photo_patches_noise-0.5_kind-patterned"]
    said = about(names)
    assert said.startswith("photo_patches is 96 places of two sample photographs")
    assert said.count("96 places") == 1 and about(["market1501_noise-0.5"]) == ""
    assert claims.whose(names) == (
        "The lab diary's claims and numbers are of Market-1501; these runs are not: they are on "
        "photo_patches."
    )
    own = claims.whose(["market1501_noise-0.5", "market1501_split"])
    assert own == "The lab diary's claims and numbers are of Market-1501."


@pytest.mark.parametrize(("empty", "which"), [(3, "All 3"), (0, "None of the 3")])
def test_runs_that_all_went_one_way_are_compared_with_nothing(empty, which):
    runs = several("core_selective-true_6", 0.3, 0.31, 0.32, first_stage_mAP=0.2)
    for one in runs:
        one["empty_batches"] = empty
    assert (
        f"{which} runs that select images in stage 2 diverged or had a batch of which no image was "
        "selected. Without any other run there is nothing to compare them with."
    ) in list(claims.build(material(runs))["here"])
