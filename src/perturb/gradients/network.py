"""The toy: three layers of sign units and a linear output, many weight sets evaluated at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perturb.models.binary import Surrogate, sign, straight_through_sign, surrogate
from perturb.random import generator

# Of each layer, [out, in]; the output's is [1, in]. Stacked weights have one axis more in front.
Weights = tuple[Tensor, ...]
HIDDEN = 3
AT_ONCE = 256  # weight sets: enough that a call's own time is nothing beside theirs
_LOOKED_UP = 4  # samples per input from which tables are worth filling, found by measuring
# Activations in flight: what stays in a core's own cache, found by measuring; on a GPU a guess.
_BLOCK = {"cpu": 2**17, "cuda": 2**27}
_SAMPLES = {"cpu": 2000, "cuda": 2**17}


class SignNetwork(nn.Module):
    """w' sign(W3 sign(W2 sign(W1 x))): [B, d] to [B], weights in full precision, no biases."""

    def __init__(self, dimension: int, surrogate_name: str = "clip") -> None:
        super().__init__()
        outputs = [dimension] * HIDDEN + [1]
        self.layers = nn.ModuleList(nn.Linear(dimension, n, bias=False) for n in outputs)
        self.backward_of_sign = surrogate(surrogate_name)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output [B] for inputs [B, d]."""
        return outputs(tuple(layer.weight for layer in self.layers), inputs, self.backward_of_sign)


def outputs(weights: Weights, inputs: Tensor, backward: Surrogate) -> Tensor:
    """Return the output [B] for inputs [B, d], differentiable by the estimator `backward`."""
    for weight in weights[:-1]:
        inputs = straight_through_sign(inputs @ weight.T, backward)
    return (inputs @ weights[-1].T)[:, 0]


def initial_weights(dimension: int, seed: int, purpose: str) -> Weights:
    """Return weights drawn as `nn.Linear` draws them: uniform within 1 / sqrt(d)."""
    draws = generator(seed, 0, f"toy {purpose} {dimension}")
    shapes = [(dimension, dimension)] * HIDDEN + [(1, dimension)]
    return tuple((2 * torch.rand(s, generator=draws) - 1) / dimension**0.5 for s in shapes)


def normal_inputs(dimension: int, samples: int, seed: int, batch: int, purpose: str) -> Tensor:
    """Return inputs [samples, d], i.i.d. N(0, 1), of one batch."""
    draws = generator(seed, batch, f"toy inputs {purpose} {dimension}")
    return torch.randn(samples, dimension, generator=draws)


def targets_of(weights: Weights, inputs: Tensor) -> Tensor:
    """Return the output [B] of a network at inputs [B, d], without gradient."""
    with torch.inference_mode():
        for weight in weights[:-1]:
            inputs = sign(inputs @ weight.T)
        return (inputs @ weights[-1].T)[:, 0]


@torch.inference_mode()
def losses(points: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error [P], in float64, of each of P weight sets.

    Args:
        points: [P, n], each as `flatten` has them.
        inputs: [B, d]; `targets` [B].
    """
    count, dimension = len(points), inputs.shape[1]
    on_cpu = inputs.device.type == "cpu" and inputs.dtype == torch.float32
    if on_cpu and len(inputs) >= _LOOKED_UP * dimension:
        # Half a second to import, which a GPU and a model of one's own need not wait for.
        from perturb.gradients import lookup

        return lookup.losses(points, HIDDEN, inputs, targets)
    samples = min(len(inputs), _SAMPLES[inputs.device.type])
    block = max(1, _BLOCK[inputs.device.type] // (dimension * samples))
    pieces = [
        (x.T.contiguous(), t)
        for x, t in zip(inputs.split(samples), targets.split(samples), strict=True)
    ]
    found = torch.zeros(count, dtype=torch.float64, device=inputs.device)
    for start in range(0, count, block):
        some = unflatten(points[start : start + block], dimension)
        for piece, wanted in pieces:
            found[start : start + block] += _squared_errors(some, piece, wanted)
    return found / len(inputs)


def _squared_errors(weights: Weights, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return sums of squared errors [P] of inputs [d, B]: samples last, the longest axis."""
    first = weights[0]
    # One product for all weight sets: they share the inputs of the first layer.
    hidden = (first.reshape(-1, first.shape[-1]) @ inputs).view(*first.shape[:2], -1)
    for weight in weights[1:]:
        hidden = torch.bmm(weight, _sign_in_place(hidden))
    return (hidden[:, 0] - targets).square_().sum(dim=1, dtype=torch.float64)


def _sign_in_place(z: Tensor) -> Tensor:
    one = torch.ones((), dtype=z.dtype, device=z.device)
    return torch.copysign(one, z, out=z)


def straight_through(
    weights: Weights, inputs: Tensor, targets: Tensor, surrogate_name: str
) -> Weights:
    """Return the straight-through gradient of the mean squared error, a tensor a layer."""
    leaves = tuple(weight.detach().clone().requires_grad_() for weight in weights)
    error = outputs(leaves, inputs, surrogate(surrogate_name)) - targets
    return torch.autograd.grad(error.square().mean(), leaves)


def flatten(weights: Weights) -> Tensor:
    """Return the weights, or P stacked weight sets, as one axis: [n] or [P, n]."""
    batch = weights[0].shape[:-2]
    return torch.cat([weight.reshape(*batch, -1) for weight in weights], dim=-1)


def unflatten(flat: Tensor, dimension: int) -> Weights:
    """Return the weights of [n], or of P weight sets [P, n], by layer."""
    sizes = [dimension**2] * HIDDEN + [dimension]
    return tuple(p.reshape(*flat.shape[:-1], -1, dimension) for p in flat.split(sizes, dim=-1))
