"""The cached coordinate gradient of a layer against two whole forwards a weight."""

import pytest
import torch
import torch.nn.functional as F

import perturb.models
from perturb.gradients.kept import Kept
from perturb.gradients.layers import Layer, _Prefix, measure


def network_of(name):
    torch.manual_seed(0)
    network = perturb.models.build(name, 10, 16, 1)
    for _ in range(3):  # batch-norm sees images
        network(torch.randn(32, 1, 16, 16))
    return network.eval()


def problem(count=6):
    draws = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 16, 16, generator=draws)
    return images, torch.randint(10, (count,), generator=draws)


def whole_forwards(network, weight, index, values, images, labels):
    """The loss with one weight at each of the values, everything computed anew."""
    kept = weight.detach().flatten()[index].item()
    found = []
    with torch.no_grad():
        for value in values:
            weight.view(-1)[index] = value
            found.append(F.cross_entropy(network(images).double(), labels).item())
        weight.view(-1)[index] = kept
    return found


@pytest.mark.parametrize("name", ["xnor_resnet18_8", "real_xnor_resnet18_8"])
@pytest.mark.parametrize(("number", "eps"), [(1, 0.3), (8, 0.01), (15, 0.1)])
def test_a_layers_gradient_is_that_of_whole_forwards(name, number, eps):
    network = network_of(name)
    images, labels = problem()
    layer = Layer(network, number, images, labels)
    weight = layer.convolution.weight
    with torch.no_grad():
        weight.view(-1)[0] = 0.95  # clamped on one side
        weight.view(-1)[1] = 0.5 * eps  # changes sign
    found = layer.coordinate(eps).flatten() if number == 1 else None
    chosen = [0, 1, 2, 30, weight.numel() - 1]
    if found is None:  # all of a deep layer takes long: those weights only
        with torch.inference_mode():
            prefix, index = _Prefix.of(layer), torch.tensor(chosen)
            pair = [layer._losses(prefix, index, change) for change in (eps, -eps)]
        found = dict(zip(chosen, ((pair[0] - pair[1]) / (2 * eps)).tolist(), strict=True))
    for index in chosen:
        value = weight.detach().flatten()[index].item()
        plus, minus = whole_forwards(
            network, weight, index, (value + eps, value - eps), images, labels
        )
        assert abs(float(found[index]) - (plus - minus) / (2 * eps)) < 2e-6 / eps


def test_the_difference_by_sign_is_two_whole_forwards():
    network = network_of("xnor_resnet18_8")
    images, labels = problem(4)
    layer = Layer(network, 1, images, labels)
    weight = layer.convolution.weight
    found = layer.sign_difference().flatten()
    for index in (0, 17, 575):
        value = weight.detach().flatten()[index].item()
        pair = (abs(value), -abs(value))
        plus, minus = whole_forwards(network, weight, index, pair, images, labels)
        assert abs(found[index].item() - (plus - minus) / 2) < 1e-6


def test_the_straight_through_gradient_and_steps_leave_the_network_as_it_was():
    network = network_of("xnor_resnet18_8")
    images, labels = problem()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    frame = measure(network, [1], (images, labels), problem(5), [0.1], 1, Kept())
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert set(frame["estimator"]) == {"ste", "cdg", "sign_flip"}
    assert (frame.loc[frame["estimator"] == "ste", "cosine"] > 0.999).all()
    assert list(frame["learning_rate"].unique()) == [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0]
    layer = Layer(network, 1, images, labels)
    gradient = layer.straight_through()
    assert gradient.shape == layer.convolution.weight.shape and gradient.norm() > 0
