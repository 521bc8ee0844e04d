"""What runs were trained with, in words: base optimiser, learning rate, batch size and the like."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd

from perturb import bases

# Keys of a specification with their words, and what a record without one was made with. Those of a
# base optimiser are said where the base has them.
_SAID = {
    "learning_rate": "learning rate",
    "batch_size": "batch size",
    "momentum": "momentum",
    "betas": "betas",
    "weight_decay": "weight decay",
    "augment": "augmentation",
    "precision": "precision",
}
_BY_DEFAULT = {"base": "sgd", "precision": "float32"}
_BASE = "base optimiser"
_NAMED = 3  # methods that differ in one setting


@cache
def base_name(base: str) -> str:
    """Return a base optimiser as prose has it, `AdamW`: the first word of its file's docstring."""
    text = (bases.FOLDER / f"{base}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or base).split()[0]


def of_runs(runs: pd.DataFrame) -> str:
    """Return the settings of a row's runs as the table's CSV has them: `base optimiser: SGD; ...`.

    Several are parted by ` | `. Empty where runs train nothing, or there are none.
    """
    found = [_settings(json.loads(text)) for text in runs["specification"]] if len(runs) else []
    texts = ("; ".join(f"{name}: {value}" for name, value in one.items()) for one in found)
    return " | ".join(sorted(set(filter(None, texts))))


def base_of(text: str) -> str:
    """Return the base optimiser's name that `of_runs` wrote; "" where there is none, or several."""
    found = {one.get(_BASE, "") for one in _read(text)}
    return found.pop() if len(found) == 1 else ""


def said(settings: Mapping[str, str], reference: str) -> str:
    """Return a sentence of what all methods were trained with, and of which of them differ.

    Args:
        settings: what `of_runs` wrote, by method.
        reference: the method whose settings are told first; the most common where it has none.
    """
    read = {method: _read(text) for method, text in settings.items() if text}
    names = dict.fromkeys(name for found in read.values() for one in found for name in one)
    parts = []
    for name in names:
        values = {
            method: " and ".join(dict.fromkeys(one[name] for one in found if name in one))
            for method, found in read.items()
        }
        counts = Counter(value for value in values.values() if value)
        standard = values.get(reference) or max(counts, key=counts.__getitem__)
        others: dict[str, list[str]] = {}
        for method, value in values.items():
            if value not in ("", standard):
                others.setdefault(value, []).append(method)
        differing = [f"{value} in {_some(methods)}" for value, methods in others.items()]
        parts.append(f"{name} {standard}" + (f" ({'; '.join(differing)})" if differing else ""))
    return f"Training: {', '.join(parts)}." if parts else ""


def _some(methods: list[str]) -> str:
    rest = len(methods) - _NAMED
    named = [*methods[:_NAMED], *([f"{rest} more"] if rest > 0 else [])]
    return " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))


def _settings(specification: Mapping[str, Any]) -> dict[str, str]:
    """Return a run's settings in words, in the order that they are told in."""
    if "learning_rate" not in specification:
        return {}
    given = {**_BY_DEFAULT, **specification}
    base = given["base"]
    options = set(bases.options().get(base, {}))
    of_other = {name for one in bases.options().values() for name in one} - options
    found = {
        words: _text(given[key])
        for key, words in _SAID.items()
        if key in given and key not in of_other
    }
    nesterov = {"momentum": f"{found['momentum']} (Nesterov's)"} if given.get("nesterov") else {}
    return {_BASE: base_name(base)} | found | nesterov


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " and ".join(f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(text: str) -> list[dict[str, str]]:
    """Return the settings that `of_runs` wrote, each of several by itself."""
    return [
        dict(part.partition(": ")[::2] for part in one.split("; "))
        for one in text.split(" | ")
        if one
    ]
