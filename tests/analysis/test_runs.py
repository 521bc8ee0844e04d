import json

import pytest

from perturb.analysis import runs
from perturb.errors import PerturbError
from perturb.files import read_json, sha256_file, write_json

from .study import write_run


def test_a_row_a_run(records):
    frame = runs.collect(reversed(records))
    assert len(frame) == len(records)
    assert list(frame["method"]) == sorted(frame["method"])
    diverged = frame[frame["status"] == "diverged"]
    assert list(diverged["diverged_at_step"]) == [143]
    record = json.loads(records[0].read_text())
    row = frame[frame["record"] == str(records[0])].iloc[0]
    assert row["last_test_accuracy"] == record["last"]["test_accuracy"]
    assert row["data_sha256"] == record["sha256"]["data"]


def test_no_record_is_an_empty_frame():
    assert runs.collect([]).empty


def test_curves_are_the_epochs_of_every_run(records):
    frame = runs.collect(records[:4])
    curves = runs.curves(frame)
    assert len(curves) == frame["epochs_completed"].sum()
    assert set(curves["method"]) == set(frame["method"])


def test_a_run_that_diverged_at_once_has_no_epochs(tmp_path):
    path = write_run(tmp_path, "sgd_30", 0, diverged=True, epochs_completed=0, last=None, best=None)
    path.with_name("epochs.csv").write_text("\n")
    hashes = {"files": {"epochs.csv": sha256_file(path.with_name("epochs.csv"))}}
    write_json(path, read_json(path) | {"sha256": hashes})
    frame = runs.collect([path])
    assert len(frame) == 1
    assert runs.curves(frame).empty


@pytest.mark.parametrize(
    ("file", "spoil", "says"),
    [
        ("record.json", lambda text: text[:100], "damaged"),
        ("record.json", lambda text: "[]", "damaged"),
        ("record.json", lambda text: "{}", "no hash of its own"),
        (
            "record.json",
            lambda text: text.replace('"seed": 0', '"seed": 1'),
            "not what was written",
        ),
        ("epochs.csv", lambda text: text[:-40], "damaged or edited"),
        ("epochs.csv", lambda text: text.replace("\n3,", "\n4,"), "damaged or edited"),
    ],
)
def test_a_spoilt_file_is_named(tmp_path, file, spoil, says):
    record = write_run(tmp_path, "sgd_30", 0)
    path = record.with_name(file)
    path.write_text(spoil(path.read_text()), encoding="utf-8")
    with pytest.raises(PerturbError, match=says) as error:
        runs.collect([record])
    assert str(path) in str(error.value)


def test_a_record_that_lacks_a_key_is_refused(tmp_path):
    path = write_run(tmp_path, "sgd_30", 0)
    record = read_json(path)
    del record["device"]
    write_json(path, record)
    with pytest.raises(PerturbError, match="lacks device"):
        runs.collect([path])


def test_a_missing_file_is_named(tmp_path):
    path = write_run(tmp_path, "sgd_30", 0)
    path.with_name("epochs.csv").unlink()
    with pytest.raises(PerturbError, match=r"epochs\.csv: no such file"):
        runs.collect([path])
    with pytest.raises(PerturbError, match="no such file"):
        runs.collect([tmp_path / "record.json"])


def test_two_records_of_one_run_are_refused(tmp_path):
    paths = [write_run(tmp_path / part, "sgd_30", 0) for part in ("a", "b")]
    with pytest.raises(PerturbError, match="two records describe one run"):
        runs.collect(paths)
