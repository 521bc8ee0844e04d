"""docs/landscapes.md, "Without the workflow", to the letter: any module, any loss."""

import re

import pytest
import torch
from torch import nn

from perturb.figures import landscape_page
from perturb.landscape.area import flat_area
from perturb.landscape.curvature import measure
from perturb.landscape.objective import Objective


def test_the_code_in_the_docs_makes_a_landscape_of_a_regression(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (root / "docs/landscapes.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 5), torch.randn(40, 2)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    loss = nn.functional.mse_loss
    names = {"model": model, "inputs": inputs, "targets": targets, "loss": loss}
    exec(code, names)
    found = names["found"]
    with torch.inference_mode():
        assert found.loss[25, 25] == loss(model(inputs), targets).item()
    area = flat_area(found, 0.1)
    assert 0 < area.area < 4
    measured = measure(Objective(model, [(inputs, targets)], loss), radii=[0.05], seeds=[0])
    rise = measured["sharpness"][0]
    assert rise["several_steps"] >= rise["one_step"] > 0
    landscape_page.write(found, tmp_path / "page.html")
    assert "Plotly" in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no grid point"):
        found.__class__(found.alpha[1:] + 0.01, found.beta, found.loss, found.loss, {}).cut("alpha")
