"""The configuration, checked, and the runs that it asks for. Pure, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from perturb import names
from perturb.errors import PerturbError, did_you_mean

STUDIES = ("rts",)


@dataclass(frozen=True)
class Limit:
    """How many images of each split a short run uses."""

    train: int
    test: int


@dataclass(frozen=True)
class RunSpecification:
    """Everything that decides what one run computes, but for the device it finds."""

    dataset: str
    model: str
    method: str
    seed: int
    protocol: str = "from400"
    augment: str = "standard"
    batch_size: int = 500
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule_clock: str = "epoch"
    bn_second_pass: bool = False
    checkpoint_every: int = 0
    limit: Limit | None = None
    split_seed: int = 0
    threads: int = 1
    device: str = "auto"
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    scale: str = "full"

    def to_json(self) -> str:
        """Return the specification as JSON with sorted keys; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RunSpecification:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        limit = values.pop("limit")
        return cls(**values, limit=Limit(**limit) if limit else None)


@dataclass(frozen=True)
class LandscapeSettings:
    """What decides a landscape, beside the run that it is of.

    `images` of the train split, or "full"; `span` is the largest alpha and beta; `points` a side.
    """

    direction_seeds: tuple[int, ...] = (0, 1, 2)
    normalisation: str = "filter"
    ignore: str = "biasbn"
    span: float = 1.0
    points: int = 51
    images: int | str = 2000
    batch_norm: str = "stored"
    precision: str = "float32"
    flat_margin: float = 0.1
    curvature_images: int | str = 2000
    sharpness_radii: tuple[float, ...] = (0.05, 0.1, 0.2)
    adaptive_radii: tuple[float, ...] = (0.5, 1.0, 2.0)

    def to_json(self, *names: str) -> str:
        """Return the settings called `names` as JSON: those that one job depends on."""
        return json.dumps({name: getattr(self, name) for name in names}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> LandscapeSettings:
        """Read what `to_json` wrote; the settings that it left out are at their defaults."""
        values = json.loads(text)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class Published:
    """A published number: a maximum of test accuracy over epochs, as a fraction of 1."""

    dataset: str
    method: str
    accuracy: float


@dataclass(frozen=True)
class ClaimAsked:
    """A claim that the configuration lists: `method` is above `baseline`."""

    method: str
    baseline: str
    dataset: str = ""


@dataclass(frozen=True)
class GivenNoise:
    """A noise floor known from elsewhere; `sd` is a fraction of 1."""

    sd: float
    degrees_of_freedom: int


AUDIT_FIELDS = {
    "test_accuracy": "test_accuracy",
    "test_loss": "test_loss",
    "train_accuracy": "train_accuracy",
    "train_loss": "train_loss",
}
AUDIT_PATTERN = r"(?:(?P<dataset>.*)/)?(?P<method>[^/]+)\.(?:json|csv)"


@dataclass(frozen=True)
class AuditPlan:
    """What an audit reads, and how (config/schema.yaml, audits). `fields` by perturb's names."""

    name: str
    folder: str
    title: str = ""
    pattern: str = AUDIT_PATTERN
    dataset: str = ""
    datasets: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    fields: Mapping[str, str] = field(default_factory=lambda: dict(AUDIT_FIELDS))
    accuracy: str = "fraction"
    baselines: tuple[str, ...] = ("pugd", "sgd")
    claims: tuple[ClaimAsked, ...] = ()
    repeats: str = "same_name"
    noise_floor: GivenNoise | None = None
    outside_grammar: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()

    def to_json(self) -> str:
        """Return the plan as JSON with sorted keys; `from_json` reads it back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> AuditPlan:
        """Read what `to_json` wrote, or the values of the configuration."""
        values = json.loads(text)
        for key, kind in (("claims", ClaimAsked), ("published", Published)):
            values[key] = tuple(kind(**value) for value in values.get(key) or ())
        for key in ("baselines", "outside_grammar"):
            if key in values:
                values[key] = tuple(values[key])
        noise = values.pop("noise_floor", None)
        return cls(**values, noise_floor=GivenNoise(**noise) if noise else None)


class Config:
    """A checked configuration, and the questions that the workflow asks of it."""

    def __init__(self, raw: Mapping[str, Any], schema: Path) -> None:
        """Check `raw` (as YAML gives it) against the schema file.

        Raises PerturbError that names the key, what is wrong with it, and the closest valid key.
        """
        self.values = _as_wanted(dict(raw), _schema(schema), _schema(schema))
        _check(self.values, schema)
        for study in STUDIES:
            known = self.values[study]["datasets"]
            for dataset in known:
                known[dataset] = _like(known, dataset)
                self._check_comparison(study, dataset)
        self.datasets = [str(name) for name in self.values["datasets"]]
        for dataset in self.datasets:
            self.comparison("rts", dataset)

    def comparison(self, study: str, dataset: str) -> dict[str, Any]:
        """Return the entry of a data set in a study; raises PerturbError where it has none."""
        known = self.values[study]["datasets"]
        if dataset not in known:
            raise PerturbError(
                f"data set '{dataset}' is not in study {study} "
                f"(config/studies/{study}.yaml).{did_you_mean(dataset, known)}"
            )
        return known[dataset]

    def run(self, dataset: str, model: str, method: str, seed: int) -> RunSpecification:
        """Resolve what a run of this name computes: global settings, then its data set's own.

        Raises PerturbError where the method does not parse or names another model.
        """
        parsed = names.parse(method)
        if parsed.model and parsed.model != model:
            raise PerturbError(
                f"method '{method}' names the model {parsed.model}, its folder the model {model}. "
                f"Ask for .../{dataset}/{parsed.model}/{method}/... or leave the prefix out."
            )
        settings = _spelled_out(self.values["train"])
        for study in STUDIES:
            entry = self.values[study]["datasets"].get(dataset, {})
            settings |= _spelled_out(entry.get("train", {}))
        limit = settings.pop("limit", None)
        if self._is_drawn(dataset, model, parsed, int(seed)):
            settings["checkpoint_every"] = self._landscape(dataset)["checkpoint_every"]
        return RunSpecification(
            dataset=dataset,
            model=model,
            method=names.format(parsed),
            seed=int(seed),
            limit=Limit(**limit) if limit else None,
            split_seed=self.values.get("split_seed", 0),
            scale=self.values.get("scale", "full"),
            **settings,
        )

    def plan(self, study: str, dataset: str) -> dict[str, Any]:
        """Return what a data set's table lists, as plain values (JSON)."""
        entry = self.comparison(study, dataset)
        seeds = entry.get("seeds", self.values["seeds"])
        rows = [
            {
                "section": row.get("section", names.parse(row["method"]).axis),
                "method": row["method"],
                "label": row.get("label"),
                "reference": row.get("reference", entry["reference"]),
                "seeds": list(row.get("seeds", seeds)) if row.get("run", True) else [],
                "published": row.get("published"),
                "note": row.get("note"),
            }
            for row in entry["methods"]
        ]
        return {
            "study": study,
            "title": self.values[study]["title"],
            "dataset": dataset,
            "model": entry["model"],
            "scale": self.values.get("scale", "full"),
            "partial_data": self.values.get("partial_data", False),
            "protocol": (self.values["train"] | entry.get("train", {})).get("protocol", "from400"),
            "reference": entry["reference"],
            "equivalence_margin": self.values.get("equivalence_margin", 0.5),
            "sgd": entry.get("sgd"),
            "sgd_double": entry.get("sgd_double"),
            "landscape": self.landscape(dataset),
            "rows": rows,
        }

    def landscape(self, dataset: str) -> dict[str, Any] | None:
        """Return what a data set's landscapes compare, or None where it has none.

        `methods` and `seeds` of the runs, `direction_seeds`, `normalisation`, `flat_margin`.
        """
        settings = self._landscape(dataset)
        if not settings.get("methods"):
            return None
        keys = ("methods", "seeds", "direction_seeds", "normalisation", "flat_margin")
        return {key: settings[key] for key in keys}

    def landscape_settings(self, dataset: str) -> LandscapeSettings:
        """Return what decides the landscapes of a data set, asked for in the config or not."""
        settings = self._landscape(dataset)
        for key in ("methods", "seeds", "checkpoint_every"):
            settings.pop(key, None)
        return LandscapeSettings(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        )

    def audit(self, name: str) -> AuditPlan:
        """Return what the audit `name` reads; PerturbError where the configuration has none.

        Names outside the grammar and published numbers are those of the studies.
        """
        known = self.values.get("audits", {})
        if name not in known:
            raise PerturbError(
                f"no audit '{name}' in the configuration (key audits).{did_you_mean(name, known)}"
            )
        values = dict(known[name])
        folder = Path(self.values["data_root"], values.pop("folder"))
        studies = [self.values[study] for study in STUDIES]
        published = [
            {"dataset": dataset, "method": row["method"], "accuracy": row["published"]}
            for study in studies
            for dataset, entry in study["datasets"].items()
            for row in entry["methods"]
            if row.get("published") is not None
        ]
        outside = [text for study in studies for text in study.get("outside_grammar", [])]
        plan = {
            **values,
            "name": name,
            "folder": str(folder),
            "outside_grammar": outside,
            "published": published,
        }
        return AuditPlan.from_json(json.dumps(plan))

    def _is_drawn(self, dataset: str, model: str, method: names.Method, seed: int) -> bool:
        """Whether the results section has a landscape, and so a trajectory, of this run."""
        entry = self.values["rts"]["datasets"].get(dataset, {})
        drawn = self.landscape(dataset)
        if not drawn or model != entry["model"] or seed not in drawn["seeds"]:
            return False
        return method in [names.parse(name) for name in drawn["methods"]]

    def _landscape(self, dataset: str) -> dict[str, Any]:
        """Return the global settings of landscapes with the data set's own over them."""
        entry = self.values["rts"]["datasets"].get(dataset, {})
        return {**self.values["landscape"], **entry.get("landscape", {})}

    def runs(self, study: str, dataset: str) -> list[tuple[str, str, str, int]]:
        """Return (data set, model, method, seed) of every run that a data set's table asks for."""
        plan = self.plan(study, dataset)
        return [
            (dataset, plan["model"], row["method"], seed)
            for row in plan["rows"]
            for seed in row["seeds"]
        ]

    def _check_comparison(self, study: str, dataset: str) -> None:
        entry = self.values[study]["datasets"][dataset]
        where = f"config, {study}.datasets.{dataset}"
        listed = []
        for row in entry["methods"]:
            try:
                listed.append(names.format(names.parse(row["method"])))
            except PerturbError as error:
                raise PerturbError(f"{where}: {error}") from None
        twice = {name for name in listed if listed.count(name) > 1}
        if twice:
            raise PerturbError(f"{where}: listed twice: {', '.join(sorted(twice))}. Remove one.")
        spelled = [row["method"] for row in entry["methods"]]
        drawn = entry.get("landscape", {})
        if drawn.get("methods") == "all":
            drawn["methods"] = spelled
        asked = [(key, entry[key]) for key in ("reference", "sgd", "sgd_double") if key in entry]
        asked += [("landscape method", method) for method in drawn.get("methods", [])]
        asked += [("reference", row["reference"]) for row in entry["methods"] if "reference" in row]
        for key, method in asked:
            if method not in spelled:
                raise PerturbError(
                    f"{where}: {key} '{method}' is not among its methods; list it there or change "
                    f"the {key}.{did_you_mean(method, spelled)}"
                )


def _spelled_out(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return training settings with `lr` called by its full name."""
    return {"learning_rate" if key == "lr" else key: value for key, value in settings.items()}


def with_base(
    known: Mapping[str, Any], name: str, section: str
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return an entry of a section, and the one that it is `like`, which is empty where none is.

    Raises PerturbError where that is not an entry described in full.
    """
    entry = dict(known[name])
    base = entry.pop("like", None)
    if base is None:
        return entry, {}
    if base not in known or "like" in known[base]:
        raise PerturbError(
            f"config, {section}.{name}: like '{base}' must name an entry of {section} that is "
            f"described in full.{did_you_mean(base, known)}"
        )
    return entry, known[base]


def _like(known: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Return a data set's entry, with what it leaves out taken from the one it is `like`."""
    own, base = with_base(known, dataset, "rts.datasets")
    entry = {**base, **own}
    missing = {"model", "reference", "methods"} - set(entry)
    if missing:
        raise PerturbError(
            f"config, rts.datasets.{dataset}: missing key '{sorted(missing)[0]}'. "
            "config/schema.yaml says what it means."
        )
    return entry


@lru_cache
def _schema(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return root["$defs"][reference.rsplit("/", 1)[1]] if reference else schema


def _as_wanted(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return `value` with what the schema wants: YAML reads 5e-4 as text, `--config` true."""
    schema = _resolve(schema, root)
    if isinstance(value, Mapping):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {
            key: _as_wanted(
                item, properties.get(key) or (others if isinstance(others, Mapping) else {}), root
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_as_wanted(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, str) and schema.get("type") in _READERS:
        try:
            return _READERS[schema["type"]](value)
        except (ValueError, KeyError):
            return value
    return value


_READERS = {"number": float, "integer": int, "boolean": {"true": True, "false": False}.__getitem__}


def _check(values: Mapping[str, Any], path: Path) -> None:
    error = best_match(Draft202012Validator(_schema(path)).iter_errors(values))
    if error is not None:
        raise PerturbError(_message(error))


def _message(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        unknown = sorted(set(error.instance) - set(allowed))[0]
        return f"config, {where}: unknown key '{unknown}'.{did_you_mean(unknown, allowed)}"
    if error.validator == "enum":
        help = did_you_mean(error.instance, error.validator_value)
        return f"config, {where}: '{error.instance}' is not a choice.{help}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return (
            f"config, {where}: missing key '{missing[0]}'. config/schema.yaml says what it means."
        )
    if error.validator == "type":
        return f"config, {where}: {error.instance!r} must be of type {error.validator_value}."
    if error.validator in ("anyOf", "not") and "description" in error.schema:
        return f"config, {where}: {error.instance!r} does not fit. {error.schema['description']}"
    return f"config, {where}: {error.message}. config/schema.yaml says what is allowed."
