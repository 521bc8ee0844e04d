"""Which of perturb's modules a piece of work uses, and a hash of each. Pure, without torch.

Editing a module then reruns what uses it and nothing else. A hash is over what the code does:
comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from perturb.errors import PerturbError
from perturb.models import registry

SOURCE = Path(__file__).parent.parent
# What these decide reaches a job in its own inputs and parameters (the specification, what a
# method's name came to, the prepared data), or is words only. Nothing else is imported through
# them; so with every module called `settings`, which describes parameters.
NOT_COUNTED = {
    "perturb",  # its version
    "perturb.bases",
    "perturb.code",
    "perturb.config",
    "perturb.contents",
    "perturb.data.image_folder",
    "perturb.data.registry",
    "perturb.errors",
    "perturb.models.registry",
    "perturb.names",
    "perturb.runs",
    "perturb.slugs",
    "perturb.studies",
    "perturb.study",
}
NOT_COUNTED_ROOMS = ("perturb.jobs.", "perturb.planning.")
# Of Snakemake's process, for its jobs: the code that it has planned them with.
PLANNED_VARIABLE = "PERTURB_CODE"


def counts(module: str) -> bool:
    """Return whether a module's code is part of what imports it (`NOT_COUNTED`)."""
    return not (
        module in NOT_COUNTED
        or module.startswith(NOT_COUNTED_ROOMS)
        or module.endswith(".settings")
    )


def of(*roots: str | Path) -> dict[str, str]:
    """Return the hash of every module that `roots` import, by name, and of the roots themselves.

    Roots are modules ("perturb.analysis.tables"), scripts (a path to a `.py`), and other files,
    hashed by their bytes.
    """
    found: dict[str, str] = {}
    modules: dict[str, None] = {}
    for root in roots:
        if not isinstance(root, Path):
            modules[root] = None
        elif root.suffix == ".py":
            found[root.name], imported = _hash_and_imports(root)
            modules |= dict.fromkeys(module for module in imported if counts(module))
        else:
            found[root.name] = hashlib.sha256(root.read_bytes()).hexdigest()
    return dict(sorted({**found, **_of_modules(*modules)}.items()))


@cache
def _of_modules(*roots: str) -> Mapping[str, str]:
    """Return the hash of every module that `roots` import, by name, and of the roots themselves."""
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and (module in roots or counts(module)):
            found[module], imported = _module(module)
            waiting += imported
    return found


def of_model(model: str) -> dict[str, str]:
    """Return the hashes of a model's file and of its entry in the registry, that one only."""
    entry = registry.get(model)
    return of(entry.function.partition(":")[0]) | {"model": hash_text(repr(entry))}


def digest(hashes: Mapping[str, str]) -> str:
    """Return one hash over all of them."""
    return hash_text(json.dumps(hashes, sort_keys=True))


def planned() -> str:
    """Return the hash of every module of the library, for `check_unchanged` in jobs."""
    paths = (SOURCE / "perturb").rglob("[!_]*.py")
    names = (".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths)
    return json.dumps({name: _module(name)[0] for name in names if counts(name)})


def check_unchanged(used: Mapping[str, str]) -> None:
    """Raise PerturbError where a module that a job uses is not what Snakemake started with.

    Snakemake notes the code of its start for a job's outputs, so what other code made would count
    as that code's. `used` is the hash of each module, by name. Outside a workflow nothing is
    planned.
    """
    then = json.loads(os.environ.get(PLANNED_VARIABLE, "{}"))
    changed = [name for name, now in used.items() if then.get(name, now) != now]
    if changed:
        raise PerturbError(
            f"{', '.join(changed)} changed while this workflow ran. Nothing was computed: it would "
            "count as made by the code of before. Start Snakemake again when this job's code is "
            "what you want; what has finished stays finished."
        )


def imports(source: str) -> list[str]:
    """Return the modules of perturb that `source` imports, wherever in it.

    A package's `__init__` counts only where a name that it makes itself is imported from it; one
    that it passes on leads to where it was made. What only type checkers import does not count.
    """
    return _imports(ast.parse(source))


def _imports(tree: ast.AST) -> list[str]:
    return [module for node in _statements(tree) for module in _imported(node)]


def _statements(tree: ast.AST, *, for_type_checkers: bool = False) -> Iterator[ast.AST]:
    """Yield each statement of a tree; expressions, most of it, hold none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue
        only_types = isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"
        if for_type_checkers or not only_types:
            yield node
            yield from _statements(node, for_type_checkers=for_type_checkers)


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
    return _hash_and_imports(_path(module))


def _hash_and_imports(path: Path) -> tuple[str, list[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = _imports(tree)  # before the hash, for which the tree loses its docstrings
    return _hash_of_code(tree), imported


def _hash_of_code(tree: ast.Module) -> str:
    """Return a hash of what the code does: without comments, docstrings and layout."""
    for node in [tree, *_statements(tree, for_type_checkers=True)]:
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hash_text(ast.unparse(tree))


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
