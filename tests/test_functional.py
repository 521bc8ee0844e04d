"""Networks called with other tensors: they come out as they went in, whatever names they share."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm

from perturb import functional


class Shared(nn.Module):
    """One layer under four names, another's weight that is a third's, a buffer that two have."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = self.a
        self.list = nn.ModuleList([self.a, nn.Sequential(self.a)])
        self.tied, self.plain = nn.Linear(3, 3), nn.Linear(3, 3)
        self.tied.weight = self.plain.weight
        self.register_buffer("scale", torch.full((3,), 2.0))
        self.plain.register_buffer("scale", self.scale)

    def forward(self, inputs):
        hidden = self.list[1](self.list[0](self.b(self.a(inputs)))) * self.plain.scale
        return self.plain(self.tied(hidden)) * self.scale


NETWORKS = {
    "shared": Shared,
    "plain": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval(),
    "parametrised": lambda: nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.Linear(4, 3)),
}


def places(model):
    """Return every tensor of every module by the module, itself and not its values."""
    return [
        (id(module), name, id(tensor), type(tensor), tensor.requires_grad)
        for module in model.modules()
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    ]


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_a_call_is_that_of_a_network_with_those_tensors_and_leaves_its_own(make):
    torch.manual_seed(0)
    model = make().double()
    inputs = torch.randn(5, 3, dtype=torch.float64)
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    moved = {name: torch.randn_like(t) for name, t in named.items() if t.is_floating_point()}
    moved = {name: t.abs() + 0.1 if "running_var" in name else t for name, t in moved.items()}
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, tensor in (*other.named_parameters(), *other.named_buffers()):
            if name in moved:
                tensor.copy_(moved[name])
    before = places(model)
    with torch.no_grad():
        assert torch.equal(functional.call(model, moved, inputs), other(inputs))
    assert places(model) == before
    parameters = dict(model.named_parameters())
    at = {name: t.clone().requires_grad_(name in parameters) for name, t in moved.items()}
    functional.call(model, at, inputs).sum().backward()
    other(inputs).sum().backward()
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(at[name].grad, parameter.grad)
    assert places(model) == before and all(p.grad is None for p in model.parameters())


def test_any_of_several_names_will_do():
    model = Shared()
    inputs, weight = torch.randn(2, 3), torch.randn(3, 3)
    expected = functional.call(model, {"a.weight": weight}, inputs)
    for name in ("b.weight", "list.0.weight", "list.1.0.weight"):
        assert torch.equal(functional.call(model, {name: weight}, inputs), expected)
    expected = functional.call(model, {"plain.weight": weight}, inputs)
    assert torch.equal(functional.call(model, {"tied.weight": weight}, inputs), expected)


def test_an_unknown_name_is_refused_and_an_error_leaves_the_network_as_it_was():
    model = Shared()
    before = places(model)
    with pytest.raises(KeyError, match=r"a\.nobody"):
        functional.call(model, {"a.nobody": torch.zeros(3)}, torch.randn(2, 3))
    with pytest.raises(RuntimeError):
        functional.call(model, {"a.weight": torch.zeros(4, 4)}, torch.randn(2, 3))
    assert places(model) == before


def test_pytorch_still_needs_this():
    """Once it does not, `perturb.functional` can go."""
    model = Shared()
    before = places(model)
    functional_call(model, {"a.weight": torch.randn(3, 3)}, (torch.randn(2, 3),))
    assert places(model) != before
