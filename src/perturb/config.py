"""The configuration, checked against its schemas; what it means is for others. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from perturb.errors import PerturbError, did_you_mean
from perturb.limits import LARGEST_FLOAT, LARGEST_INTEGER

STUDIES = Path(__file__).parent / "studies"
# What keys were called before studies were plug-ins.
_RENAMED = {"datasets": "chapters", "studies": "chapters"}


class Config:
    """A checked configuration.

    `values` are those of config.yaml; `section` those of a study. Compared by identity, so that
    what is made from it can be kept beside it.
    """

    def __init__(self, raw: Mapping[str, Any], schema: Path) -> None:
        """Check `raw` (as YAML gives it) against the schema file and those of the studies.

        Raises PerturbError that names the key, what is wrong with it, and the closest valid key.
        """
        for old, new in _RENAMED.items():
            if old in raw:
                raise PerturbError(
                    f"config, top level: '{old}' is called '{new}' now: one list of data sets and "
                    f"further chapters. Write `{new}: {list(raw[old])}`."
                )
        whole = whole_schema(schema)
        self.values: dict[str, Any] = _as_wanted(dict(raw), whole, whole)
        _check(self.values, whole)

    def section(self, study: str) -> dict[str, Any]:
        """Return a study's own section, empty where the configuration has none."""
        return self.values.get(study, {})

    @property
    def models(self) -> dict[str, Any]:
        """The models that the configuration describes, by name (`perturb.models.described`)."""
        return self.values.get("models", {})

    @property
    def asked(self) -> tuple[str, ...]:
        """The chapters of the results section, each once, in the configuration's order."""
        return tuple(dict.fromkeys(str(name) for name in self.values["chapters"]))

    @property
    def scale(self) -> str:
        """`full` or `smoke`."""
        return self.values.get("scale", "full")


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


def spelled_out(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return training settings with `lr` called by its full name."""
    return {"learning_rate" if key == "lr" else key: value for key, value in settings.items()}


@lru_cache
def whole_schema(path: Path) -> dict[str, Any]:
    """Return the schema of the file `path` with the section of each study, from its own file.

    A study's `schema.yaml` describes its section; its `$defs` join those of the whole. PerturbError
    where two files define the same name differently.
    """
    whole = _read(path)
    for file in sorted(STUDIES.glob("*/schema.yaml")):
        section = _read(file)
        for name, definition in section.pop("$defs", {}).items():
            if whole["$defs"].setdefault(name, definition) != definition:
                raise PerturbError(f"{file}: $defs.{name} is another one's too. Rename it.")
        whole["properties"][file.parent.name] = section
    return whole


def _read(path: Path) -> dict[str, Any]:
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


_READERS: dict[str, Callable[[str], Any]] = {
    "number": float,
    "integer": int,
    "boolean": {"true": True, "false": False}.__getitem__,
}


def _check(values: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    _check_numbers(values)
    error = best_match(Draft202012Validator(schema).iter_errors(values))
    if error is not None:
        raise PerturbError(_message(error))


def _check_numbers(value: Any, where: tuple[str, ...] = ()) -> None:
    """Raise PerturbError for a number in which nothing can be computed, wherever it stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_numbers(item, (*where, str(key)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_numbers(item, (*where, str(place)))
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise PerturbError(
            f"config, {'.'.join(where)}: {value} does not fit. Whole numbers go up to 2^63 - 1."
        )
    elif isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
        raise PerturbError(
            f"config, {'.'.join(where)}: {value} does not fit. Runs are computed in float32: give "
            f"a finite number of at most {LARGEST_FLOAT:.2g}."
        )


def _message(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    # An error of a check has all three; its type says that it may not.
    schema: Any = error.schema
    instance: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties":
        allowed = schema.get("properties", {})
        unknown = sorted(set(instance) - set(allowed))[0]
        return f"config, {where}: unknown key '{unknown}'.{did_you_mean(unknown, allowed)}"
    if error.validator == "enum":
        help = did_you_mean(instance, wanted)
        return f"config, {where}: '{instance}' is not a choice.{help}"
    if error.validator == "required":
        missing = sorted(set(wanted) - set(instance))
        return (
            f"config, {where}: missing key '{missing[0]}'. config/schema.yaml says what it means."
        )
    if error.validator == "type":
        return f"config, {where}: {instance!r} must be of type {wanted}."
    if error.validator in ("anyOf", "not") and "description" in schema:
        return f"config, {where}: {instance!r} does not fit. {schema['description']}"
    return f"config, {where}: {error.message}. config/schema.yaml says what is allowed."
