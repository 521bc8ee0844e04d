"""What the report says of a chapter: what was run, what limits it, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from perturb.analysis import tables
from perturb.analysis.plan import Plan
from perturb.figures.catalogue import listing
from perturb.report import words as shared
from perturb.report.claims import counted
from perturb.studies.reid.catalogue import about, noise_words
from perturb.studies.reid.claims import foreign, whose
from perturb.studies.reid.parts import SMOKE
from perturb.study import Words


def words(settings: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Words:
    """Return the words of a chapter from its tables' frames, by part (`Chapter.words`)."""
    main, smoke = frames[""], settings["scale"] == "smoke"
    parts = []
    for values in settings["plans"]:
        plan = Plan.of(values)
        own = main[main["dataset"] == plan.dataset]
        parts.append((plan, tables.of_frame(own.reset_index(drop=True), plan)))
    findings = []
    for plan, table in parts:
        said = " ".join(shared.findings(table))
        findings.append(f"On {plan.dataset} ({noise_words(plan.dataset)}): {said}")
    warnings = [text for _, table in parts for text in table.warnings]
    facts = {
        name: " | ".join(sorted({str(value) for value in main[column].dropna() if str(value)}))
        for name, column in (
            ("Device", "device"),
            ("Versions", "versions"),
            ("SHA-256 of the data", "data_sha256"),
        )
    }
    findings.append(counted(frames["claims"]["verdict"], "the diary"))
    first = parts[0][0]
    datasets = [plan.dataset for plan, _ in parts]
    if foreign(datasets):
        warnings.append(whose(datasets))
    return Words(
        heading=settings["title"] + (" (smoke run)" if smoke else ""),
        what=f"{shared.count(len(first.rows), 'method')} on {first.model}, "
        f"{listing(datasets)}: identities that no network has seen in training are to be found "
        f"again in another camera's images. {about(datasets)}Test images choose best epochs; the "
        "last epoch is what is compared.",
        warnings=list(dict.fromkeys([SMOKE, *warnings] if smoke else warnings)),
        findings=findings,
        facts={name: text or "unknown" for name, text in facts.items()},
    )
