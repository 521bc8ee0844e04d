"""The configuration, checked against its schemas; what it means is for others. Pure."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match

from perturb.config_files import LOADER, TWO_NAMES, merged
from perturb.errors import PerturbError, closest, did_you_mean, similarity
from perturb.limits import LARGEST_FLOAT, LARGEST_INTEGER
from perturb.models import naming, registry

STUDIES = Path(__file__).parent / "studies"
# What keys were called before studies were plug-ins.
_RENAMED = {"datasets": "chapters", "studies": "chapters"}
# Prose, in which a line may be broken; it is joined again.
_PROSE = frozenset(("title", "label", "note", "published_by"))
_SEEDS = (0, 1, 2)  # where the configuration names none
_SHOWN = 120  # characters of a wrong value that a message repeats


class Config:
    """A checked configuration.

    `values` are those of config.yaml; `section` those of a study; `names_seeds` is whether somebody
    has set `seeds`, which then go before those that config/studies has for a chapter. Compared by
    identity, so that what is made from it can be kept beside it.
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
        self.schema, whole = schema, whole_schema(schema)
        _check_texts(raw)
        self.values: dict[str, Any] = _as_wanted(dict(raw), whole, whole)
        _check(self.values, whole)
        _check_models(self.models)
        self.values = _under_one_name(self.values, _shipped(schema))
        self.names_seeds = "seeds" in self.values
        self.values.setdefault("seeds", list(_SEEDS))

    def section(self, study: str) -> dict[str, Any]:
        """Return a study's own section, empty where the configuration has none."""
        return self.values.get(study, {})

    def shipped(self, study: str) -> Mapping[str, Any]:
        """Return a study's section as the checkout's own files have it, before the user's."""
        return _shipped(self.schema).get(study, {})

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
        in_full = [one for one in known if "like" not in known[one] and one != name]
        raise PerturbError(
            f"config, {section}.{name}: like '{base}' must name an entry of {section} that is "
            f"described in full.{did_you_mean(base, in_full)}"
        )
    return entry, known[base]


def spelled_out(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return training settings with `lr` called by its full name."""
    return {TWO_NAMES.get(key, key): value for key, value in settings.items()}


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


@lru_cache
def _shipped(schema: Path) -> dict[str, Any]:
    """Return what the checkout's own files beside a schema say, as `Config` reads values."""
    whole, own = whole_schema(schema), schema.parent / "config.yaml"
    files = [*sorted(schema.parent.glob("studies/*.yaml")), *([own] if own.exists() else [])]
    return _as_wanted(merged(files), whole, whole)


def _read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return root["$defs"][reference.rsplit("/", 1)[1]] if reference else schema


def _as_wanted(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return `value` with what the schema wants: YAML reads 5e-4 as text, `--config` true.

    A text where the schema wants a mapping that has a `shorthand` is that key's value. `1.0` is the
    whole number that it is, and a number as a key its text.
    """
    schema = _resolve(schema, root)
    if isinstance(value, str) and "shorthand" in schema:
        value = {schema["shorthand"]: value}
    if isinstance(value, Mapping):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        named = properties or others is not None  # else the keys are whatever they are
        return {
            (str(key) if named else key): _as_wanted(
                " ".join(item.split()) if key in _PROSE and isinstance(item, str) else item,
                properties.get(key) or (others if isinstance(others, Mapping) else {}),
                root,
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_as_wanted(item, schema.get("items", {}), root) for item in value]
    if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and schema.get("type") in _READERS:
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
    checker = Draft202012Validator(schema, format_checker=FormatChecker(["date"]))
    error = best_match(checker.iter_errors(values))
    if error is not None:
        raise PerturbError(_message(error, schema))


def _check_models(models: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise PerturbError for a described model that is not called as one may be, with a name."""
    for name, given in models.items():
        of_its_own = given.get("network", name) != name
        if of_its_own and not naming.may_be(name) and name not in registry.MODELS:
            raise PerturbError(
                f"config, models.{name[:_SHOWN]}: a described model is called by lower-case words "
                "of letters, digits and points with a hyphen between them, and begins with no "
                f"library's name. Write `{naming.suggested(name)[:_SHOWN]}`, wherever it stands."
            )


def _under_one_name(value: Any, shipped: Any, where: tuple[str, ...] = ()) -> Any:
    """Return a configuration in which each setting has one name: the user's `lr` is gone.

    Snakemake puts the user's files and the checkout's own together, in whatever order of keys. So
    of two names the one holds that says something else than the checkout's own file. PerturbError
    where both do.
    """
    if isinstance(value, list):
        return [_under_one_name(one, None, (*where, str(at))) for at, one in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    before = shipped if isinstance(shipped, Mapping) else {}
    found = {k: _under_one_name(v, before.get(k), (*where, str(k))) for k, v in value.items()}
    for names in TWO_NAMES.items():
        here = [key for key in names if key in found]
        if len(here) < 2:
            continue
        own = [key for key in here if key not in before or found[key] != before[key]]
        if len(own) == 2:
            raise PerturbError(
                f"config, {_place(where)}: {' and '.join(f'{key} {value[key]}' for key in here)} "
                "are two names of one setting. Keep one."
            )
        for key in here:
            if key not in own:
                del found[key]
    return found


def _leaves(value: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value that is no mapping and no list, and where it stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*where, str(key)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, (*where, str(place)))
    else:
        yield where, value


def _check_numbers(values: Mapping[str, Any]) -> None:
    """Raise PerturbError for a number in which nothing can be computed, wherever it stands."""
    for where, value in _leaves(values):
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise PerturbError(
                f"config, {'.'.join(where)}: {_shown(value)} does not fit. Whole numbers go up to "
                "2^63 - 1."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise PerturbError(
                f"config, {'.'.join(where)}: {value} does not fit. Give a finite number."
            )
        if isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
            raise PerturbError(
                f"config, {'.'.join(where)}: {value} does not fit. Runs are computed in float32: "
                f"give a number of at most {LARGEST_FLOAT:.2g}."
            )


def _check_texts(value: Any, where: tuple[str, ...] = ()) -> None:
    """Raise PerturbError for a key that is no text, and for what no name or file can hold.

    That is a control character, such as a line break, in any text that is not prose.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str | int) or isinstance(key, bool):
                if key is None:
                    raise PerturbError(
                        f"config, {_place(where)}: a key is empty (`~` and `null` are, too). Write "
                        "the name that is meant, in quotation marks."
                    )
                raise PerturbError(
                    f"config, {_place(where)}: the key {key!r} is read as no text. Write it in "
                    f"quotation marks: '{str(key).lower()}'."
                )
            _check_text(str(key), (*where, "a key"))
            _check_texts(item, (*where, str(key)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check_texts(item, (*where, str(place)))
    elif isinstance(value, str):
        _check_text(value, where)


def _check_text(text: str, where: tuple[str, ...]) -> None:
    allowed = "\n\t" if where[-1:] and where[-1] in _PROSE else ""
    bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    bad = [c for c in bad if c not in allowed]
    if bad:
        raise PerturbError(
            f"config, {_place(where)}: {_shown(text)} has a line break or another character that "
            f"cannot be printed (U+{ord(bad[0]):04X}). Write it in one line, without it."
        )


def _place(where: tuple[str, ...]) -> str:
    return ".".join(part if part.isprintable() else repr(part) for part in where) or "top level"


def _shown(value: Any) -> str:
    """Return a value as a message repeats it: `nothing` for an empty one, not all of a long one."""
    if value is None:
        return "nothing (the key has no value)"
    text = repr(str(value)) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


# What a type of the schema is called, and how it is written.
_TYPES = {
    "object": "type object, `key: value`",
    "array": "type array",
    "integer": "type integer, a whole number",
    "number": "type number",
    "string": "type string, a text",
    "boolean": "type boolean, true or false",
}


def _wanted_type(error: ValidationError) -> str:
    """Say which type a key takes, and what to write where that can be told."""
    schema: Any = error.schema
    instance: Any = error.instance
    wanted = str(error.validator_value)
    said = _TYPES.get(wanted, f"type {wanted}")
    key = next((str(p) for p in reversed(error.absolute_path) if isinstance(p, str)), "")
    if wanted == "array" and isinstance(instance, str | int | float):
        several = ""
        if schema.get("items", {}).get("type") == "integer":  # 3: of them, or number 3?
            several = f" for that one, `{key}: [0, 1, 2]` for several"
        return f"{said}, a list: write `{key}: [{instance}]`{several}"
    if "shorthand" in schema:
        name = schema["shorthand"]
        return f"{said}: write `{{{name}: ...}}`, or the {name} alone as a text"
    if wanted == "string" and isinstance(instance, int | float):
        return f"{said}: write it in quotation marks, '{str(instance).lower()}', if it is meant"
    return said


def _instead(unknown: str, allowed: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Return what to write for a key that is unknown: a key here, of a section here, or at the top.

    Of keys as near, that which stands here goes before.
    """
    entry = root["$defs"].get("comparison", {}).get("properties", {})
    if unknown in entry and unknown not in root["properties"]:
        study = next(n for n, one in root["properties"].items() if _is_comparing(one))
        return (
            f" It stands in a data set's entry: `{study}: {{datasets: {{<name>: {{{unknown}: "
            "...}}}`."
        )
    other_number = next((n for n in allowed if f"{n}s" == unknown or n == f"{unknown}s"), None)
    if other_number:
        return f" Did you mean '{other_number}'?"
    here = {name: "" for name in allowed if name != unknown}
    sections = {
        f"{section}.{name}": f" Write `{section}: {{{name}: ...}}`: it stands in {section}."
        for section, below in allowed.items()
        for name in _resolve(below, root).get("properties", {})
    }
    top = {}
    if allowed is not root["properties"]:
        top = {name: f" Write `{name}: ...` at the top level." for name in root["properties"]}
    match = closest(unknown, here)
    near = similarity(unknown, match) if match else 0.0
    for said in (sections, top):
        words = {place.rpartition(".")[2]: text for place, text in reversed(said.items())}
        other = closest(unknown, words)
        if other and similarity(unknown, other) > near:
            return words[other]
    return did_you_mean(unknown, allowed)


def _is_comparing(section: Mapping[str, Any]) -> bool:
    return section.get("$ref") == "#/$defs/comparing"


def _message(error: ValidationError, root: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "top level"
    # An error of a check has all three; its type says that it may not.
    schema: Any = error.schema
    instance: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties":
        allowed = schema.get("properties", {})
        unknown = sorted(set(instance) - set(allowed))[0]
        help = _instead(unknown, allowed, root)
        return f"config, {where}: unknown key '{unknown[:_SHOWN]}'.{help}"
    if error.validator == "enum":
        help = did_you_mean(instance, wanted)
        return f"config, {where}: {_shown(instance)} is not a choice.{help}"
    if error.validator == "required":
        missing = sorted(set(wanted) - set(instance))
        return (
            f"config, {where}: missing key '{missing[0]}'. config/schema.yaml says what it means."
        )
    if error.validator == "type":
        return f"config, {where}: {_shown(instance)} must be of {_wanted_type(error)}."
    if error.validator in ("anyOf", "not") and "description" in schema:
        return f"config, {where}: {_shown(instance)} does not fit. {schema['description']}"
    if error.validator == "uniqueItems":
        twice = [one for place, one in enumerate(instance) if one in instance[:place]]
        return f"config, {where}: {_shown(twice[0])} is listed twice. Remove one."
    said = error.message.replace(repr(instance), _shown(instance))
    return f"config, {where}: {said}. config/schema.yaml says what is allowed."
