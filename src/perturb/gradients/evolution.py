"""Natural evolution strategies (Wierstra et al. 2014; Salimans et al. 2017) and SPSA (Spall 1992).

With N evaluations of the loss L and e ~ N(0, I), estimates of the gradient of E L(w + sigma e):

    plain       1/(N sigma) sum L(w + sigma e) e
    baseline    1/((N - 1) sigma) sum (L(w + sigma e) - mean L) e
    antithetic  1/(N sigma) sum over N/2 e of [L(w + sigma e) - L(w - sigma e)] e
    rank        antithetic, with the losses' centred ranks in place of the losses: a direction only
    spsa        antithetic, with e of 1 and -1 (Rademacher)

All but `rank` are unbiased: the mean that `baseline` subtracts has (N - 1) / N of the sample's own
loss taken out again by its factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from perturb.errors import PerturbError, did_you_mean
from perturb.gradients.stacked import StackedLoss
from perturb.random import generator

KINDS = ("plain", "baseline", "antithetic", "rank", "spsa")
_ONE_SIDED = ("plain", "baseline")
_AT_ONCE = 64
_KEPT = 2**26  # numbers, a quarter of a gigabyte


def nes(
    model: nn.Module,
    loss: Callable[[nn.Module], Tensor],
    sigma: float,
    samples: int,
    kind: str = "antithetic",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Return an estimate of the gradient by parameter name, shaped as the parameters.

    Args:
        model: any module whose forward `torch.func.vmap` can batch.
        loss: maps the model to its loss, a scalar.
        sigma: standard deviation of the perturbation, in the weights' units.
        samples: number of evaluations of the loss, N.
        kind: one of KINDS.
        seed: of the perturbations.

    Raises PerturbError for an unknown kind, and for a sigma or number that it cannot use.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    centre = torch.cat([p.reshape(-1) for p in parameters.values()])
    sizes = [p.numel() for p in parameters.values()]
    stacked = StackedLoss(model, loss)

    def by_name(flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split(sizes, dim=-1)
        return {
            name: part.reshape(*flat.shape[:-1], *p.shape)
            for (name, p), part in zip(parameters.items(), parts, strict=True)
        }

    def evaluate(points: Tensor) -> Tensor:
        return stacked(by_name(points))

    return by_name(estimates(evaluate, centre, sigma, samples, [kind], seed)[kind])


def estimates(
    evaluate: Callable[[Tensor], Tensor],
    centre: Tensor,
    sigma: float,
    evaluations: int,
    kinds: Sequence[str],
    seed: int,
) -> dict[str, Tensor]:
    """Return an estimate [n] of the gradient at `centre` [n] for each kind.

    Kinds that perturb alike share perturbations and losses, so that they differ by their formula.

    Args:
        evaluate: maps points [P, n] to their losses [P].
        evaluations: of the loss, for each kind.
        seed: of the perturbations, drawn on the CPU: the same on every device.

    Raises PerturbError for an unknown kind, and for a sigma or number that it cannot use.
    """
    _check(sigma, evaluations, kinds)
    found: dict[str, Tensor] = {}
    for group in (_ONE_SIDED, ("antithetic", "rank"), ("spsa",)):
        if not (wanted := [kind for kind in kinds if kind in group]):
            continue
        signs = (1,) if group is _ONE_SIDED else (1, -1)
        count = evaluations // len(signs)
        draws = Perturbations(centre, count, seed, group[0])
        losses = torch.cat(
            [
                torch.stack([evaluate(centre + (sign * sigma) * e).double() for sign in signs])
                for e in draws
            ],
            dim=1,
        )
        weights = torch.stack([_coefficients(kind, losses) for kind in wanted]) / sigma
        found |= dict(zip(wanted, draws.weighted_sum(weights), strict=True))
    return {kind: found[kind] for kind in kinds}


def _check(sigma: float, evaluations: int, kinds: Sequence[str]) -> None:
    if not sigma > 0:
        raise PerturbError(f"sigma is {sigma:g}: the perturbation must be above 0.")
    for kind in kinds:
        if kind not in KINDS:
            raise PerturbError(f"Unknown kind of NES '{kind}'.{did_you_mean(kind, KINDS)}")
        if evaluations < 2 or (kind not in _ONE_SIDED and evaluations % 2):
            raise PerturbError(
                f"{evaluations} evaluations do not fit: '{kind}' needs "
                f"{'two or more' if kind in _ONE_SIDED else 'an even number'}."
            )


class Perturbations:
    """`count` perturbations of one stream, [P, n] at a time; kept where they are few."""

    def __init__(self, centre: Tensor, count: int, seed: int, purpose: str) -> None:
        self.centre, self.count, self.seed, self.purpose = centre, count, seed, purpose
        self._kept = list(self._draw()) if count * len(centre) <= _KEPT else None

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._draw() if self._kept is None else self._kept)

    def _draw(self) -> Iterator[Tensor]:
        draws = generator(self.seed, 0, f"perturbations {self.purpose}")
        for start in range(0, self.count, _AT_ONCE):
            shape = (min(_AT_ONCE, self.count - start), len(self.centre))
            if self.purpose == "spsa":
                drawn = 2.0 * torch.randint(2, shape, generator=draws) - 1
            else:
                drawn = torch.randn(shape, generator=draws)
            yield drawn.to(self.centre)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Return sum_p weights[k, p] e_p, [K, n], for weights [K, count]."""
        parts = weights.to(self.centre).split(_AT_ONCE, dim=1)
        return sum(w @ e for w, e in zip(parts, self, strict=True))


def _coefficients(kind: str, losses: Tensor) -> Tensor:
    """Return what each perturbation [P] is weighted with; losses are [1, P], or [2, P] of pairs."""
    if kind == "plain":
        return losses[0] / losses.numel()
    if kind == "baseline":
        return (losses[0] - losses.mean()) / (losses.numel() - 1)
    if kind == "rank":
        ranks = losses.flatten().argsort(stable=True).argsort().view_as(losses).double()
        losses = ranks / (losses.numel() - 1) - 0.5
    return (losses[0] - losses[1]) / losses.numel()
