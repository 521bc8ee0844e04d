import pytest

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.runs import Run
from perturb.studies.minima import settings
from perturb.studies.minima.chapters import chapters, total_epochs


def changed(raw, root, **entry):
    minima = raw["minima"]
    own = {**minima["chapters"]["digits_smoke"], **entry}
    chapters = {**minima["chapters"], "digits_smoke": own}
    return Config(
        {**raw, "minima": {**minima, "chapters": chapters}}, root / "config" / "schema.yaml"
    )


def test_alternatives_in_braces():
    assert settings.expand("a-{1,2}_b-{x,y}_3") == [
        "a-1_b-x_3",
        "a-1_b-y_3",
        "a-2_b-x_3",
        "a-2_b-y_3",
    ]
    assert settings.expand("plain_3") == ["plain_3"]


def test_a_section_against_each_rows_own_plain_run():
    section = settings.Section(
        reference="plain", methods=("repel_strength-10_every-2_lr-{0.01,0.1}_4",)
    )
    assert section.rows() == {
        "repel_every-2_4": "repel_every-2_4",
        "repel_strength-10_every-2_4": "repel_every-2_4",
        "repel_every-2_lr-0.1_4": "repel_every-2_lr-0.1_4",
        "repel_strength-10_every-2_lr-0.1_4": "repel_every-2_lr-0.1_4",
    }


def test_a_target_names_its_strength():
    target = settings.Target(
        distance=300, base=20, width=0.01, method="repel_strength-1_every-20_40"
    )
    named = settings.parse(target.named())
    assert named.values["width"] == 0.01
    assert settings.law.distance(20, named.values["strength"], 0.01, 1e-3) == pytest.approx(
        300, rel=5e-3
    )


def test_a_target_that_is_out_of_reach_is_one_message(raw, root):
    target = {"distance": 10, "base": 20, "width": 0.01, "method": "repel_strength-1_every-2_4"}
    section = {"reference": "repel_every-2_4", "targets": [target]}
    config = changed(raw, root, sections={"baseline": section})
    with pytest.raises(PerturbError, match=r"digits_smoke: target distance 10: no strength"):
        chapters(config)


def test_a_run_from_a_clone_begins_from_its_parents_last_weights(config):
    run = Run("digits", "mlp", "clone_start-true_20_of_repel_20", 3)
    found = studies.specification(config, run)
    assert studies.initial_file(found) == "runs/digits/mlp/repel_20/seed3/last.safetensors"
    plain = studies.specification(config, Run("digits", "mlp", "repel_20", 3))
    assert studies.initial_file(plain) == "init/digits/mlp/seed3.safetensors"


def test_a_clone_of_an_epoch_on_the_way(config):
    run = Run("digits", "mlp", "clone_at-40_start-true_20_of_repel_every-20_100", 0)
    found = studies.specification(config, run)
    parent = "runs/digits/mlp/repel_every-20_100/seed0"
    assert studies.initial_file(found) == f"{parent}/checkpoints/epoch39.safetensors"
    assert total_epochs(run.method) == 60
    assert total_epochs("clone_20_of_repel_80") == 100


def test_a_clone_of_another_studys_run(config):
    run = Run("digits", "cnn", "clone_5_of_pugd_30", 0)
    found = studies.specification(config, run)
    assert studies.initial_file(found) == "runs/digits/cnn/pugd_30/seed0/last.safetensors"


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("clone_at-30_20_of_repel_every-20_100", "none of epoch 30"),
        ("clone_at-10_20_of_repel_40", "keeps weights of its last only"),
        ("clone_at-200_20_of_repel_every-20_100", "none of epoch 200"),
        ("clone_20_of_wgd_members-3_20", "no single classifier"),
    ],
)
def test_a_clone_of_weights_that_are_not_there_is_one_message(config, method, says):
    with pytest.raises(PerturbError, match=says):
        studies.specification(config, Run("digits", "mlp", method, 0))


def test_two_chapters_may_not_train_one_model_differently(raw, root):
    config = changed(raw, root, train={"batch_size": 100})
    with pytest.raises(PerturbError, match="different settings"):
        studies.specification(config, Run("digits", "mlp", "repel_4", 0))


def test_an_ensemble_of_a_run_without_checkpoints_is_refused(raw, root):
    config = changed(raw, root, ensembles=[{"label": "none", "method": "repel_4"}])
    with pytest.raises(PerturbError, match="keeps no weights on its way"):
        chapters(config)


def test_each_network_of_an_ensemble_counts_once(config):
    entry = settings.entry(config, "digits")
    (snapshots, independent) = (
        next(e for e in entry.ensembles if e.label.startswith(what))
        for what in ("snapshots, repelled", "independent")
    )
    _, files = settings.members_of(entry, snapshots, 0)
    assert [file.rpartition("/")[2] for file in files] == [
        f"epoch{epoch}.safetensors" for epoch in (19, 39, 59, 79, 99)
    ]
    runs, files = settings.members_of(entry, independent, 1)
    assert [run.seed for run in runs] == [1, 101, 201, 301, 401]
    assert len(set(files)) == 5


def test_ensembles_of_the_full_chapter_have_equal_epochs(config):
    """Snapshots, restarts, FGE, independent networks and kde-WGD: 100 epochs of one network."""
    (chapter,) = [one for one in chapters(config) if one.name == "minima_digits"]
    asked = chapter.settings["ensembles_0"]["ensembles"]
    assert {one["epochs"] for one in asked} == {100}


def test_every_run_of_a_chapter_can_be_made(config):
    for chapter in chapters(config):
        for run in chapter.runs:
            found = studies.specification(config, run)
            parent = studies.initial_file(found)
            if parent.startswith("runs/"):
                assert Run.of_folder(parent.rpartition("/seed")[0] + f"/seed{run.seed}")
        names = [part.name for part in chapter.parts]
        assert len(names) == len(set(names))
