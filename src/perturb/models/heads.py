"""Which part of a network is its head, and its parameters layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from perturb.errors import PerturbError

_CONTAINERS = (nn.Sequential, nn.ModuleList)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def head_of(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that make the logits: timm's classifiers, or the last Linear.

    PerturbError for a network that has neither.
    """
    said = getattr(network, "pretrained_cfg", {}).get("classifier")
    if said:
        return (said,) if isinstance(said, str) else tuple(said)
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise PerturbError(
            f"Model {type(network).__name__} has no Linear that could be its head, so it cannot be "
            "given other classes. Choose another model."
        )
    return (linear[-1],)


def is_of(name: str, modules: tuple[str, ...]) -> bool:
    """Return whether a parameter or buffer belongs to one of the modules."""
    return any(name.startswith(f"{module}.") for module in modules)


def layers_of(network: nn.Module) -> dict[str, int]:
    """Return in which layer, counted from the input, each parameter is; the last holds the head.

    timm's models say what their layers are themselves. Of any other a layer is a module that holds
    no further list of modules: a convolution, a residual block; a normalisation belongs to the
    layer before it, what the network holds itself to the first one.
    """
    if hasattr(network, "group_matcher"):
        from timm.models import group_parameters

        return group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    head = head_of(network)
    found = dict.fromkeys((name for name, _ in network.named_parameters()), 0)
    layer = -1
    for prefix, module in _units(network, ""):
        own = [f"{prefix}.{name}" for name, _ in module.named_parameters()]
        own = [name for name in own if not is_of(name, head)]
        if own and (layer < 0 or not isinstance(module, _NORMS)):
            layer += 1
        found |= dict.fromkeys(own, layer)
    return found | {name: layer + 1 for name in found if is_of(name, head)}


def _units(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    children = dict(module.named_children())
    for name, child in children.items():
        path = f"{prefix}.{name}" if prefix else name
        wrapped = len(children) == 1 and not prefix
        if wrapped or type(child) in _CONTAINERS or _is_stack(child):
            yield from _units(child, path)
        else:
            yield path, child


def _is_stack(module: nn.Module) -> bool:
    """Return whether a module is little but a list of modules of one kind: an encoder's blocks."""
    return any(
        type(child) in _CONTAINERS and len(child) > 1 and len({type(one) for one in child}) == 1
        for child in module.children()
    )
