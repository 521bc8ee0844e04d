"""perturb: rerun training-dynamics studies and regenerate their whole results section."""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"
# What `import perturb` alone gives, each imported when it is first used.
_ROOMS = ("data", "landscape", "models", "names", "optim")


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"perturb.{name}")
    raise AttributeError(f"module 'perturb' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
