"""A study of gradients as a section of the results: its tables and figures from disk, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.errors import PerturbError
from perturb.figures import gradients_catalogue
from perturb.gradients import table
from perturb.report.material import Picture

CLAIMS = ("Claim", "Verdict", "Ours", "Log")
STOCHASTIC = ("Estimator", "Evaluations an input", "Bias", "Bias by chance", "Relative error")
LAYERS = ("Model", "Layer", "Weights", "Estimator", "eps", "Cosine to STE", "Half to half",
          "Best decrease", "At learning rate")  # fmt: skip

_TEXTS = ("windows", "mixed", "log_verdict")


@dataclass(frozen=True)
class GradientsSection:
    """What the report says of a study of gradients; tables are rows of text under their header."""

    name: str
    title: str
    smoke: bool
    what: str
    claims: list[list[str]]
    rows: list[list[str]]
    caption: str
    stochastic: list[list[str]]
    layers: list[list[str]]
    pictures: list[Picture]

    @property
    def heading(self) -> str:
        """The section's title; a smoke run's says so."""
        return self.title + (" (smoke run)" if self.smoke else "")


def sections(
    studies: Sequence[Mapping[str, Any]],
    table_paths: Iterable[str | Path],
    figure_paths: Iterable[str | Path],
) -> list[GradientsSection]:
    """Return a section for each study (`Study.words`), from tables and figures named after it.

    Raises PerturbError where a study's table is not among the files.
    """
    by_name = {path.name: path for path in map(Path, table_paths)}
    files: dict[tuple[str, str], dict[str, Path]] = {}
    for path in map(Path, figure_paths):
        files.setdefault((path.parent.name, path.stem), {})[path.suffix] = path
    return [_section(study, by_name, files) for study in studies]


def _section(
    study: Mapping[str, Any],
    by_name: Mapping[str, Path],
    files: Mapping[tuple[str, str], Mapping[str, Path]],
) -> GradientsSection:
    name = study["name"]

    def read(ending: str) -> pd.DataFrame:
        if name + ending not in by_name:
            raise PerturbError(
                f"no table {name}{ending} was given. Make <results>/tables/{name}{ending}."
            )
        return pd.read_csv(by_name[name + ending], keep_default_na=ending == ".csv")

    main = read(".csv").astype(dict.fromkeys(_TEXTS, object)).fillna(dict.fromkeys(_TEXTS, ""))
    pictures = [
        Picture(
            figure,
            gradients_catalogue.title(figure),
            gradients_catalogue.caption(figure, study["scale"]),
            files[name, figure].get(".pdf"),
            files[name, figure].get(".png"),
        )
        for figure in (*gradients_catalogue.TOY, "layers")
        if (name, figure) in files
    ]
    return GradientsSection(
        name=name,
        title=study["title"],
        smoke=study["scale"] == "smoke",
        what=_what(main),
        claims=read("_claims.csv").astype(str).to_numpy().tolist(),
        rows=table.cells(main),
        caption=table.caption(main),
        stochastic=_stochastic(read("_stochastic.csv")),
        layers=_layers(read("_layers.csv")) if f"{name}_layers.csv" in by_name else [],
        pictures=pictures,
    )


def _what(main: pd.DataFrame) -> str:
    dimensions = ", ".join(str(d) for d in sorted(main["dimension"].unique()))
    arms = len(main.drop_duplicates(["estimator", "evaluations"]).query("estimator != 'cdg'")) + 1
    return (
        f"A network of three layers of sign units and a linear output is to be like another; "
        f"dimensions {dimensions}. {arms} estimates of its gradient are each followed for one "
        f"step, raw and pre-trained, on {int(main['batches'].max())} held-out batches."
    )


def _stochastic(frame: pd.DataFrame) -> list[list[str]]:
    return [
        [
            row["estimator"],
            str(row["evaluations"]),
            *(f"{row[key]:.3f}" for key in ("bias", "bias_expected", "relative_error")),
        ]
        for row in frame.to_dict("records")
    ]


def _layers(frame: pd.DataFrame) -> list[list[str]]:
    keys = ["model", "layer", "estimator", "window"]
    best = frame.loc[frame.groupby(keys, sort=False)["decrease"].idxmax()]
    return [
        [
            row["model"],
            str(row["layer"]),
            f"{row['weights']:,}",
            row["estimator"],
            f"{row['window']:g}" if row["window"] else "",
            *(f"{row[key]:.3f}".replace("-", "−") for key in ("cosine", "reliability")),
            f"{row['decrease']:.2g}".replace("-", "−"),
            f"{row['learning_rate']:.2g}",
        ]
        for row in best.to_dict("records")
    ]
