"""What the rules ask of the configuration: names, specifications, hashes of code, files. Pure.

`workflow/rules/common.smk` makes one `Workflow` and hands every question on; nothing here knows
Snakemake, a study's name or torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from perturb import code, preflight, studies
from perturb.audit import plan as audits
from perturb.audit.folder import paths_of
from perturb.config import Config
from perturb.data import registry
from perturb.data.asked import DataSets
from perturb.efficiency.catalogue import chapter as efficiency_of
from perturb.efficiency.settings import PREFIX as EFFICIENCY
from perturb.efficiency.settings import Efficiency
from perturb.errors import PerturbError, did_you_mean
from perturb.jobs.packs import Packs
from perturb.jobs.scripting import failures
from perturb.jobs.store import store_folder
from perturb.landscape import parts as landscapes
from perturb.landscape.settings import USED_BY, LandscapeSettings
from perturb.models import described
from perturb.models.described import Described, Source
from perturb.planning.here import check_here
from perturb.runs import CHECKPOINTS, LAST, Run, Specification
from perturb.search.settings import Search
from perturb.search.steps import Step, first_trials
from perturb.search.study import naming_of
from perturb.study import Chapter, Part

TABLE_KINDS = ("csv", "md", "tex", "html", "provenance.csv", "sha256")
TABLE_TEMPLATE = Path(__file__).parent / "analysis" / "table.html.j2"
FIGURE_KINDS = ("pdf", "png")
# Makers of parts that say of runs that are not there that they are not.
_MADE_OF_NOTHING = ("perturb.analysis.parts:comparison", "perturb.figures.parts:draw")


class Workflow(DataSets):
    """The questions of the rules.

    Args:
        config: checked.
        results: the results folder, as the rules' outputs have it.
        root: of the checkout, whose scripts the jobs run.
        writes: whether anything may be kept below `results`, asked when there is something.
    """

    def __init__(
        self, config: Config, results: Path, root: Path, writes: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__(config, results, writes)
        self.root = root
        self.packs = Packs(results, config.values.get("pack_seconds", 0))
        self._code_of_runs: dict[tuple[Any, ...], str] = {}

    def check(self) -> list[str]:
        """Return what a user may not expect; PerturbError for what cannot work."""
        for model, seed in preflight.check(self.config, self.results).items():
            self.source(model, seed)
        return preflight.remarks(self.config)

    @staticmethod
    @cache
    def run(dataset: str, model: str, method: str, seed: str) -> Run:
        """Return the run of these names; PerturbError where its seed has another spelling.

        Else one run would have two folders.
        """
        if not re.fullmatch("0|[1-9][0-9]*", seed, re.ASCII):
            raise PerturbError(
                f"seed{seed}: a seed is written as a number without leading zeros, seed{int(seed)}."
            )
        run = Run(dataset, model, method, int(seed))
        preflight.check_run(run)
        return run

    @property
    def store(self) -> Path | None:
        """The folder of the store; None where the configuration wants none."""
        return store_folder(self.config, self.results)

    def model(self, name: str) -> str:
        """Return `name`; PerturbError where no model is called so."""
        found = self.described(name).name
        if found != name:
            raise PerturbError(
                f"model '{name}' is called '{found}' in the names of folders. Use that name."
            )
        return found

    def described(self, name: str) -> Described:
        """Return what a model is: its network, and where its weights come from."""
        return described.get(self.config.models, name)

    def network(self, name: str) -> str:
        """Return what a model is, as text: a change of it makes its initial weights again.

        Of a file that weights come from it has the hash, not the path.
        """
        found = self.described(self.model(name))
        if found.source.kind == "file":
            path = Path(found.source.where)
            content = self.contents.sha256(path.parent, [path]) if path.is_file() else "missing"
            found = replace(found, source=Source("file", content))
        return found.to_json()

    def source(self, model: str, seed: int) -> list[str]:
        """Return the files that a model's initial weights are made from, which rules make.

        The record and the last weights of the run that it starts from; none elsewhere.
        PerturbError where it would start from itself, or from what is no run.
        """
        found = self.described(model).source
        if found.kind != "run":
            return []
        run = Run.of_folder(found.run(seed))
        self.model(run.model)
        name = self._resolved(run).method
        if run.model == model or name != run.method:
            right = "another model's run" if run.model == model else f"'{name}'"
            raise PerturbError(
                f"config, models.{model}: its weights are from run {run}; name {right} there."
            )
        return [self.file(run.record), self.file(run.file(LAST))]

    def path_of_weights(self, model: str) -> str:
        """Return the path of the file that a model's weights are from, "" where it has none."""
        found = self.described(model).source
        return found.where if found.kind == "file" else ""

    @cache  # noqa: B019
    def _resolved(self, run: Run) -> Specification:
        return studies.specification(self.config, run)

    def specification(self, run: Run) -> str:
        """Return what a run computes, as text: a change of it makes the run again."""
        return self._resolved(run).to_json()

    def initial(self, run: Run) -> str:
        """Return the file of the weights that a run begins from."""
        return self.file(studies.initial_file(self._resolved(run)))

    def made_initial(self, run: Run) -> str:
        """Return the output of a rule in which those weights are: the file, or its folder."""
        file = Path(self.initial(run))
        return str(file.parent if file.parent.name == CHECKPOINTS else file)

    def device(self, run: Run) -> str:
        """Return the device that a run asks for: `auto`, `cpu` or `cuda`."""
        return self._resolved(run).device

    def refuse(self, run: Run) -> None:
        """Raise PerturbError where a run cannot work on this machine, as it is configured."""
        check_here(self._resolved(run))

    def code_of_run(self, run: Run) -> str:
        """Return a hash of the modules that a run uses: of the update rules, its own only."""
        found = self._resolved(run)
        study = studies.get(found.study)
        # Hundreds of runs use the same modules.
        key = (found.study, *study.uses(found), *sorted(study.entries(found).items()))
        if key not in self._code_of_runs:
            self._code_of_runs[key] = code.digest(studies.code_of(found))
        return self._code_of_runs[key]

    def pack(self, run: Run) -> str | None:
        """Return the group of a run that is short enough to share a job, by what others took."""
        return self.packs.group(run)

    @lru_cache  # noqa: B019 one object for the life of a process
    def code_of(self, script: str, *roots: str | Path) -> str:
        """Return a hash of the library's modules that a script uses: a change makes it run again.

        `roots` are further modules, or files of the library.
        """
        return code.digest(code.of(self.root / "workflow" / "scripts" / script, *roots))

    def code_of_model(self, script: str, model: str) -> str:
        """Return a hash of the modules that a script and one model use."""
        network = self.described(self.model(model)).network
        return self.code_of(script) + code.digest(code.of_model(network))

    def code_of_data(self, script: str, dataset: str) -> str:
        """Return a hash of the modules that prepare a data set: of the readers, its own only."""
        mapped = self._class_map(dataset).get("dataset", "")
        return self.code_of(script, *registry.readers(self.dataset(dataset), mapped))

    def landscape_settings(self, run: Run, kind: str) -> str:
        """Return those settings of a run's landscapes that one kind of job depends on."""
        names = USED_BY[kind]
        study = studies.of_method(run.method)
        if kind == "trajectory":
            every = getattr(self._resolved(run), "checkpoint_every", 0)
            preflight.check_trajectory(run, study.epochs(run.method), every)
        own = study.entry(self.config, run).get("landscape", {})
        return LandscapeSettings.of({**self.config.values["landscape"], **own}).to_json(*names)

    @property
    def partial(self) -> bool:
        """Whether tables are made from what is there, and nothing is trained for them."""
        return self.config.values.get("partial_results", False)

    @cached_property
    def asked(self) -> tuple[Chapter, ...]:
        """The chapters of the results section; of partial results, what can be made of them."""
        found = studies.asked(self.config)
        if not self.partial:
            return found
        there = [self._of_what_is_there(chapter) for chapter in found]
        return tuple(chapter for chapter in there if chapter.tables)

    def _of_what_is_there(self, chapter: Chapter) -> Chapter:
        """Return a chapter without the parts and pages whose files have not been made.

        The table and figures of a comparison are made of no run at all, too, and say so.
        """
        left_out = {
            f"tables/{chapter.stem(part)}.csv"
            for part in chapter.tables
            if not (part.make in _MADE_OF_NOTHING or all(self.inputs(part).values()))
        }
        made = tuple(
            part
            for part in chapter.parts
            if part.make in _MADE_OF_NOTHING
            or (
                all(self.inputs(part).values())
                and not left_out & {path for paths in part.inputs.values() for path in paths}
            )
        )
        pages = tuple(page for page in chapter.pages if Path(self.file(page.path)).exists())
        return replace(chapter, parts=made, pages=pages)

    def _as_it_is(self, path: str) -> bool:
        """Whether a file is taken as it is: of partial results all but tables."""
        return self.partial and not path.startswith("tables/")

    def there(self, path: str) -> str:
        """Return a path below the results as no rule makes it: a file that is there, as it is."""
        given = self.file(path)
        absolute = os.path.abspath(given)
        return os.path.relpath(given) if given == absolute else absolute

    def chapter(self, name: str) -> Chapter:
        """Return the chapter of that name; PerturbError where there is none."""
        return studies.chapter(self.config, name)

    def chapter_settings(self, name: str) -> str:
        """Return the settings of a chapter as text."""
        return json.dumps(self.chapter(name).settings, sort_keys=True)

    def chapter_setting(self, name: str, key: str) -> str:
        """Return one of the settings of a chapter as text; PerturbError where it has none."""
        found = self.chapter(name).settings.get(key)
        if not found:
            raise PerturbError(
                f"chapter '{name}' has no {key}: describe them under `{key}` of its entry in "
                "config/studies."
            )
        return json.dumps(found, sort_keys=True)

    def module(self, chapter: str, name: str) -> str:
        """Return a module of the study that a chapter belongs to."""
        return f"perturb.studies.{self.chapter(chapter).study}.{name}"

    def own_runs(self, chapter: str, name: str) -> list[str]:
        """Return a file of every run whose data set is the chapter itself."""
        runs = self.chapter(chapter).runs
        return [self.file(run.file(name)) for run in runs if run.dataset == chapter]

    def efficiency(self, model: str) -> str:
        """Return what is measured of a model's passes, as text."""
        values = self.config.values.get("efficiency", {})
        found = Efficiency.of(self.model(model), values)
        return json.dumps(msgspec.to_builtins(found), sort_keys=True)

    def code_of_efficiency(self, script: str, model: str) -> str:
        """Return a hash of what measures a model's passes, and of the model."""
        return self.code_of_model(script, model) + self.code_of(
            script, "perturb.efficiency.measuring"
        )

    def search(self, chapter: str, stage: str) -> Search:
        """Return the search of a chapter with the one stage that is asked for."""
        found = self.chapter(chapter).settings.get("search")
        if not found:
            raise PerturbError(f"chapter '{chapter}' is no search.")
        search = Search.of(found)
        return replace(search, stages=(search.stage(stage),))

    def search_json(self, chapter: str, stage: str) -> str:
        """Return the search with that stage as text: what a step of it depends on."""
        return json.dumps(self.search(chapter, stage).values(), sort_keys=True)

    def steps_of(self, chapter: str) -> list[str]:
        """Return the files of the last steps of a chapter's search."""
        found = self.chapter(chapter).settings.get("search")
        if not found:
            raise PerturbError(f"chapter '{chapter}' is no search.")
        return [self.file(path) for path in Search.of(found).files]

    def step_before(self, chapter: str, stage: str, step: int) -> tuple[str, int] | None:
        """Return the stage and number of the step that a step goes on from; None for a first."""
        if step > 0:
            return stage, step - 1
        own = self.search(chapter, stage).stages[0]
        if not own.after:
            return None
        return own.after, self.search(chapter, own.after).stages[0].chosen_step

    def needs_of_step(self, chapter: str, stage: str, step: int) -> list[str] | None:
        """Return the files that a step needs of what the one before has listed.

        None where only the file of that step tells: it then has to be made first.
        """
        search = self.search(chapter, stage)
        if step == 0:
            return []
        if step != 1 or not search.stages[0].known:
            return None
        trials = first_trials(search.stages[0], naming_of(self.config, search))
        return [self.file(path) for path in dict.fromkeys(t.needs for t in trials) if path]

    def listed_by(self, step: str | Path) -> list[str]:
        """Return the files that a step's file lists."""
        return [self.file(path) for path in Step.read(Path(step)).needs]

    @lru_cache  # noqa: B019
    def table(self, stem: str) -> tuple[Chapter, Part]:
        """Return the table whose files are called `stem`; PerturbError where there is none."""
        if stem.startswith(EFFICIENCY):
            found = efficiency_of(self.model(stem.removeprefix(EFFICIENCY)))
            return found, found.parts[0]
        for chapter in studies.chapters(self.config):
            for part in chapter.tables:
                if chapter.stem(part) == stem:
                    return chapter, part
        # A variant that the configuration does not list; its tables are called after it.
        for name in _beginnings(stem):
            for study in studies.every():
                made = study.variant(self.config, name)
                for part in made.tables if made else ():
                    if made and made.stem(part) == stem:
                        return made, part
        known = [c.stem(p) for c in studies.chapters(self.config) for p in c.tables]
        raise PerturbError(
            f"no chapter has a table '{stem}' (config/studies).{did_you_mean(stem, known)}"
        )

    def figure(self, chapter: str, name: str) -> Part:
        """Return a figure of a chapter; PerturbError where it has none of that name."""
        found = {part.name: part for part in self.chapter(chapter).figures}
        if name not in found:
            raise PerturbError(
                f"chapter '{chapter}' has no figure '{name}'.{did_you_mean(name, found)}"
            )
        return found[name]

    def inputs(self, part: Part) -> dict[str, list[str]]:
        """Return the files that a part is made from, by what they are.

        With `partial_results` those that are there, but for tables, and as they are: named so
        that no rule makes them again.
        """
        return {
            kind: [
                self.there(path) if self._as_it_is(path) else self.file(path)
                for path in paths
                if not self._as_it_is(path) or Path(self.file(path)).exists()
            ]
            for kind, paths in part.inputs.items()
        }

    def code_of_predictions(self, run: Run) -> str:
        """Return a hash of the modules that a run's predictions depend on."""
        return code.digest(code.of("perturb.predictions.run")) + self.code_of_run(run)

    def code_of_part(self, script: str, part: Part) -> str:
        """Return a hash of the modules that make a part."""
        printed = (TABLE_TEMPLATE,) if part.kind == "table" else ()
        return self.code_of(script, part.make.partition(":")[0], *part.uses, *printed)

    def planes(self, chapter: str) -> list[str]:
        """Return the planes of a chapter's page of surfaces; PerturbError where it has none."""
        found = self.chapter(chapter)
        planes = [self.file(path) for path in landscapes.planes_of(found)]
        if not planes:
            raise PerturbError(
                f"chapter '{chapter}' has no landscapes: list methods under `landscape` of its "
                "entry in config/studies."
            )
        return planes

    def outputs(self, chapter: Chapter) -> dict[str, list[str]]:
        """Return the files of a chapter's results section, by kind: tables, figures, pages."""
        return {
            "tables": [
                self.file(f"tables/{chapter.stem(part)}.{kind}")
                for part in chapter.tables
                for kind in TABLE_KINDS
            ],
            "figures": [
                self.file(f"figures/{chapter.name}/{part.name}.{kind}")
                for part in chapter.figures
                for kind in FIGURE_KINDS
            ],
            "pages": [
                self.there(page.path) if self.partial else self.file(page.path)
                for page in chapter.pages
            ],
        }

    def section(self) -> dict[str, list[str]]:
        """Return the files of the whole results section, by kind."""
        found: dict[str, list[str]] = {"tables": [], "figures": [], "pages": []}
        for chapter in self.asked:
            for kind, paths in self.outputs(chapter).items():
                found[kind] += paths
        return found

    def made_from(self) -> list[str]:
        """Return the files that the results section's tables and figures are made from.

        Snakemake does not make again what is gone where what was made from it is there. So a
        command without a target asks for each by its name, and what was deleted comes back.
        None of partial results, which are made from what is there, nor of a chapter without a
        table yet: that one needs them all the same, and planning a new study need not ask twice.
        """
        found: dict[str, None] = {}
        for chapter in () if self.partial else self.asked:
            tables = [self.file(f"tables/{chapter.stem(table)}.csv") for table in chapter.tables]
            if any(Path(table).exists() for table in tables):
                inputs = [paths for part in chapter.parts for paths in part.inputs.values()]
                found |= dict.fromkeys(path for paths in inputs for path in paths)
        return [self.file(path) for path in found if not path.startswith("tables/")]

    def asked_json(self) -> str:
        """Return the chapters of the results section as text: what the report is made from."""
        return json.dumps([msgspec.to_builtins(one) for one in self.asked], sort_keys=True)

    @property
    def title(self) -> str:
        """The report's title."""
        return studies.title(self.config)

    def words(self) -> list[str]:
        """Return the modules that write what the report says of its chapters."""
        return sorted({chapter.words.partition(":")[0] for chapter in self.asked})

    def audit(self, name: str) -> str:
        """Return what an audit reads, as text."""
        return audits.plan(self.config, name).to_json()

    def content_of_audit(self, name: str) -> str:
        """Return a hash of the files that an audit reads: times alone do not tell of a change."""
        folder = Path(audits.plan(self.config, name).folder)
        return self.contents.sha256(folder, paths_of(folder))

    def files_of_audit(self, name: str) -> list[str]:
        """Return the files that an audit reads; broken links, which it reports, are no inputs."""
        found = paths_of(audits.plan(self.config, name).folder)
        return [str(path) for path in found if path.exists() and _may_be_input(path)]

    def mark(self, kind: str) -> str:
        """Return the file that says how often a job of a kind failed, wildcards and all."""
        return self.file(f"state/failed/{kind}")

    def failures(self, kind: str) -> int:
        """Return how often the job of `mark` failed."""
        return failures(Path(self.mark(kind)))

    def methods_of(self, rule: str) -> str:
        """Return the pattern of the methods whose runs a rule makes, by their first words."""
        heads = [head for study in studies.every() if study.rule != rule for head in study.heads]
        return f"(?!(?:{'|'.join(heads)})_)[^/]+" if heads else "[^/]+"


def _may_be_input(path: Path) -> bool:
    """Return whether Snakemake takes a path as it stands: braces are wildcards to it."""
    return not set(str(path)) & set("{}\n")


def _beginnings(stem: str) -> Iterable[str]:
    """Yield what a table's chapter may be called: the stem, and what is left of each `_` in it."""
    for text in (stem, stem.removeprefix("landscape_")):
        parts = text.split("_")
        yield from ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
