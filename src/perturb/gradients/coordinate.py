"""The coordinate discrete gradient (Kim et al. 2020): of any model, and fast of a sign network.

    g_i = [L(w + eps e_i) - L(w - eps e_i)] / (2 eps)

is the exact gradient, along each coordinate, of the loss smoothed by a box of half-width eps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from perturb.errors import PerturbError, did_you_mean
from perturb.gradients.network import Weights
from perturb.gradients.stacked import StackedLoss
from perturb.models.binary import sign

_BLOCK = 2**18  # activations in flight in a pass over flipped units


def cdg(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    eps: float,
    names: Iterable[str] | None = None,
    at_once: int = 64,
) -> dict[str, Tensor]:
    """Return the coordinate discrete gradient by parameter name, shaped as the parameters.

    Two evaluations of the loss a weight, `at_once` of them in one batched pass (torch.func.vmap).

    Args:
        model: any module whose forward `torch.func.vmap` can batch.
        loss: maps the model to its loss, a scalar.
        eps: half-width of the box, in the weights' units.
        names: of the parameters wanted; all where None.

    Raises PerturbError for an eps that is not above 0 and for an unknown parameter.
    """
    _check_window(eps)
    parameters = dict(model.named_parameters())
    chosen = list(parameters if names is None else names)
    for name in chosen:
        if name not in parameters:
            raise PerturbError(
                f"The model has no parameter '{name}'.{did_you_mean(name, parameters)}"
            )
    stacked = StackedLoss(model, loss)
    found = {}
    with torch.no_grad():
        for name in chosen:
            weight = parameters[name].detach()
            steps = eps * torch.eye(weight.numel(), dtype=weight.dtype, device=weight.device)
            differences = [
                stacked({name: weight + part.view(-1, *weight.shape)})
                - stacked({name: weight - part.view(-1, *weight.shape)})
                for part in steps.split(at_once)
            ]
            found[name] = torch.cat(differences).view_as(weight) / (2 * eps)
    return found


def _check_window(eps: float) -> None:
    if not eps > 0:
        raise PerturbError(f"eps is {eps:g}: the half-width of the box must be above 0.")


@torch.inference_mode()
def factorised(
    weights: Weights, inputs: Tensor, targets: Tensor, windows: Sequence[float]
) -> list[Weights]:
    """Return the coordinate discrete gradient of a sign network's mean squared error, by window.

    Moving W_k[j, i] can only flip unit j of layer k, and what a flip does to the loss of a sample
    depends on neither i nor eps. So one pass a layer finds `changes[b, j]`, the loss of sample b
    with unit j flipped less the loss without, and

        g_ji = 1/(2 eps B) sum_b (1[+eps h_bi flips j] - 1[-eps h_bi flips j]) changes[b, j].

    Args:
        weights: [d, d] of each hidden layer, [1, d] of the linear output.
        inputs: [B, d]; `targets` [B]; of the weights' dtype.
        windows: every eps wanted; a further one costs little.

    Raises PerturbError for an eps that is not above 0.
    """
    for eps in windows:
        _check_window(eps)
    activations, preactivations = [inputs], []
    for weight in weights[:-1]:
        preactivations.append(activations[-1] @ weight.T)
        activations.append(sign(preactivations[-1]))
    output = (activations[-1] @ weights[-1].T)[:, 0]
    gradients: list[list[Tensor]] = [[] for _ in windows]
    for layer, z in enumerate(preactivations):
        # What flipping does, with the sign that says which way a flip goes.
        changes = _loss_changes(weights, layer, preactivations, output, targets)
        signed = changes * activations[layer + 1]
        difference = _of_real_inputs if layer == 0 else _of_binary_inputs
        for eps, gradient in zip(windows, gradients, strict=True):
            total = difference(z, activations[layer], signed, eps)
            gradient.append(total / (-2 * eps * len(inputs)))
    # Along an output weight the loss is a parabola, whose central difference is its slope.
    slope = 2 * (output - targets) @ activations[-1] / len(inputs)
    return [(*gradient, slope[None].clone()) for gradient in gradients]


def _loss_changes(
    weights: Weights, layer: int, preactivations: list[Tensor], output: Tensor, targets: Tensor
) -> Tensor:
    """Return [B, d]: how each sample's squared error changes when a unit is flipped."""
    following = weights[layer + 1]
    unit = sign(preactivations[layer])
    if layer == len(preactivations) - 1:
        flipped = output[:, None] - 2 * unit * following
    else:
        width = following.shape[0]
        flipped = torch.empty_like(unit)
        block = max(1, _BLOCK // unit.shape[1] // width)
        columns = -2 * following.T
        for start in range(0, len(unit), block):
            part = slice(start, start + block)
            # [block, flipped unit, next unit]
            z = preactivations[layer + 1][part, None] + unit[part, :, None] * columns
            for weight in weights[layer + 2 :]:
                z = torch.copysign(torch.ones_like(z[0, 0, 0]), z, out=z) @ weight.T
            flipped[part] = z[..., 0]
    before = output[:, None]
    return (flipped - before) * (flipped + before - 2 * targets[:, None])


def _of_binary_inputs(z: Tensor, inputs: Tensor, signed: Tensor, eps: float) -> Tensor:
    """Return sum_b [j, i] where the inputs are 1 and -1: whether a flip happens is theirs alone."""
    crossed = (sign(z + eps) - sign(z - eps)) / 2
    return (signed * crossed).T @ inputs


def _of_real_inputs(z: Tensor, inputs: Tensor, signed: Tensor, eps: float) -> Tensor:
    """Return sum_b [j, i] for inputs of any size; samples that no input can flip are left out."""
    reach = eps * inputs.abs().amax(dim=1)
    steps = eps * inputs
    rows = []
    for unit in range(z.shape[1]):
        near = (z[:, unit].abs() <= reach).nonzero()[:, 0]
        step, centre = steps[near], z[near, unit, None]
        crossed = sign(centre + step).sub_(sign(centre - step))
        rows.append(signed[near, unit] @ crossed / 2)
    return torch.stack(rows)
