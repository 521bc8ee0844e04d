"""The loss surface: the checkpoint itself at its centre, and the plain way everywhere."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from perturb import models
from perturb.landscape import directions
from perturb.landscape.surface import Surface, batch_size, first_layers, mean_loss

from .problems import batches, mean, network, quadratic, with_spectrum


def pair(model, ignore="biasbn", seed=0):
    weights = {name: p.detach() for name, p in model.named_parameters()}
    drawn = directions.draw({name: w.shape for name, w in weights.items()}, seed)
    return [directions.normalise(d, weights, "filter", ignore) for d in drawn]


def plain(model, data, first, second, alpha, beta):
    """Set the weights and run the whole set, the usual way; float64 sums."""
    moved = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p += alpha * first[name] + beta * second[name]
        outputs = torch.cat([moved(inputs) for inputs, _ in data])
        targets = torch.cat([targets for _, targets in data])
        return (
            cross_entropy(outputs, targets).item(),
            (outputs.argmax(1) == targets).double().mean().item(),
        )


@pytest.mark.parametrize("ignore", ["biasbn", "nothing"])
def test_every_point_is_what_the_plain_way_gives(ignore):
    model, data = network(), batches(7, 5)
    first, second = pair(model, ignore)
    points = ((0.3, -0.7), (-1.0, 0.0), (0.0, 0.5), (1.0, 1.0))
    expected = [plain(model, data, first, second, *point) for point in points]
    with Surface(model, data, first, second) as surface:
        for point, (loss, accuracy) in zip(points, expected, strict=True):
            found = surface.at(*point)
            assert found[0] == pytest.approx(loss, rel=1e-13)
            assert found[1] == accuracy


@pytest.mark.parametrize("name", ["cnn", "resnet18", "upanet16"])
def test_the_centre_is_the_checkpoints_own_loss_to_the_last_bit(name):
    torch.manual_seed(0)
    size = 8 if name == "cnn" else 16
    model = models.build(name, 10, size, 1)
    with torch.no_grad():
        model(torch.randn(32, 1, size, size))  # statistics that are not the defaults
    data = [(torch.randn(n, 1, size, size), torch.randint(0, 10, (n,))) for n in (20, 13)]
    model.eval()
    with torch.no_grad():  # nothing of ours
        losses = [cross_entropy(model(x), y).double() * len(x) for x, y in data]
    own = (torch.stack(losses).sum() / 33).item()
    with Surface(model, data, *pair(model)) as surface:
        away = surface.at(0.25, -0.5)[0]
        assert surface.at(0.0, 0.0)[0] == own
    assert mean_loss(model, data)[0] == own
    assert away != own


def test_a_quadratic_is_the_analytic_surface():
    model = quadratic(with_spectrum([5.0, 2.0, 1.0, 0.5]), [1.0, -2.0, 0.5, 3.0]).model
    first, second = pair(model)
    offset = model.weight.detach().flatten()
    data = [(torch.ones(4).double(), torch.ones(4)), (torch.ones(3).double(), torch.ones(3))]
    with Surface(model, data, first, second, loss_function=mean) as surface:
        found = surface.row([-1.0, 0.0, 0.6], 0.3)
    for alpha, (loss, accuracy) in zip([-1.0, 0.0, 0.6], found.tolist(), strict=True):
        w = offset + alpha * first["weight"].flatten() + 0.3 * second["weight"].flatten()
        assert loss == pytest.approx((0.5 * w @ model.matrix @ w).item(), rel=1e-12)
        assert accuracy != accuracy  # no classes


def test_the_model_is_given_back_as_it_was():
    model, data = network(), batches(7, 5)
    model.train()
    model[4].eval()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    momentum = model[1].momentum
    for batch_norm in ("stored", "reestimated"):
        with (
            pytest.raises(RuntimeError, match="in the middle"),
            Surface(model, data, *pair(model), batch_norm=batch_norm) as surface,
        ):
            surface.at(0.5, 0.5)
            raise RuntimeError("in the middle")
        assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
        assert [m.training for m in model] == [True, True, True, True, False]
        assert model[1].momentum == momentum
        assert "forward" not in vars(model[0])


def test_reestimated_statistics_are_those_of_the_images_at_the_point():
    model, (data,) = network(), batches(12)
    first, second = pair(model)
    with Surface(model, [data], first, second, batch_norm="reestimated") as surface:
        found = surface.at(0.4, -0.2)[0]
    moved = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p += 0.4 * first[name] - 0.2 * second[name]
        hidden = moved[0](data[0])
        moved[1].running_mean.copy_(hidden.mean((0, 2, 3)))
        moved[1].running_var.copy_(hidden.var((0, 2, 3)))
        expected = cross_entropy(moved(data[0]), data[1]).item()
    assert found == pytest.approx(expected, rel=1e-12)
    assert found != pytest.approx(plain(model, [data], first, second, 0.4, -0.2)[0], rel=1e-3)


def test_infinite_and_nan_losses_stay():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False))
    data = [(x.float(), y) for x, y in batches(7, 5)]
    first = {"1.weight": torch.full((4, 16), 3e38)}
    with Surface(model, data, first, {}) as surface:
        assert not torch.isfinite(torch.tensor(surface.at(10.0, 0.0)[0]))
        assert torch.isfinite(torch.tensor(surface.at(0.0, 0.0)[0]))


def test_layers_that_read_the_images_are_found():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = nn.Conv2d(1, 2, 1)
            self.right = nn.Conv2d(1, 2, 1)
            self.shared = nn.Conv2d(1, 1, 1)

        def forward(self, inputs):
            return self.left(inputs) + self.right(self.shared(self.shared(inputs)))

    model = Both()
    assert first_layers(model, torch.zeros(1, 1, 4, 4)) == {model.left: (2 * 16 * 4, None)}


def test_a_direction_of_unknown_tensors_is_refused():
    with pytest.raises(ValueError, match=r"no such parameter: 9\.weight"):
        Surface(network(), batches(7, 5), {"9.weight": torch.zeros(2)}, {})


def test_batches_are_smaller_where_layers_are_larger():
    small = batch_size(models.build("cnn", 10, 8), torch.zeros(1, 1, 8, 8))
    large = batch_size(models.build("resnet18", 10, 32), torch.zeros(1, 3, 32, 32))
    assert small > 1437
    assert 8 <= large <= 64
