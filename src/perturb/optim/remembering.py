"""What an update rule keeps from step to step, looked at from outside, so that none is lost."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from torch import Tensor


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
