"""What is said of finished results before they are made again, and what comes back."""

import shutil
from types import SimpleNamespace

from perturb import code, studies
from perturb.jobs.finished import (
    Standing,
    code_changes,
    come_back,
    forget_what_is_gone,
    in_store,
    standing,
)
from perturb.runs import made_from, names_of, write_record
from perturb.studies.rts.settings import RtsSpecification

from .made_up import bytes_of, make_run


def specified(seed=0, **settings):
    return RtsSpecification(dataset="digits", model="cnn", method="sgd_2", seed=seed, **settings)


SPECIFICATION = specified()
NEUTRAL = RtsSpecification.NEUTRAL


def finish(results, modules, seed=0):
    """Write a run whose record names the code; return its folder and the record."""
    folder = make_run(results, seed)
    files = ["epochs.csv", "last.safetensors", "checkpoints/epoch0.safetensors"]
    record = {
        "study": "rts",
        "dataset": "digits",
        "model": "cnn",
        "method": "sgd_2",
        "seed": seed,
        "scale": "full",
        "status": "ok",
        "last": {},
        "specification": SPECIFICATION.settings(),
        "device": "cpu",
        "versions": {},
        "threads": 1,
        "code": modules,
        "sha256": {"code": code.digest(modules), "files": dict.fromkeys(files, "")},
    }
    write_record(folder / "record.json", record)
    return folder, record


def test_changed_code_is_said_by_module_and_commit(store, results):
    now = studies.code_of(SPECIFICATION)
    then = now | {"perturb.optim.rules.sgd": "other"}
    folder, record = finish(results, then)
    asked = [(folder / "record.json", SPECIFICATION)]
    store.keep(made_from(record, NEUTRAL), folder, names_of(record))
    said = code_changes(asked, store, "def456")
    assert said.startswith(
        "perturb: 1 finished run is of other code than today's: perturb.optim.rules.sgd changed "
        "(made by commit abc123; now def456). The old ones stay in "
    )
    assert "changed. " not in said
    assert "stay in" not in code_changes(asked, None)
    # Once the store has today's, too, nothing will be made again.
    store.keep(made_from(record | {"code": now}, NEUTRAL), folder, names_of(record))
    assert code_changes(asked, store) == ""
    finish_again(results, now)
    assert code_changes(asked, store) == ""
    assert code_changes([(results / "none/record.json", SPECIFICATION)], store) == ""


def test_a_run_is_in_the_store_where_settings_code_and_device_are_those_asked_for(store, results):
    asked = specified(device="cpu")
    now = studies.code_of(asked)
    assert in_store([asked], None) == in_store([asked], store) == frozenset()
    for seed, code_then, device in ((0, now, "cpu (X)"), (1, now, "cuda (Y)"), (2, {}, "cpu (X)")):
        folder, record = finish(results, code_then, seed)
        record |= {"seed": seed, "device": device}
        store.keep(made_from(record, NEUTRAL), folder, names_of(record))
    assert in_store([specified(seed, device="cpu") for seed in range(4)], store) == {asked.run}
    assert in_store([specified(device="cpu", learning_rate=0.5)], store) == frozenset()


def finish_again(results, modules):
    shutil.rmtree(results)
    finish(results, modules)


def test_only_what_is_there_and_has_a_specification_is_noted(results):
    folder, _ = finish(results, {})
    text = SPECIFICATION.to_json()
    jobs = [
        SimpleNamespace(output=[folder / "record.json"], params={"specification": text}),
        SimpleNamespace(output=[folder / "gone.json"], params={"specification": text}),
        SimpleNamespace(output=[folder / "record.json"], params={"code": "1"}),
    ]
    (one,) = standing(jobs)
    assert one.job is jobs[0]
    assert one.record == folder / "record.json"
    landscape = results / "landscapes/digits/cnn/sgd_2/seed0/plane0.npz"
    assert Standing((landscape,), SPECIFICATION).record is None


def test_snakemake_forgets_a_job_only_where_all_its_outputs_are_gone(tmp_path):
    # The record of an output that is there says with what it was made: by it alone a changed
    # parameter is seen, should Snakemake be killed before the job begins.
    (tmp_path / "there").touch()
    jobs = [
        SimpleNamespace(output=[f"{tmp_path}/there", f"{tmp_path}/gone"]),
        SimpleNamespace(output=[f"{tmp_path}/a", f"{tmp_path}/b"]),
    ]
    forgotten = []
    forget_what_is_gone(jobs, forgotten.append)
    assert forgotten == [f"{tmp_path}/a", f"{tmp_path}/b"]


def test_outputs_that_are_gone_come_back_where_the_settings_are_those_asked_for(store, results):
    folder, record = finish(results, {"perturb.train.run": "old"})
    before = bytes_of(folder)
    store.keep(made_from(record, NEUTRAL), folder, names_of(record))
    files = tuple(folder / name for name in ("record.json", "epochs.csv", "checkpoints"))
    asked = Standing(files, SPECIFICATION)
    assert come_back([asked], store) == []  # nothing is gone
    shutil.rmtree(folder)
    assert come_back([Standing(files, specified(learning_rate=0.5))], store) == []
    assert not folder.exists()
    assert come_back([asked], store) == [asked]
    assert bytes_of(folder) == before
