"""Optimizers in the loops of other people: layers, formats, copies, schedulers, scalers."""

import copy
import io
import itertools
import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perturb import bases, names
from perturb.errors import PerturbError
from perturb.optim import build

from . import reference

TWICE = ("sam_{}", "asam_{}", "gsam_{}_0", "looksam_{}", "aesam_{}", "samx{}", "pugdr_const_{}")
INPUTS = torch.randn(12, 6, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(12) % 3


def net(*middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), *middle, nn.Linear(8, 3))


def closure_of(optimizer, model, inputs=INPUTS, labels=LABELS):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    return closure


def weights_of(model):
    return torch.cat([p.detach().reshape(-1).to(torch.float64) for p in model.parameters()])


def tensors_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# --- the second pass sees what the first one saw --------------------------------------------------


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


# --- formats --------------------------------------------------------------------------------------

RULES_AND_BASES = [
    (method, base) for method in reference.METHODS for base in bases.options() if method != "org"
]


def trained(name, base, parameters, loss, steps=4, **options):
    optimizer = build(f"{name}_5", parameters, lr=0.05, base=base, momentum=0.0, **options)

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for epoch in range(steps):
        optimizer.set_epoch(epoch)
        optimizer.step(closure)
    return optimizer


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


# --- PyTorch's schedulers -------------------------------------------------------------------------

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


def test_every_rule_is_named_here():
    assert {name.partition("_")[0].strip("{}") for name in TWICE} >= set(names.rules()) - {
        *("sgd", "ugd", "pugd"),
    }
