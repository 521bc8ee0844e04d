"""Complex, mixed, sparse and empty parameters: right, or refused before anything moves."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perturb import bases
from perturb.errors import PerturbError
from perturb.optim import build

from . import reference
from .loops import INPUTS, LABELS, net, trained, weights_of

RULES_AND_BASES = [
    (method, base) for method in reference.METHODS for base in bases.options() if method != "org"
]


@pytest.mark.parametrize(("method", "base"), RULES_AND_BASES)
def test_complex_numbers_are_two_real_ones(method, base):
    start = torch.randn(3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    real, unreal = nn.Parameter(start.clone()), nn.Parameter(torch.view_as_complex(start.clone()))
    matrix = torch.view_as_complex(start.flip(0).clone())

    def loss_of(w):
        return ((w @ matrix.mT - 1).abs() ** 2).sum() + (w.abs() ** 4).sum()

    trained(method, base, [real], lambda: loss_of(torch.view_as_complex(real)))
    trained(method, base, [unreal], lambda: loss_of(unreal))
    assert unreal.dtype == torch.complex128
    assert torch.allclose(torch.view_as_real(unreal.detach()), real.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("method", "base"), RULES_AND_BASES)
def test_mixed_formats_are_trained_as_one_net(method, base):
    """float64 beside float32 is the float64 net, but for the rounding of one layer."""
    model, exact = net(), net().double()
    model[2].double()

    def loss(m, dtype):
        hidden = m[1](m[0](INPUTS.to(dtype))).double()
        return F.cross_entropy(m[2](hidden), LABELS)

    trained(method, base, model.parameters(), lambda: loss(model, torch.float32))
    trained(method, base, exact.parameters(), lambda: loss(exact, torch.float64))
    assert [p.dtype for p in model.parameters()] == [torch.float32] * 2 + [torch.float64] * 2
    assert not torch.equal(weights_of(model), weights_of(net()))
    assert torch.allclose(weights_of(model), weights_of(exact), rtol=0, atol=2e-5)


def test_a_mixed_net_resumes_to_the_same_bits():
    """What is remembered of a bfloat16 beside a float32 is float32, and stays so when loaded."""

    def make():
        model = net()
        model[0].bfloat16()
        return model, build("looksam_0.05k2_10", model.parameters(), base="adamw", lr=0.01)

    def loss(m):
        return F.cross_entropy(m[2](m[1](m[0](INPUTS.bfloat16())).float()), LABELS)

    def go(m, o, steps):
        for _ in range(steps):
            o.step(lambda: (o.zero_grad(), loss(m).backward())[1])

    model, optimizer = make()
    go(model, optimizer, 3)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    go(model, optimizer, 3)
    again, second = make()
    again.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    go(again, second, 3)
    assert torch.equal(weights_of(again), weights_of(model))


@pytest.mark.parametrize("method", reference.METHODS)
def test_sparse_gradients_are_what_they_say(method):
    found = []
    for sparse in (True, False):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Embedding(10, 6, sparse=sparse), nn.Linear(6, 3))
        words = torch.tensor([1, 1, 4, 7])
        trained(method, "sgd", model.parameters(), lambda m=model, w=words: m(w).square().sum())
        found.append(weights_of(model))
    assert torch.allclose(*found, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", reference.METHODS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_empty_parameters_and_scalars_are_in_nobodys_way(method, place):
    found = []
    for empties in (True, False):
        torch.manual_seed(2)
        weights = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(()))]
        used = list(weights)
        if empties:
            used.insert(place, nn.Parameter(torch.zeros(0, 4)))
        trained(method, "sgd", used, lambda u=used: sum((w**2).sum() + w.sum() for w in u))
        found.append(torch.cat([w.detach().reshape(-1) for w in weights]))
    assert torch.equal(*found)


def test_what_cannot_be_moved_is_refused_before_anything_moves():
    shared = torch.randn(4, 4)
    one, two = nn.Parameter(shared), nn.Parameter(shared)
    for tied in ((one, two), (nn.Parameter(shared[:2]), nn.Parameter(shared[1:]))):
        before = shared.clone()
        with pytest.raises(PerturbError, match="share memory"):
            trained("sam_0.05", "sgd", tied, lambda t=tied: sum(w.square().sum() for w in t))
        assert torch.equal(shared, before)
    wide = nn.Parameter(torch.ones(1).expand(3))
    with pytest.raises(PerturbError, match="share memory"):
        trained("sam_0.05", "sgd", [wide], lambda: wide.square().sum())
    with pytest.raises(PerturbError, match="must be dense"):
        build("sam_0.05_10", [nn.Parameter(torch.eye(3).to_sparse())])


def test_neighbours_in_one_storage_are_no_tie():
    """A fused matrix and its parts, as attention layers have them, one beside the other."""
    fused = torch.randn(6, 2)
    parts = [nn.Parameter(fused[:3]), nn.Parameter(fused[3:])]
    trained("sam_0.05", "sgd", parts, lambda: sum(w.square().sum() for w in parts))
