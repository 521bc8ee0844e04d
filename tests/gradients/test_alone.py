"""docs/gradients.md, "Alone", to the letter: any module, any loss, without the workflow."""

import re

import torch
from torch import nn


def test_the_code_in_the_docs_estimates_the_gradient_of_a_smooth_model(root):
    text = (root / "docs/gradients.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    names = {
        "model": model,
        "inputs": torch.randn(50, 3),
        "targets": torch.randn(50, 1),
        "loss": nn.functional.mse_loss,
    }
    loss = names["loss"](model(names["inputs"]), names["targets"])
    true = torch.autograd.grad(loss, list(model.parameters()))
    coordinate, evolution = code.split("by_name = nes")
    for source, least in ((coordinate, 0.99), (f"{coordinate}\nby_name = nes{evolution}", 0.9)):
        exec(source, names)
        found = [names["by_name"][name] for name, _ in model.named_parameters()]
        assert all(g.shape == p.shape for g, p in zip(found, model.parameters(), strict=True))
        both = (torch.cat([g.flatten() for g in gs]) for gs in (found, true))
        assert torch.cosine_similarity(*both, dim=0) > least
