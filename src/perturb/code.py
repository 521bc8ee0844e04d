"""Which of perturb's modules a piece of work uses, and a hash of each. Pure, without torch.

Editing a module then reruns what uses it and nothing else. A hash is over what the code does:
comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from perturb import names
from perturb.models import registry

SOURCE = Path(__file__).parent.parent
# What these decide reaches a job in its own inputs and parameters (the specification, the prepared
# data), or is words only. Nothing else is imported through them.
NOT_COUNTED = {
    "perturb.code",
    "perturb.config",
    "perturb.data.image_folder",
    "perturb.data.registry",
    "perturb.errors",
    "perturb.jobs.forkserver",
    "perturb.jobs.forkserver_process",
    "perturb.models.registry",
    "perturb.jobs.packs",
    "perturb.jobs.progress",
}


def of(*roots: str | Path) -> dict[str, str]:
    """Return the hash of every module that `roots` import, by name, and of the roots themselves.

    Roots are modules ("perturb.analysis.tables"), scripts (a path to a `.py`, not hashed itself:
    Snakemake watches it), and other files, hashed by their bytes.
    """
    found: dict[str, str] = {}
    waiting: list[str] = []
    for root in roots:
        if not isinstance(root, Path):
            waiting.append(root)
        elif root.suffix == ".py":
            waiting += imports(root.read_text(encoding="utf-8"))
        else:
            found[root.name] = hashlib.sha256(root.read_bytes()).hexdigest()
    while waiting:
        module = waiting.pop()
        if module not in found and (module in roots or module not in NOT_COUNTED):
            found[module], imported = _module(module)
            waiting += imported
    return dict(sorted(found.items()))


def of_training(model: str, method: str) -> dict[str, str]:
    """Return the hashes of what a run uses: the engine, one update rule's file, one model's.

    PerturbError where there is no such method or model.
    """
    rule = f"perturb.optim.rules.{names.parse(method).rule}"
    return of("perturb.train.run", rule) | of_model(model)


def of_model(model: str) -> dict[str, str]:
    """Return the hashes of a model's file and of its entry in the registry, that one only."""
    entry = registry.get(model)
    return of(entry.function.partition(":")[0]) | {"model": _hash(repr(entry))}


def digest(hashes: Mapping[str, str]) -> str:
    """Return one hash over all of them."""
    return _hash(json.dumps(hashes, sort_keys=True))


def imports(source: str) -> list[str]:
    """Return the modules of perturb that `source` imports, wherever in it.

    A package's `__init__` counts only where a name that it makes itself is imported from it; one
    that it passes on leads to where it was made. What only type checkers import does not count.
    """
    return [module for node in _statements(ast.parse(source)) for module in _imported(node)]


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node)


def _imported(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "perturb"]
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "perturb":
        return [_home(node.module, alias.name) for alias in node.names]
    return []


@cache
def _home(module: str, name: str) -> str:
    """Return the module that `from module import name` gets the name from in the end."""
    if _path(f"{module}.{name}").exists():
        return f"{module}.{name}"
    if _path(module).name == "__init__.py":
        for node in ast.parse(_path(module).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
                return _home(node.module, name)
    return module


def _path(module: str) -> Path:
    base = SOURCE.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def _module(module: str) -> tuple[str, list[str]]:
    """Return a module's hash and what it imports."""
    source = _path(module).read_text(encoding="utf-8")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return _hash(ast.unparse(tree)), imports(source)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
