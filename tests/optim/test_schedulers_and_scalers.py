"""PyTorch's schedulers and GradScaler beside our optimisers."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perturb.errors import PerturbError
from perturb.optim import build

from . import reference
from .loops import INPUTS, LABELS, closure_of, net, weights_of

SCHEDULERS = {
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 1 / (1 + e)),
    "warm-up": lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=4),
    "restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    "one cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "one cycle, higher": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.4, total_steps=20),
    "one cycle, lower": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.01, total_steps=20),
    "cyclic": lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.01, 0.3, step_size_up=3),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_schedulers_of_pytorch_set_the_rate_alone(kind):
    model, twin = net(), net()
    optimizer = build("sgd_20", model.parameters(), learning_rate_schedule="constant")
    plain = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    ours, theirs = SCHEDULERS[kind](optimizer), SCHEDULERS[kind](plain)
    for epoch in range(12):
        optimizer.set_epoch(epoch)
        optimizer.step(closure_of(optimizer, model))
        plain.step(closure_of(plain, twin))
        ours.step(), theirs.step()
        assert optimizer.param_groups[0]["lr"] == plain.param_groups[0]["lr"]
    assert torch.allclose(weights_of(model), weights_of(twin), rtol=0, atol=1e-6)
    assert optimizer.param_groups[0]["peak_lr"] == 0.1


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_gsams_radius_stays_between_its_bounds(kind):
    model = net()
    optimizer = build("gsam_0.05_0.01_20", model.parameters(), learning_rate_schedule="constant")
    scheduler, radii = SCHEDULERS[kind](optimizer), []
    for _ in range(12):
        optimizer.step(closure_of(optimizer, model))
        radii.append(optimizer.rho)
        scheduler.step()
    assert 0.01 <= min(radii) < 0.031 < max(radii) <= 0.05


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_two_schedules_at_once_are_said(kind):
    model = net()
    optimizer = build("sam_0.05_20", model.parameters())
    scheduler = SCHEDULERS[kind](optimizer)
    with pytest.raises(PerturbError, match=r"learning rate of group 0 .*schedule='constant'"):
        for epoch in range(4):
            optimizer.set_epoch(epoch)
            optimizer.step(closure_of(optimizer, model))
            scheduler.step()


# --- GradScaler -----------------------------------------------------------------------------------


def scaled_closure(optimizer, model, scaler, factor=1.0):
    def closure():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=False):
            loss = F.cross_entropy(model(INPUTS), LABELS)
        scaler.scale(loss * factor).backward()
        return loss

    return closure


def as_scaler(optimizer, scaler, closure):
    scaler.scale(torch.zeros(()))  # one that has never scaled has no scale yet
    return scaler.step(optimizer, closure)


WAYS = {
    "scaler.step": as_scaler,
    "optimizer.step": lambda o, s, closure: o.step(closure, grad_scaler=s),
}


@pytest.mark.filterwarnings("ignore:GradScaler is going to stop passing itself:FutureWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", reference.METHODS)
def test_a_scaled_step_is_the_plain_one(method, way):
    """The scale is a power of two, so that nothing is rounded."""
    model, twin = net(), net()
    optimizer, plain = (build(f"{method}_10", m.parameters()) for m in (model, twin))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    for _ in range(4):
        loss = WAYS[way](optimizer, scaler, scaled_closure(optimizer, model, scaler))
        scaler.update()
        assert torch.equal(loss, plain.step(closure_of(plain, twin)))
    assert torch.equal(weights_of(model), weights_of(twin))
    assert scaler.get_scale() == 2.0**12


@pytest.mark.filterwarnings("ignore:GradScaler is going to stop passing itself:FutureWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("overflowing", [1, 2])
def test_a_step_that_overflows_is_left_out_and_the_scale_falls(way, overflowing):
    """In either pass; what LookSAM counts and AE-SAM averages is as before."""
    for method in ("sam_0.05_10", "looksam_0.05_10", "aesam_0.05_10"):
        model = net()
        optimizer = build(method, model.parameters())
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        before, calls = weights_of(model), itertools.count(1)
        remembered = optimizer.state_dict()["perturb"]

        def closure(calls=calls, optimizer=optimizer, model=model, scaler=scaler):
            factor = float("inf") if next(calls) == overflowing else 1.0
            return scaled_closure(optimizer, model, scaler, factor)()

        WAYS[way](optimizer, scaler, closure)
        scaler.update()
        assert torch.equal(weights_of(model), before)
        assert scaler.get_scale() == 2.0**9
        after = optimizer.state_dict()["perturb"]
        assert after.pop("gradient_evaluations") == overflowing
        assert after == {k: v for k, v in remembered.items() if k != "gradient_evaluations"}
        WAYS[way](optimizer, scaler, closure)
        scaler.update()
        assert not torch.equal(weights_of(model), before)


@pytest.mark.filterwarnings("ignore:GradScaler is going to stop passing itself:FutureWarning")
def test_gradients_clipped_between_backward_and_a_step_without_closure():
    model, twin = net(), net()
    optimizer, plain = (build("sgd_10", m.parameters()) for m in (model, twin))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for clips in (True, False, True):
        scaled_closure(optimizer, model, scaler)()
        closure_of(plain, twin)()
        if clips:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        plain.step()
    assert torch.equal(weights_of(model), weights_of(twin))


def test_a_scaler_that_is_off_changes_nothing_and_one_that_hides_itself_is_said():
    model, twin = net(), net()
    optimizer, plain = (build("sam_0.05_10", m.parameters()) for m in (model, twin))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    scaler.step(optimizer, scaled_closure(optimizer, model, scaler))
    plain.step(closure_of(plain, twin))
    assert torch.equal(weights_of(model), weights_of(twin))
    optimizer.grad_scale = torch.tensor(2.0)  # as PyTorch says a later GradScaler will do
    with pytest.raises(PerturbError, match=r"step\(closure, grad_scaler=scaler\)"):
        optimizer.step(closure_of(optimizer, model))
