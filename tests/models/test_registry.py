import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import perturb.models
from perturb.errors import PerturbError
from perturb.models.registry import MODELS, Model  # noqa: F401 (the page's line uses Model)


def test_names():
    assert perturb.models.names() == list(MODELS)
    assert {"upanet16", "resnet18", "cnn", "resnet18_imagenet", "vit", "deit"} <= set(MODELS)
    assert [name for name, model in MODELS.items() if model.pretrained] == [
        "resnet18_imagenet", "vit", "deit", "embedding_resnet50", "ir50_vit_pretrained"
    ]  # fmt: skip


def test_importing_and_checking_needs_no_torch():
    code = (
        "import sys, perturb.models, perturb.models.registry as r; perturb.models.names();"
        "r.get('upanet16').check(10, 32, 3);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_name_offers_the_closest():
    with pytest.raises(PerturbError, match=r"Unknown model 'upanets16'.*'upanet16'"):
        perturb.models.build("upanets16", 10, 32)


def test_every_function_can_be_imported():
    assert all(callable(model.load()) for model in MODELS.values())


WITHOUT_TORCHVISION = """
import sys
sys.modules |= {"torchvision": None, "timm": None}
import torch, perturb, perturb.landscape, perturb.optim, perturb.retrieval
from perturb.errors import PerturbError
network = perturb.models.build("cnn", 10, 8, 1)
images, labels = torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
optimizer = perturb.optim.build("pugd_1", network.parameters(), lr=0.1)
def closure():
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    return loss
optimizer.step(closure)
for name in ("vit", "embedding_small", "timm-resnet26", "torchvision-mobilenet_v3_small"):
    try:
        perturb.models.build(name, 10, 32)
    except PerturbError as error:
        print(error)
"""


def test_the_library_needs_torchvision_and_timm_for_their_models_alone():
    """They are no dependencies: pip would replace a user's torch with the one that they want."""
    command = [sys.executable, "-c", WITHOUT_TORCHVISION]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said and all("is not installed. Install the version that belongs" in one for one in said)


def test_a_model_of_ones_own(tmp_path, monkeypatch):
    """docs/add-a-model.md to the letter: its file, its registry line, its use."""
    page = (Path(__file__).parents[2] / "docs" / "add-a-model.md").read_text()
    file, line, use = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "perceptron.py").write_text(file)
    monkeypatch.setattr(perturb.models, "__path__", [*perturb.models.__path__, str(tmp_path)])
    (row,) = eval(f"[{line}]")
    monkeypatch.setitem(MODELS, row.name, row)
    namespace = {}
    exec(use, namespace)
    assert namespace["model"](torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    sys.modules.pop("perturb.models.perceptron")
