"""All that a results section says, as the HTML report and the LaTeX section are made from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from perturb.report import gradients, material
from perturb.report.gradients import GradientsSection
from perturb.report.material import Chapter, Ranking


@dataclass(frozen=True)
class Results:
    """Chapters of data sets, their ranking where there are several, and studies of gradients."""

    chapters: Sequence[Chapter]
    ranking: Ranking | None = None
    studies: Sequence[GradientsSection] = ()

    @classmethod
    def read(cls, files: Mapping[str, Sequence[str]], plans: str, studies: str) -> Results:
        """Read results from the `files` of their kinds, each of which may be missing.

        Args:
            files: `tables`, `figures` and `pages` of data sets, `ranking`, and `gradients`.
            plans: JSON, the plans of the data sets.
            studies: JSON, the words of the studies of gradients.

        Raises PerturbError where a table is not among the files.
        """
        given = {kind: files.get(kind, []) for kind in ("gradients", "ranking")}
        return cls(
            material.chapters(plans, *(files.get(k, []) for k in ("tables", "figures", "pages"))),
            material.ranking(given["ranking"]),
            gradients.sections(json.loads(studies), given["gradients"], given["gradients"]),
        )
