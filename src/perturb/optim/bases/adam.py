"""Adam (Kingma and Ba 2015, algorithm 1), weight decay coupled: part of the gradient."""

from __future__ import annotations

from torch import Tensor
from torch.optim.adam import adam

from perturb.optim.flat import Part

OPTIONS = {"betas": (0.9, 0.999), "eps": 1e-8}
VECTORS = ("exp_avg", "exp_avg_sq")
COUNTERS = ("step",)


def descend(part: Part, direction: Tensor) -> None:
    """d = u + wd*w; m = b1*m + (1-b1)*d; v = b2*v + (1-b2)*d^2, both divided by 1 - b^t;
    w -= lr*m / (sqrt(v) + eps).
    """
    step(part, direction, decoupled=False)


def step(part: Part, direction: Tensor, decoupled: bool) -> None:
    """Make a step in one pass over the vectors; `decoupled`: d = u, and first w *= 1 - lr*wd."""
    beta1, beta2 = part.settings["betas"]
    adam(
        [part.weights],
        [direction],
        [part.state["exp_avg"]],
        [part.state["exp_avg_sq"]],
        [],
        [part.state["step"]],
        fused=True,
        lr=part.settings["lr"],
        beta1=beta1,
        beta2=beta2,
        eps=part.settings["eps"],
        weight_decay=part.settings["weight_decay"],
        decoupled_weight_decay=decoupled,
        amsgrad=False,
        maximize=False,
    )
