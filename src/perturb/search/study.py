"""A study whose chapters are searches: its section of the configuration, resolved.

A study says what is its own (the grammar of its methods' names, its settings, its learner) and has
chapters and specifications for it, as `perturb.comparison` has for comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from perturb import bases, code, studies
from perturb.config import Config, spelled_out, with_base
from perturb.errors import PerturbError, did_you_mean
from perturb.planning.cost import Cost
from perturb.runs import Run
from perturb.search import catalogue, refusals
from perturb.search.reading import check_fresh, read
from perturb.search.settings import Search
from perturb.search.steps import Naming, first_trials
from perturb.study import Chapter, Measure, Page, Study
from perturb.train.settings import TrainSettings

MEASURE = Measure()
HOLDOUT = "holdout"


@dataclass(frozen=True, eq=False)
class Searching:
    """What such a study says of itself; compared by identity.

    Args:
        name: of the study, and of its section in the configuration (`$defs/searching` there).
        specification: the class of its runs' settings.
        parse, format: of a method's name, as in `Study`.
        epochs: of what `parse` returned.
        settings: what a method's name sets, fields of the specification, from what `parse`
            returned.
        models: that its runs can train; every one where it names none.
    """

    name: str
    specification: type[TrainSettings]
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    epochs: Callable[[Any], int]
    settings: Callable[[Any], Mapping[str, Any]]
    models: tuple[str, ...] = ()

    def study(
        self,
        heads: Sequence[str],
        learner: str,
        cost: Callable[[Any, int], Cost],
        uses: Callable[[Any], Sequence[str]] = lambda specification: (),
        entries: Callable[[Any], Mapping[str, str]] = lambda specification: {},
    ) -> Study:
        """Return the study; arguments as in `Study`. A run's model counts among its code."""
        return Study(
            name=self.name,
            heads=tuple(heads),
            parse=self.parse,
            format=self.format,
            epochs=lambda method: self.epochs(self.parse(method)),
            resolve=self.resolve,
            specification=self.specification,
            learner=learner,
            uses=uses,
            entries=lambda run: code.of_model(run.architecture) | dict(entries(run)),
            chapters=self.chapters,
            cost=cost,
        )

    def _entries(self, config: Config) -> dict[str, dict[str, Any]]:
        """Return every search of the section, with what it is `like` filled in, and its data set.

        PerturbError where two of one data set train differently: a run has one meaning.
        """
        known = config.section(self.name).get("searches", {})
        found: dict[str, dict[str, Any]] = {}
        trained: dict[str, tuple[str, Any]] = {}
        for name in known:
            own, base = with_base(known, name, f"{self.name}.searches")
            entry = {"dataset": known[name].get("like", name), **base, **own}
            where = f"config, {self.name}.searches.{name}"
            missing = {"model", "stages"} - set(entry)
            if missing:
                raise PerturbError(f"{where}: missing key '{sorted(missing)[0]}'.")
            dataset, how = entry["dataset"], (entry.get("train"), entry.get("settings"))
            other, before = trained.setdefault(dataset, (name, how))
            if before != how:
                raise PerturbError(
                    f"{where}: trains {dataset} otherwise than {self.name}.searches.{other}, and a "
                    "run has one name for both. Give them the same train and settings, or let one "
                    "be `like` the other."
                )
            found[name] = entry
        return found

    def resolve(self, config: Config, run: Run) -> TrainSettings:
        """Return what a run computes: global settings, those of its data set, those of its name.

        Its validation split is held out of train, for that is what a search chooses by.
        """
        parsed = self.parse(run.method)
        entries = [e for e in self._entries(config).values() if e["dataset"] == run.dataset]
        own = entries[0] if entries else {}
        known = set(self.specification.__struct_fields__)
        unknown = sorted(set(own.get("settings", {})) - known)
        if unknown:
            raise PerturbError(
                f"config, {self.name}, settings of {run.dataset}: no setting '{unknown[0]}'."
                f"{did_you_mean(unknown[0], known)}"
            )
        train = spelled_out(config.values["train"]) | {"protocol": HOLDOUT}
        train |= spelled_out(own.get("train", {})) | dict(own.get("settings", {}))
        named = dict(self.settings(parsed))
        of_run = {
            "study": self.name,
            "dataset": run.dataset,
            "model": run.model,
            "method": self.format(parsed),
            "seed": run.seed,
            "split_seed": config.values.get("split_seed", 0),
            "scale": config.scale,
        }
        try:
            found = self.specification.of(train | named | of_run)
        except msgspec.ValidationError as error:
            raise PerturbError(f"config, {self.name}, settings of {run.dataset}: {error}") from None
        if self.models and run.model not in self.models:
            raise PerturbError(
                f"study {self.name} cannot train model '{run.model}'."
                f"{did_you_mean(run.model, self.models)}"
            )
        _check_base(found, f"train settings of {run}")
        return found

    def chapters(self, config: Config) -> list[Chapter]:
        """Return a chapter for each search of the section, asked for or not."""
        return [self._chapter(config, search) for search in self.searches(config)]

    def searches(self, config: Config) -> list[Search]:
        """Return the searches of the section."""
        return _searches(self, config)

    def _chapter(self, config: Config, search: Search) -> Chapter:
        naming = naming_of(config, search)
        known = [
            trial.run
            for stage in search.stages
            if stage.known
            for trial in first_trials(stage, naming)
            if trial.run
        ]
        runs = tuple(Run.of_folder(run) for run in dict.fromkeys(known))
        # Curves of every trial, not of the chosen ones alone, by what chooses among them.
        settings = {
            "search": search.values(),
            "curves": {"table": "trials", "measure": search.selection},
        }
        return Chapter(
            study=self.name,
            name=search.chapter,
            title=search.title,
            asked=search.chapter in config.asked,
            measure=MEASURE,
            runs=runs,
            parts=catalogue.parts(search, [run.record for run in runs]),
            words="perturb.search.words:words",
            settings=settings,
            pages=(
                Page(
                    "Every trial, as parallel coordinates", f"search/{search.chapter}/trials.html"
                ),
            ),
            scale=search.scale,
        )


@lru_cache
def _searches(study: Searching, config: Config) -> list[Search]:
    """Return the searches of a study's section; PerturbError for one that does not fit together."""
    found = []
    for name, entry in study._entries(config).items():
        where = f"config, {study.name}.searches.{name}"
        chapter = f"{study.name}_{name}"
        stages = read(entry["stages"], config.values["seeds"], where)
        # The seed that a stage has by default is the first of all chapters': a search that nobody
        # asks for must not fail by it. `steps` refuses it where it runs all the same.
        if chapter in config.asked or any("seeds" in given for given in entry["stages"]):
            check_fresh(stages, where)
        search = Search(
            study=study.name,
            chapter=chapter,
            title=entry.get("title", f"Settings searched on {entry['dataset']}"),
            dataset=entry["dataset"],
            model=entry["model"],
            stages=stages,
            scale=entry.get("scale", config.scale),
        )
        refusals.check(search, naming_of(config, search), chapter in config.asked)
        found.append(search)
    return found


def naming_of(config: Config, search: Search) -> Naming:
    """Return what names a search's runs: any study's, by the first word of the method.

    It raises PerturbError where a name does not parse or cannot be trained, and for a run whose
    validation split is its test split.
    """

    def name(method: str, seed: int) -> Run:
        study = studies.of_method(method)
        run = Run(search.dataset, search.model, study.format(study.parse(method)), seed)
        specification = studies.specification(config, run)
        protocol = getattr(specification, "protocol", HOLDOUT)
        if protocol != HOLDOUT:
            raise PerturbError(
                f"{run}: protocol {protocol} chooses by the test split, which a search may not. "
                "Set protocol: holdout."
            )
        return run

    return name


def _check_base(settings: TrainSettings, where: str) -> None:
    """Raise PerturbError where the base optimiser does not take these settings."""
    names = ("momentum", "nesterov", "betas", "eps")
    own = bases.options_of(settings.base)
    given = {name: getattr(settings, name) for name in names if name in own}
    steps = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    try:
        bases.check(settings.base, given | steps)
    except PerturbError as error:
        raise PerturbError(f"{where}: {error}") from None
