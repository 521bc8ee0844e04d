"""What a study is: its runs, its chapters, and the parts of a chapter. No torch, no study's name.

A study (`perturb.studies`) has chapters, one for a data set or a variant. A chapter has parts:
tables, figures. Parts are made from runs. Everything that is shared (rules, verify, status, plan,
report) goes through this module and `perturb.studies`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from perturb.runs import Run, Specification

if TYPE_CHECKING:
    from perturb.config import Config
    from perturb.planning.cost import Cost

Inputs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Measure:
    """What methods are compared by: one number of each finished run.

    `name` is its column, as epochs.csv and a record's `last` and `best` have it; `words` how prose
    calls it. Shown numbers are multiplied by `factor` and have `digits` decimals; `unit` is that of
    a shown number, `difference_unit` of a shown difference.
    """

    name: str = "test_accuracy"
    words: str = "test accuracy"
    unit: str = "%"
    difference_unit: str = "points"
    factor: float = 100.0
    digits: int = 2
    larger_is_better: bool = True

    @property
    def short(self) -> str:
        """Return the words without the split: `accuracy` for test accuracy."""
        return self.words.removeprefix("test ")

    @property
    def slug(self) -> str:
        """Return the short words as files and columns are called after them: `loss_decrease`."""
        return self.short.replace(" ", "_")


@dataclass(frozen=True)
class Part:
    """A table or a figure of a chapter, as the workflow makes it.

    Args:
        name: in its chapter, unique; that of the chapter's main table is "".
        kind: `table` or `figure`.
        make: "module:function", called as `make(settings, inputs, results)`; returns a
            `perturb.analysis.table.Table` or a matplotlib `Figure`. `inputs` then are lists of
            paths by what they are, `results` the folder that a provenance names files relative to.
        inputs: files by what they are, relative to the results folder.
        settings: plain values, what else it depends on: a change of them makes it again.
        title, caption: a figure's; a table brings its own.
        uses: further modules that make it.
        stem: of a table's files below `tables/`, by default `{chapter}` or `{chapter}_{name}`.
    """

    name: str
    kind: Literal["table", "figure"]
    make: str
    inputs: Inputs
    settings: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    caption: str = ""
    stem: str = ""
    uses: tuple[str, ...] = ()

    def settings_json(self) -> str:
        """Return the settings as JSON with sorted keys, which Snakemake compares."""
        return json.dumps(self.settings, sort_keys=True)


@dataclass(frozen=True)
class Page:
    """A file that the report links to: what the link says, and its path below the results."""

    title: str
    path: str


@dataclass(frozen=True)
class Chapter:
    """A study on one data set, or one variant of the study.

    Args:
        study: the name of its study.
        name: unique among the chapters of all studies; `results/tables/{name}.csv`.
        title: as the report calls it.
        asked: whether the configuration wants it in the results section.
        measure: what its methods are compared by.
        runs: that its parts are made from.
        parts: in the order of the report.
        words: "module:function", called with `settings` and the tables' frames by part; returns
            `Words`, what the report says before the tables.
        settings: plain values, for `words`.
        pages: files that the report links to.
        scale: `full` or `smoke`.
        landscape_runs: that only its landscapes are of.
    """

    study: str
    name: str
    title: str
    asked: bool
    measure: Measure
    runs: tuple[Run, ...]
    parts: tuple[Part, ...]
    words: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    pages: tuple[Page, ...] = ()
    scale: str = "full"
    landscape_runs: tuple[Run, ...] = ()

    def stem(self, part: Part) -> str:
        """Return how the files of a table are called, without their endings."""
        return part.stem or (f"{self.name}_{part.name}" if part.name else self.name)

    def values(self) -> dict[str, Any]:
        """Return the chapter as plain values; `of` reads them back."""
        return msgspec.to_builtins(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read what `values` returned, or its JSON's values."""
        return msgspec.convert(values, cls)

    @property
    def tables(self) -> tuple[Part, ...]:
        """Its tables, in the order of the report."""
        return tuple(part for part in self.parts if part.kind == "table")

    @property
    def figures(self) -> tuple[Part, ...]:
        """Its figures, in the order of the report."""
        return tuple(part for part in self.parts if part.kind == "figure")


@dataclass(frozen=True)
class Words:
    """What the report says of a chapter: what was run, what limits it, what came out.

    `facts` are names and values for the provenance section: protocol, device, versions.
    """

    heading: str
    what: str
    warnings: Sequence[str] = ()
    findings: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A kind of run, and the chapters that are made of such runs.

    Args:
        name: of the study, and of its section in the configuration.
        heads: first words of its runs' names; no two studies share one.
        parse: reads a method's name; PerturbError where it is none.
        format: prints what `parse` returned in its one spelling.
        epochs: of a method's name; 1 where its runs have no epochs.
        resolve: the specification of one run, from the checked configuration and the run's name.
        specification: its class; `from_json` reads what `to_json` wrote.
        job: "module:function" that makes a run, `perturb.train.run:run` for a learner.
        learner: "module:function" that makes the learner, called with the specification and
            `perturb.train.learner.Inputs` (device, data, initial weights); returns a
            `perturb.train.learner.Learner`. The root of the code hash.
        uses: further modules that one run depends on, by its specification.
        entries: hashes of what else it depends on (a line of a registry), by name.
        begins_from: the file, below the results, of another run's weights that a run begins from,
            by its specification; "" where it begins from its model's initial weights.
        chapters: that the configuration has of it, asked for or not.
        cost: what a run costs, from its specification and its training steps an epoch (0 where
            it has no data set), for `snakemake plan`.
        calibrate: "module:function", called as `calibrate(specification, seconds)` where no
            finished run tells what a unit of cost takes on this machine; returns the seconds of
            one, and may take about `seconds` for it. "" where a classifier's steps tell, or none.
        with_seeds: the study's section of a configuration that asks for the given seeds of a
            chapter's methods, by method, and for none of those whose list is empty; so that
            `snakemake plan` can choose them. None where it cannot.
        rule: the rule that makes its runs.
        variant: the chapter of a name that the configuration does not list, such as a data set
            with label noise, or None.
        entry: what the configuration says of a run's data set in this study; `landscape` in it goes
            before the global settings of landscapes.
        example: what a configuration may say of a user's folder of images in this study, as text.
        published: numbers published for its runs, for audits: (data set, method, number).
        outside_grammar: names of result files that no method name can express, for audits.
        remarks: what a user may not expect of what is asked for, as sentences without their stops.
    """

    name: str
    heads: tuple[str, ...]
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    epochs: Callable[[str], int]
    resolve: Callable[[Config, Run], Any]
    specification: type[Specification]
    learner: str
    chapters: Callable[[Config], Sequence[Chapter]]
    cost: Callable[[Any, int], Cost]
    calibrate: str = ""
    with_seeds: (
        Callable[[Config, Chapter, Mapping[str, Sequence[int]]], Mapping[str, Any]] | None
    ) = None
    uses: Callable[[Any], Sequence[str]] = lambda specification: ()
    entries: Callable[[Any], Mapping[str, str]] = lambda specification: {}
    begins_from: Callable[[Any], str] = lambda specification: ""
    job: str = "perturb.train.run:run"
    rule: str = "train"
    variant: Callable[[Config, str], Chapter | None] = lambda config, name: None
    entry: Callable[[Config, Run], Mapping[str, Any]] = lambda config, run: {}
    example: str = ""
    published: Callable[[Config], Sequence[tuple[str, str, float]]] = lambda config: ()
    outside_grammar: Callable[[Config], Sequence[str]] = lambda config: ()
    remarks: Callable[[Config], Sequence[str]] = lambda config: ()


def load(reference: str) -> Callable[..., Any]:
    """Return what "module:function" names. Imports the module."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
