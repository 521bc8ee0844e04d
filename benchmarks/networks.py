"""A hundred networks of torchvision and timm: optimiser steps, a landscape, curvature of each.

Without trained weights, on tiny inputs. Each runs, or is refused with one message; the surface's
centre is the network's own loss to the bit; buffers and random numbers move as in one plain pass;
nothing is left switched. `make networks` checks all of them and writes `docs/networks.md`;
`python -m benchmarks.networks NAME ...` some. It is no timing, and `make bench` leaves it out.
"""

from __future__ import annotations

import copy
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from perturb import optim
from perturb.errors import PerturbError
from perturb.landscape import directions
from perturb.landscape.batches import logits_of
from perturb.landscape.curvature import measure
from perturb.landscape.objective import Objective
from perturb.landscape.surface import Surface

PAGE = Path(__file__).resolve().parent.parent / "docs" / "networks.md"
CLASSES = 10
RULES = {
    "sgd": "sgd_10",
    "ugd": "ugd_10",
    "pugd": "pugdrs_const0.05_const1_10",
    "samx": "samx0.05_10",
    "sam": "sam_0.05_10",
    "asam": "asam_0.5_10",
    "gsam": "gsam_0.05_0.01_10",
    "looksam": "looksam_0.05_10",
    "aesam": "aesam_0.05_10",
}


@dataclass(frozen=True)
class Network:
    """How one is built, and the size of images that it takes."""

    library: str
    name: str
    size: int = 64
    options: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Return it with weights drawn anew."""
        torch.manual_seed(0)
        if self.library == "timm":
            import timm

            return timm.create_model(self.name, num_classes=CLASSES, **self.options)
        import torchvision

        return torchvision.models.get_model(
            self.name, weights=None, num_classes=CLASSES, **self.options
        )


@dataclass(frozen=True)
class Outcome:
    """What came of one network: `runs`, or the message, for each thing that was tried."""

    network: Network
    parameters: int
    seconds: float
    results: dict[str, str]

    @property
    def failed(self) -> bool:
        """Whether something neither ran nor was refused with a message."""
        return any(result.startswith("FAILED") for result in self.results.values())


# One or two of each family, the small ones, by the size of images that they take.
_NAMES = {
    "torchvision": {
        64: (
            "alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet "
            "mnasnet0_5 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_400mf "
            "regnet_y_400mf resnet18 resnet34 resnet50 resnext50_32x4d shufflenet_v2_x0_5 "
            "shufflenet_v2_x1_0 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t wide_resnet50_2"
        ),
        299: ("inception_v3"),
        224: ("maxvit_t"),
    },
    "timm": {
        64: (
            "convmixer_768_32 convnext_atto_rms cpubone_nano cs3darknet_focus_s cspnext_tiny "
            "davit_tiny densenet121 dla46x_c dpn48b edgenext_xx_small efficientnet_lite0 "
            "efficientvim_m1 efficientvit_b0 ese_vovnet19b_slim_dw fasternet_t0 fastvit_t8 "
            "focalnet_tiny_srf ghostnet_050 hardcorenas_b hgnetv2_b0 hrnet_w18_small "
            "iformer_t inception_next_atto lcnet_035 lcnetv2_small legacy_seresnet18 lowformer_b0 "
            "mambaout_femto mobileone_s1 mobilevit_xxs nextvit_small nf_regnet_b0 "
            "poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnetx_004_tv repghostnet_050 repvit_m0_9 "
            "res2next50 resnest14d resnet10t resnetv2_50 rexnet_100 selecsls42b shvit_s1 "
            "skresnet18 starnet_s1 swiftformer_xs test_byobnet test_convnext test_efficientnet "
            "test_mambaout test_nfnet test_resnet xception41"
        ),
        96: ("inception_v4"),
        160: ("test_vit"),
        224: (
            "cait_xxs24_224 coat_tiny convit_tiny deit_tiny_patch16_224 efficientformer_l1 "
            "efficientformerv2_s0 efficientvit_m0 eva02_tiny_patch14_224 gcvit_xxtiny "
            "gmlp_ti16_224 levit_128s nest_tiny pit_ti_224 swin_tiny_patch4_window7_224 "
            "tiny_vit_5m_224 tnt_s_legacy_patch16_224 twins_svt_small visformer_tiny "
            "vit_relpos_small_patch16_224 vit_tiny_patch16_224 vitamin_small_224 "
            "xcit_nano_12_p16_224"
        ),
        240: ("crossvit_tiny_240"),
        256: ("halonet_h1 maxvit_pico_rw_256"),
    },
}
# Their own way of drawing weights takes a minute of SciPy.
_OPTIONS = {name: {"init_weights": False} for name in ("googlenet", "inception_v3")}
NETWORKS = [
    Network(library, name, size, _OPTIONS.get(name, {}) if library == "torchvision" else {})
    for library, by_size in _NAMES.items()
    for name, size in sorted((n, size) for size, text in by_size.items() for n in text.split())
]


def check(network: Network) -> Outcome:
    """Try everything on one network."""
    start = time.perf_counter()
    torch.set_num_threads(1)
    model = network.build()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, network.size, network.size, generator=generator)
    batch = (images, torch.tensor([1, 7]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = {
            "one pass": _tried(lambda: _two_passes_leave_what_one_does(model, *batch)),
            "steps": _tried(lambda: _steps(model, *batch)),
            "landscape": _tried(lambda: _landscape(model, *batch)),
            "curvature": _tried(lambda: _curvature(model, *batch)),
        }
    size = sum(p.numel() for p in model.parameters())
    return Outcome(network, size, time.perf_counter() - start, results)


def _tried(work: Callable[[], None]) -> str:
    try:
        work()
    except PerturbError as error:
        return str(error)
    except Exception as error:
        first = (str(error).strip().splitlines() or ["without a message"])[0]
        return f"FAILED: {type(error).__name__}: {first[:200]}"
    return "runs"


def _closure(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        model.zero_grad()
        loss = cross_entropy(logits_of(model(images)), labels)
        loss.backward()
        return loss

    return closure


def _two_passes_leave_what_one_does(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Buffers and random numbers after SAM's step at a rate of 0 are those after a plain pass."""
    model.train()
    twin = copy.deepcopy(model)
    torch.manual_seed(3)
    _closure(twin, images, labels)()
    drawn = torch.rand(())
    optimizer = optim.build(RULES["sam"], model.parameters(), lr=0.0)
    torch.manual_seed(3)
    with _as_before(model, weights=True):
        optimizer.step(_closure(model, images, labels))
    _expect(optimizer.gradient_evaluations == 2, "SAM made no second pass")
    _expect(torch.equal(torch.rand(()), drawn), "random numbers of two passes were used up")
    own = dict(model.named_buffers())
    for name, buffer in twin.named_buffers():  # a copy lies elsewhere, which may move a last bit
        same = torch.allclose(own[name], buffer, rtol=1e-3, atol=1e-6, equal_nan=True)
        _expect(same, f"the buffer {name} moved otherwise")


def _steps(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """A step of every rule moves the weights to finite ones and leaves all else as it was."""
    start = copy.deepcopy(model.state_dict())
    for rule, name in RULES.items():
        model.load_state_dict(start)
        model.train()
        optimizer = optim.build(name, model.parameters(), lr=1e-3)
        with _as_before(model):
            loss = optimizer.step(_closure(model, images, labels))
        moved = any(not torch.equal(start[n], p) for n, p in model.named_parameters())
        _expect(moved, f"{rule} moved nothing")
        _expect(bool(loss.isfinite()), f"{rule}'s loss is {float(loss)}")
        finite = all(bool(p.isfinite().all()) for p in model.parameters())
        _expect(finite, f"{rule} made weights that are not finite")
        optimizer.state_dict()
    model.load_state_dict(start)


def _landscape(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """The centre is the network's own loss to the bit, two other points are finite."""
    model.eval()
    with torch.no_grad():
        own = float(cross_entropy(logits_of(model(images)), labels))
    model.train()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    drawn = directions.draw({name: w.shape for name, w in weights.items()}, 0)
    first, second = (directions.normalise(d, weights) for d in drawn)
    with _as_before(model, weights=True):
        with Surface(model, [(images, labels)], first, second) as surface:
            away = [surface.at(0.1, -0.1)[0], surface.at(-0.05, 0.0)[0]]
            centre = surface.at(0.0, 0.0)[0]
    _expect(centre == own, f"the centre is {centre}, the network's own loss {own}")
    _expect(all(x == x and abs(x) < float("inf") for x in away), f"points away are {away}")


def _curvature(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        own = float(cross_entropy(logits_of(model(images)), labels))
    model.train()
    objective = Objective(model, [(images, labels)])
    options = {"eigenvalues": 1, "trace_samples": 1, "ascent_steps": 1, "iterations": 2}
    with _as_before(model, weights=True):
        found = measure(objective, radii=[0.01], seeds=[0], **options)
    if found["non_finite"]:
        _expect(
            not _second_derivatives_are_finite(model.eval(), images, labels),
            f"not finite: {found['non_finite']}",
        )
        raise PerturbError("not finite, and said so by name: nor are PyTorch's second derivatives")
    near = abs(found["loss"] - own) <= 1e-4 * max(1.0, abs(own))
    _expect(near, f"the loss is {found['loss']}, the network's own {own}")


def _second_derivatives_are_finite(model: nn.Module, images: Tensor, labels: Tensor) -> bool:
    """Whether PyTorch's own product of the Hessian with a random vector is finite."""
    parameters = list(model.parameters())
    loss = cross_entropy(logits_of(model(images)), labels)
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)
    along = sum((part * torch.randn_like(part)).sum() for part in gradient)
    second = torch.autograd.grad(along, parameters, allow_unused=True)
    return all(part is None or bool(part.isfinite().all()) for part in second)


class _as_before:
    """What must be after a block as before it: modes, hooks, flags, and `weights` where asked."""

    def __init__(self, model: nn.Module, weights: bool = False) -> None:
        self.model, self.weights = model, weights

    def _now(self) -> dict[str, Any]:
        modules = list(self.model.modules())
        return {
            "modes": [m.training for m in modules],
            "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
            "forwards": ["forward" in vars(m) for m in modules],
            "tracking": [getattr(m, "track_running_stats", None) for m in modules],
            "momentum": [getattr(m, "momentum", None) for m in modules],
            "requires_grad": [p.requires_grad for p in self.model.parameters()],
            "formats": [(t.dtype, t.shape) for t in self.model.state_dict().values()],
            "inference": [t.is_inference() for t in self.model.state_dict().values()],
            "inference mode": torch.is_inference_mode_enabled(),
            "gradients": torch.is_grad_enabled(),
            "threads": torch.get_num_threads(),
        }

    def __enter__(self) -> None:
        self.before = self._now()
        self.held = [p.detach().clone() for p in self.model.parameters()] if self.weights else []

    def __exit__(self, kind: object, *_: object) -> None:
        now = self._now()
        for what, value in self.before.items():
            _expect(now[what] == value, f"left switched: {what}")
        for held, parameter in zip(self.held, self.model.parameters(), strict=False):
            _expect(torch.equal(held, parameter), "weights were not given back")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def page(outcomes: list[Outcome]) -> str:
    """Return the page of results."""
    import timm
    import torchvision

    def count(what: str) -> int:
        return sum(outcome.results[what] == "runs" for outcome in outcomes)

    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm "
    lines = [
        "# A hundred networks of other people",
        "",
        "`make networks` writes this page: of each network, without trained weights and on two",
        "tiny images, a step of every update rule, three points of a loss surface, and curvature.",
        "Each runs or is refused with one message; the surface's centre is the network's own loss",
        "to the bit; buffers and random numbers move in a step of two passes as in one plain pass;",
        "modes, hooks, flags and weights are as before.",
        "",
        f"Of {len(outcomes)} networks ({versions}{timm.__version__}): one pass "
        f"{count('one pass')}, steps of {len(RULES)} rules {count('steps')}, landscape "
        f"{count('landscape')}, curvature {count('curvature')}; "
        f"failed: {sum(outcome.failed for outcome in outcomes)}.",
        "",
        "| network | parameters (million) | image | one pass | steps | landscape | curvature |",
        "|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        network = outcome.network
        cells = [
            f"{network.library} `{network.name}`",
            f"{outcome.parameters / 1e6:.1f}",
            str(network.size),
            *(result.replace("|", "/") for result in outcome.results.values()),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def outcomes_of(networks: list[Network], processes: int) -> Iterator[Outcome]:
    """Yield what came of each, as it is done, in their order; each in a process of its own."""
    with get_context("spawn").Pool(processes, maxtasksperchild=8) as pool:
        yield from pool.imap(check, networks)


def main(wanted: list[str]) -> int:
    """Check the networks named, or all; return the exit status."""

    networks = [n for n in NETWORKS if not wanted or n.name in wanted]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    outcomes = []
    for outcome in outcomes_of(networks, cores):
        outcomes.append(outcome)
        told = "; ".join(f"{k}: {v}" for k, v in outcome.results.items() if v != "runs")
        print(f"{outcome.network.name} ({outcome.seconds:.0f} s) {told or 'runs'}", flush=True)
    if not wanted:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
