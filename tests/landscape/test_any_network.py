"""Surfaces and curvature of any network: its layers, inputs, outputs and failures."""

import copy
import gc
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from perturb.errors import PerturbError
from perturb.landscape import directions, plane
from perturb.landscape.batches import examples, logits_of
from perturb.landscape.curvature import measure
from perturb.landscape.objective import Objective
from perturb.landscape.surface import Surface, mean_loss

DRAWS = torch.Generator().manual_seed(2)
IMAGES, LABELS = torch.randn(8, 3, 6, 6, generator=DRAWS), torch.arange(8) % 3


def pair(model, ignore="biasbn"):
    weights = {name: p.detach() for name, p in model.named_parameters()}
    drawn = directions.draw({name: w.shape for name, w in weights.items()}, 0)
    return [directions.normalise(d, weights, "filter", ignore) for d in drawn]


def plane_of(model, batches, **options):
    grid = plane.symmetric_grid(3)
    with Surface(model, batches, *pair(model), **options) as surface:
        return plane.compute(surface, grid, grid, {}).loss


def plain_plane(model, batches, loss=F.cross_entropy):
    """The usual way: a copy of the model with other weights, called."""
    first, second = pair(model)
    grid = plane.symmetric_grid(3)
    found = np.zeros((3, 3))
    for row, beta in enumerate(grid):
        for column, alpha in enumerate(grid):
            moved = copy.deepcopy(model).eval()
            with torch.no_grad():
                for name, p in moved.named_parameters():
                    p.add_(alpha * first[name] + beta * second[name])
                losses = [float(loss(moved(x), y)) * len(y) for x, y in batches]
            found[row, column] = sum(losses) / sum(len(y) for _, y in batches)
    return found


# --- first layers ---------------------------------------------------------------------------------


class Standardised(nn.Conv2d):
    """The stems of NFNet and BiT."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


class Binary(nn.Conv2d):
    def forward(self, x):
        return F.conv2d(x, self.weight.sign() * self.weight.abs().mean(), self.bias)


class Symmetric(nn.Module):
    def forward(self, w):
        return w.square() + w.flip(-1)


def convolution():
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3)


def scaled_output(layer):
    layer.register_forward_hook(lambda module, inputs, output: output * module.weight.norm())
    return layer


def scaled_input(layer):
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * module.weight.norm(),))
    return layer


def another_forward(layer):
    layer.forward = lambda x: F.conv2d(x, layer.weight.abs(), layer.bias)
    return layer


def parametrized(layer):
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


def lazy():
    layer = nn.LazyConv2d(4, 3)
    layer(IMAGES)
    return layer


FIRST = {
    "plain": convolution,
    "lazy": lazy,
    "weight norm": lambda: parametrizations.weight_norm(convolution()),
    "weight norm, old": lambda: nn.utils.weight_norm(convolution()),
    "spectral norm": lambda: parametrizations.spectral_norm(convolution()),
    "spectral norm, old": lambda: nn.utils.spectral_norm(convolution()),
    "orthogonal": lambda: parametrizations.orthogonal(convolution()),
    "a parametrisation": lambda: parametrized(convolution()),
    "pruned": lambda: prune.l1_unstructured(convolution(), "weight", 0.5),
    "standardised": lambda: Standardised(3, 4, 3),
    "binary": lambda: Binary(3, 4, 3),
    "forward hook": lambda: scaled_output(convolution()),
    "forward pre-hook": lambda: scaled_input(convolution()),
    "another forward": lambda: another_forward(convolution()),
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("kind", FIRST)
def test_whatever_the_first_layer_is_the_plane_is_the_plain_ones(kind):
    if kind == "another forward":  # which a copy of the model would still bind to the original

        class Net(nn.Sequential):
            def __deepcopy__(self, memo):
                other = Net(another_forward(convolution()), *copy.deepcopy(list(self)[1:], memo))
                other.load_state_dict(self.state_dict())
                return other
    else:
        Net = nn.Sequential
    torch.manual_seed(1)
    model = Net(FIRST[kind](), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model(IMAGES)  # what the old spectral norm's hook sets
    batches = [(IMAGES[:5], LABELS[:5]), (IMAGES[5:], LABELS[5:])]
    expected = plain_plane(model, batches)
    assert np.abs(plane_of(model, batches) - expected).max() < 1e-5


class Skips(nn.Module):
    """What follows its first layer is not what the order of its modules says."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Linear(4 * 36, 3)

    def forward(self, x):
        layer, norm = self.stem
        if self.how == "skips the norm":
            out = norm(layer(x)) + layer.weight.sum()
        elif self.how == "norm twice":
            out = norm(norm(layer(x)))
        elif self.how == "norm of something else":
            out = layer(x) + norm(x.mean(1, keepdim=True).expand(-1, 4, -1, -1))
        elif self.how == "skip connection":
            between = layer(x)
            out = between + norm(between)
        elif self.how == "norm again later":
            out = norm(self.stem(x))
        else:
            out = self.stem(x).relu_() + self.stem[1].running_mean.view(1, -1, 1, 1)
        return self.head(out.flatten(1))


HOWS = ("skips the norm", "norm twice", "norm of something else", "skip connection")


@pytest.mark.parametrize("how", [*HOWS, "norm again later", "in place"])
def test_a_batch_norm_is_folded_only_where_it_alone_reads_the_layer(how):
    torch.manual_seed(3)
    model = Skips(how)
    model(2 * IMAGES + 1)  # statistics that are not the defaults
    model.eval()
    assert (
        np.abs(plane_of(model, [(IMAGES, LABELS)]) - plain_plane(model, [(IMAGES, LABELS)])).max()
        < 1e-4
    )


# --- inputs and outputs ---------------------------------------------------------------------------

Named = namedtuple("Named", "features logits")


class Takes(nn.Module):
    """Gets its images out of whatever it is given, and returns scores as it likes."""

    def __init__(self, take, give=lambda scores: scores):
        super().__init__()
        torch.manual_seed(4)
        self.take, self.give = take, give
        self.layer = nn.Linear(108, 3)

    def forward(self, given):
        return self.give(self.layer(self.take(given).flatten(1)))


INPUTS = {
    "dict": (lambda x: {"pixels": x}, lambda given: given["pixels"]),
    "tuple": (lambda x: (x, x.sum()), lambda given: given[0]),
    "list in a dict": (lambda x: {"views": [x, x]}, lambda given: given["views"][1]),
    "with other things": (lambda x: {"id": "a", "pixels": x}, lambda given: given["pixels"]),
}
OUTPUTS = {
    "tensor": lambda scores: scores,
    "tuple of one": lambda scores: (scores,),
    "dict with logits": lambda scores: {"loss": scores.sum(), "logits": scores},
    "named tuple": lambda scores: Named(scores * 2, scores),
    "dict of one": lambda scores: OrderedDict(out=scores),
}


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_a_model_takes_and_returns_what_it_likes(inputs, outputs):
    pack, take = INPUTS[inputs]
    model = Takes(take, OUTPUTS[outputs])
    plain = Takes(lambda x: x)
    sizes = [5, 3]
    pairs = list(zip(IMAGES.split(sizes), LABELS.split(sizes), strict=True))
    packed = [(pack(x), y) for x, y in pairs]
    assert [examples(batch) for batch in packed] == sizes
    with torch.no_grad():
        expected = F.cross_entropy(plain(IMAGES), LABELS).item()
    assert mean_loss(model, packed)[0] == pytest.approx(expected, rel=1e-6)
    assert mean_loss(model, packed)[1] == mean_loss(plain, pairs)[1]
    assert np.allclose(plane_of(model, packed), plane_of(plain, pairs), rtol=1e-6)
    assert Objective(model, packed).loss() == pytest.approx(expected, rel=1e-6)
    own, reference = Objective(model, packed), Objective(plain, pairs)
    v = torch.ones_like(own.weights)
    assert torch.allclose(own.hessian_vector_product(v), reference.hessian_vector_product(v))


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        (lambda s: (s, s.mean()), r"returns a tuple of \[8, 3\], \[\]: which are its class scores"),
        (lambda s: {"a": s, "b": s}, r"returns a dict \(a, b\) of \[8, 3\], \[8, 3\]"),
        (lambda s: "scores", "returns a str of no tensor"),
        (lambda s: [s, s], "returns a list of"),
    ],
)
def test_outputs_that_could_be_read_two_ways_are_refused_and_the_way_out_works(outputs, says):
    model = Takes(lambda x: x, outputs)
    model.train()
    for attempt in (
        lambda: plane_of(model, [(IMAGES, LABELS)]),
        lambda: mean_loss(model, [(IMAGES, LABELS)]),
        lambda: Objective(model, [(IMAGES, LABELS)]).loss(),
    ):
        with pytest.raises(PerturbError, match=says):
            attempt()
        assert model.training and not torch.is_inference_mode_enabled()
    if says.startswith("returns a tuple"):
        loss = plane_of(
            model, [(IMAGES, LABELS)], loss_function=lambda out, y: F.cross_entropy(out[0], y)
        )
        assert np.allclose(loss, plane_of(Takes(lambda x: x), [(IMAGES, LABELS)]))


def test_inputs_without_a_tensor_are_refused():
    with pytest.raises(PerturbError, match="inputs are dict without a tensor"):
        mean_loss(Takes(lambda x: x), [({"text": "words"}, LABELS)])
    assert torch.equal(logits_of([IMAGES]), IMAGES)


# --- what fails, and what moves ------------------------------------------------------------------


class Fails(nn.Module):
    """Fails at the n-th call, as a device does that is out of memory."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error, self.calls = at, error, 0
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(64, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.seen += 1
        out = self.norm(self.stem(x))
        if self.calls == self.at:
            raise self.error
        return self.head(out.flatten(1))


@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("batch_norm", ["stored", "reestimated"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_switched(at, workers, batch_norm, error):
    torch.manual_seed(5)
    model = Fails(at, error).train()
    model.norm.eval()
    model.head.weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    threads, momentum = torch.get_num_threads(), model.norm.momentum
    hooks = [len(m._forward_hooks) for m in model.modules()]
    gc.disable()  # what it happens to clean up is no cleaning
    try:
        with pytest.raises(type(error)):
            plane_of(model, [(IMAGES, LABELS)], workers=workers, batch_norm=batch_norm)
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    finally:
        gc.enable()
    assert model.training and model.stem.training and not model.norm.training
    assert torch.get_num_threads() == threads and model.norm.momentum == momentum
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    assert not any("forward" in vars(m) for m in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert not tensor.is_inference()
    model.at = 0
    F.cross_entropy(model(IMAGES), LABELS).backward()  # it trains on
    assert model.head.weight.grad is None and model.stem[0].weight.grad is not None


class Counts(nn.Module):
    """Moves its buffers in evaluation mode too, and depends on them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("last", None)
        self.layer = nn.Linear(108, 3)

    def forward(self, x):
        self.steps += 1
        self.last = x.mean()
        return self.layer(x.flatten(1)) * (1 + self.steps)


def test_points_do_not_depend_on_those_before_them_and_buffers_come_back():
    model, batches = Counts(), [(IMAGES, LABELS)]
    own = mean_loss(model, batches)[0]
    with Surface(model, batches, *pair(model)) as surface:
        assert surface.at(0.5, 0.5) == surface.at(0.5, 0.5)
        assert surface.at(0.0, 0.0)[0] == own
    objective = Objective(model, batches)
    assert objective.loss() == pytest.approx(own, rel=1e-6)
    assert objective.loss() == objective.loss_and_gradient()[0]
    assert model.steps == 0 and model.last is None


def test_mixed_formats_are_measured_and_complex_ones_said():
    model = Takes(lambda x: x.double())
    model.layer.double()
    model.extra = nn.Linear(3, 3)
    model.give = lambda scores: model.extra(scores.float())
    batches = [(IMAGES, LABELS)]
    with torch.no_grad():
        own = F.cross_entropy(model(IMAGES), LABELS).item()
    assert plane_of(model, batches)[1, 1] == own
    found = measure(Objective(model, batches), radii=[0.1], seeds=[0], eigenvalues=1, iterations=4)
    assert found["loss"] == pytest.approx(own, rel=1e-6) and not found["non_finite"]
    model.extra.weight = nn.Parameter(torch.ones(3, 3, dtype=torch.complex64))
    with pytest.raises(PerturbError, match=r"'extra.weight' is complex.*view_as_complex"):
        Objective(model, batches)


class Once(torch.autograd.Function):
    """Has a first derivative only."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (Once.apply, "cannot be differentiated twice"),
        (lambda s: s.detach(), "cannot be differentiated by"),
        (lambda s: s.round().long().float(), "cannot be differentiated by"),
    ],
)
def test_what_has_no_second_derivative_is_said(cut, says, single):
    model = Takes(lambda x: x, cut).train()
    batches = [(IMAGES, LABELS)] if single else [(IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])]
    with pytest.raises(PerturbError, match=says):
        measure(Objective(model, batches), radii=[0.1], seeds=[0], iterations=3)
    assert model.training and torch.isfinite(torch.as_tensor(plane_of(model, batches))).all()
