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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from perturb.errors import PerturbError, did_you_mean
from perturb.gradients.stacked import StackedLoss
from perturb.random import generator

KINDS = ("plain", "baseline", "antithetic", "rank", "spsa")
_ONE_SIDED = ("plain", "baseline")
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
    at_once: int = 64,
    threads: int = 1,
) -> dict[str, Tensor]:
    """Return an estimate [n] of the gradient at `centre` [n] for each kind.

    Kinds that perturb alike share perturbations and losses, so that they differ by their formula.

    Args:
        evaluate: maps points [P, n] to their losses [P].
        evaluations: of the loss, for each kind.
        seed: of the perturbations, drawn on the CPU: the same on every device.
        at_once: how many points, or pairs of points, are evaluated together.
        threads: that call `evaluate`, each with one of PyTorch's.

    Raises PerturbError for an unknown kind, and for a sigma or number that it cannot use.
    """
    _check(sigma, evaluations, kinds)
    found: dict[str, Tensor] = {}
    for group in (_ONE_SIDED, ("antithetic", "rank"), ("spsa",)):
        if not (wanted := [kind for kind in kinds if kind in group]):
            continue
        signs = (1,) if group is _ONE_SIDED else (1, -1)
        count = evaluations // len(signs)
        draws = Perturbations(centre, count, seed, group[0], at_once)
        evaluated = partial(_evaluated, evaluate, centre, [sign * sigma for sign in signs])
        with _mapping(threads) as each:
            losses = torch.cat(list(each(evaluated, draws)), dim=1)
        weights = torch.stack([_coefficients(kind, losses) for kind in wanted]) / sigma
        found |= dict(zip(wanted, draws.weighted_sum(weights), strict=True))
    return {kind: found[kind] for kind in kinds}


def _evaluated(
    evaluate: Callable[[Tensor], Tensor],
    centre: Tensor,
    scales: Sequence[float],
    block: Callable[[], Tensor],
) -> Tensor:
    """Return the losses [len(scales), P] at the centre, moved by each scale times a block."""
    drawn = block()
    points, losses = torch.empty_like(drawn), []
    for scale in scales:
        torch.add(centre, drawn, alpha=scale, out=points)
        losses.append(evaluate(points).double())
    return torch.stack(losses)


@contextmanager
def _mapping(threads: int) -> Iterator[Callable]:
    """Give a `map` over threads, each with one of PyTorch's, whose own wait busily."""
    if threads == 1:
        yield map
        return
    given = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(given)


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
    """`count` perturbations, in blocks [at_once, n] of a stream each; kept where they are few."""

    def __init__(self, centre: Tensor, count: int, seed: int, purpose: str, at_once: int) -> None:
        self.centre, self.count, self.seed, self.purpose = centre, count, seed, purpose
        self.at_once = at_once
        self._kept: dict[int, Tensor] | None = {} if count * len(centre) <= _KEPT else None

    def __iter__(self) -> Iterator[Callable[[], Tensor]]:
        """Iterate over functions that return a block each."""
        return (partial(self._block, start) for start in range(0, self.count, self.at_once))

    def _block(self, start: int) -> Tensor:
        if self._kept and start in self._kept:
            return self._kept[start]
        draws = generator(self.seed, start, f"perturbations {self.purpose}")
        shape = (min(self.at_once, self.count - start), len(self.centre))
        if self.purpose == "spsa":
            drawn = 2.0 * torch.randint(2, shape, generator=draws) - 1
        else:
            drawn = torch.randn(shape, generator=draws)
        drawn = drawn.to(self.centre)
        if self._kept is not None:
            self._kept[start] = drawn
        return drawn

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Return sum_p weights[k, p] e_p, [K, n], for weights [K, count]."""
        parts = weights.to(self.centre).split(self.at_once, dim=1)
        return sum(w @ block() for w, block in zip(parts, self, strict=True))


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
