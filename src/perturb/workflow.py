"""What the rules ask of the configuration: names, specifications, hashes of code, files. Pure.

`workflow/rules/common.smk` makes one `Workflow` and hands every question on; nothing here knows
Snakemake, a study's name or torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from perturb import code, studies
from perturb.audit import plan as audits
from perturb.audit.folder import paths_of
from perturb.config import Config
from perturb.contents import Contents
from perturb.data import registry, variants
from perturb.errors import PerturbError, did_you_mean
from perturb.files import read_json
from perturb.jobs.packs import Packs
from perturb.jobs.scripting import failures
from perturb.jobs.store import store_folder
from perturb.landscape.settings import USED_BY, LandscapeSettings
from perturb.models import registry as models
from perturb.planning.here import check_here
from perturb.runs import Run, Specification
from perturb.study import Chapter, Part

TABLE_KINDS = ("csv", "md", "tex", "html", "provenance.csv")
TABLE_TEMPLATE = Path(__file__).parent / "analysis" / "table.html.j2"
FIGURE_KINDS = ("pdf", "png")


def writable(folder: Path) -> Path:
    """Return `folder`; PerturbError where nothing can be written below it. Creates nothing."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise PerturbError(
            f"cannot write to {folder}: {existing} is no folder that you may write to."
        )
    return folder


class Workflow:
    """The questions of the rules.

    Args:
        config: checked.
        results: the results folder, as the rules' outputs have it.
        root: of the checkout, whose scripts the jobs run.
    """

    def __init__(self, config: Config, results: Path, root: Path) -> None:
        self.config, self.results, self.root = config, results, root
        self.packs = Packs(results, config.values.get("pack_seconds", 0))
        self.contents = Contents(results / "state" / "contents")
        self._code_of_runs: dict[tuple[Any, ...], str] = {}

    @property
    def store(self) -> Path | None:
        """The folder of the store; None where the configuration wants none."""
        return store_folder(self.config, self.results)

    def dataset(self, name: str) -> str:
        """Return `name`; PerturbError where no data set, and no variant of one, is called so."""
        return registry.check_name(name, self.config.values.get("image_folders", {}))

    def image_folder(self, dataset: str) -> str:
        """Return the folder of images that a data set is read from, "" for a built-in one."""
        base = variants.base_name(dataset)
        return self.config.values.get("image_folders", {}).get(base, "")

    @lru_cache  # noqa: B019
    def content(self, dataset: str) -> str:
        """Return a hash of a folder of images: file by file, its path, size and content.

        "" for a built-in data set. A folder that is not there is taken for what it was when it was
        seen last: what was made from it stays usable.
        """
        folder = self.image_folder(dataset)
        if not folder:
            return ""
        if not Path(folder).is_dir():
            return self.contents.last(Path(folder))
        read = registry.of_folder(dataset, Path(folder))
        return self.contents.sha256(read.folder, read.files())

    def allow_partial(self, dataset: str) -> bool:
        """Return whether a data set may be prepared from an incomplete copy.

        PerturbError where it has been, and today's configuration does not want it so.
        """
        if self.config.values.get("partial_data", False):
            return True
        manifest = self.results / "data" / f"{dataset}.manifest.json"
        if manifest.exists() and read_json(manifest)["partial"]:
            raise PerturbError(
                f"{manifest}: prepared from an incomplete copy of {dataset}, which partial_data: "
                f"false in the config does not want. Set partial_data: true, or delete "
                f"{manifest} and {self.file(f'data/{dataset}.npz')} to prepare the whole of it."
            )
        return False

    def model(self, name: str) -> str:
        """Return `name`; PerturbError where no model is called so."""
        return models.get(name).name

    @cache  # noqa: B019
    def _resolved(self, run: Run) -> Specification:
        return studies.specification(self.config, run)

    def specification(self, run: Run) -> str:
        """Return what a run computes, as text: a change of it makes the run again."""
        return self._resolved(run).to_json()

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
        return self.code_of(script) + code.digest(code.of_model(self.model(model)))

    def code_of_data(self, script: str, dataset: str) -> str:
        """Return a hash of the modules that prepare a data set: of the readers, its own only."""
        return self.code_of(script, *registry.readers(self.dataset(dataset)))

    def landscape_settings(self, run: Run, kind: str) -> str:
        """Return those settings of a run's landscapes that one kind of job depends on."""
        names = USED_BY[kind]
        study = studies.of_method(run.method)
        own = study.entry(self.config, run.dataset).get("landscape", {})
        return LandscapeSettings.of({**self.config.values["landscape"], **own}).to_json(*names)

    def file(self, path: str) -> str:
        """Return a path below the results folder as the rules name it."""
        return f"{self.results}/{path}"

    @cached_property
    def asked(self) -> tuple[Chapter, ...]:
        """The chapters of the results section."""
        return studies.asked(self.config)

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

    @lru_cache  # noqa: B019
    def table(self, stem: str) -> tuple[Chapter, Part]:
        """Return the table whose files are called `stem`; PerturbError where there is none."""
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

        With `partial_results`, of the runs' records those that are there.
        """
        partial = self.config.values.get("partial_results", False)
        return {
            kind: [
                self.file(path)
                for path in paths
                if not (partial and kind == "records") or Path(self.file(path)).exists()
            ]
            for kind, paths in part.inputs.items()
        }

    def code_of_part(self, script: str, part: Part) -> str:
        """Return a hash of the modules that make a part."""
        printed = (TABLE_TEMPLATE,) if part.kind == "table" else ()
        return self.code_of(script, part.make.partition(":")[0], *part.uses, *printed)

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
            "pages": [self.file(page.path) for page in chapter.pages],
        }

    def section(self) -> dict[str, list[str]]:
        """Return the files of the whole results section, by kind."""
        found: dict[str, list[str]] = {"tables": [], "figures": [], "pages": []}
        for chapter in self.asked:
            for kind, paths in self.outputs(chapter).items():
                found[kind] += paths
        return found

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
