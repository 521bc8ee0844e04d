"""ASAM (Kwon et al. 2021, equation 9): SAM in the metric of the weights' own sizes."""

from __future__ import annotations

from torch import Tensor

from perturb.optim.optimizer import GradientAt, PerturbedOptimizer

PARAMETERS = {"rho": 0.5, "eta": 0.01}
SECOND_PASS = "every step"


class Rule(PerturbedOptimizer):
    """e = rho T^2 g / (norm(T g) + E), T = abs(w) + eta on weights, 1 elsewhere; u = g*."""

    rho: float
    eta: float

    def direction(self, weights: Tensor, gradient: Tensor, gradient_at: GradientAt) -> Tensor:
        """Return g*. Elsewhere is biases and normalisation: tensors of one dimension.

        (The authors' code goes by names and so counts a batch-norm's gain as a weight.)
        """
        size = weights.abs().add_(self.eta)
        for part, tensor in zip(self.flat.shaped(size), self.flat.tensors, strict=True):
            if tensor.dim() <= 1:
                part.fill_(1)
        return gradient_at(self.of_radius("rho", size * gradient).mul_(size))
