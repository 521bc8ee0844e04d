"""What an update rule keeps from step to step, looked at from outside, so that none is lost."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor

from perturb.errors import PerturbError

# Attributes of an optimiser without a rule: PyTorch's, and those of `PerturbedOptimizer` itself.
# `step` and `_opt_called` are set by PyTorch's schedulers of learning rates.
_HOOKED = ("step", "state_dict", "load_state_dict")
_OF_PYTORCH = frozenset(
    {
        "_zero_grad_profile_name",
        "_warned_capturable_if_run_uncaptured",
        *(f"_optimizer_{what}_{when}_hooks" for what in _HOOKED for when in ("pre", "post")),
        *("step", "_opt_called", "grad_scale", "found_inf"),
    }
)
NOT_COPIED = _OF_PYTORCH | {"_base", "flat", "_at_first", "_surroundings", "_unscaler"}
OWN = NOT_COPIED | {
    *("defaults", "param_groups", "state", "base", "method", "schedule_clock", "bn_second_pass"),
    *("learning_rate_schedule", "_model", "_annealed", "trigger", "trigger_epoch", "terms"),
    *("gradient_evaluations", "gradient_norm", "perturbation_norm", "_norms"),
    *("epoch", "radius", "scale", "lean", "_ended_at", "_told_epoch"),
}


def snapshot(value: Any) -> Any:
    """Return what `changed` compares `value` with later; it costs no copy of a tensor."""
    if isinstance(value, Tensor):
        return value, value._version  # counts changes in place
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [snapshot(item) for item in value]
    try:
        return pickle.dumps(value)  # its state, whatever it is: arrays, generators, counters
    except Exception:  # what cannot be pickled is compared by identity
        return value


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names whose values are not those that `snapshot` was given, new ones too."""
    return sorted(n for n in now if n not in before or not _same(before[n], now[n]))


def _same(before: Any, value: Any) -> bool:
    if isinstance(value, Tensor):
        if not isinstance(before, tuple):
            return False
        tensor, version = before
        if value is tensor:
            return value._version == version
        # Set anew: the same where it says the same, unless what it was has changed since.
        return tensor._version == version and tensor.shape == value.shape and tensor.equal(value)
    if isinstance(value, Mapping):
        same_keys = isinstance(before, dict) and before.keys() == value.keys()
        return same_keys and all(_same(before[key], item) for key, item in value.items())
    if isinstance(value, list | tuple):
        same_length = isinstance(before, list) and len(before) == len(value)
        return same_length and all(map(_same, before, value))
    now = snapshot(value)
    return now is before if not isinstance(now, bytes) else now == before


def of_rule(optimizer: Any, shared: type) -> dict[str, Any]:
    """Return the attributes that are the rule's own and not among what it remembers.

    `shared` is the class that all rules share.
    """
    kept = {*optimizer._remembered(), *OWN}
    found = {
        name: value
        for kind in reversed(type(optimizer).__mro__)
        if issubclass(kind, shared) and kind is not shared
        for name, value in vars(kind).items()
        if not name.startswith("__") and not callable(value) and not hasattr(value, "__get__")
    }
    found |= vars(optimizer)
    return {name: value for name, value in found.items() if name not in kept}


def refuse_forgotten(optimizer: Any, at_first: Mapping[str, Any] | None, shared: type) -> None:
    """Raise PerturbError where the rule keeps what its state does not hold.

    That is what steps set or changed since the first, but for what `set_epoch` sets anew.
    """
    if at_first is None:  # no step yet
        return
    forgotten = changed(at_first, of_rule(optimizer, shared))
    if not forgotten:
        return
    again = object.__new__(type(optimizer))
    groups = [dict(group) for group in optimizer.param_groups]
    again.__dict__ |= vars(optimizer) | {"param_groups": groups, "_annealed": []}
    for name in forgotten:
        again.__dict__.pop(name, None)
    with suppress(AttributeError):  # it reads what it does not set
        again.set_epoch(optimizer.epoch)
    derived = vars(again)
    forgotten = [
        name
        for name in forgotten
        if name not in derived
        or changed({name: snapshot(derived[name])}, {name: getattr(optimizer, name)})
    ]
    if forgotten:
        names, rule = ", ".join(forgotten), optimizer.method.rule
        raise PerturbError(
            f"optimiser: the rule '{rule}' keeps {names} as an attribute, which its state does "
            "not hold: a run that was cut off would go on without it. Name numbers and tensors "
            "in `_remembered()`, or keep a tensor of each weight's shape in "
            f"`self.state[weight]`; src/perturb/optim/rules/looksam.py does both."
        )
