"""What a job's code hash depends on: the modules that it uses, and what these do."""

import shutil
import subprocess
import sys

import pytest

from perturb import code, studies
from perturb.errors import PerturbError
from perturb.studies.rts.settings import RtsSpecification

RUNS = (("cnn", "pugd_6"), ("cnn", "samx1_6"), ("cnn", "sgd_6"), ("upanet16", "sgd_6"))


def code_of(model, method, base="sgd"):
    """Return the hashes of the modules that a run of study rts uses."""
    run = RtsSpecification(dataset="digits", model=model, method=method, seed=0, base=base)
    return studies.code_of(run)


@pytest.fixture
def edit(root, tmp_path, monkeypatch):
    """Edit a copy of the library; return which of `RUNS` that changes, as four 0 or 1."""
    copy = tmp_path / "src"
    shutil.copytree(root / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "SOURCE", copy)

    def digests():
        code._home.cache_clear()
        code._module.cache_clear()
        code._of_modules.cache_clear()
        return [code.digest(code_of(*run)) for run in RUNS]

    def changed(path, old, new):
        before, file = digests(), copy / "perturb" / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return "".join(str(int(a != b)) for a, b in zip(before, digests(), strict=True))

    yield changed
    code._home.cache_clear()
    code._module.cache_clear()
    code._of_modules.cache_clear()


def test_an_edit_changes_the_hash_of_what_uses_it_only(edit):
    rules = "optim/rules"
    assert edit(f"{rules}/pugd.py", "alpha=self.scale", "alpha=2 * self.scale") == "1100"
    assert edit(f"{rules}/samx.py", "return gradient", "return gradient * 1") == "0100"
    assert edit(f"{rules}/gsam.py", "self.rho_min +", "self.rho_min -") == "0000"
    bases = "optim/bases"
    assert edit(f"{bases}/sgd.py", 'lr=settings["lr"]', 'lr=-settings["lr"]') == "1111"
    assert edit(f"{bases}/adam.py", "beta1=beta1", "beta1=beta2") == "0000"
    assert edit("optim/norms.py", "EPSILON = 1e-12", "EPSILON = 1e-11") == "1111"
    assert edit("models/upanet.py", "avg_pool2d(outputs", "max_pool2d(outputs") == "0001"
    assert edit("models/cnn.py", "(24, 48)", "(24, 32)") == "1110"
    assert edit("models/registry.py", '"small CNN', '"other CNN') == "0000"  # its entry counts
    assert edit("data/cifar.py", "from __future__", "X = 1\nfrom __future__") == "0000"
    assert edit("train/driver.py", '"""', '"""Other words. ') == "0000"
    assert edit("train/driver.py", "from __future__", "# why\n\nfrom __future__") == "0000"
    assert edit("train/classifier.py", "SPLITS = (", "_MORE = 1\nSPLITS = (") == "1111"
    # What a method's name comes to counts, and not how it is read.
    assert edit("methods.py", "math.pi", "3 * math.pi") == "1111"
    assert edit("names.py", "_EXAMPLES = (", '_EXAMPLES = (\n    "pugd_4",') == "0000"
    assert edit("slugs.py", "NUMBER = ", "MORE = 1\nNUMBER = ") == "0000"
    assert (
        edit(
            "studies/rts/settings.py",
            "schedule_clock: str",
            "more: int = 1\n    schedule_clock: str",
        )
        == "0000"
    )
    assert (
        edit(
            "studies/gradients/settings.py",
            "import",
            "import json\nimport",
        )
        == "0000"
    )
    assert edit("runs.py", "import json", "import json  # why") == "0000"


def test_planning_asks_without_torch():
    check = (
        "from perturb import studies; from perturb.studies.rts.settings import RtsSpecification;"
        "run = RtsSpecification(dataset='digits', model='cnn', method='sgd_6', seed=0);"
        "assert studies.code_of(run); import sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_what_a_run_uses():
    used = code_of("cnn", "looksam_0.05_6")
    for module in (
        "train.driver",
        "train.classifier",
        "train.state",
        "data.feeding",
        "optim.flat",
        "models.cnn",
    ):
        assert f"perturb.{module}" in used
    assert [name for name in used if ".rules." in name] == [
        "perturb.optim.rules.looksam",
        "perturb.optim.rules.sam",
    ]
    for base, files in (("sgd", ["sgd"]), ("adam", ["adam"]), ("adamw", ["adam", "adamw"])):
        used = code_of("cnn", "sgd_6", base)
        assert [name for name in used if ".bases." in name] == [
            f"perturb.optim.bases.{name}" for name in files
        ]
    with pytest.raises(PerturbError, match=r"no base 'adan'\. Did you mean 'adam'"):
        code_of("cnn", "sgd_6", "adan")
    with pytest.raises(PerturbError, match="Did you mean 'cnn'"):
        code_of("cnm", "sgd_6")


def test_every_script_and_every_module_that_it_names_is_found(root):
    for script in (root / "workflow" / "scripts").glob("*.py"):
        assert code.of(script) or script.name == "train.py"  # a run has a hash of its own


def test_a_name_is_followed_to_where_it_is_made():
    assert code.imports("from perturb.data import load") == ["perturb.data.prepared"]
    assert code.imports("from perturb import models") == ["perturb.models"]
    assert code.imports("def f():\n    import perturb.random") == ["perturb.random"]
    assert code.imports("if TYPE_CHECKING:\n    import perturb.random") == []
