"""What an audit reads, and how, from the configuration. Pure, without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perturb import studies
from perturb.errors import PerturbError, did_you_mean

if TYPE_CHECKING:
    from perturb.config import Config


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
RUN_PATTERN = (
    r"(?P<method>.+?)(?:(?:[-_. /]?(?:seed|run|rep|trial|fold|version)|[-_. /]s)[-_=]?"
    r"(?P<seed>\d+))?"
)


@dataclass(frozen=True)
class AuditPlan:
    """What an audit reads, and how (config/schema.yaml, audits). `fields` by perturb's names.

    What is empty (`pattern`, `fields`, `baselines`; `accuracy` auto) is told from the files.
    `folder_given` is the folder as the configuration has it, which may be relative to `data_root`.
    """

    name: str
    folder: str
    folder_given: str = ""
    title: str = ""
    pattern: str = ""
    runs: str = RUN_PATTERN
    dataset: str = ""
    datasets: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    accuracy: str = "auto"
    baselines: tuple[str, ...] = ()
    claims: tuple[ClaimAsked, ...] = ()
    repeats: str = "same_name"
    noise_floor: GivenNoise | None = None
    held: tuple[str, ...] = ()
    outside_grammar: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()

    def to_json(self) -> str:
        """Return the plan as JSON with sorted keys; `from_json` reads it back."""
        return json.dumps(msgspec.to_builtins(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> AuditPlan:
        """Read what `to_json` wrote: the first line, for more may follow."""
        return msgspec.convert(json.loads(text.partition("\n")[0]), cls)


def compiled(pattern: str, name: str) -> re.Pattern[str]:
    """Return the pattern of the audit `name`; PerturbError where it is none, or names no method."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise PerturbError(
            f"config, audits.{name}: pattern '{pattern}' is no regular expression: {error}."
        ) from None
    if "method" not in found.groupindex:
        raise PerturbError(
            f"config, audits.{name}: pattern '{pattern}' needs a group (?P<method>...)."
        )
    return found


def plan(config: Config, name: str) -> AuditPlan:
    """Return what the audit `name` reads.

    PerturbError where the configuration has none, or a pattern of it is none. Names outside the
    grammar and published numbers are those of the studies.
    """
    known = config.values.get("audits", {})
    if name not in known:
        raise PerturbError(
            f"no audit '{name}' in the configuration (key audits).{did_you_mean(name, known)}"
        )
    values = dict(known[name])
    given = values.pop("folder")
    folder = Path(config.values["data_root"], given)
    published = [
        {"dataset": dataset, "method": method, "accuracy": number}
        for study in studies.every()
        for dataset, method, number in study.published(config)
    ]
    outside = [text for study in studies.every() for text in study.outside_grammar(config)]
    values |= {"name": name, "folder": str(folder), "folder_given": given}
    values |= {"outside_grammar": outside, "published": published}
    found = msgspec.convert(values, AuditPlan)
    for pattern in filter(None, (found.pattern, found.runs)):
        compiled(pattern, name)
    return found
