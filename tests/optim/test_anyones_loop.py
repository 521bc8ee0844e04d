"""Optimizers in the loops of other people: copies, files, steps, checkpoints of others."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from perturb import bases, names
from perturb.errors import PerturbError
from perturb.optim import build

from .loops import TWICE, closure_of, net, trained, weights_of

# --- copies and files -----------------------------------------------------------------------------


def pickled(value):
    return pickle.loads(pickle.dumps(value))


def through_torch(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, through_torch])
@pytest.mark.parametrize("name", ["looksam_0.05_10", "aesam_0.05_10", "pugdt_accdrop_10"])
@pytest.mark.parametrize("base", sorted(bases.options()))
def test_a_copy_goes_on_as_the_original_and_apart_from_it(copied, name, base):
    model = net(nn.BatchNorm1d(8))
    optimizer = build(name, model.parameters(), base=base, lr=0.01, momentum=0.0, model=model)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # it wraps `step`
    for epoch in range(2):
        optimizer.set_epoch(epoch)
        optimizer.step(closure_of(optimizer, model))
    other_model, other = copied((model, optimizer))
    other.step(closure_of(other, other_model))
    before = weights_of(model)
    assert not torch.equal(weights_of(other_model), before)
    optimizer.step(closure_of(optimizer, model))
    assert torch.equal(weights_of(model), weights_of(other_model))
    of_pytorch = {"step", "_opt_called", "_warned_capturable_if_run_uncaptured"}
    assert vars(other).keys() >= vars(optimizer).keys() - of_pytorch
    assert "differentiable" not in other.defaults
    other.state_dict()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("base", sorted(bases.options()))
def test_one_layer_saved_alone_is_as_large_as_itself(base, layout):
    model = nn.Sequential(nn.Conv2d(3, 64, 5), nn.Conv2d(64, 64, 5), nn.Conv2d(64, 2, 1))
    model.to(memory_format=layout)
    inputs = torch.randn(1, 3, 9, 9)

    def size(value):
        file = io.BytesIO()
        torch.save(value, file)
        return file.getbuffer().nbytes

    before = size(model[2].state_dict())
    optimizer = trained("pugd", base, model.parameters(), lambda: model(inputs).square().sum())
    assert size(model[2].state_dict()) == before
    assert size(optimizer.state[model[2].weight]) < 2 * before
    addresses = [p.data_ptr() for p in model.parameters()]
    assert addresses == sorted(addresses) and addresses[0] == optimizer.flat.weights.data_ptr()
    assert model[1].weight.is_contiguous(memory_format=layout)


# --- steps as people call them --------------------------------------------------------------------


@pytest.mark.parametrize("method", ["sgd_10", "ugd_10"])
def test_a_rule_of_one_pass_needs_no_closure(method):
    found = []
    for with_closure in (True, False):
        model = net()
        optimizer = build(method, model.parameters())
        closure = closure_of(optimizer, model)
        for _ in range(2):
            if with_closure:
                optimizer.step(closure)
            else:
                closure()
                assert optimizer.step() is None
        found.append(weights_of(model))
    assert torch.equal(*found)


@pytest.mark.parametrize("method", ["sam_0.05_10", "pugd_10", "pugdt_5_10", "looksam_0.05_10"])
def test_a_rule_of_two_passes_says_that_it_needs_a_closure(method):
    model = net()
    optimizer = build(method, model.parameters())
    closure_of(optimizer, model)()
    before = weights_of(model)
    with pytest.raises(PerturbError, match=r"without a closure.*second gradient"):
        optimizer.step()
    assert torch.equal(weights_of(model), before)


def test_closures_return_what_they_like():
    model = net()
    for returned in (None, 1.5, (1, 2)):
        optimizer = build("sam_0.05_10", model.parameters())
        closure = closure_of(optimizer, model)
        assert optimizer.step(lambda c=closure, r=returned: (c(), r)[1]) == returned


def test_a_group_may_have_a_radius_of_its_own():
    """Half of a net at twice the radius is perturbed by twice as much, along the same gradient."""
    for rule in ("sam_0.05", "asam_0.5", "looksam_0.05", "aesam_0.05"):
        seen = {}
        for own in (None, 2.0, 0.0):
            model = net()
            rho = float(rule.split("_")[1])
            first = {"params": model[0].parameters()} | ({} if own is None else {"rho": own * rho})
            optimizer = build(f"{rule}_10", [first, {"params": model[2].parameters()}], lr=0.0)
            start, passes = weights_of(model), []

            def watched(model=model, passes=passes, optimizer=optimizer):
                passes.append(weights_of(model))
                return closure_of(optimizer, model)()

            optimizer.step(watched)
            seen[own] = passes[1] - start
        cut = sum(p.numel() for p in net()[0].parameters())
        assert torch.allclose(seen[2.0][:cut], 2 * seen[None][:cut], rtol=1e-4, atol=1e-7)
        assert torch.allclose(seen[2.0][cut:], seen[None][cut:], rtol=0, atol=1e-7)
        assert not seen[0.0][:cut].any() and seen[0.0][cut:].any()


@pytest.mark.parametrize(
    ("name", "group", "says"),
    [
        ("pugd_10", {"rho": 0.1}, "sets rho, which 'pugd' has once for all groups"),
        ("gsam_0.05_0.01_10", {"rho_max": 0.1}, "sets rho_max, which 'gsam'"),
        ("looksam_0.05_10", {"k": 2}, "sets k, which 'looksam'"),
        ("samx1_10", {"radius": 2}, "sets radius, which 'samx'"),
        ("sam_0.05_10", {"rho": -0.1}, "rho is -0.1; it must be finite and not negative"),
        ("sam_0.05_10", {"rho": float("nan")}, "rho is nan"),
        ("sam_0.05_10", {"rho": "0.1"}, "rho is 0.1"),
    ],
)
def test_a_group_that_sets_what_is_one_for_all_is_refused(name, group, says):
    with pytest.raises(PerturbError, match=says):
        build(name, [{"params": net().parameters(), **group}])


# --- checkpoints of others ------------------------------------------------------------------------


def foreign_states():
    model = net()
    plain = torch.optim.SGD(model.parameters(), momentum=0.9)
    closure_of(plain, model)()
    plain.step()
    yield "no 'perturb'", plain.state_dict()
    yield "no 'perturb'", model.state_dict()
    for name, base, says in (
        ("looksam_0.05_10", "sgd", "of the rule 'looksam'"),
        ("sam_0.05_10", "adamw", "of the base 'adamw'"),
        ("samt_0.05_3_10", "sgd", "of the timing 'at'"),
    ):
        other = net()
        optimizer = build(name, other.parameters(), base=base, momentum=0.0)
        optimizer.step(closure_of(optimizer, other))
        yield says, optimizer.state_dict()
    deeper = net(nn.Linear(8, 8))
    optimizer = build("sam_0.05_10", deeper.parameters())
    yield r"groups of \[6\] parameters", optimizer.state_dict()
    wider = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
    optimizer = build("sam_0.05_10", wider.parameters())
    optimizer.step(closure_of(optimizer, wider))
    yield "54 numbers of momentum_buffer", optimizer.state_dict()


@pytest.mark.parametrize(("says", "state"), list(foreign_states()), ids=lambda v: str(v)[:24])
def test_the_state_of_another_optimizer_is_refused_whole(says, state):
    model = net()
    optimizer = build("sam_0.05_10", model.parameters())
    optimizer.step(closure_of(optimizer, model))
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(PerturbError, match=says):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert after["perturb"] == before["perturb"] and after["param_groups"] == before["param_groups"]
    for key, kept in before["state"].items():
        assert torch.equal(kept["momentum_buffer"], after["state"][key]["momentum_buffer"])


def test_every_rule_is_named_here():
    assert {name.partition("_")[0].strip("{}") for name in TWICE} >= set(names.rules()) - {
        *("sgd", "ugd", "pugd"),
    }
