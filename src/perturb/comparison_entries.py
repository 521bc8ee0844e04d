"""The entries of a comparing study's section: each checked, with what it is `like` filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from perturb.config import Config, with_base
from perturb.errors import PerturbError, did_you_mean
from perturb.models import described, libraries, naming, registry

if TYPE_CHECKING:
    from perturb.comparison import Comparing
    from perturb.study import Measure


@lru_cache
def entries(study: Comparing, config: Config) -> dict[str, dict[str, Any]]:
    """Return the checked entry of every data set of a study, with what it is `like` filled in.

    Raises PerturbError for a method that does not parse or is listed twice, for an unknown section,
    and for a reference or a landscape of a method that is not listed.
    """
    known = {name: entry for name, (entry, _) in _merged(study, config).items()}
    found = {dataset: _checked(study, known, dataset) for dataset in known}
    trained: dict[tuple[str, str], str] = {}
    for name, own in found.items():
        for model in study.models_of(own) if "dataset" in own else {own["model"]}:
            other = trained.setdefault((own.get("dataset", name), model), name)
            if other != name:
                raise PerturbError(
                    f"config, {study.name}.datasets: '{other}' and '{name}' both train the model "
                    f"{model} on {own.get('dataset', name)}, and a run finds its settings by these "
                    f"two. {_under_a_further_name(config, model, name)} and `model: "
                    f"{naming.suggested(model, name)}` in '{name}' (docs/your-own-study.md)."
                )
    return found


def _under_a_further_name(config: Config, model: str, name: str) -> str:
    """Say what to write so that a model has one more name, after what it is for."""
    described_so = config.models.get(model, {"network": model})
    text = ", ".join(f"{key}: {json.dumps(value)}" for key, value in described_so.items())
    text = text.replace('"', "")
    return f"Write `models: {{{naming.suggested(model, name)}: {{{text}}}}}`"


def _as_of_another_model(study: Comparing, model: str, method: str) -> str:
    """Say how a method stands twice in a table: as that of a model with a name of its own."""
    named = study.model(study.parse(method))
    base = named or model
    name = naming.suggested(base, "second")
    row = f"{name}_{method.removeprefix(f'{named}_')}"
    with suppress(PerturbError):
        if study.model(study.parse(row)) == name:
            of_registry = base in registry.MODELS or libraries.split(base)[0]
            what = f"{{network: {base}}}" if of_registry else f"(as {base} is described)"
            return (
                f"describe `models: {{{name}: {what}}}`, write `{row}` for one of them, and its "
                f"settings under `models: {{{name}: ...}}` of this entry (docs/your-own-study.md)"
            )
    return (
        "compare its settings in a further entry, whose model has a further name under `models` "
        "(docs/your-own-study.md)"
    )


def left_out(study: Comparing, config: Config, dataset: str) -> list[str]:
    """Say what an entry of config/studies names that is not among the methods put in its place."""
    return _merged(study, config)[dataset][1]


@lru_cache
def _merged(study: Comparing, config: Config) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Return each entry as the configuration's files come to it, and what `_of_own_methods` left.

    A file of the user's changes the keys of an entry in config/studies one by one. Where it changes
    `methods`, the other keys still name those that were there. `seeds` for all methods are an
    entry's too, unless the user's file names others there.
    """
    shipped = config.shipped(study.name).get("datasets", {})
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for dataset, entry in config.section(study.name).get("datasets", {}).items():
        before = shipped.get(dataset)
        if before and config.names_seeds and entry.get("seeds") == before.get("seeds"):
            entry = {key: value for key, value in entry.items() if key != "seeds"}
        found[dataset] = (entry, [])
        if before and "methods" in entry and entry["methods"] != before.get("methods"):
            try:
                found[dataset] = _of_own_methods(study, entry, before)
            except PerturbError as error:
                where = f"config, {study.name}.datasets.{dataset}"
                raise PerturbError(f"{where}: {error}") from None
    return found


def _of_own_methods(
    study: Comparing, entry: Mapping[str, Any], shipped: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return an entry with methods of its own, without what the shipped one names beside them.

    What the user's own file names is left as it is, so that a misspelt reference is an error.
    """
    names, found, left = _Names.of(study, entry), dict(entry), []
    for key in ("reference", *_TIMES):
        if key in found and found[key] == shipped.get(key):
            reference = found.get("reference", names.methods[0])
            if not names.lists(found[key]) or not names.lasts(found[key], key, reference):
                left.append(f"{key} {found.pop(key)}")
    drawn, before = found.get("landscape", {}), shipped.get("landscape", {}).get("methods")
    if isinstance(before, list) and drawn.get("methods") == before:
        listed = [name for name in before if names.lists(name)]
        found["landscape"] = {**drawn, "methods": listed}
        if gone := [name for name in before if name not in listed]:
            left.append(f"landscapes of {', '.join(gone)}")
    return found, left


# What is said of a method on one data set, and not taken over for another.
_OF_ITS_DATA = frozenset(("published", "note"))


def of_other_data(entry: Mapping[str, Any], with_methods: bool = True) -> dict[str, Any]:
    """Return an entry as another data set takes it over: without what is said of its own data.

    Its methods, and what names one of them, are taken over together or not at all.
    """
    left = {"published_by", "title"}
    left |= set() if with_methods else {"methods", "reference", "sgd", "sgd_double"}
    found = {key: value for key, value in entry.items() if key not in left}
    if not with_methods and "landscape" in found:
        found["landscape"] = {k: v for k, v in found["landscape"].items() if k != "methods"}
    if "methods" in found:
        found["methods"] = [
            {key: value for key, value in row.items() if key not in _OF_ITS_DATA}
            for row in entry["methods"]
        ]
    return found


def _checked(study: Comparing, known: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    where = f"config, {study.name}.datasets.{dataset}"
    own, base = with_base(known, dataset, f"{study.name}.datasets")
    inherited = of_other_data(base, with_methods="methods" not in own)
    found = json.loads(json.dumps({**inherited, **own}))  # free to be changed
    missing = {"model", "methods"} - set(found)
    if missing:
        raise PerturbError(
            f"{where}: missing key '{sorted(missing)[0]}'. config/schema.yaml says what it means."
        )
    if "models" in found:
        found["models"] = {described.canonical(k): v for k, v in found["models"].items()}
    found["model"] = described.canonical(found["model"])
    try:
        names = _Names.of(study, found)
        found["methods"] = [
            {**row, "method": name}
            for row, name in zip(found["methods"], names.methods, strict=True)
        ]
        for row in found["methods"]:
            _check_row(study, row)
        found.setdefault("reference", names.methods[0])
        for key in ("reference", "sgd", "sgd_double"):
            if key in found:
                found[key] = names.find(key, found[key])
        for row in found["methods"]:
            if "reference" in row:
                row["reference"] = names.find("reference", row["reference"])
        drawn = found.setdefault("landscape", {})
        asked = names.methods if drawn.get("methods") == "all" else drawn.get("methods", [])
        if asked:
            drawn["methods"] = [names.find("landscape method", name) for name in asked]
        _check_epochs(study, found)
    except PerturbError as error:
        raise PerturbError(f"{where}: {error}") from None
    if "epochs" in own and "methods" not in own and not names.short:
        raise PerturbError(
            f"{where}: epochs {own['epochs']} is not used, for every method that is taken over has "
            "its own in its name. Leave it out, or list methods without their epochs."
        )
    return found


@dataclass(frozen=True)
class _Names:
    """The names of an entry's methods in full, and whether any was given without its epochs."""

    study: Comparing
    epochs: int | None
    methods: list[str]
    short: bool

    @classmethod
    def of(cls, study: Comparing, entry: Mapping[str, Any]) -> _Names:
        """Return those of an entry; PerturbError for one that does not parse or stands twice."""
        given, epochs = [row["method"] for row in entry["methods"]], entry.get("epochs")
        names = cls(study, epochs, [], False)
        full = [names.full(name) for name in given]
        listed = [study.format(study.parse(name)) for name in full]
        twice = {name for name in listed if listed.count(name) > 1}
        if twice:
            raise PerturbError(
                f"listed twice: {', '.join(sorted(twice))}. A run's name is its method's: remove "
                f"one, or {_as_of_another_model(study, entry['model'], min(twice))}."
            )
        return cls(study, epochs, full, full != given)

    def full(self, name: str) -> str:
        """Return a method's name with its epochs: its own, or else those of the chapter.

        PerturbError where it does not parse, or does so in both ways.
        """
        readings, errors = [], []
        candidates = (name, *(self.study.with_epochs(name, self.epochs) if self.epochs else ()))
        for candidate in candidates:
            try:
                self.study.parse(candidate)
                readings.append(candidate)
            except PerturbError as error:
                errors.append(str(error))
        if len(readings) > 1 and self._is_usual(readings[1]):
            raise PerturbError(
                f"method '{name}' can be read as it stands, and as '{readings[1]}' with epochs "
                f"{self.epochs}. Write '{self.study.format(self.study.parse(readings[0]))}' or "
                f"'{readings[1]}'."
            )
        if not readings:
            # Where all but the epochs is there, what is wrong with them is the news.
            ends_in_number = name.rpartition("_")[2].isdigit()
            lacks_epochs = "the number of epochs" in errors[0] or not ends_in_number
            raise PerturbError(errors[-1] if lacks_epochs else errors[0])
        return readings[0]

    def _is_usual(self, name: str) -> bool:
        """Whether a name's parts stand as in its one spelling, or glued: `asam_0.5_9_5` is none."""
        return name.count("_") <= self.study.format(self.study.parse(name)).count("_")

    def lists(self, name: str) -> bool:
        """Return whether a method is listed, however it is spelled."""
        with suppress(PerturbError):
            return bool(self.find("", name))
        return False

    def lasts(self, name: str, key: str, reference: str) -> bool:
        """Return whether a listed method has the epochs that `key` asks of it, if it asks any."""
        epochs = [
            self.study.epochs(self.study.parse(self.find("reference", one)))
            for one in (name, reference)
        ]
        return key not in _TIMES or epochs[0] == _TIMES[key][0] * epochs[1]

    def find(self, key: str, name: str) -> str:
        """Return a listed method as its row has it, however it is spelled; PerturbError if none."""
        try:
            wanted = self.study.parse(self.full(name))
        except PerturbError as error:
            raise PerturbError(f"{key}: {error}") from None
        for method in self.methods:
            if self.study.parse(method) == wanted:
                return method
        raise PerturbError(
            f"{key} '{name}' is not among its methods; list it there or change "
            f"the {key}.{did_you_mean(name, self.methods)}"
        )


# What SGD is compared with, in the reference's epochs, and how that is said.
_TIMES = {
    "sgd": (1, "SGD at the reference's epochs"),
    "sgd_double": (2, "SGD at twice the reference's epochs"),
}
# What a row may not set for itself: the table would compare what is not one thing.
_OF_THE_TABLE = ("protocol", "limit")


def _check_row(study: Comparing, row: Mapping[str, Any]) -> None:
    """Raise PerturbError for an unknown section, and for values that cannot be meant."""
    method = row["method"]
    if row.get("section", study.sections[0]) not in study.sections:
        raise PerturbError(
            f"'{row['section']}' is no section of study {study.name}."
            f"{did_you_mean(row['section'], study.sections)}"
        )
    for key in _OF_THE_TABLE:
        if key in row.get("train", {}):
            raise PerturbError(
                f"method '{method}', train: {key} is one for all methods of a table. Set it under "
                "the data set's train."
            )
    check_published(row, study.measure)


def check_published(row: Mapping[str, Any], measure: Measure) -> None:
    """Raise PerturbError for a row's published number where it must be a fraction and is none."""
    published = row.get("published")
    if published is None or measure.unit != "%" or 0 <= published <= 1:
        return
    help = f"Write {published / 100:g} for {published:g} %"
    if not 0 < published <= 100:
        help = "Write a number from 0 to 1, or leave it out"
    raise PerturbError(
        f"method '{row['method']}': published {published:g} is no fraction of 1. {help}."
    )


def _check_epochs(study: Comparing, entry: Mapping[str, Any]) -> None:
    """Raise PerturbError where `sgd`, `sgd_double` or a landscape cannot be what it is called."""
    epochs = {row["method"]: study.epochs(study.parse(row["method"])) for row in entry["methods"]}
    wanted = epochs[entry["reference"]]
    for key, (times, words) in _TIMES.items():
        method = entry.get(key)
        if method and getattr(study.parse(method), "rule", "sgd") != "sgd":
            raise PerturbError(
                f"{key} is {words}, and {method} is another rule. Name a method of SGD, or leave "
                "the key out."
            )
        if method and epochs[method] != times * wanted:
            raise PerturbError(
                f"{key} is {words}: {entry['reference']} has {wanted}, so it is a method of "
                f"{times * wanted}, not '{method}'."
            )
