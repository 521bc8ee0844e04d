import numpy as np
import pytest
import torch
from torch import nn

from perturb.ensembles import paths


def test_barriers_of_parabolas():
    """The specification's: (x^2 - 1)^2 from -1 to 1 rises by 1, x^2 by nothing."""
    xs = np.linspace(-1, 1, 21)
    assert paths.barrier(list((xs**2 - 1) ** 2)) == pytest.approx(1)
    assert paths.barrier(list(xs**2)) == pytest.approx(0)


def valley(theta):
    """A loss of two parameters that is 0 on the half circle of radius 1, and high inside."""
    return 4 * (theta.norm() - 1) ** 2


def gradient(theta, step):
    at = theta.clone().requires_grad_()
    return torch.autograd.grad(valley(at), at)[0]


def test_a_bend_follows_a_curved_valley():
    ends = torch.tensor([1.0, 0.05]), torch.tensor([-1.0, 0.05])
    ends = tuple(end / end.norm() for end in ends)
    shares = [at / 20 for at in range(21)]
    line = [valley(paths.line(*ends, share)).item() for share in shares]
    bend = paths.train_bend(
        gradient, *ends, steps=400, lr=0.05, generator=torch.Generator().manual_seed(0)
    )
    curve = [valley(paths.bezier(ends[0], bend, ends[1], share)).item() for share in shares]
    assert paths.barrier(line) > 3
    assert paths.barrier(curve) < 0.2


def network(batch_norm):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)]
    if batch_norm:
        layers.insert(2, nn.BatchNorm1d(8))
    return nn.Sequential(*layers)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_network_at_other_weights(batch_norm):
    model = network(batch_norm)
    generator = torch.Generator().manual_seed(1)
    batches = [
        (torch.randn(16, 3, 2, 2, generator=generator), torch.arange(16) % 3) for _ in range(3)
    ]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    at = paths.NetworkAt(model, batches, batches)
    weights = at.vector(model.state_dict())
    moved = weights + 0.1
    found = at.point(moved)
    # By hand: the same network with these weights, statistics over all training images.
    other = network(batch_norm)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
        inputs = torch.cat([inputs for inputs, _ in batches])
        labels = torch.cat([labels for _, labels in batches])
        if batch_norm:
            hidden = other[1](other[0](inputs)).view(3, 16, 8)
            other[2].running_mean = hidden.mean(1).mean(0)
            other[2].running_var = hidden.var(1).mean(0)
        logits = other.eval()(inputs)
    assert found.loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert found.error == pytest.approx((logits.argmax(1) != labels).double().mean().item())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_gradient_is_that_of_training_mode():
    model = network(True)
    inputs, labels = torch.randn(16, 3, 2, 2), torch.arange(16) % 3
    at = paths.NetworkAt(model, [(inputs, labels)], [(inputs, labels)])
    found = at.gradient(at.vector(model.state_dict()), 5)
    model.train()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    expected = torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters()])
    torch.testing.assert_close(found, expected)
