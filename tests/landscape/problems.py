"""Objectives whose curvature is known some other way."""

import numpy as np
import torch
from torch import nn

from perturb.landscape.objective import Objective


class Quadratic(nn.Module):
    """0.5 (w - c)^T A (w - c) + 0.25 quartic sum (w - c)^4; w is a vector or, `shape`d, a matrix.

    Asked once an image; the loss function is the mean over the images.
    """

    def __init__(self, matrix, weights, centre=None, bias_size=0, dtype=torch.float64, quartic=0.0):
        super().__init__()
        weights = torch.as_tensor(weights, dtype=dtype)
        size = len(weights) - bias_size
        self.matrix = torch.as_tensor(matrix, dtype=dtype)
        self.centre = torch.zeros_like(weights) if centre is None else torch.as_tensor(centre)
        self.quartic = quartic
        self.weight = nn.Parameter(weights[:size].clone().view(-1, 1 if size % 2 else 2))
        if bias_size:
            self.bias = nn.Parameter(weights[size:].clone())

    def forward(self, inputs):
        w = torch.cat([p.reshape(-1) for p in self.parameters()]) - self.centre
        return inputs * (0.5 * w @ self.matrix @ w + 0.25 * self.quartic * (w**4).sum())


def mean(outputs, labels):
    return outputs.mean()


def quadratic(matrix, weights=None, sizes=(3,), **options):
    weights = np.ones(len(matrix)) if weights is None else weights
    model = Quadratic(matrix, weights, **options)
    ones = [torch.ones(size, dtype=model.matrix.dtype) for size in sizes]
    return Objective(model, [(one, one) for one in ones], mean)


def with_spectrum(values, seed=0):
    """A symmetric matrix of these eigenvalues, in a random basis."""
    draws = np.random.default_rng(seed)
    basis = np.linalg.qr(draws.normal(size=(len(values), len(values))))[0]
    return basis @ np.diag(values) @ basis.T


def network(seed=0):
    """A convolution and a linear layer with biases, batch-norm between; 100 weights, not ReLU."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.BatchNorm2d(3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(12, 4),
    ).double()
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 1.5)
        model[1].bias.normal_()
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2.0)
    return model


def images(count=20):
    draws = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 1, 4, 4, dtype=torch.float64, generator=draws)
    return inputs, torch.randint(0, 4, (count,), generator=draws)


def batches(*sizes):
    inputs, labels = images(sum(sizes))
    return list(zip(inputs.split(list(sizes)), labels.split(list(sizes)), strict=True))


def network_objective(*sizes):
    return Objective(network(), batches(*(sizes or (20,))))


def dense_hessian(objective):
    """The Hessian by torch.autograd.functional from a loss written out by hand."""
    model, (inputs, labels) = objective.model, images()
    parameters = list(model.parameters())

    def loss(flat):
        parts = flat.split([p.numel() for p in parameters])
        kernel, bias, gain, offset, linear, last = (
            part.view(p.shape) for part, p in zip(parts, parameters, strict=True)
        )
        x = nn.functional.conv2d(inputs, kernel, bias, stride=2, padding=1)
        shape = (1, 3, 1, 1)
        norm = model[1]
        x = (x - norm.running_mean.view(shape)) / (norm.running_var + norm.eps).sqrt().view(shape)
        x = torch.tanh(x * gain.view(shape) + offset.view(shape)).flatten(1)
        x = x @ linear.T + last
        return -torch.log_softmax(x, 1)[torch.arange(len(labels)), labels].mean()

    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    return torch.autograd.functional.hessian(loss, flat).numpy()
