"""Names of timm's and torchvision's models. Imports neither, so that a workflow can plan with it.

`timm:resnet26` is written `timm-resnet26` in the names of folders, runs and methods: a colon is no
part of a path on Windows, and separates lists of paths elsewhere.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from perturb.errors import PerturbError, closest

# How a file of the library says that the function below is a model.
_MODELS = {
    "timm": r"^@register_model\s+def (\w+)\(",
    "torchvision": r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(",
}
NAMES = tuple(_MODELS)


def split(name: str) -> tuple[str, str]:
    """Return the library and the architecture that a model's name says; twice "" where none."""
    library, separator, architecture = name.replace(":", "-", 1).partition("-")
    return (library, architecture) if separator and library in _MODELS else ("", "")


def name_of(library: str, architecture: str) -> str:
    """Return the one name of a library's model; `split` takes it apart."""
    return f"{library}-{architecture}"


def check(library: str, architecture: str) -> None:
    """Raise PerturbError where the library, as it is installed, has no such classifier."""
    known = architectures(library)
    if architecture in known:
        return
    if architecture.partition(".")[0] in known:
        raise PerturbError(
            f"Model '{name_of(library, architecture)}': '.{architecture.partition('.')[2]}' says "
            "which published weights, not which network. Leave it out of the name, and write "
            "`weights: {published: <tag>}` under `models` in the configuration."
        )
    near = closest(architecture, sorted(known))
    hint = f"Did you mean '{near}'?" if near else f"Its list_models() names all {len(known)}."
    raise PerturbError(f"{library} {version(library)} has no model '{architecture}'. {hint}")


def missing(library: str) -> PerturbError:
    """Return the error that a library is not installed, with what to do."""
    return PerturbError(
        f"{library}, which this model is built with, is not installed. Install the version that "
        "belongs to your PyTorch, or `pip install 'perturb[models]'`, which may replace PyTorch."
    )


@cache
def architectures(library: str) -> frozenset[str]:
    """Return the names of a library's image classifiers, told from its files' text."""
    found = find_spec(library)
    if found is None or found.origin is None:
        raise missing(library)
    files = sorted(Path(found.origin).with_name("models").glob("*.py"))
    pattern = re.compile(_MODELS[library], re.MULTILINE)
    return frozenset(
        name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))
    )
