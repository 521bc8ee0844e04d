"""A study whose chapters compare methods on data sets: its section of the configuration, resolved.

A study that fits says here what is its own (the grammar of its methods' names, its settings, its
figures) and has chapters, specifications, variants and published numbers for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from perturb import bases, code
from perturb.analysis.parts import comparison_parts, ranking_parts
from perturb.analysis.plan import Plan, Row
from perturb.comparison_entries import entries, left_out, of_other_data
from perturb.config import Config, spelled_out
from perturb.data import registry, variants
from perturb.errors import PerturbError, did_you_mean
from perturb.figures import catalogue
from perturb.figures.catalogue import Entry
from perturb.landscape import parts as landscapes
from perturb.landscape.settings import LandscapeSettings
from perturb.models import described
from perturb.models import registry as registered
from perturb.planning.cost import Cost
from perturb.runs import Run
from perturb.study import Chapter, Measure, Study
from perturb.train.settings import TrainSettings

ACCURACY = Measure()


@dataclass(frozen=True, eq=False)
class Comparing:
    """What such a study says of itself; compared by identity.

    Args:
        name: of the study, and of its section in the configuration (`$defs/comparing` there).
        specification: the class of its runs' settings.
        parse, format: of a method's name, as in `Study`.
        epochs: of what `parse` returned.
        settings: what a method's name sets, fields of the specification, from what `parse`
            returned.
        model: that a method's name names, or "".
        section: of the table that a method belongs to by default, one of `sections`.
        figures: of a plan, by name, in the report's order.
        across: how a method is called over data sets, from its name and its reference's epochs.
        across_words: says so in a sentence, below the ranking.
        timed: whether a method begins to perturb at an epoch of its own.
        prefix: of its chapters' names before the data set's; its own name by default.
        example: what a user may write for a folder of images (`Study.example`).
        with_epochs: what a name without its epochs may be in full, from it and the epochs.
        published_by: where its published numbers are from, for entries that do not say it.
        measure: what methods are compared by.
        predicted: whether its runs train a classifier, whose predictions are looked at.
    """

    name: str
    specification: type[TrainSettings]
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    epochs: Callable[[Any], int]
    settings: Callable[[Any], Mapping[str, Any]] = lambda parsed: {}
    model: Callable[[Any], str] = lambda parsed: ""
    section: Callable[[Any], str] = lambda parsed: "Methods"
    sections: tuple[str, ...] = ("Methods",)
    figures: Callable[[Plan], Mapping[str, Entry]] = catalogue.comparison
    across: Callable[[str, int], str] = lambda method, epochs: method
    across_words: str = ""
    timed: Callable[[Any], bool] = lambda parsed: False
    prefix: str | None = None
    example: str = ""
    with_epochs: Callable[[str, int], Sequence[str]] = lambda name, epochs: (f"{name}_{epochs}",)
    published_by: str = ""
    measure: Measure = ACCURACY
    predicted: bool = False

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
            variant=self.variant,
            entry=self.entry_of,
            example=self.example,
            cost=cost,
            with_seeds=self.with_seeds,
            published=self.published,
            outside_grammar=self.outside_grammar,
            remarks=self.remarks,
        )

    def chapter_name(self, dataset: str) -> str:
        """Return the name of a data set's chapter."""
        return (f"{self.name}_" if self.prefix is None else self.prefix) + dataset

    def _datasets_asked(self, config: Config) -> list[str]:
        """Return the data sets whose chapters are asked for, variants by their base's entry too."""
        start = self.chapter_name("")
        named = [name.removeprefix(start) for name in config.asked if name.startswith(start)]
        return [dataset for dataset in named if self.entry(config, dataset)]

    def entry_of(self, config: Config, run: Run) -> Mapping[str, Any]:
        """Return the entry that says how a run is trained; empty where none does.

        That of a chapter with a name of its own which has the run's data set and model, else that
        of the data set.
        """
        return self._named_entry(config, run)[1]

    def _named_entry(self, config: Config, run: Run) -> tuple[str, Mapping[str, Any]]:
        """Return the entry of a run as `entry_of` does, and how it is called."""
        for name, own in entries(self, config).items():
            if own.get("dataset", name) != name and own["dataset"] == run.dataset:
                if run.model in self.models_of(own):
                    return name, own
        known = entries(self, config)
        name = run.dataset if run.dataset in known else variants.base_name(run.dataset)
        return name, self.entry(config, run.dataset)

    def models_of(self, own: Mapping[str, Any]) -> set[str]:
        """Return the models that the rows of an entry name, and those that it has settings for."""
        named = {self.model(self.parse(row["method"])) for row in own["methods"]}
        return {own["model"], *own.get("models", {}), *filter(None, named)}

    def entry(self, config: Config, dataset: str) -> Mapping[str, Any]:
        """Return the checked entry of a data set, or of a chapter with a name of its own.

        For a variant without its own it is that of its base, without published numbers and notes:
        they are of other data. Empty for what the study does not list.
        """
        known = entries(self, config)
        if dataset in known:
            return known[dataset]
        base = variants.base_name(dataset)
        if base == dataset or "dataset" in known.get(base, {"dataset": ""}):
            return {}
        return of_other_data(known[base])

    def resolve(self, config: Config, run: Run) -> TrainSettings:
        """Return what a run computes: global settings, those of its data set, its model, its name.

        Raises PerturbError where the method does not parse or names another model.
        """
        parsed = self.parse(run.method)
        named = self.model(parsed)
        if named and named != run.model:
            raise PerturbError(
                f"method '{run.method}' names the model {named}, its folder the model {run.model}. "
                f"Ask for .../{run.dataset}/{named}/{run.method}/... or leave the prefix out."
            )
        name, entry = self._named_entry(config, run)
        model = self._model_of(config, run, f"config, {self.name}.datasets.{name}", entry)
        settings = spelled_out(config.values["train"])
        for where, own in self._own_settings(name, entry, run, parsed):
            self._check_fields(where, own)
            settings |= own
        if self._is_drawn(config, run, parsed):
            settings["checkpoint_every"] = _landscape(config, entry)["checkpoint_every"]
        found = self.specification.of(
            settings
            | dict(self.settings(parsed))
            | _of_model(model)
            | {
                "study": self.name,
                "dataset": run.dataset,
                "model": run.model,
                "method": self.format(parsed),
                "seed": run.seed,
                "split_seed": config.values.get("split_seed", 0),
                "scale": config.scale,
            }
        )
        _check(found, self.epochs(parsed), f"config, train settings of {run}")
        return found

    def _model_of(
        self, config: Config, run: Run, where: str, entry: Mapping[str, Any]
    ) -> described.Described:
        """Return what a run's model is; PerturbError where there is none, with where it is named.

        That is the entry, or the run's own name where no entry has it.
        """
        try:
            return described.get(config.models, run.model)
        except PerturbError as error:
            if entry and run.model == entry["model"]:
                raise PerturbError(f"{where}.model: {error}") from None
            if entry and run.model in self.models_of(entry):
                raise PerturbError(f"{where}, method '{run.method}': {error}") from None
            raise

    def _own_settings(
        self, name: str, entry: Mapping[str, Any], run: Run, parsed: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        """Return what goes before the global settings, the last before the others, and where it is.

        That is the data set's `train`, then that of its model, then that of the method's row.
        """
        where = f"{self.name}.datasets.{name}"
        found = [(f"{where}.train", spelled_out(entry.get("train", {})))]
        if of_model := entry.get("models", {}).get(run.model):
            found.append((f"{where}.models.{run.model}", spelled_out(of_model)))
        for row in entry.get("methods", ()):
            if "train" in row and self.parse(row["method"]) == parsed:
                found.append((f"{where}, {row['method']}, train", spelled_out(row["train"])))
        return found

    def _check_fields(self, where: str, own: Mapping[str, Any]) -> None:
        fields = self.specification.__struct_fields__
        for key in own:
            if key not in fields:
                raise PerturbError(
                    f"config, {where}: study {self.name} has no setting '{key}'."
                    f"{did_you_mean(key, fields)}"
                )

    def _is_drawn(self, config: Config, run: Run, parsed: Any) -> bool:
        """Whether the results section has a landscape, and so a trajectory, of this run."""
        own = self.entry_of(config, run)
        drawn = _landscape(config, own)
        if not own or run.seed not in drawn["seeds"]:
            return False
        if run.model != (self.model(parsed) or own["model"]):
            return False
        return parsed in [self.parse(name) for name in drawn.get("methods", [])]

    def plan(self, config: Config, dataset: str) -> Plan:
        """Return what a data set's table lists; PerturbError where the study has no such one."""
        own = self.entry(config, dataset)
        if not own:
            raise PerturbError(
                f"data set '{dataset}' is not in study {self.name} "
                f"(config/studies/{self.name}.yaml).{did_you_mean(dataset, entries(self, config))}"
            )
        seeds = own.get("seeds", config.values["seeds"])
        drawn = _landscape(config, own)
        train = config.values["train"] | own.get("train", {})
        return Plan(
            study=self.name,
            title=own.get("title", config.section(self.name)["title"]),
            chapter=self.chapter_name(dataset),
            dataset=own.get("dataset", dataset),
            model=own["model"],
            rows=tuple(self._row(row, own, seeds) for row in own["methods"]),
            sections=self.sections,
            reference=own["reference"],
            epochs=self.epochs(self.parse(own["reference"])),
            measure=self.measure,
            scale=config.scale,
            partial_data=config.values.get("partial_data", False)
            and registry.may_be_partial(own.get("dataset", dataset)),
            protocol=train.get("protocol", "from400"),
            equivalence_margin=config.values.get("equivalence_margin", 0.5),
            sgd=own.get("sgd", ""),
            sgd_double=own.get("sgd_double", ""),
            published=own.get("published_by", self.published_by),
            normalisation=drawn["normalisation"] if drawn.get("methods") else "",
            leakage=True,
            predicted=self.predicted and config.values.get("predictions", True),
        )

    def _row(self, row: Mapping[str, Any], own: Mapping[str, Any], seeds: Sequence[int]) -> Row:
        parsed = self.parse(row["method"])
        reference = self.parse(row.get("reference", own["reference"]))
        return Row(
            method=row["method"],
            spellings=tuple(dict.fromkeys((row["method"], self.format(parsed)))),
            model=self.model(parsed) or own["model"],
            timed=self.timed(parsed),
            across=self.across(row["method"], self.epochs(reference)),
            epochs=self.epochs(parsed),
            section=row.get("section", self.section(parsed)),
            label=row.get("label", ""),
            reference=row.get("reference", ""),
            seeds=tuple(row.get("seeds", seeds)) if row.get("run", True) else (),
            published=row.get("published"),
            note=row.get("note", ""),
        )

    def chapter(self, config: Config, dataset: str) -> Chapter:
        """Return the chapter of a data set, or of an entry with a name of its own."""
        own, plan = self.entry(config, dataset), self.plan(config, dataset)
        drawn = _landscape(config, own)
        records = [run.record for run in plan.runs()]
        models_of = {row.method: row.model or plan.model for row in plan.rows}
        shown = [
            Run(plan.dataset, models_of[method], method, seed)
            for method in drawn.get("methods", ())
            for seed in drawn["seeds"]
        ]
        settings = LandscapeSettings.of(drawn)
        return Chapter(
            study=self.name,
            name=plan.chapter,
            title=own.get("title") or f"Methods compared on {dataset}",
            asked=plan.chapter in config.asked,
            measure=plan.measure,
            runs=plan.runs(),
            parts=(
                *comparison_parts(plan, records, self.figures(plan)),
                *(landscapes.of_runs(plan, shown, settings) if shown else ()),
            ),
            words="perturb.report.words:comparison",
            settings={"plan": plan.values()},
            pages=landscapes.pages(plan.chapter) if shown else (),
            scale=plan.scale,
            landscape_runs=tuple(shown),
        )

    def chapters(self, config: Config) -> list[Chapter]:
        """Return a chapter for each data set, after that of the ranking over those asked for.

        A variant that is asked for by name is one of them. A chapter with a name of its own, a
        second one on its data set, is not ranked.
        """
        asked = self._datasets_asked(config)
        names = dict.fromkeys([*entries(self, config), *asked])
        found = [self.chapter(config, dataset) for dataset in names]
        asked = [one for one in asked if "dataset" not in self.entry(config, one)]
        plans = [self.plan(config, name) for name in asked]
        across_words = self.across_words
        if len({plan.epochs for plan in plans}) == 1:  # then methods have one name everywhere
            plans, across_words = [_by_own_names(plan) for plan in plans], ""
        if len(plans) < 2 or len(_in_common(plans)) < 2:
            return found
        ranking = Chapter(
            study=self.name,
            name=self.name,
            title=f"All data sets: {config.section(self.name)['title']}",
            asked=True,
            measure=self.measure,
            runs=(),
            parts=tuple(
                ranking_parts(
                    plans,
                    f"{self.name}_ranking",
                    [f"tables/{plan.chapter}.csv" for plan in plans],
                    across_words,
                )
            ),
            words="perturb.report.words:ranking",
            settings={"plans": [plan.values() for plan in plans], "names": across_words},
            scale=config.scale,
        )
        return [ranking, *found]

    def variant(self, config: Config, name: str) -> Chapter | None:
        """Return the chapter of a variant that the configuration does not list, or None."""
        start = self.chapter_name("")
        dataset = name.removeprefix(start)
        if not name.startswith(start) or dataset in entries(self, config):
            return None
        return self.chapter(config, dataset) if self.entry(config, dataset) else None

    def with_seeds(
        self, config: Config, chapter: Chapter, seeds: Mapping[str, Sequence[int]]
    ) -> dict[str, Any]:
        """Return the study's section that asks for a chapter's methods at `seeds`, by method.

        Rows without seeds, and those whose method is not in `seeds`, get `run: false`; landscapes
        are of methods only that have all of the landscapes' seeds. A variant that the configuration
        does not list gets an entry in full.
        """
        found, listed = self.entry(config, chapter.name), config.section(self.name)["datasets"]
        own: dict[str, Any] = {} if chapter.name in listed else dict(found)
        own["methods"] = [
            {key: value for key, value in row.items() if key not in ("seeds", "run")}
            | (
                {"seeds": list(seeds[row["method"]])}
                if seeds.get(row["method"])
                else {"run": False}
            )
            for row in found["methods"]
        ]
        drawn = found["landscape"]
        if drawn:
            needed = set(_landscape(config, found)["seeds"])
            methods = drawn.get("methods", [])
            chosen = [method for method in methods if needed <= set(seeds.get(method, ()))]
            own["landscape"] = {**drawn, "methods": chosen}
        return {"datasets": {chapter.name: own}}

    def remarks(self, config: Config) -> list[str]:
        """Say what of config/studies is not taken over, for the methods asked for are others."""
        known, found = entries(self, config), []
        asked = self._datasets_asked(config)
        for name in dict.fromkeys(
            one if one in known else variants.base_name(one) for one in asked
        ):
            if left := left_out(self, config, name):
                found.append(
                    f"{name} has methods of your own, so config/studies/{self.name}.yaml's "
                    f"{'; '.join(left)} are not taken over; the reference is "
                    f"{known[name]['reference']}"
                )
        return found

    def published(self, config: Config) -> list[tuple[str, str, float]]:
        """Return the numbers published for its methods: (data set, method, number)."""
        return [
            (own.get("dataset", dataset), row["method"], row["published"])
            for dataset, own in config.section(self.name).get("datasets", {}).items()
            for row in own.get("methods", ())
            if row.get("published") is not None
        ]

    def outside_grammar(self, config: Config) -> Sequence[str]:
        """Return names of published result files that no method name can express."""
        return config.section(self.name).get("outside_grammar", ())


def _by_own_names(plan: Plan) -> Plan:
    """Return a plan whose methods are called over data sets as they are on its own."""
    rows = tuple(msgspec.structs.replace(row, across=row.method) for row in plan.rows)
    return msgspec.structs.replace(plan, rows=rows)


def _in_common(plans: Sequence[Plan]) -> set[str]:
    """Return the methods that every plan has, by their names over data sets."""
    return set.intersection(*({row.across or row.method for row in plan.rows} for plan in plans))


def _landscape(config: Config, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the global settings of landscapes with an entry's own over them."""
    return {**config.values["landscape"], **own.get("landscape", {})}


def _of_model(model: described.Described) -> dict[str, Any]:
    """Return the settings that say what a model is, where its name alone does not."""
    source = model.source
    if source.kind == "file":
        source = described.Source("file", Path(source.where).name)  # it may lie anywhere
    known = registered.MODELS.get(model.name)
    by_default = "published" if known and known.pretrained else "random"
    return {
        "network": "" if model.network == model.name else model.network,
        "network_options": sorted(model.options.items()),
        "weights": "" if str(source) == by_default else str(source),
    }


def _check(settings: TrainSettings, epochs: int, where: str) -> None:
    """Raise PerturbError where settings do not fit each other, or the base optimiser."""
    names = ("momentum", "nesterov", "betas", "eps")
    try:
        given = bases.complete(settings.base, {name: getattr(settings, name) for name in names})
        steps = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        bases.check(settings.base, given | steps)
    except PerturbError as error:
        raise PerturbError(f"{where}: {error}") from None
    if settings.warmup_epochs and settings.warmup_epochs >= epochs:
        raise PerturbError(
            f"{where}: warmup_epochs is {settings.warmup_epochs}, and the run has {epochs} epochs. "
            "Leave at least one epoch for the cosine."
        )
