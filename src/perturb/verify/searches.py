"""The steps and pages of searches, made again in memory and compared."""

from __future__ import annotations

import json

import msgspec

from perturb.config import Config
from perturb.errors import PerturbError
from perturb.files import read_json
from perturb.search import page
from perturb.search.listing import search_of
from perturb.search.parts import gather
from perturb.search.settings import Search, Stage
from perturb.search.steps import Naming, Step, advance
from perturb.search.study import naming_of
from perturb.study import Chapter
from perturb.verify.found import Verification

_PART = "searches"


def compare_search(found: Verification, config: Config, chapter: Chapter) -> None:
    """Make every step of a chapter's search again, and its page; nothing for another chapter."""
    search = search_of(chapter)
    if search is None:
        return
    naming = naming_of(config, search)
    chosen: dict[str, Step] = {}
    for stage in search.stages:
        if (step := _compare_stage(found, search, stage, chosen.get(stage.after), naming)) is None:
            return
        chosen[stage.name] = step
    for link in chapter.pages:
        path = found.results / link.path
        if chapter.asked or path.exists():
            inputs = {"steps": [found.results / file for file in search.files]}
            found.compare(_PART, path, page.render(gather(chapter.settings, inputs)))


def _compare_stage(
    found: Verification, search: Search, stage: Stage, before: Step | None, naming: Naming
) -> Step | None:
    """Compare a stage's steps; return the one that has chosen, None where the chain ends here."""
    chosen = None
    for number in range(stage.last_step + 1):
        path = found.results / search.step_file(stage, number)
        step = found.attempt(_PART, path, lambda path=path: Step.read(path))
        if step is None:
            return None
        try:
            made = advance(search, stage, number, before, found.results, naming)
        except PerturbError as error:
            found.find(_PART, "uncompared", path, error)
            return None
        if json.loads(json.dumps(msgspec.to_builtins(made))) != read_json(path)["step"]:
            found.find(_PART, "differs", path, "other trials, numbers or choices come out today")
            return None
        chosen = step if number == stage.chosen_step else chosen
        before = step
    return chosen
