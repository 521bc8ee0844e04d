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
    settings = part.settings
    sgd(
        [part.weights],
        [direction],
        [part.state["momentum_buffer"]],
        fused=True,  # one pass over the vectors
        lr=settings["lr"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        dampening=0.0,
        nesterov=settings["nesterov"],
        maximize=False,
    )
