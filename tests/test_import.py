"""What the README's snippet needs is there after `import perturb` alone."""

import subprocess
import sys


def test_the_readmes_snippet_runs_after_import_perturb_alone(root):
    page = (root / "README.md").read_text(encoding="utf-8")
    snippet = page.rpartition("```python\n")[2].partition("```")[0]
    assert "perturb.optim.build" in snippet
    before = """
import perturb, torch
model, epoch = torch.nn.Linear(2, 1), 0
assert perturb.models.names() and perturb.names.parse("sgd_1") and "optim" in dir(perturb)
def closure():
    model.zero_grad(); loss = model(torch.ones(3, 2)).square().mean(); loss.backward(); return loss
"""
    done = subprocess.run(
        [sys.executable, "-c", before + snippet], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
