"""Loss, gradient and Hessian-vector products against differences and the dense Hessian."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from perturb.landscape.objective import Objective

from .problems import dense_hessian, images, mean, network, network_objective, quadratic


def vector_for(objective, seed=3):
    draws = torch.Generator().manual_seed(seed)
    weights = objective.weights
    return torch.randn(weights.shape, generator=draws, dtype=torch.float64).to(weights)


def test_loss_and_gradient_are_the_models_own_in_evaluation_mode():
    model, (inputs, labels) = network(), images()
    objective = Objective(model, [(inputs, labels)])
    copied = copy.deepcopy(model).eval()
    loss = F.cross_entropy(copied(inputs), labels)
    loss.backward()
    expected = torch.cat([p.grad.reshape(-1) for p in copied.parameters()])
    assert objective.loss() == loss.item()
    assert objective.loss_and_gradient()[0] == loss.item()
    assert torch.allclose(objective.gradient(), expected, rtol=0, atol=1e-14)


def test_loss_at_other_weights_is_that_of_a_model_that_has_them():
    objective = network_objective()
    moved = objective.weights + 0.1 * vector_for(objective)
    other = copy.deepcopy(objective.model)
    nn.utils.vector_to_parameters(moved, other.parameters())
    there = Objective(other, objective.batches)
    assert objective.loss(moved) == there.loss() != objective.loss()
    assert torch.equal(objective.gradient(moved), there.gradient())


def test_hessian_vector_product_agrees_with_differences_of_the_gradient():
    objective = network_objective()
    vector, step = vector_for(objective), 1e-5
    up, down = (objective.gradient(objective.weights + s * vector) for s in (step, -step))
    expected = (up - down) / (2 * step)
    assert expected.norm() > 1
    assert torch.allclose(objective.hessian_vector_product(vector), expected, rtol=0, atol=1e-8)


def test_hessian_vector_products_are_those_of_the_dense_hessian():
    objective = network_objective()
    dense = dense_hessian(objective)
    product = objective.hessian()
    found = np.stack([product(row).numpy() for row in torch.eye(len(dense), dtype=torch.float64)])
    assert np.abs(found - dense).max() < 1e-13


@pytest.mark.parametrize("sizes", [(7, 13), (1, 4, 15), (10, 10)])
def test_batches_of_any_sizes_agree_with_one(sizes):
    whole, parts = network_objective(), network_objective(*sizes)
    vector = vector_for(whole)
    assert parts.images == whole.images == 20
    assert parts.loss() == pytest.approx(whole.loss(), rel=1e-13)
    for name, arguments in (("gradient", ()), ("hessian_vector_product", (vector,))):
        one, other = (getattr(o, name)(*arguments) for o in (whole, parts))
        assert torch.allclose(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    model = network().train()
    model[1].eval()  # a mixture of modes is restored too
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = None if index == 0 else torch.full_like(parameter, index)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    addresses = [(id(p), p.data_ptr()) for p in model.parameters()]

    def loss_function(logits, labels):
        assert not any(module.training for module in model.modules())
        if fails:
            raise RuntimeError("no memory")
        return F.cross_entropy(logits, labels)

    objective = Objective(model, [images()], loss_function)
    vector = vector_for(objective)
    for call in (
        objective.loss,
        objective.gradient,
        lambda: objective.gradient(objective.weights + vector),
        lambda: objective.hessian_vector_product(vector),
    ):
        if fails:
            with pytest.raises(RuntimeError, match="no memory"):
                call()
        else:
            call()
        assert [(id(p), p.data_ptr()) for p in model.parameters()] == addresses
        assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
        assert [m.training for m in model.modules()] == [True, True, False, True, True, True]
        grads = [p.grad for p in model.parameters()]
        assert grads[0] is None
        assert all((g == index).all() for index, g in enumerate(grads) if index)


def test_frozen_parameters_are_not_among_the_weights():
    model = network()
    model[0].weight.requires_grad_(False)
    objective = Objective(model, [images()])
    dense = dense_hessian(network_objective())[27:, 27:]
    assert len(objective.weights) == len(dense)
    row = objective.hessian_vector_product(torch.eye(len(dense), dtype=torch.float64)[0])
    assert np.abs(row.numpy() - dense[0]).max() < 1e-13


def test_weights_are_told_from_biases_and_normalisation():
    sizes = [27, 3, 3, 3, 48, 4]
    expected = np.repeat([1, 0, 0, 0, 1, 0], sizes)
    assert network_objective().is_weight.int().tolist() == expected.tolist()


def test_a_loss_that_is_linear_has_no_curvature():
    objective = quadratic(np.zeros((4, 4)))
    linear = Objective(nn.Linear(3, 1, bias=False), [(torch.ones(2, 3), torch.ones(2))], mean)
    assert torch.equal(objective.hessian_vector_product(torch.ones(4).double()), torch.zeros(4))
    assert torch.equal(linear.hessian_vector_product(torch.ones(3)), torch.zeros(3))


def test_attention_is_differentiated_twice():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    torch.manual_seed(0)
    batch = torch.randn(4, 5, 8).double(), torch.arange(4) % 3
    objective = Objective(Attention().double(), [batch])
    vector, step = vector_for(objective), 1e-5
    up, down = (objective.gradient(objective.weights + s * vector) for s in (step, -step))
    found = objective.hessian_vector_product(vector)
    assert torch.allclose(found, (up - down) / (2 * step), rtol=0, atol=1e-8)


def test_what_cannot_be_an_objective_says_so():
    with pytest.raises(ValueError, match="at least one image"):
        Objective(network(), [])
    with pytest.raises(ValueError, match="no trainable parameter"):
        Objective(network().requires_grad_(False), [images()])
