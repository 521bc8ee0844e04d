"""Files of the configuration, read as strictly as they are meant: a key stands once in a mapping.

YAML itself lets the last of two equal keys win, and Snakemake's message for a file that does not
parse names neither file nor line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from perturb.errors import PerturbError

# Settings with a short name beside their own.
TWO_NAMES = {"lr": "learning_rate"}

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_ANOTHER = re.compile(r"[-+]?(?:0[0-9_]+$|[0-9_]+(?::[0-9_.]+)+$)")  # octal, to the base of 60

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, 10 times as fast


def check_files(paths: Iterable[str | Path]) -> None:
    """Raise PerturbError for a file that does not parse, and for a key that stands twice in it."""
    for path in paths:
        if Path(path).is_file():
            read(path)


def read(path: str | Path) -> dict[str, Any]:
    """Return what a file of YAML or JSON says.

    Raises PerturbError that names the file and the line where it does not parse, where a key
    stands twice (both lines), or a setting under two names, and where it is empty or no mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=LOADER)
        if node is not None:
            _check_keys(path, node)
            _check_meant(path, node)
        values = yaml.load(text, Loader=LOADER)
    except OSError as error:
        raise PerturbError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise PerturbError(f"{path}: no UTF-8 text ({error}). Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise PerturbError(_says(path, text, error)) from None
    if values is None:
        raise PerturbError(
            f"{path}: an empty file, which Snakemake takes for no configuration. Write a key with "
            "its value, such as `seeds: [0, 1, 2]`, or leave the file out."
        )
    if not isinstance(values, Mapping):
        raise PerturbError(
            f"{path}: no configuration. Write keys with their values, such as `seeds: [0, 1, 2]`."
        )
    return dict(values)


def merged(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Return the configuration of several files as Snakemake has it: a later one goes before."""
    found: dict[str, Any] = {}
    for path in paths:
        _update(found, read(path))
    return found


class Folders(NamedTuple):
    """Where a configuration's results, logs and benchmark files are."""

    results: Path
    logs: Path
    benchmarks: Path


def folders(root: Path, files: Iterable[str | Path]) -> Folders:
    """Return the folders of the checkout's configuration with `files`.

    As the path variables of Snakemake name them, by default `results` and folders in it.
    """
    own = root / "config" / "config.yaml"
    found = merged([*([own] if own.exists() else []), *files]).get("pathvars") or {}
    results = str(found.get("results", "results"))
    logs, benchmarks = (
        Path(str(found.get(kind, f"<results>/{kind}")).replace("<results>", results))
        for kind in ("logs", "benchmarks")
    )
    return Folders(Path(results), logs, benchmarks)


def _update(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _update(into[key], value)
        else:
            into[key] = value


def _says(path: str | Path, text: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return (
            f"{path}, line {mark.line + 1}: a tab stands at the beginning of the line, and YAML "
            "takes no tab there. Write spaces instead of it."
        )
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    begun = getattr(error, "context_mark", None)
    context = getattr(error, "context", None)
    since = f" {context}, begun in line {begun.line + 1}" if context and begun else ""
    return (
        f"{path}{where}: does not parse as YAML: {problem}{since}. Mend that line; indent with "
        "spaces, close every bracket and quotation mark."
    )


def _check_meant(path: str | Path, root: yaml.Node) -> None:
    """Raise PerturbError for a value that stands in itself, and for a number read as another one.

    YAML 1.1 reads 010 as 8 and 1:30 as 90.
    """
    around, done = set(), set()

    def visit(node: yaml.Node) -> None:
        line = f"{path}, line {node.start_mark.line + 1}"
        if id(node) in around:
            raise PerturbError(
                f"{line}: what begins there stands within itself, by an alias (`*name`). Write out "
                "what is meant."
            )
        if id(node) in done:
            return
        around.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for pair in node.value:
                for inner in pair:
                    visit(inner)
        elif isinstance(node, yaml.SequenceNode):
            for inner in node.value:
                visit(inner)
        elif node.tag in _NUMBERS and not node.style and _ANOTHER.match(node.value):
            raise PerturbError(
                f"{line}: YAML reads {node.value} as {yaml.load(node.value, Loader=LOADER)}. Write "
                "the number that is meant, or a text in quotation marks."
            )
        around.discard(id(node))
        done.add(id(node))

    visit(root)


def _check_keys(path: str | Path, root: yaml.Node) -> None:
    """Raise PerturbError for a key that stands twice in a mapping."""
    waiting: list[tuple[str, yaml.Node]] = [("", root)]
    seen: set[int] = set()  # an alias (`*name`) is the node that it stands for
    while waiting:
        where, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(where, inner) for inner in node.value]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, _ in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines and name != "<<":
                    place = f" in {where}" if where else ""
                    raise PerturbError(
                        f"{path}: key '{name}' stands twice{place}, in lines {lines[name]} and "
                        f"{line}. The second would win unsaid: keep one."
                    )
                lines[name] = line
            for short, long in TWO_NAMES.items():
                if short in lines and long in lines:
                    both = " and ".join(
                        f"'{key.value}: {inner.value}' (line {key.start_mark.line + 1})"
                        for key, inner in node.value
                        if key.value in (short, long)
                    )
                    place = f" in {where}" if where else ""
                    raise PerturbError(f"{path}: {both}{place} are one setting. Keep one of them.")
            for key, inner in node.value:
                name = str(key.value)
                waiting.append((f"{where}.{name}" if where else name, inner))
