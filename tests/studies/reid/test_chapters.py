"""A chapter as the configuration has it: its landscapes, of each network; its captions."""

import json
from copy import deepcopy

import pytest

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.runs import Run
from perturb.workflow import Workflow

DATASET, METHODS = "photo_patches_noise-0.2", ["ce_8", "core_8"]


@pytest.fixture
def make(raw_config, root):
    """Return a function that reads the configuration with changes to chapter `reid_patches`."""

    def made(**changes):
        raw = deepcopy(raw_config)
        raw["reid"]["chapters"]["reid_patches"] |= changes
        return Config(raw, root / "config" / "schema.yaml")

    return made


def part(chapter, name):
    return next(part for part in chapter.parts if part.name == name)


def test_each_network_of_a_method_has_its_landscape(make):
    drawn = {"methods": METHODS, "direction_seeds": [0, 1]}
    chapter = studies.chapter(make(landscape=drawn), "reid_patches")
    assert [run.method for run in chapter.landscape_runs] == METHODS
    inputs = part(chapter, "landscape").inputs
    folder = f"landscapes/{DATASET}/embedding_small"
    of_seed = [f"{folder}/ce_8/seed0/plane{{}}.npz", f"{folder}/core_8/seed0/plane{{}}.npz",
               f"{folder}/core_8/seed0/plane{{}}_net1.npz"]  # fmt: skip
    assert list(inputs["planes"]) == [text.format(seed) for seed in (0, 1) for text in of_seed]
    assert [path.rpartition("/")[2] for path in inputs["curvatures"]] == [
        "curvature.json", "curvature.json", "curvature_net1.json",
    ]  # fmt: skip
    paths = part(chapter, "landscape_trajectories").inputs["trajectories"]
    assert [path.rpartition("/")[2] for path in paths] == [
        "trajectory.npz", "trajectory.npz", "trajectory_net1.npz",
    ]  # fmt: skip
    for name in ("landscape_surfaces", "landscape_cuts", "landscape_trajectories"):
        assert part(chapter, name).caption.endswith("net0 is the first, net1 the second.")
    assert "net0" not in part(chapter, "landscape_cuts").caption.partition("Each network")[0]
    # The chapter is a smoke run, which its runs by themselves do not say.
    for name in ("landscape", "sharpness", "landscape_surfaces"):
        assert part(chapter, name).settings["scale"] == "smoke"
    # Of methods of one network nothing is said of a second.
    alone = studies.chapter(make(landscape={"methods": ["ce_8"]}), "reid_patches")
    assert "net0" not in part(alone, "landscape_cuts").caption
    assert not studies.chapter(make(landscape={}), "reid_patches").landscape_runs


def test_a_reference_of_two_networks_is_drawn_in_black_by_its_first(make):
    chapter = studies.chapter(
        make(landscape={"methods": METHODS}, reference="core_8"), "reid_patches"
    )
    cuts = part(chapter, "landscape_cuts")
    assert cuts.settings["reference"] == "core_8, net0"
    assert "core_8, net0 is black" in cuts.caption


def test_all_methods_and_a_chapters_own_settings(make, root, tmp_path):
    drawn = {"methods": "all", "points": 7, "images": 50, "checkpoint_every": 2}
    config = make(landscape=drawn)
    chapter = studies.chapter(config, "reid_patches")
    assert [run.method for run in chapter.landscape_runs] == [
        "ce_8", "self_8", "core_8", "act_8", "lcnl_8", "tsnt_8",
    ]  # fmt: skip
    workflow = Workflow(config, tmp_path, root)
    run = Run(DATASET, "embedding_small", "core_8", 0)
    settings = json.loads(workflow.landscape_settings(run, "plane"))
    assert (settings["points"], settings["images"]) == (7, 50)
    assert studies.specification(config, run).checkpoint_every == 2
    # The second data set is not drawn, and neither is another seed.
    for other in (
        Run("photo_patches_noise-0.5_kind-patterned", "embedding_small", "core_8", 0),
        Run(DATASET, "embedding_small", "core_8", 1),
    ):
        assert (
            json.loads(workflow.landscape_settings(other, "curvature"))["curvature_images"]
            == (config.values["landscape"]["curvature_images"])
        )
        assert studies.specification(config, other).checkpoint_every == 0


def test_a_landscape_of_a_method_that_is_not_listed_is_refused(make):
    with pytest.raises(PerturbError, match=r"'core_9' is the reference, or has a landscape"):
        studies.chapters(make(landscape={"methods": ["core_9"]}))


def test_captions_say_one_seed_where_there_is_one(make):
    one = studies.chapter(make(), "reid_patches")
    several = studies.chapter(make(seeds=[0, 1]), "reid_patches")
    for name in ("mAP", "curves", "selection", "weights"):
        assert "one seed" in part(one, name).caption
        assert "over seeds" not in part(one, name).caption
        assert "mean over seeds" in part(several, name).caption
    assert "interval" not in part(one, "mAP").caption
    assert "single seeds as small points" in part(several, "mAP").caption
    assert ": first seed, the data set with" in part(several, "losses").caption
    assert "second dashed: the data set with" in part(one, "losses").caption
    alone = studies.chapter(make(datasets=[DATASET]), "reid_patches")
    assert "second dashed. A dotted" in part(alone, "losses").caption
