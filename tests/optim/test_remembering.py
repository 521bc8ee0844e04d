"""A rule of a user's own is saved whole, or refused by the names of what it would forget."""

import copy
import re

import numpy as np
import pytest
import torch

from perturb.errors import PerturbError
from perturb.methods import Method
from perturb.optim.optimizer import PerturbedOptimizer

from .problems import closure_of, problem_of


class Mean(PerturbedOptimizer):
    """u = m, m = beta m + (1 - beta) g: a newcomer's first try."""

    m = None

    def direction(self, weights, gradient, gradient_at):
        self.m = gradient.clone() if self.m is None else self.beta * self.m + 0.1 * gradient
        return self.m


class Named(Mean):
    def _remembered(self):
        return (*super()._remembered(), "m")


class InPlace(PerturbedOptimizer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.m = torch.zeros(sum(p.numel() for g in self.param_groups for p in g["params"]))

    def direction(self, weights, gradient, gradient_at):
        self.m.mul_(self.beta).add_(gradient)
        return gradient


class Containers(PerturbedOptimizer):
    seen: list = []  # noqa: RUF012 of the class, as a newcomer may write it

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.cache = {"steps": 0, "random": np.random.default_rng(0)}

    def direction(self, weights, gradient, gradient_at):
        self.cache["steps"] += 1
        self.seen.append(1)
        return gradient


class OwnParameter(PerturbedOptimizer):
    def direction(self, weights, gradient, gradient_at):
        self.beta *= 0.5
        return gradient


class Generator(PerturbedOptimizer):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.random = np.random.default_rng(0)

    def direction(self, weights, gradient, gradient_at):
        return gradient * self.random.uniform()


class OfEpoch(PerturbedOptimizer):
    """What is set anew from the epoch, and what never changes, needs no saving."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.table, self.names = torch.arange(10.0), {"a": [1, 2]}

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self.share = 1 / (1 + epoch)
        self.half = torch.tensor(self.share / 2)

    def direction(self, weights, gradient, gradient_at):
        return self.share * self.half * self.table[0].add(1) * gradient


class Accumulating(PerturbedOptimizer):
    """Set in `set_epoch`, but from what it was before."""

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self.factor = 0.5 * getattr(self, "factor", 1.0) if epoch else 1.0

    def direction(self, weights, gradient, gradient_at):
        return self.factor * gradient


def made(rule, problem, steps=2):
    method = Method("mine", epochs=5, parameters={"beta": 0.9})
    optimizer = rule(problem.parameters, method, lr=0.05)
    for epoch in range(steps):
        optimizer.set_epoch(epoch)
        optimizer.step(closure_of(optimizer, problem.losses[0][0]))
    return optimizer


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (Mean, "m"),
        (InPlace, "m"),
        (Containers, "cache, seen"),
        (OwnParameter, "beta"),
        (Generator, "random"),
    ],
)
def test_what_steps_changed_and_the_state_lacks_is_refused_by_name(rule, names):
    optimizer = made(rule, problem_of("quadratic"))
    message = f"the rule 'mine' keeps {names} as an attribute.*_remembered.*looksam.py"
    with pytest.raises(PerturbError, match=message):
        optimizer.state_dict()


def test_a_value_that_depends_on_epochs_before_is_refused():
    with pytest.raises(PerturbError, match=re.escape("keeps factor as")):
        made(Accumulating, problem_of("quadratic"), steps=3).state_dict()


def test_what_is_set_anew_at_each_epoch_is_no_state():
    optimizer = made(OfEpoch, problem_of("quadratic"), steps=3)
    before = [group["lr"] for group in optimizer.param_groups]
    assert optimizer.state_dict()["perturb"]["epoch"] == 2
    assert [group["lr"] for group in optimizer.param_groups] == before
    assert optimizer.share == 1 / 3


def test_nothing_is_refused_before_the_first_step_or_for_what_others_set():
    problem = problem_of("quadratic")
    optimizer = made(OfEpoch, problem, steps=0)
    optimizer.state_dict()
    optimizer.step(closure_of(optimizer, problem.losses[0][0]))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)  # wraps `step`
    optimizer.step(closure_of(optimizer, problem.losses[0][0]))
    schedule.step()
    optimizer.state_dict()


def test_a_tensor_that_is_named_comes_back_as_it_was():
    """A run stopped in between comes to the bits of one that was not; the state is a copy."""
    whole, part = problem_of("quadratic"), problem_of("quadratic")
    made(Named, whole, steps=4)
    first = made(Named, part)
    state = copy.deepcopy(first.state_dict())
    weights = [p.detach().clone() for p in part.parameters]
    first.m.fill_(7)
    rest = problem_of("quadratic")
    with torch.no_grad():
        for p, value in zip(rest.parameters, weights, strict=True):
            p.copy_(value)
    second = made(Named, rest, steps=0)
    second.load_state_dict(state)
    for epoch in (2, 3):
        second.set_epoch(epoch)
        second.step(closure_of(second, rest.losses[0][0]))
    assert np.array_equal(rest.weights, whole.weights)
