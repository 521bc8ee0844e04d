"""SGD with momentum, Nesterov's as an option (Sutskever et al. 2013, as torch.optim.SGD has it)."""

from __future__ import annotations

from torch import Tensor
from torch.optim.sgd import sgd

from perturb.optim.flat import Part

OPTIONS = {"momentum": 0.9, "nesterov": False}
VECTORS = ("momentum_buffer",)
COUNTERS = ()


def descend(part: Part, direction: Tensor) -> None:
    """d = u + wd*w; v = m*v + d; w -= lr*v, with Nesterov w -= lr*(d + m*v)."""
    w, v, settings = part.weights, part.state["momentum_buffer"], part.settings
    if settings["nesterov"]:
        sgd(
            [w],
            [direction],
            [v],
            fused=True,  # one pass over the vectors
            lr=settings["lr"],
            momentum=settings["momentum"],
            weight_decay=settings["weight_decay"],
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )
        return
    # Not torch's: finished runs were made in this order of operations, to the last bit.
    v.mul_(settings["momentum"]).add_(direction)
    v.add_(w, alpha=settings["weight_decay"])
    w.add_(v, alpha=-settings["lr"])
