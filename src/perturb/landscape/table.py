"""The numbers of landscapes, one row per checkpoint: sharpness, curvature, flat area."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis.display import significant
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.errors import PerturbError
from perturb.files import read_json
from perturb.landscape.area import flat_area
from perturb.landscape.files import Plane, read_plane
from perturb.landscape.words import mark_of

FLAT_MARGIN = 0.1  # nats above the checkpoint's loss
_NAMES = ("method", "seed", "network")
_SHARPNESS = {"sam_sharpness": "SAM", "adaptive_sharpness": "Adaptive"}
_STEPS = {"one_step": "One step", "several_steps": "Several steps"}


@dataclass(frozen=True)
class Checkpoint:
    """What there is of one checkpoint: its planes by direction seed and what `measure` found.

    `network` is which of the run's networks it is, "" where the run has one.
    """

    method: str
    seed: int
    planes: dict[int, Plane]
    curvature: dict[str, Any] = field(default_factory=dict)
    network: str = ""


def read_checkpoints(
    planes: Iterable[str | Path], curvatures: Iterable[str | Path]
) -> list[Checkpoint]:
    """Return the checkpoints that files of planes and of curvature speak of, in the planes' order.

    Raises PerturbError naming the file where one is missing or damaged, or where two of one
    checkpoint are of different weights.
    """
    found: dict[tuple[str, int, str], Checkpoint] = {}
    weights: dict[tuple[str, int], str] = {}

    def checkpoint_of(path: str | Path, attributes: Mapping[str, Any]) -> Checkpoint:
        key = attributes["method"], attributes["seed"]
        network = attributes.get("network", "")
        if (
            weights.setdefault(key, attributes["checkpoint_sha256"])
            != (attributes["checkpoint_sha256"])
        ):
            raise PerturbError(
                f"{path}: of other weights than the other files of {key[0]}, seed {key[1]}. "
                "Delete it and run again."
            )
        return found.setdefault((*key, network), Checkpoint(*key, {}, {}, network))

    for path in planes:
        plane = read_plane(path)
        checkpoint_of(path, plane.attributes).planes[plane.attributes["direction_seed"]] = plane
    for path in curvatures:
        measured = read_curvature(path)
        checkpoint_of(path, measured).curvature.update(measured["curvature"])
    return list(found.values())


def read_curvature(path: str | Path) -> dict[str, Any]:
    """Read a `curvature.json`; PerturbError where it is missing, truncated or no curvature."""
    measured = read_json(path)
    if not {"curvature", "checkpoint_sha256"} <= measured.keys():
        raise PerturbError(f"{path}: no curvature of a run. Delete the file and run again.")
    return measured


def build(
    checkpoints: Iterable[Checkpoint], margin: float = FLAT_MARGIN, scale: str = ""
) -> pd.DataFrame:
    """Return the table, one row per checkpoint in the order given; unknown numbers are NaN.

    `scale` is that of its chapter (`perturb.landscape.words.mark_of`).

    Loss, sharpness and `flat_area_margin` in nats, accuracy a fraction, areas in units of
    alpha x beta: mean, standard deviation (n - 1) over direction seeds, `flat_area_share_at_border`
    the share of them whose flat part touches the plane's border, so that the mean is a lower bound.
    There is a column `network` where any run has several.
    """
    frame = pd.DataFrame([_row(checkpoint, margin, scale) for checkpoint in checkpoints])
    if len(frame) and not frame["network"].any():
        frame = frame.drop(columns="network")
    first = [name for name in frame if not name.startswith(tuple(_SHARPNESS))]
    sharpness = sorted((name for name in frame if name not in first), key=_sharpness_order)
    place = first.index("flat_area_margin") if first else 0
    return frame[[*first[:place], *sharpness, *first[place:]]]


def _row(checkpoint: Checkpoint, margin: float, scale: str) -> dict[str, Any]:
    planes = [checkpoint.planes[seed] for seed in sorted(checkpoint.planes)]
    first = planes[0].attributes if planes else {}
    centre = planes[0].centre if planes else None
    areas = [flat_area(plane, margin) for plane in planes]
    values = np.array([found.area for found in areas])
    return {
        "method": checkpoint.method,
        "seed": checkpoint.seed,
        "network": checkpoint.network,
        "loss": planes[0].loss[centre] if centre else math.nan,
        "accuracy": planes[0].accuracy[centre] if centre else math.nan,
        **_curvature(checkpoint.curvature),
        "flat_area_margin": margin,
        "flat_area_mean": values.mean() if len(values) else math.nan,
        "flat_area_sd": values.std(ddof=1) if len(values) > 1 else math.nan,
        "flat_area_share_at_border": np.mean([found.at_border for found in areas])
        if areas
        else math.nan,
        "direction_seeds": len(planes),
        "masked_points": sum(plane.masked for plane in planes),
        "points": sum(plane.loss.size for plane in planes),
        "images": first.get("images", math.nan),
        "curvature_images": checkpoint.curvature.get("images", math.nan),
        "device": first.get("device", ""),
        "precision": first.get("precision", ""),
        "mark": mark_of(planes, scale),
    }


def _curvature(found: Mapping[str, Any]) -> dict[str, float]:
    """Return what `perturb.landscape.curvature.measure` found as columns; null becomes NaN."""

    def number(group: Any, key: str) -> float:
        value = group.get(key) if isinstance(group, Mapping) else None
        return math.nan if value is None else float(value)

    eigenvalues = found.get("eigenvalues") or {}
    top = next(iter(eigenvalues.get("largest") or []), None)
    values = {
        "top_eigenvalue": number(top, "mean"),
        "top_eigenvalue_se": number(top, "standard_error"),
        "smallest_eigenvalue": number(eigenvalues.get("smallest"), "mean"),
        "trace": number(found.get("trace"), "mean"),
        "trace_se": number(found.get("trace"), "standard_error"),
    }
    for kind in _SHARPNESS:
        for entry in found.get(kind.removeprefix("sam_")) or []:
            for steps in _STEPS:
                values[f"{kind}_{steps}_rho{entry['radius']:g}"] = number(entry, steps)
    return values


def _sharpness_order(name: str) -> tuple[int, float, int]:
    kind, steps, rho = _sharpness(name)
    return list(_SHARPNESS).index(kind), rho, list(_STEPS).index(steps)


def _sharpness(name: str) -> tuple[str, str, float]:
    """Return kind, steps and rho of a sharpness column."""
    kind = next(kind for kind in _SHARPNESS if name.startswith(kind))
    steps, _, rho = name.removeprefix(f"{kind}_").rpartition("_rho")
    return kind, steps, float(rho)


def general(frame: pd.DataFrame, name: str, title: str) -> Table:
    """Return the table but for sharpness, as it is printed; its CSV holds all of `frame`."""
    columns = [
        *_named(frame),
        Column("Train loss"),
        Column("Train accuracy", unit="%"),
        Column("Top eigenvalue"),
        Column("Trace"),
        Column("Flat area"),
        Column("Masked"),
    ]
    rows = []
    for row in frame.to_dict("records"):
        area, spread = _spread(row["flat_area_mean"], row["flat_area_sd"])
        at_border = row["flat_area_share_at_border"] > 0
        masked = f"{row['masked_points']:,} of {row['points']:,}" if row["masked_points"] else "0"
        accuracy = "" if math.isnan(row["accuracy"]) else f"{100 * row['accuracy']:.2f}"
        rows.append(
            [
                *_names(row),
                Cell(significant(row["loss"])),
                Cell(accuracy),
                Cell(*_spread(row["top_eigenvalue"], row["top_eigenvalue_se"])),
                Cell(*_spread(row["trace"], row["trace_se"])),
                Cell(f"≥ {area}" if at_border else area, spread),
                Cell(masked),
            ]
        )
    return Table(
        name=name,
        title=f"Loss landscapes of the last weights: {title}",
        frame=frame,
        columns=columns,
        groups=[Group("", rows)],
        caption=caption(frame),
        warnings=warnings_of(frame),
    )


def sharpness(frame: pd.DataFrame, name: str, title: str) -> Table:
    """Return the sharpness of every checkpoint as it is printed: kinds, radii and steps."""
    names = [column for column in frame if str(column).startswith(tuple(_SHARPNESS))]
    columns = _named(frame)
    for column in names:
        kind, steps, rho = _sharpness(column)
        over = f"{_SHARPNESS[kind]} sharpness", f"ρ = {rho:g}"
        columns.append(Column(_STEPS[steps], over=over, short=_STEPS[steps].replace(" ", "\n")))
    rows = [
        [
            *_names(row),
            *(Cell(significant(row[column])) for column in names),
        ]
        for row in frame.to_dict("records")
    ]
    return Table(
        name=name,
        title=f"Sharpness of the last weights: {title}",
        frame=frame[[*(name for name in _NAMES if name in frame), *names]],
        columns=columns,
        groups=[Group("", rows)],
        caption="Largest rise of the loss (nats) found within ρ by one or several ascent steps, "
        f"for each checkpoint.{_images(frame)}",
        warnings=[f"{mark}." for mark in dict.fromkeys(frame.get("mark", ())) if mark],
    )


def _named(frame: pd.DataFrame) -> list[Column]:
    """Return the columns that say which checkpoint a row is of."""
    columns = [Column("Method", "code", width=44), Column("Seed", "count")]
    return columns + ([Column("Network", "code")] if "network" in frame else [])


def _names(row: Mapping[str, Any]) -> list[Cell]:
    return [Cell(str(row[name])) for name in _NAMES if name in row]


def _images(frame: pd.DataFrame) -> str:
    found = [value for value in dict.fromkeys(frame["curvature_images"]) if not pd.isna(value)]
    return f" Train images: {', '.join(f'{value:,.0f}' for value in found)}." if found else ""


def _spread(value: float, spread: float) -> tuple[str, str]:
    """Write `value` and `± spread`, both to the last digit that the spread has (two significant).

    No spread is written where none is known, or the number as it is shown has none.
    """
    if math.isnan(value) or math.isnan(spread) or not math.isfinite(value):
        return significant(value), ""
    if spread <= 1e-4 * abs(value):
        return significant(value, 4), ""
    digits = max(1 - math.floor(math.log10(spread)), 0)
    if digits > 6 or abs(value) >= 1e6:
        return significant(value), f"± {significant(spread, 2)}"
    return f"{value:.{digits}f}".replace("-", "−"), f"± {spread:.{digits}f}"


def caption(frame: pd.DataFrame) -> str:
    """Return the sentences that say what the numbers are."""
    margins = sorted(set(frame["flat_area_margin"])) if len(frame) else [FLAT_MARGIN]
    parts = [
        "Loss (nats) and accuracy at the checkpoint, all on train images as they are, without "
        "augmentation; largest eigenvalue and trace of the Hessian "
        "± standard error (left out below a ten-thousandth of the number); flat area: "
        f"where the loss is less than {', '.join(f'{m:g}' for m in margins)} nats above the "
        "checkpoint's, in the plane's own coordinates, mean ± standard deviation over direction "
        "seeds, ≥ where it touches the plane's border for any of them; masked: points without a "
        "finite loss."
    ]
    words = {
        "images": "Train images",
        "curvature_images": "Train images for curvature and sharpness",
        "device": "Device",
        "precision": "Precision",
        "direction_seeds": "Direction seeds",
    }
    for name, text in words.items():
        found = [value for value in dict.fromkeys(frame.get(name, ())) if not pd.isna(value)]
        if found:
            texts = [f"{v:,.0f}" if isinstance(v, (int, float)) else str(v) for v in found]
            parts.append(f"{text}: {', '.join(texts)}.")
    return " ".join(parts)


def warnings_of(frame: pd.DataFrame) -> list[str]:
    """Return what a reader must know first: marks, mixed devices or precisions, gaps."""
    found = [f"{mark}." for mark in dict.fromkeys(frame.get("mark", ())) if mark]
    for name in ("images", "curvature_images", "device", "precision", "direction_seeds"):
        if len(set(frame.get(name, ()))) > 1:
            found.append(f"Rows differ in {name.replace('_', ' ')}: compare them with care.")
    if len(frame) and frame["masked_points"].any():
        rows = frame[frame["masked_points"] > 0]
        names = ", ".join(dict.fromkeys(rows["method"]))
        found.append(f"Points without a finite loss, in no area: {names}.")
    return found
