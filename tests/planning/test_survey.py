"""Plans of chapters of any study, from real runs or from none at all."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from perturb import models, studies
from perturb.config import Config
from perturb.data import prepare
from perturb.data.image_folder import ImageFolder
from perturb.errors import PerturbError
from perturb.jobs.store import Store
from perturb.models.weights import save_weights
from perturb.planning import targets
from perturb.planning.recorded import cost_of
from perturb.planning.settings import Settings
from perturb.planning.sizes import shape_of, size_of
from perturb.planning.survey import Survey, survey, text
from perturb.runs import Run, RunFiles, made_from, names_of, read_record, write_record
from perturb.study import Measure, load

SMALL = {"dimensions": [4, 6], "pretraining": [0], "seeds": [0, 1], "batches": 1}
SMALL |= {"samples": 60, "held_out_samples": 60, "pooled_samples": 120}
SMALL |= {"nes": [{"evaluations": 20, "kinds": ["plain", "antithetic"]}]}


@pytest.fixture(autouse=True)
def small(raw_config):
    """Make toys small, and everything on the CPU."""
    toys = raw_config["gradients"]["gradients_smoke"]
    toys["toy"] |= SMALL
    del toys["layers"]
    raw_config["gradients"]["gradients"].pop("layers")
    raw_config["train"] |= {"device": "cpu"}


@pytest.fixture
def plan(make_workflow, tmp_path):
    """Return a function that surveys a target of results in `tmp_path`."""

    def of(target: str, store: Store | None = None) -> Survey:
        workflow = make_workflow(tmp_path)
        settings = Settings.of(workflow.config.values)
        asked = targets.resolve(target.replace("results", str(tmp_path)), workflow)
        return survey(asked, workflow.config, settings, tmp_path, tmp_path / "benchmarks", store)

    return of


def make(config: Config, run: Run, results, **files) -> None:
    """Make a run of any study."""
    specification = studies.specification(config, run)
    job = load(studies.get(specification.study).job)
    job(specification, RunFiles(folder=results / run.folder, **files))


@pytest.fixture
def trained(tmp_path, make_workflow) -> Run:
    """A run of SGD on the digits, two epochs, in the results folder."""
    data = {
        name: tmp_path / f"data/digits.{end}"
        for name, end in (("images", "npz"), ("manifest", "manifest.json"))
    }
    prepare("digits", "", npz=data["images"], manifest=data["manifest"])
    initial = tmp_path / "init.safetensors"
    save_weights(initial, models.initial_weights("cnn", 10, 8, 1, 0))
    run = Run("digits", "cnn", "sgd_2", 0)
    make(make_workflow(tmp_path).config, run, tmp_path, initial=initial, **data)
    return run


def test_toys_are_counted_and_timed(plan, config, tmp_path):
    """Without any run their seconds are proportional to their cost; then one is theirs."""
    before = plan("results/tables/gradients_smoke.csv")
    assert [(m.method, m.done, m.todo) for m in before.methods] == [
        ("toy_dimension-4_pretraining-0", 0, 2),
        ("toy_dimension-6_pretraining-0", 0, 2),
    ]
    (work,) = before.workloads.values()
    cost = work.devices[before.here]
    assert "calibration of a small run" in cost.source
    counts = []
    for method in before.methods:
        run = Run("gradients_smoke", "sign_units", method.method, 0)
        counts.append(cost_of(studies.specification(config, run), 0).count)
        assert method.work.count == counts[-1]
        assert cost.seconds(method.method, 1, counts[-1]) == pytest.approx(
            counts[-1] * cost.per_unit
        )
    assert 0 < counts[0] < counts[1] and 0 < cost.per_unit < math.inf
    kept = list((tmp_path / "benchmarks").rglob("*.json"))
    made = [path.read_bytes() for path in kept]
    plan("gradients_smoke")
    assert kept and [path.read_bytes() for path in kept] == made, "measured once"

    run = Run("gradients_smoke", "sign_units", "toy_dimension-6_pretraining-0", 1)
    make(config, run, tmp_path)
    after = plan("gradients_smoke")
    assert [(m.done, m.todo) for m in after.methods] == [(0, 2), (1, 1)]
    (work,) = after.workloads.values()
    (found,) = work.finished
    assert found.current and found.cost == counts[1] and not found.counted
    cost = work.devices[after.here]
    assert cost.seconds(run.method, 1, counts[1]) == pytest.approx(found.seconds)
    other = "toy_dimension-4_pretraining-0"
    expected = found.seconds * counts[0] / counts[1]
    assert cost.seconds(other, 1, counts[0]) == pytest.approx(expected)
    assert after.methods[0].bytes == 2 * found.bytes and after.done_bytes == found.bytes
    measure = studies.chapter(config, "gradients_smoke").measure
    record = json.loads((tmp_path / run.record).read_text())
    assert found.value(measure) == record["last"]["decrease_hidden"]
    assert "4: 1 finished, 3 to do" in text(after)


def test_a_toy_of_other_settings_is_to_do_and_tells_no_time(plan, raw_config, config, tmp_path):
    run = Run("gradients_smoke", "sign_units", "toy_dimension-4_pretraining-0", 0)
    make(config, run, tmp_path)
    raw_config["gradients"]["gradients_smoke"]["toy"]["samples"] = 80
    found = plan(f"results/{run.record}")
    (work,) = found.workloads.values()
    assert [one.current for one in work.finished] == [False]
    assert [(m.done, m.todo) for m in found.methods] == [(0, 1)]
    assert "calibration" in work.devices[found.here].source


def test_a_finished_run_is_counted_timed_and_sized(plan, trained, tmp_path):
    found = plan(f"results/{trained.record}")
    (work,) = found.workloads.values()
    (run,) = work.finished
    assert run.current and run.counted
    assert run.cost == found.methods[0].work.count == 2 * work.size.steps
    record = json.loads((tmp_path / trained.record).read_text())
    assert run.value(Measure()) == 100 * record["last"]["test_accuracy"]
    assert run.value(Measure(name="train_loss", factor=1)) == record["last"]["train_loss"]
    assert [(m.done, m.todo) for m in found.methods] == [(1, 0)]
    folder = tmp_path / trained.folder
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    other = plan("results/runs/digits/cnn/sgd_2/seed1/record.json")
    assert found.done_bytes == size and other.methods[0].bytes == pytest.approx(size, rel=0.05)
    assert work.devices[found.here].source == "1 finished run"


def test_a_run_that_the_store_puts_back_costs_nothing(plan, trained, tmp_path):
    store = Store(tmp_path / "store", tmp_path)
    folder = tmp_path / trained.folder
    record = read_record(folder / "record.json")
    neutral = studies.get("rts").specification.NEUTRAL
    store.keep(made_from(record, neutral), folder, names_of(record))
    both = "results/tables/digits.csv"
    assert plan(both, store).stored == frozenset()  # it is finished here
    assert "in the store" not in text(plan(both, store))
    shutil.rmtree(folder)
    target = f"results/{trained.record}"
    without, found = plan(target), plan(target, store)
    assert [(m.done, m.stored, m.todo) for m in without.methods] == [(0, 0, 1)]
    assert [(m.done, m.stored, m.todo, m.bytes) for m in found.methods] == [(0, 1, 0, 0)]
    said = text(found)
    assert "1: 0 finished, 1 in the store, 0 to do" in said
    assert "finished  in the store  to do" in said.splitlines()[0]


def test_a_run_of_code_of_another_day_is_to_do(plan, trained, tmp_path):
    path = tmp_path / trained.record
    record = read_record(path)
    record["sha256"]["code"] = "0" * 64
    write_record(path, record)
    found = plan(f"results/{trained.record}")
    assert [(m.done, m.todo) for m in found.methods] == [(0, 1)]
    (work,) = found.workloads.values()
    assert work.finished[0].same_settings


def test_a_data_set_with_noise_has_the_size_of_its_base(plan, config, tmp_path):
    found = plan("results/tables/digits_noise-0.3.csv")
    clean = shape_of("digits", tmp_path, config)
    (work,) = found.workloads.values()
    run = studies.specification(config, Run("digits", "cnn", "sgd_30", 0))
    assert (work.dataset, work.size) == ("digits_noise-0.3", size_of(run, clean))
    assert found.target.name == "digits_noise-0.3"
    assert sum(m.todo for m in found.methods) == len(studies.chapter(config, "digits").runs)
    assert "calibration" in work.devices[found.here].source


def draw(folder, splits, count, mode="RGB", size=(20, 17)):
    """Write images of noise, one more in each further class."""
    random = np.random.default_rng(0)
    for split in splits:
        for index, name in enumerate(("cat", "dog", "newt")):
            parent = folder / split / name
            parent.mkdir(parents=True)
            for number in range(count + index):
                shape = (*size, 3) if mode == "RGB" else size
                pixels = random.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(parent / f"{number}.png")


@pytest.mark.parametrize(
    ("splits", "mode"), [(("train", "test"), "RGB"), (("",), "RGB"), (("",), "L")]
)
def test_a_folder_of_images_is_counted_as_it_will_be_prepared(tmp_path, splits, mode):
    draw(tmp_path / "pets", splits, 7, mode)
    files = {"npz": tmp_path / "pets.npz", "manifest": tmp_path / "pets.manifest.json"}
    prepare("pets", "", folder=tmp_path / "pets", **files)
    manifest = json.loads(files["manifest"].read_text())
    shape = ImageFolder(name="pets", folder=tmp_path / "pets").counted()
    counts = {name: manifest["counts"][name] for name in ("train", "test")}
    assert {"train": shape.train, "test": shape.test} == counts
    for name in ("num_classes", "image_size", "channels"):
        assert getattr(shape, name) == manifest[name], name


def test_a_folder_of_images_is_planned_before_it_is_prepared(plan, raw_config, tmp_path):
    draw(tmp_path / "pets", ("train", "test"), 9)
    raw_config["image_folders"] = {"pets": str(tmp_path / "pets")}
    raw_config["rts"]["datasets"]["pets"] = {
        "like": "digits",
        "methods": [{"method": "sgd_3"}, {"method": "pugd_3"}],
        "reference": "sgd_3",
        "sgd": "sgd_3",
        "train": {"batch_size": 4},
        "landscape": {"methods": []},
    }
    found = plan("pets")
    (work,) = found.workloads.values()
    images = 9 + 10 + 11
    assert work.size.steps == math.ceil(images / 4)
    assert [m.work.count for m in found.methods] == [3 * work.size.steps, 6 * work.size.steps]
    assert plan("pets_noise-0.2").methods[0].work.count == 3 * work.size.steps
    raw_config["image_folders"]["pets"] = str(tmp_path / "nowhere")
    with pytest.raises(PerturbError, match=r"no folder .*nowhere"):
        plan("pets")


def test_a_study_that_cannot_be_timed_says_what_to_run_first(plan, monkeypatch, tmp_path):
    import dataclasses

    study = dataclasses.replace(studies.get("gradients"), calibrate="")
    monkeypatch.setattr(
        studies, "get", lambda name, get=studies.get: study if name == "gradients" else get(name)
    )
    with pytest.raises(PerturbError, match=f"Finish a run first: snakemake -- {tmp_path}/"):
        plan("gradients_smoke")


PLANNED = """
import json, sys
from pathlib import Path
from perturb.config import Config
from perturb.planning import targets, survey
from perturb.planning.settings import Settings
from perturb.workflow import Workflow

root, results = Path(sys.argv[1]), Path(sys.argv[2])
config = Config(json.loads(sys.stdin.read()), root / "config/schema.yaml")
target = targets.resolve(sys.argv[3], Workflow(config, results, root))
found = survey.survey(target, config, Settings.of(config.values), results, results / "benchmarks")
print(survey.text(found))
print([name for name in ("torch", "torchvision") if name in sys.modules])
"""


def test_a_plan_that_needs_no_calibration_imports_no_torch(
    root, raw_config, trained, config, tmp_path
):
    run = Run("gradients_smoke", "sign_units", "toy_dimension-4_pretraining-0", 0)
    make(config, run, tmp_path)
    for target in ("digits", f"{tmp_path}/tables/gradients_smoke.csv"):
        done = subprocess.run(
            [sys.executable, "-c", PLANNED, str(root), str(tmp_path), target],
            input=json.dumps(raw_config),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "1 finished" in done.stdout or "0 finished, 84" in done.stdout
        assert "(1 finished run)" in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"
