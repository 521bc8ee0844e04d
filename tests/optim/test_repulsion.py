import math

import pytest
import torch

from perturb import optim
from perturb.errors import PerturbError
from perturb.optim import Repulsion
from perturb.studies.minima import law

THETA = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
STORED = (
    torch.tensor([0.0, 2.0, 1.0], dtype=torch.float64),
    torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64),
)


@pytest.mark.parametrize(
    ("kernel", "value", "gradient"),
    [
        ("rbf", 6.384254, (-0.606531, -1.340640, -1.213061)),
        ("tanh", 5.789669, (-0.786448, -1.711278, -1.572895)),
    ],
)
def test_the_specifications_example(kernel, value, gradient):
    term = Repulsion(10, 0.1, kernel)
    for checkpoint in STORED:
        term.store(checkpoint)
    found = torch.zeros(3, dtype=torch.float64)
    term.add(found, THETA)
    assert term.value(THETA).item() == pytest.approx(value, abs=5e-7)
    assert found.tolist() == pytest.approx(list(gradient), abs=5e-7)
    assert [d.item() for d in term.distances] == [5, 4]
    assert term.force_norm.item() == pytest.approx(found.norm().item())


@pytest.mark.parametrize("kernel", ["rbf", "tanh"])
@pytest.mark.parametrize("keep", ["all", "merge", "mean", "last"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_gradient_is_autograds(kernel, keep, count):
    generator = torch.Generator().manual_seed(count)
    term = Repulsion(3.0, 0.05, kernel, keep)
    for _ in range(count):
        term.store(torch.randn(40, dtype=torch.float64, generator=generator))
    theta = torch.randn(40, dtype=torch.float64, generator=generator, requires_grad=True)
    (expected,) = torch.autograd.grad(term.value(theta), theta)
    before = torch.randn(40, dtype=torch.float64, generator=generator)
    found = before.clone()
    term.add(found, theta.detach())
    torch.testing.assert_close(found - before, expected, rtol=1e-12, atol=1e-14)
    assert len(term.checkpoints) == (count if keep == "all" else 1)


@pytest.mark.parametrize(
    ("keep", "weights"),
    [
        ("merge", (1 / 4, 1 / 4, 1 / 2)),
        ("mean", (1 / 3, 1 / 3, 1 / 3)),
        ("last", (0, 0, 1)),
    ],
)
def test_what_is_kept_of_three(keep, weights):
    term = Repulsion(1, 1, keep=keep)
    for axis in torch.eye(3, dtype=torch.float64):
        term.store(axis)
    assert term.checkpoints[0].tolist() == pytest.approx(list(weights))


def test_no_more_than_most_are_stored():
    term = Repulsion(1, 1, most=1)
    term.store(THETA)
    term.store(2 * THETA)
    assert len(term.checkpoints) == 1
    assert torch.equal(term.checkpoints[0], THETA)


def test_the_gradient_is_zero_at_the_checkpoint_and_far_away():
    for kernel in ("rbf", "tanh"):
        term = Repulsion(10, 1.0, kernel)
        term.store(THETA)
        for theta in (THETA, THETA + 1e4):
            gradient = torch.zeros(3, dtype=torch.float64)
            term.add(gradient, theta)
            assert gradient.tolist() == [0, 0, 0]


def repelled(strength, width, decay, lr, momentum, start, steps, kernel="rbf"):
    """Return D after each step of a run without cross-entropy, started at `start`."""
    parameter = torch.nn.Parameter(start.clone())
    optimizer = optim.build(
        "sgd_1", [parameter], lr, momentum, decay, learning_rate_schedule="constant"
    )
    term = Repulsion(strength, width, kernel)
    term.store(start)
    optimizer.terms = [term]

    def closure():
        parameter.grad = torch.zeros_like(parameter)
        return torch.zeros(())

    distances = []
    for _ in range(steps):
        optimizer.step(closure)
        distances.append((parameter.detach() - start).square().sum().item())
    return distances


@pytest.mark.parametrize(("strength", "width"), [(1, 0.01), (0.1, 0.1), (0.5, 0.02)])
def test_escape_time_is_its_formula_within_2_percent(strength, width):
    expected = law.escape_steps(strength, width, 1e-3, 0.01, 0.9)
    start = torch.full((50,), 1e-5, dtype=torch.float64)
    steps = int(10 * expected) + 1
    found = repelled(strength, width, 1e-3, 0.01, 0.9, start, steps)
    early, late = int(5 * expected), int(10 * expected)
    growth = (math.log(found[late]) - math.log(found[early])) / 2  # of the norm, not its square
    assert width * found[late] < 0.01, "still where the kernel is flat"
    assert (late - early) / growth == pytest.approx(expected, rel=0.02)


def test_too_narrow_a_kernel_never_escapes():
    assert law.escape_steps(0.1, 1e-3, 1e-3, 0.01, 0.9) is None
    start = torch.full((50,), 0.1, dtype=torch.float64)
    found = repelled(0.1, 1e-3, 1e-3, 0.05, 0.9, start, 4000)
    assert found[-1] < start.square().sum()


@pytest.mark.parametrize(
    ("kernel", "strength", "expected"),
    [("rbf", 1, 347.286257), ("rbf", 10, 565.135109), ("tanh", 1, 248.191645)],
)
def test_a_run_without_loss_ends_at_the_laws_distance(kernel, strength, expected):
    start = torch.full((50,), 1.0, dtype=torch.float64)  # norm(theta_c)^2 = 50
    found = repelled(strength, 0.01, 1e-3, 0.5, 0.9, start, 12_000, kernel)
    assert found[-1] == pytest.approx(expected, abs=1e-6)
    assert law.distance_without_loss(50, strength, 0.01, 1e-3, kernel) == pytest.approx(found[-1])


def test_alone_with_any_optimiser_as_with_ours():
    def network():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))

    inputs = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(16) % 3
    plain, ours = network(), network()
    terms = [Repulsion(50, 0.01), Repulsion(50, 0.01)]
    sgd = torch.optim.SGD(plain.parameters(), 0.1, 0.9, weight_decay=1e-3)
    perturbed = optim.build(
        "sgd_1", ours.parameters(), 0.1, 0.9, 1e-3, learning_rate_schedule="constant"
    )
    perturbed.terms = [terms[1]]
    terms[0].store_from(plain.parameters())
    terms[1].store_from(ours.parameters())

    def closure(model):
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    for _ in range(20):
        closure(plain)
        terms[0].add_to(plain.parameters())
        sgd.step()
        perturbed.step(lambda: closure(ours))
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert terms[1].distances[0] > 0.1


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("offsets", [(torch.float64,), (torch.float64, torch.float32)])
def test_a_second_pass_is_pushed_at_the_weights_that_it_is_made_at(offsets, lean):
    """SAM on a square: u = g(w + e) and the term's gradient at w + e; of one format and of two."""
    if lean and len(offsets) > 1:
        pytest.skip("lean vectors hold one format")
    start, rho, lr = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64), 0.3, 0.25
    tensors = [torch.nn.Parameter(start.clone().to(dtype)) for dtype in offsets]
    checkpoint = torch.cat([0.5 * start] * len(tensors))
    optimizer = optim.build(f"sam_{rho}_1", tensors, lr, 0.0, 0.0, lean=lean)
    optimizer.set_epoch(0)
    term = Repulsion(2.0, 0.1)
    term.store(checkpoint)
    optimizer.terms = [term]

    def closure():
        optimizer.zero_grad()
        loss = sum(t.square().sum() for t in tensors)
        loss.backward()
        return loss

    def pushed(w):
        away = w - checkpoint
        return 2 * w - 2 * 2.0 * 0.1 * torch.exp(-0.1 * away.square().sum()) * away

    optimizer.step(closure)
    w = torch.cat([start] * len(tensors))
    g = pushed(w)
    expected = w - lr * pushed(w + rho * g / g.norm())
    found = torch.cat([t.detach().double() for t in tensors])
    precision = 1e-12 if len(offsets) == 1 else 1e-6
    torch.testing.assert_close(found, expected, rtol=precision, atol=precision)


def test_state_goes_on():
    term, again = Repulsion(1, 0.1, keep="mean"), Repulsion(1, 0.1, keep="mean")
    term.store(THETA)
    again.load_state_dict(term.state_dict())
    for one in (term, again):
        one.store(STORED[0])
    assert torch.equal(term.checkpoints[0], again.checkpoints[0])


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"strength": -1}, {"kernel": "gauss"}, {"keep": "some"}]
)
def test_settings_out_of_range(options):
    with pytest.raises(PerturbError, match="repulsion"):
        Repulsion(**({"strength": 1, "width": 1} | options))
