"""What a job's code hash depends on: the modules that it uses, and what these do."""

import shutil
import subprocess
import sys

import pytest

from perturb import code
from perturb.errors import PerturbError

RUNS = (("cnn", "pugd_6"), ("cnn", "samx1_6"), ("cnn", "sgd_6"), ("upanet16", "sgd_6"))


@pytest.fixture
def edit(root, tmp_path, monkeypatch):
    """Edit a copy of the library; return which of `RUNS` that changes, as four 0 or 1."""
    copy = tmp_path / "src"
    shutil.copytree(root / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "SOURCE", copy)

    def digests():
        code._home.cache_clear()
        code._module.cache_clear()
        return [code.digest(code.of_training(*run)) for run in RUNS]

    def changed(path, old, new):
        before, file = digests(), copy / "perturb" / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return "".join(str(int(a != b)) for a, b in zip(before, digests(), strict=True))

    yield changed
    code._home.cache_clear()
    code._module.cache_clear()


def test_an_edit_changes_the_hash_of_what_uses_it_only(edit):
    rules = "optim/rules"
    assert edit(f"{rules}/pugd.py", "alpha=self.scale", "alpha=2 * self.scale") == "1100"
    assert edit(f"{rules}/samx.py", "return gradient", "return gradient * 1") == "0100"
    assert edit(f"{rules}/gsam.py", "self.rho_min +", "self.rho_min -") == "0000"
    assert edit("optim/perturbed_sgd.py", "EPSILON = 1e-12", "EPSILON = 1e-11") == "1111"
    assert edit("models/upanet.py", "avg_pool2d(outputs", "max_pool2d(outputs") == "0001"
    assert edit("models/cnn.py", "(24, 48)", "(24, 32)") == "1110"
    assert edit("models/registry.py", '"small CNN', '"other CNN') == "0000"  # its entry counts
    assert edit("data/cifar.py", "from __future__", "X = 1\nfrom __future__") == "0000"
    assert edit("train/engine.py", '"""The training loop', '"""A loop') == "0000"
    assert edit("train/engine.py", "    steps = len(", "    # why\n\n    steps = len(") == "0000"


def test_planning_asks_without_torch():
    check = "from perturb import code; import sys; code.of_training('cnn', 'sgd_6'); "
    check += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_what_a_run_uses():
    used = code.of_training("cnn", "looksam_0.05_6")
    for module in ("train.engine", "train.state", "data.feeding", "optim.flat", "models.cnn"):
        assert f"perturb.{module}" in used
    assert [name for name in used if ".rules." in name] == [
        "perturb.optim.rules.looksam",
        "perturb.optim.rules.sam",
    ]
    with pytest.raises(PerturbError, match="Did you mean 'cnn'"):
        code.of_training("cnm", "sgd_6")


def test_every_script_and_every_module_that_it_names_is_found(root):
    for script in (root / "workflow" / "scripts").glob("*.py"):
        assert len(code.of(script)) > 3, script


def test_a_name_is_followed_to_where_it_is_made():
    assert code.imports("from perturb.data import load") == ["perturb.data.prepared"]
    assert code.imports("from perturb import models") == ["perturb.models"]
    assert code.imports("def f():\n    import perturb.random") == ["perturb.random"]
    assert code.imports("if TYPE_CHECKING:\n    import perturb.random") == []
