"""The second pass of a step sees what the first one saw: random numbers and buffers."""

import copy
import itertools
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perturb.optim import build

from .loops import INPUTS, LABELS, TWICE, closure_of, net, weights_of


class DrawsFrom(nn.Module):
    """A dropout or stochastic depth of one's own, from any generator."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw
        self.generator = torch.Generator().manual_seed(4)

    def forward(self, x):
        return x * self.draw(self, x)


def functional_dropout(_, x):
    return F.dropout(torch.ones_like(x), 0.5)


DRAWS = {
    "dropout": functional_dropout,
    "stochastic depth": lambda _, x: (torch.rand(len(x), 1) < 0.5).float(),
    "a generator of its own": lambda m, x: torch.rand(x.shape, generator=m.generator),
    "Python's": lambda _, x: random.random(),
    "NumPy's": lambda _, x: float(np.random.rand()),
    "NumPy's normals, one at a time": lambda _, x: float(np.random.randn()),
}


@pytest.mark.parametrize("given", [True, False], ids=["model given", "model not given"])
@pytest.mark.parametrize("draw", DRAWS)
def test_a_second_pass_draws_what_the_first_one_drew(draw, given):
    """A radius of nothing makes SAM plain SGD, and its random numbers go on as SGD's do."""
    found = {}
    for name in ("sgd_10", "sam_1e-12_10"):
        model = net(DrawsFrom(DRAWS[draw]))
        optimizer = build(name, model.parameters(), model=model if given else None)
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        for _ in range(5):
            optimizer.step(closure_of(optimizer, model))
        after = (torch.rand(()), random.random(), np.random.randn())
        found[name] = (weights_of(model), *map(float, after))
    plain, perturbed = found.values()
    assert torch.allclose(plain[0], perturbed[0], rtol=0, atol=1e-6)
    assert plain[1:] == perturbed[1:]


@pytest.mark.parametrize("rule", TWICE)
def test_every_rule_draws_once_for_both_passes(rule):
    masks = []
    model = net(DrawsFrom(lambda _, x: masks.append(F.dropout(torch.ones_like(x))) or masks[-1]))
    optimizer = build(f"{rule.format('0.05')}_10", model.parameters())
    for _ in range(2):
        optimizer.step(closure_of(optimizer, model))
    first = masks[: len(masks) // 2] if "looksam" not in rule else masks[:2]
    assert torch.equal(*first) and not torch.equal(masks[0], masks[-1])


class OwnNorm(nn.Module):
    """A normalisation of one's own: its buffer is set anew, and used in training too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("unused", None)

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        self.calls += 1
        return x - self.mean


class Lazily(nn.Module):
    """Makes its buffer in its first pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("largest", None)

    def forward(self, x):
        now = x.detach().abs().max()
        self.largest = now if self.largest is None else torch.maximum(self.largest, now)
        return x / self.largest


class Derived(nn.BatchNorm1d):
    """A batch-norm derived from PyTorch's that minds no flag of it."""

    def forward(self, x):
        self.running_mean.lerp_(x.detach().mean(0), 0.1)
        return x - self.running_mean


class Activated(nn.BatchNorm1d):
    """As timm's: moved by PyTorch's kernel, which counts no version."""

    def forward(self, x):
        return super().forward(x).relu()


MOVING = {
    "with its activation": lambda: Activated(8),
    "batch-norm": lambda: nn.BatchNorm1d(8),
    "derived": lambda: Derived(8),
    "instance-norm": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten()
    ),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)),
    "spectral norm, old": lambda: nn.utils.spectral_norm(nn.Linear(8, 8)),
    "own": OwnNorm,
    "lazily": Lazily,
}


@pytest.mark.parametrize("given", [True, False], ids=["model given", "model not given"])
@pytest.mark.parametrize("kind", MOVING)
def test_every_buffer_moves_once_a_step(kind, given):
    """To the same values as SGD's while the weights are the same: with a learning rate of 0."""
    found = []
    for name in ("sgd_10", "sam_0.05_10", "pugd_10"):
        model = net(MOVING[kind]())
        optimizer = build(name, model.parameters(), lr=0.0, model=model if given else None)
        for inputs in INPUTS.split(6):
            optimizer.step(closure_of(optimizer, model, inputs, LABELS[:6]))
        found.append({n: b.clone() for n, b in model.named_buffers()})
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name])
        assert torch.equal(found[0][name], found[2][name])


def test_a_second_pass_that_fails_leaves_nothing_moved():
    model = net(nn.BatchNorm1d(8), OwnNorm(), nn.Dropout())
    optimizer = build("sam_0.05_10", model.parameters())
    good = closure_of(optimizer, model)
    optimizer.step(good)
    calls = itertools.count()

    def fails():
        loss = good()
        if next(calls) == 1:
            raise MemoryError("of the second pass")
        return loss

    twin = copy.deepcopy(model)
    torch.manual_seed(8)
    F.cross_entropy(twin(INPUTS), LABELS)  # one pass
    drawn = torch.rand(())
    torch.manual_seed(8)
    with pytest.raises(MemoryError):
        optimizer.step(fails)
    assert torch.equal(torch.rand(()), drawn)
    expected = twin.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert model[2].track_running_stats


@pytest.mark.parametrize("rule", TWICE)
def test_a_closure_that_does_not_zero_gradients_is_served_as_one_that_does(rule):
    found = []
    for zeroes in (True, False):
        model = net()
        optimizer = build(f"{rule.format('0.05')}_10", model.parameters())
        zero = closure_of(optimizer, model)

        def no_zero(model=model):
            loss = F.cross_entropy(model(INPUTS), LABELS)
            loss.backward()
            return loss

        for _ in range(3):
            optimizer.zero_grad()
            optimizer.step(zero if zeroes else no_zero)
        found.append(weights_of(model))
    assert torch.equal(*found)


def test_autocast_around_the_step_does_not_hide_the_perturbation():
    """Autocast keeps copies of the weights, which the second pass must not be given."""
    found = []
    for outside in (True, False):
        model = net()
        optimizer = build("sam_0.5_10", model.parameters())
        plain = closure_of(optimizer, model)

        def inside(plain=plain):
            with torch.autocast("cpu", torch.bfloat16):
                return plain()

        for _ in range(2):
            if outside:
                with torch.autocast("cpu", torch.bfloat16):
                    optimizer.step(plain)
            else:
                optimizer.step(inside)
        found.append(weights_of(model))
    assert torch.equal(*found)
