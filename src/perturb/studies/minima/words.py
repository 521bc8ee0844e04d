"""What the report says of a chapter: what was run, and which claims come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from perturb.analysis.statistics import FEW_SEEDS
from perturb.report.claims import counted
from perturb.report.words import count
from perturb.studies.minima.claims import NO
from perturb.study import Words


def words(settings: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Words:
    """Return the words of a chapter from its tables' frames, by part (`Chapter.words`)."""
    claims, smoke = frames[""], settings["scale"] == "smoke"
    compared = [frame for frame in frames.values() if "seeds_finished" in frame]
    methods = {method for frame in compared for method in frame["method"]}
    seeds = max((int(frame["seeds_asked"].max()) for frame in compared), default=0)
    diverged = sum(int(frame["diverged_runs"].sum()) for frame in compared)
    devices = sorted({d for frame in compared for d in frame["device"].dropna()})
    warnings = ["Smoke run: its numbers are no result of the study."] if smoke else []
    mixed = sorted({m for frame in compared for m in frame["mixed"].dropna() if m})
    if mixed:
        warnings.append(f"The runs differ in: {'; '.join(mixed)}.")
    if diverged:
        warnings.append(f"{diverged} runs diverged; the sections' tables say which.")
    return Words(
        heading=settings["title"] + (" (smoke run)" if smoke else ""),
        what=f"Networks are pushed away from weights that they had before: {len(methods)} methods "
        f"at {seeds} seeds in {len(compared)} sections that compare, then ensembles of their "
        "checkpoints, and paths from one converged network.",
        warnings=warnings,
        findings=findings(claims, seeds),
        facts={"Methods": str(len(methods)), "Seeds": str(seeds), "Device": " | ".join(devices)},
    )


def findings(claims: pd.DataFrame, seeds: int) -> list[str]:
    """Return how many claims come out, do not, or are open, and each that does not."""
    if claims.empty:
        return []
    missing = [
        f"Does not come out: {row.claim} ({row.ours})."
        for row in claims[claims["verdict"] == NO].itertuples()
    ]
    return [counted(claims["verdict"], "the thesis log", why_open(seeds)), *missing]


def why_open(seeds: int) -> str:
    """Return why claims are open: a verdict takes `FEW_SEEDS` seeds, and a difference."""
    if seeds < FEW_SEEDS:
        there_are = f"there {'is' if seeds == 1 else 'are'} {count(seeds, 'seed')}"
        return f"a verdict needs {FEW_SEEDS} seeds, and {there_are}"
    return "the runs show neither"
