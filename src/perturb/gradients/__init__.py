"""Estimates of the gradient of a discrete network: coordinate differences, evolution, STE.

    cdg(model, loss, eps)                         one weight at a time, exactly
    nes(model, loss, sigma, samples, kind=...)    natural evolution strategies, and SPSA

`loss` maps the model to its mean loss. The estimates come by the names of its parameters.
"""

from perturb.gradients.coordinate import cdg
from perturb.gradients.evolution import nes

__all__ = ["cdg", "nes"]
