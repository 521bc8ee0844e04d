"""Every file of a folder is accounted for, whatever is wrong with it."""

import json
import os

import numpy as np
import pytest

from perturb.audit.reading import OTHER, READ, UNREADABLE, read_folder
from perturb.errors import PerturbError

from .folders import make_plan, rising, write


def by_name(plan):
    files, findings = read_folder(plan)
    return {file.path: file for file in files}, {f.path: f for f in findings}


def test_every_file_is_accounted_for(tmp_path):
    write(tmp_path / "pugd_20.json", rising(0.9))
    (tmp_path / "README.md").write_text("what this is")
    (tmp_path / "empty_20.json").write_text("")
    (tmp_path / "cut_20.json").write_text('{"test_accuracy": [0.1, 0.2')
    (tmp_path / "broken_20.json").write_text('{"test_accuracy": [0.1, oops, 0.3, 0.4], "a": 1}')
    (tmp_path / "list_20.json").write_text("[1, 2]")
    (tmp_path / "binary_20.json").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "deep_20.json").write_text("[" * 100000)
    os.symlink(tmp_path / "nowhere", tmp_path / "link_20.json")
    write(tmp_path / "text_20.json", ["high"])
    write(tmp_path / "nested_20.json", [[0.1]])
    write(tmp_path / "none_20.json", [])
    files, findings = by_name(make_plan(tmp_path))
    assert len(files) == 12
    assert files["pugd_20.json"].state == READ
    assert files["README.md"].state == OTHER
    unreadable = {name for name, file in files.items() if file.state == UNREADABLE}
    assert unreadable == set(files) - {"pugd_20.json", "README.md"}
    truncated = {path for path, finding in findings.items() if finding.kind == "truncated"}
    assert truncated == {"empty_20.json", "cut_20.json", "none_20.json"}


def test_a_missing_key_offers_the_closest(tmp_path):
    (tmp_path / "pugd_20.json").write_text(json.dumps({"valid": {"acc": [0.1]}, "train": 3}))
    plan = make_plan(tmp_path, fields={"test_accuracy": "valid.acurracy"})
    _, findings = by_name(plan)
    assert "has no 'valid.acurracy'" in findings["pugd_20.json"].text
    assert "Did you mean 'valid.acc'?" in findings["pugd_20.json"].text


def test_csv_and_json_of_other_shapes_give_the_same_curves(tmp_path):
    accuracy = np.round(100 * rising(0.9), 3)
    lines = ["epoch, acc", *(f"{i}, {value}" for i, value in enumerate(accuracy))]
    (tmp_path / "pugd_20-0.csv").write_text("\n".join(lines))
    values = {"acc": list(accuracy), "claimed": {"best": float(accuracy.max())}}
    (tmp_path / "pugd_20-1.json").write_text(json.dumps(values))
    fields = {"test_accuracy": "acc", "best_accuracy": "claimed.best"}
    files, findings = by_name(make_plan(tmp_path, fields=fields, accuracy="percent"))
    csv, other = files["pugd_20-0.csv"], files["pugd_20-1.json"]
    np.testing.assert_allclose(csv.accuracy, accuracy / 100)
    np.testing.assert_array_equal(csv.accuracy, other.accuracy)
    assert other.best_accuracy == pytest.approx(accuracy.max() / 100)
    assert (csv.seed, other.seed) == ("0", "1")
    assert not findings


def test_percent_that_is_read_as_fractions_says_what_to_set(tmp_path):
    write(tmp_path / "pugd_20.json", 100 * rising(0.9))
    _, findings = by_name(make_plan(tmp_path, accuracy="fraction"))
    assert "set audits.mine.accuracy" in findings["pugd_20.json"].text


def test_values_that_are_no_numbers_and_unequal_lengths_are_findings(tmp_path):
    accuracy = list(rising(0.9))
    write(tmp_path / "pugd_20.json", [*accuracy[:5], float("nan"), *accuracy[6:]])
    write(tmp_path / "ugd_20.json", accuracy, train_loss=[1.0] * 15)
    files, findings = by_name(make_plan(tmp_path))
    assert findings["pugd_20.json"].kind == "non_finite"
    assert "not finite in epoch 5" in findings["pugd_20.json"].text
    assert findings["ugd_20.json"].kind == "other_series"
    assert len(files["ugd_20.json"].accuracy) == 20


def test_names_say_method_model_and_data_set(tmp_path):
    write(tmp_path / "cifar_10" / "vit_pugdr_isin2.0_0.01_20.json", rising(0.9))
    write(tmp_path / "cifar_10" / "my_own_20.json", rising(0.9))
    write(tmp_path / "other" / "pugdr_isn_2_0.01_20.json", rising(0.9))
    plan = make_plan(
        tmp_path,
        pattern=r"(?P<dataset>[^/]+)/(?P<method>[^/]+)\.json",
        datasets={"cifar_10": "cifar10"},
        model="upanet16",
        outside_grammar=("my_own_20",),
    )
    files, findings = by_name(plan)
    named = files["cifar_10/vit_pugdr_isin2.0_0.01_20.json"]
    assert (named.dataset, named.model) == ("cifar10", "vit")
    assert named.canonical == "pugdr_isin_2_0.01_20"
    assert files["cifar_10/my_own_20.json"].method is None
    assert files["cifar_10/my_own_20.json"].epochs == 20
    assert list(findings) == ["other/pugdr_isn_2_0.01_20.json"]
    assert "'pugdr_isin_2_0.01_20'" in findings["other/pugdr_isn_2_0.01_20.json"].text
    assert files["other/pugdr_isn_2_0.01_20.json"].dataset == "other"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "("}, "is no regular expression"),
        ({"pattern": ".*"}, "needs a group"),
        ({"pattern": r"(?P<method>x)"}, "none of 1 files matches the pattern"),
        ({"fields": {"test_loss": "loss"}}, "missing key 'test_accuracy'"),
    ],
)
def test_a_wrong_plan_gets_one_message(tmp_path, settings, message):
    write(tmp_path / "pugd_20.json", rising(0.9))
    with pytest.raises(PerturbError, match=message.replace("(", r"\(")):
        read_folder(make_plan(tmp_path, **settings))


def test_no_folder_and_an_empty_folder_say_what_to_do(tmp_path):
    with pytest.raises(PerturbError, match="no such folder of result files"):
        read_folder(make_plan(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PerturbError, match="is empty"):
        read_folder(make_plan(tmp_path / "empty"))
