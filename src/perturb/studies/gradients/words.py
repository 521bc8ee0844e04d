"""What the report says of a chapter: what was run, and which claims come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from perturb.report.claims import counted
from perturb.studies.gradients.table import AGREES
from perturb.study import Words


def words(settings: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Words:
    """Return the words of a chapter from its tables' frames, by part (`Chapter.words`)."""
    main, claims = frames[""], frames["claims"]
    smoke = settings["scale"] == "smoke"
    return Words(
        heading=settings["title"] + (" (smoke run)" if smoke else ""),
        what=what_was_run(main),
        warnings=["Smoke run: its numbers are no result of the study."] if smoke else [],
        findings=findings(claims),
        facts={
            "Dimensions": ", ".join(str(d) for d in sorted(main["dimension"].unique())),
            "Batches of pre-training": ", ".join(
                f"{count:,}" for count in sorted(main["pretraining"].unique())
            ),
            "Initialisations and held-out batches": f"{int(main['batches'].max())}",
        },
    )


def what_was_run(main: pd.DataFrame) -> str:
    """Return the sentences that say what was compared."""
    dimensions = ", ".join(str(d) for d in sorted(main["dimension"].unique()))
    arms = len(main.loc[main["estimator"] != "cdg", ["estimator", "evaluations"]].drop_duplicates())
    return (
        f"A network of three layers of sign units and a linear output is to be like another; "
        f"dimensions {dimensions}. {arms + 1} estimates of its gradient are each followed for one "
        f"step, raw and pre-trained, on {int(main['batches'].max())} held-out batches."
    )


def findings(claims: pd.DataFrame) -> list[str]:
    """Return how many claims come out and how many do not, and each that does not."""
    if claims.empty:
        return []
    out = claims["verdict"] == AGREES
    missing = [f"Does not come out: {row.claim}." for row in claims[~out].itertuples()]
    return [counted(claims["verdict"], "the lab log"), *missing]
