import numpy as np
import pytest
import torch

from perturb import models
from perturb.ensembles import matching
from perturb.errors import PerturbError


def perceptron(seed):
    return models.initial_weights("mlp", 10, 4, 1, seed=seed)


def squared_distance(one, other):
    return sum(((one[name] - other[name]) ** 2).sum().item() for name in one)


def test_permuted_units_are_found_again():
    model = models.build("mlp", 10, 4, 1)
    names = matching.layers_of(model, {})
    weights = perceptron(0)
    generator = np.random.default_rng(0)
    layers = [
        tuple(weights[f"{name}.{what}"].numpy() for what in ("weight", "bias")) for name in names
    ]
    orders = [generator.permutation(512), generator.permutation(256)]
    shuffled = dict(weights)
    for name, layer in zip(names, matching.permuted(layers, orders), strict=True):
        for what, values in zip(("weight", "bias"), layer, strict=True):
            shuffled[f"{name}.{what}"] = torch.from_numpy(np.ascontiguousarray(values))
    assert squared_distance(weights, shuffled) > 10
    found = matching.matched(model, weights, shuffled)
    for name, tensor in weights.items():
        assert torch.equal(found[name], tensor), name


def test_matched_units_are_nearer_and_compute_the_same():
    model, other = perceptron(0), perceptron(1)
    network = models.build("mlp", 10, 4, 1)
    found = matching.matched(network, model, other)
    assert squared_distance(model, found) < squared_distance(model, other)
    inputs = torch.randn(8, 1, 4, 4)
    network.load_state_dict(other)
    expected = network(inputs)
    network.load_state_dict(found)
    torch.testing.assert_close(network(inputs), expected)


def test_other_networks_are_refused():
    with pytest.raises(PerturbError, match="for perceptrons, not for"):
        matching.layers_of(models.build("cnn", 10, 8, 1), {})
