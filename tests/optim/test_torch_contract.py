"""What PyTorch's own tests ask of every optimizer, of every rule on every base.

After `torch/testing/_internal/common_optimizers.py` (`optim_db`) and `test/test_optim.py`; their
names are kept. They give no closure; these do.
"""

import copy

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from perturb import bases, names
from perturb.errors import PerturbError
from perturb.optim import build

OPTIMIZERS = [(rule, base) for rule in names.rules() for base in bases.options()]
every_optimizer = pytest.mark.parametrize(("rule", "base"), OPTIMIZERS)


def made(rule, base, parameters, lr=0.05, **options):
    return build(f"{rule}_20", parameters, lr, 0.0, base=base, **options)


def problem(dtype=torch.float64):
    """A linear fit, as `test_forloop_goes_right_direction` has it."""
    draws = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(5, 3, dtype=dtype, generator=draws))
    bias = nn.Parameter(torch.randn(5, dtype=dtype, generator=draws))
    given = torch.randn(3, dtype=dtype, generator=draws)
    return weight, bias, lambda: (weight.mv(given) + bias).pow(2).sum()


def closure_of(optimizer, loss):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


@every_optimizer
@pytest.mark.parametrize("contiguous", [True, False])
def test_goes_right_direction(rule, base, contiguous):
    weight, bias, _ = problem()
    given = torch.ones(3, dtype=torch.float64)
    if not contiguous:
        weight = nn.Parameter(torch.stack([weight.detach()] * 2, dim=-1)[..., 0])
        bias = nn.Parameter(torch.stack([bias.detach()] * 2, dim=-1)[..., 0])
        assert not weight.is_contiguous()
    optimizer = made(rule, base, [weight, bias], weight_decay=0.0)
    closure = closure_of(optimizer, lambda: (weight.mv(given) + bias).pow(2).sum())
    first = closure().item()
    for _ in range(20):
        optimizer.step(closure)
    assert closure().item() < first


@every_optimizer
@pytest.mark.parametrize(
    "kind", ["StepLR", "ExponentialLR", "ReduceLROnPlateau", "CosineAnnealingLR"]
)
def test_param_group_with_lrscheduler_goes_right_direction(rule, base, kind):
    weight, bias, loss = problem()
    groups = [{"params": [weight]}, {"params": [bias], "lr": 0.01}]
    optimizer = made(rule, base, groups, learning_rate_schedule="constant")
    options = {"StepLR": (5,), "ExponentialLR": (0.9,), "CosineAnnealingLR": (20,)}
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, *options.get(kind, ()))
    closure = closure_of(optimizer, loss)
    first = closure().item()
    for _ in range(15):
        value = optimizer.step(closure)
        scheduler.step(value) if kind == "ReduceLROnPlateau" else scheduler.step()
    assert closure().item() < first


@every_optimizer
def test_step_is_noop_for_zero_grads(rule, base):
    weight, _, _ = problem()
    optimizer = made(rule, base, [weight], weight_decay=0.0)
    before = weight.detach().clone()
    optimizer.step(closure_of(optimizer, lambda: weight.sum() * 0))
    assert torch.equal(weight, before)


@every_optimizer
def test_step_without_any_grad_is_refused(rule, base):
    """PyTorch's is a no-op; a closure without a gradient is a mistake here."""
    weight, _, _ = problem()
    optimizer = made(rule, base, [weight])
    with pytest.raises(PerturbError, match="no parameter has a gradient"):
        optimizer.step(lambda: torch.zeros(()))


@every_optimizer
def test_parameters_without_grad_stay(rule, base):
    weight, bias, _ = problem()
    optimizer = made(rule, base, [weight, bias])
    before = bias.detach().clone()
    for _ in range(3):
        optimizer.step(closure_of(optimizer, lambda: weight.square().sum()))
    assert torch.equal(bias, before) and bias not in optimizer.state


@every_optimizer
def test_optimizer_can_be_printed(rule, base):
    text = repr(made(rule, base, problem()[:2]))
    assert "Parameter Group 0" in text and "lr: 0.05" in text


@every_optimizer
def test_state_dict_deterministic(rule, base):
    """A copy of the parameters with the state loaded goes on to the same bits."""
    weight, bias, _ = problem()
    given = torch.ones(3, dtype=torch.float64)
    optimizer = made(rule, base, [{"params": [weight]}, {"params": [bias], "lr": 0.02}])

    def loss_of(w, b):
        return lambda: (w.mv(given) + b).pow(2).sum()

    for _ in range(4):
        optimizer.step(closure_of(optimizer, loss_of(weight, bias)))
    w2, b2 = (nn.Parameter(p.detach().clone()) for p in (weight, bias))
    other = made(rule, base, [{"params": [w2]}, {"params": [b2], "lr": 0.3}])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(4):
        optimizer.step(closure_of(optimizer, loss_of(weight, bias)))
        other.step(closure_of(other, loss_of(w2, b2)))
        assert torch.equal(weight, w2) and torch.equal(bias, b2)
    state = optimizer.state_dict()
    again = copy.deepcopy(state)
    other.load_state_dict(state)
    assert repr(state) == repr(again)  # loading does not change what is loaded


@every_optimizer
def test_non_empty_state_and_its_keys(rule, base):
    weight, bias, loss = problem()
    optimizer = made(rule, base, [weight, bias])
    optimizer.step(closure_of(optimizer, loss))
    state = optimizer.state_dict()
    assert {"state", "param_groups"} <= state.keys() and set(state["state"]) == {0, 1}
    assert all(isinstance(v, torch.Tensor) for s in state["state"].values() for v in s.values())


@every_optimizer
def test_param_groups_lr_and_weight_decay(rule, base):
    """A group with a learning rate of 0 stays; one with weight decay alone shrinks."""
    weight, bias, loss = problem()
    groups = [{"params": [weight], "lr": 0.0}, {"params": [bias], "weight_decay": 0.5}]
    optimizer = made(rule, base, groups, weight_decay=0.0)
    before = weight.detach().clone(), bias.detach().clone()
    optimizer.step(closure_of(optimizer, loss))
    assert torch.equal(weight, before[0]) and not torch.equal(bias, before[1])
    plain = [nn.Parameter(p.clone()) for p in before]
    other = made(rule, base, [{"params": [plain[0]], "lr": 0.0}, {"params": [plain[1]]}])
    assert other.param_groups[1]["weight_decay"] == 5e-4
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


@every_optimizer
def test_step_hooks_and_state_hooks(rule, base):
    weight, bias, loss = problem()
    optimizer, called = made(rule, base, [weight, bias]), []
    handles = [
        optimizer.register_step_pre_hook(lambda *_: called.append("before")),
        optimizer.register_step_post_hook(lambda *_: called.append("after")),
        register_optimizer_step_pre_hook(lambda *_: called.append("any before")),
        register_optimizer_step_post_hook(lambda *_: called.append("any after")),
        optimizer.register_state_dict_pre_hook(lambda *_: called.append("state")),
        optimizer.register_load_state_dict_post_hook(lambda *_: called.append("loaded")),
    ]
    optimizer.step(closure_of(optimizer, loss))
    optimizer.load_state_dict(optimizer.state_dict())
    assert called == ["any before", "before", "after", "any after", "state", "loaded"]
    for handle in handles:
        handle.remove()
    optimizer.step(closure_of(optimizer, loss))
    assert len(called) == 6


@every_optimizer
def test_load_state_dict_pre_hook_may_change_what_is_loaded(rule, base):
    weight, bias, loss = problem()
    optimizer = made(rule, base, [weight, bias])
    optimizer.step(closure_of(optimizer, loss))

    def other_rate(_, state):
        state["param_groups"][0]["weight_decay"] = 0.25
        return state

    optimizer.register_load_state_dict_pre_hook(other_rate)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert optimizer.param_groups[0]["weight_decay"] == 0.25


@every_optimizer
def test_errors(rule, base):
    weight, bias, _ = problem()
    with pytest.raises(TypeError, match="iterable of Tensors"):
        made(rule, base, weight)
    with pytest.raises(ValueError, match="empty parameter list"):
        made(rule, base, [])
    with pytest.raises(ValueError, match="more than one parameter group"):
        made(rule, base, [{"params": [weight]}, {"params": [weight, bias]}])
    optimizer = made(rule, base, [weight])
    with pytest.raises(TypeError, match="must be a dict"):
        optimizer.add_param_group([bias])
    with pytest.raises(ValueError, match="non-leaf"):
        optimizer.add_param_group({"params": [bias * 2]})
    for lr in (-0.1, float("nan"), "fast"):
        with pytest.raises(PerturbError, match="lr is"):
            made(rule, base, [bias], lr)
    assert isinstance(optimizer, Optimizer) and len(optimizer.param_groups) == 1


@every_optimizer
def test_named_parameters_are_kept(rule, base):
    model = nn.Linear(3, 5).double()
    optimizer = made(rule, base, model.named_parameters())
    optimizer.step(closure_of(optimizer, lambda: model(torch.ones(3).double()).pow(2).sum()))
    state = optimizer.state_dict()
    assert state["param_groups"][0]["param_names"] == ["weight", "bias"]
    optimizer.load_state_dict(state)
