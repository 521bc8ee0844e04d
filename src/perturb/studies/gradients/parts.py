"""The tables of a chapter: frames from `table` and `layers`, and how a reader sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.analysis.comparability import versions
from perturb.analysis.provenance import relative
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.gradients.units import compare
from perturb.runs import Run
from perturb.studies.gradients import layers as of_layers
from perturb.studies.gradients import table

Settings = Mapping[str, Any]
Inputs = Mapping[str, Sequence[Path]]

MAIN = (
    Column("Estimator", "code"),
    Column("N", compact=True),
    Column("Window", "text", paper=False),
    Column("Learning rate", "text", paper=False),
    Column("Decrease", compact=True),
    Column("At 0.1", compact=True),
    Column("Log at 0.1", compact=True),
    Column("To CDG", compact=True),
    Column("All layers", compact=True),
    Column("Cosines to CDG", compact=True),
)
CLAIMS = (
    Column("Claim", "text", width=40),
    Column("Verdict", "text", width=15),
    Column("Ours", "text", width=72),
    Column("Log", "text", width=38),
)
STOCHASTIC = (
    Column("Estimator", "code"),
    Column("Evaluations per input"),
    Column("Bias"),
    Column("Bias by chance"),
    Column("Relative error"),
)
LAYERS = (
    Column("Layer", "count"),
    Column("Weights"),
    Column("Estimator", "code"),
    Column("eps"),
    Column("Cosine to STE"),
    Column("Half to half"),
    Column("Best decrease"),
    Column("At learning rate"),
)
SMOKE = "Smoke run, not a result of the study."


def main(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the table of every estimate of the toys, below a heading for each network."""
    material = table.gather(settings["name"], settings["scale"], inputs["records"])
    frame = table.build(material, settings["published"])
    groups = [
        Group(_heading(*cell), [_row(row) for row in rows])
        for cell, rows in groupby(
            frame.to_dict("records"), key=lambda row: (row["dimension"], row["pretraining"])
        )
    ]
    return Table(
        name=settings["name"],
        title=settings["title"],
        frame=frame,
        columns=MAIN,
        groups=groups,
        caption=caption(frame),
        warnings=_warnings(material, frame),
        provenance=table.provenance(material, results),
    )


def claims(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the claims of the log, each with its verdict and the numbers."""
    material = table.gather(settings["name"], settings["scale"], inputs["records"])
    built = table.build(material, settings["published"])
    found = table.claims(built, material)
    tones = {table.AGREES: "better", table.DIFFERS: "worse"}
    rows = [
        [Cell(c.claim), Cell(c.verdict, tone=tones[c.verdict]), Cell(c.ours), Cell(c.log)]
        for c in found
    ]
    return Table(
        name=f"{settings['name']}_claims",
        title=f"{settings['title']}: claims",
        frame=pd.DataFrame([asdict(claim) for claim in found], columns=list(table.CLAIM)),
        columns=CLAIMS,
        groups=[Group("", rows)],
        caption=_marked(
            settings["scale"],
            "What the lab log claims, whether it comes out here, and the numbers of both.",
        ),
        warnings=_warnings(material, built),
        provenance=table.provenance_of_all(material, results),
    )


def stochastic(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return the estimators through stochastic units, computed here, in seconds, from settings."""
    asked = settings["stochastic"]
    frame = compare(**asked)
    rows = [
        [
            Cell(row["estimator"]),
            Cell(f"{row['evaluations']:,}"),
            *(Cell(f"{row[key]:.3f}") for key in ("bias", "bias_expected", "relative_error")),
        ]
        for row in frame.to_dict("records")
    ]
    text = (
        f"Gradients through {asked['units']} stochastic units, on {asked['inputs']} inputs, "
        f"against the sum over all states; {asked['repeats']} estimates each. Bias: norm of (mean "
        "estimate - exact gradient) over the exact one's, beside what chance alone gives. Relative "
        "error: root mean square of the error's norm over the same."
    )
    return Table(
        name=f"{settings['name']}_stochastic",
        title=f"{settings['title']}: stochastic units",
        frame=frame,
        columns=STOCHASTIC,
        groups=[Group("", rows)],
        caption=_marked(settings["scale"], text),
    )


def layers(settings: Settings, inputs: Inputs, results: Path) -> Table:
    """Return every measured step of the layers; a reader sees the best of each estimate."""
    frame, sources = of_layers.gather(inputs["layers"])
    keys = ["model", "layer", "estimator", "window"]
    best = frame.loc[frame.groupby(keys, sort=False)["decrease"].idxmax()]
    groups = [
        Group(model, [_layer_row(row) for row in rows.to_dict("records")])
        for model, rows in best.groupby("model", sort=False)
    ]
    text = (
        "One step in a single layer of a trained XNOR-ResNet, at unit norm: the largest decrease "
        "of the test images' loss over the learning rates, along each estimate. Cosines are to the "
        "straight-through gradient; half to half is that between the estimates from each half of "
        "the images."
    )
    return Table(
        name=f"{settings['name']}_layers",
        title=f"{settings['title']}: layers of trained networks",
        frame=frame,
        columns=LAYERS,
        groups=groups,
        caption=_marked(settings["scale"], text),
        provenance=_provenance_of_layers(sources, results),
    )


def _heading(dimension: int, pretraining: int) -> str:
    state = f"pre-trained on {pretraining:,} batches" if pretraining else "raw"
    return f"d = {dimension}, {state}"


def _row(row: Mapping[str, Any]) -> list[Cell]:
    log = row["log_decrease_at_0.1"]
    log = (
        "" if pd.isna(log) else f"{log:.4f}" + ("" if row["log_verdict"] == table.AGREES else " ≠")
    )
    low, high = row["to_cdg_ci95_low"], row["to_cdg_ci95_high"]
    interval = "" if pd.isna(low) else f"[{low:+.4f}, {high:+.4f}]"
    of_cdg = row["estimator"] == "cdg"
    cosines = " ".join(f"{row[f'cosine_to_cdg_layer_{layer}']:.2f}" for layer in table.LAYERS)
    return [
        Cell(row["estimator"]),
        Cell(f"{row['evaluations']:,}"),
        Cell(row["windows"]),
        Cell(row["learning_rates"]),
        Cell(_spread(row, "decrease_hidden")),
        Cell(_spread(row, "decrease_hidden_at_0.1")),
        Cell(_minus(log)),
        Cell("") if of_cdg else Cell(_minus(f"{row['to_cdg_mean']:+.4f}"), _minus(interval)),
        Cell(_spread(row, "decrease_all")),
        Cell(_minus(cosines)),
    ]


def _layer_row(row: Mapping[str, Any]) -> list[Cell]:
    return [
        Cell(str(row["layer"])),
        Cell(f"{row['weights']:,}"),
        Cell(row["estimator"]),
        Cell(f"{row['window']:g}" if row["window"] else ""),
        *(Cell(_minus(f"{row[key]:.3f}")) for key in ("cosine", "reliability")),
        Cell(_minus(f"{row['decrease']:.2g}")),
        Cell(f"{row['learning_rate']:.2g}"),
    ]


def _spread(row: Mapping[str, Any], name: str) -> str:
    return _minus(f"{row[f'{name}_mean']:.4f} ± {row[f'{name}_sd']:.4f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _marked(scale: str, text: str) -> str:
    return f"{SMOKE} {text}" if scale == "smoke" else text


def caption(frame: pd.DataFrame) -> str:
    """Return the sentences that say what the numbers of the main table are."""
    most = int(frame["batches"].max())
    text = (
        "Decrease of the loss by one step: mean and standard deviation over initialisations and "
        f"held-out batches ({most} in all); window and learning rate were chosen on another batch. "
        "The step is the estimate at unit norm in each hidden layer; with the linear output layer, "
        "which can lower the loss alone, under all layers. At 0.1: at the learning rate of the lab "
        "log, beside the log's own figure; ≠ marks one further away than two of our standard "
        "errors (the log does not state how it scaled its step). To CDG: paired difference of "
        "the decrease, with its 95 % interval over initialisations. Cosines to CDG are by layer. N "
        "counts evaluations of the loss: for CDG what brute force takes, for straight-through one "
        "forward and backward."
    )
    return _marked(frame["scale"].iloc[0], text)


def _warnings(material: table.Material, frame: pd.DataFrame) -> list[str]:
    found = []
    if diverged := material.diverged:
        found.append(f"Left out, for they diverged: {'; '.join(diverged)}.")
    if mixed := frame["mixed"].iloc[0]:
        found.append(f"The runs differ in: {mixed}.")
    return found


def _provenance_of_layers(sources: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Return one line per measured network: its run, and the record of its measuring."""
    lines = []
    for source in sources.to_dict("records"):
        run = Run(source["dataset"], source["model"], source["method"], source["seed"])
        lines.append(
            {"model": source["model"], "columns": "*", "run": run.folder}
            | {"record": relative(source["record"], results)}
            | {key: source[key] for key in _HASHES}
            | {"device": source["device"], "threads": source["threads"]}
            | {"versions": versions(json.dumps(source["versions"]))}
        )
    return pd.DataFrame(lines)


_HASHES = ("record_sha256", "final_weights_sha256", "code_sha256")
