"""The numbers of landscapes, a row a checkpoint: sharpness, curvature, flat area."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perturb.analysis.formats import csv_text, escape, method_tex, prose
from perturb.errors import PerturbError
from perturb.files import read_json, write_text
from perturb.landscape.area import flat_area
from perturb.landscape.files import Plane, read_plane
from perturb.landscape.words import mark_of

FLAT_MARGIN = 0.1  # nats above the checkpoint's loss
_SHARPNESS = {"sam_sharpness": "SAM", "adaptive_sharpness": "adaptive"}
_STEPS = {"one_step": "one step", "several_steps": "several steps"}
_TEXT = ("method", "device", "precision", "mark")


@dataclass(frozen=True)
class Checkpoint:
    """What there is of one checkpoint: its planes by direction seed and what `measure` found."""

    method: str
    seed: int
    planes: dict[int, Plane]
    curvature: dict[str, Any] = field(default_factory=dict)


def read(path: str | Path) -> pd.DataFrame:
    """Read a table that `write` wrote; PerturbError where it cannot be read."""
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str))
    except ValueError as error:
        raise PerturbError(f"{path}: damaged ({error}). Delete it and make it again.") from None
    return frame.fillna(dict.fromkeys(_TEXT, ""))


def read_checkpoints(
    planes: Iterable[str | Path], curvatures: Iterable[str | Path]
) -> list[Checkpoint]:
    """Return the checkpoints that files of planes and of curvature speak of, in the planes' order.

    Raises PerturbError naming the file where one is missing or damaged, or where two of one
    checkpoint are of different weights.
    """
    found: dict[tuple[str, int], Checkpoint] = {}
    weights: dict[tuple[str, int], str] = {}

    def checkpoint_of(path: str | Path, attributes: Mapping[str, Any]) -> Checkpoint:
        key = attributes["method"], attributes["seed"]
        if (
            weights.setdefault(key, attributes["checkpoint_sha256"])
            != (attributes["checkpoint_sha256"])
        ):
            raise PerturbError(
                f"{path}: of other weights than the other files of {key[0]}, seed {key[1]}. "
                "Delete it and run again."
            )
        return found.setdefault(key, Checkpoint(*key, {}, {}))

    for path in planes:
        plane = read_plane(path)
        checkpoint_of(path, plane.attributes).planes[plane.attributes["direction_seed"]] = plane
    for path in curvatures:
        measured = read_curvature(path)
        checkpoint_of(path, measured).curvature.update(measured["curvature"])
    return list(found.values())


def read_curvature(path: str | Path) -> dict[str, Any]:
    """Read a `curvature.json`; PerturbError where it is missing, truncated or of something else."""
    measured = read_json(path)
    if not {"curvature", "checkpoint_sha256"} <= measured.keys():
        raise PerturbError(f"{path}: no curvature of a run. Delete the file and run again.")
    return measured


def build(checkpoints: Iterable[Checkpoint], margin: float = FLAT_MARGIN) -> pd.DataFrame:
    """Return the table, a row a checkpoint in the order given; unknown numbers are NaN.

    Loss, sharpness and `flat_area_margin` in nats, accuracy a fraction, areas in units of
    alpha x beta: mean, standard deviation (n - 1) over direction seeds, `flat_area_share_at_border`
    the share of them whose flat part touches the plane's border, so that the mean is a lower bound.
    """
    frame = pd.DataFrame([_row(checkpoint, margin) for checkpoint in checkpoints])
    first = [name for name in frame if not name.startswith(tuple(_SHARPNESS))]
    sharpness = sorted((name for name in frame if name not in first), key=_sharpness_order)
    place = first.index("flat_area_margin") if first else 0
    return frame[[*first[:place], *sharpness, *first[place:]]]


def write(
    frame: pd.DataFrame, *, csv: str | Path, md: str | Path, tex: str | Path, dataset: str
) -> None:
    """Write the table in its three forms, each atomically; the same bytes for the same table."""
    write_text(csv, csv_text(frame))
    write_text(md, markdown(frame, dataset))
    write_text(tex, latex(frame, dataset))


def _row(checkpoint: Checkpoint, margin: float) -> dict[str, Any]:
    planes = [checkpoint.planes[seed] for seed in sorted(checkpoint.planes)]
    first = planes[0].attributes if planes else {}
    centre = planes[0].centre if planes else None
    areas = [flat_area(plane, margin) for plane in planes]
    values = np.array([found.area for found in areas])
    return {
        "method": checkpoint.method,
        "seed": checkpoint.seed,
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
        "mark": mark_of(planes),
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


def general(frame: pd.DataFrame) -> list[list[str]]:
    """Return header and rows of the table's first part as plain text, rounded for a reader."""
    table = [
        ["method", "seed", "loss", "accuracy (%)", "top eigenvalue", "trace", "flat area", "masked"]
    ]
    for row in frame.to_dict("records"):
        area = _spread(row["flat_area_mean"], row["flat_area_sd"])
        masked = f"{row['masked_points']:,} of {row['points']:,}" if row["masked_points"] else "0"
        table.append(
            [
                row["method"],
                str(row["seed"]),
                _round(row["loss"]),
                "" if math.isnan(row["accuracy"]) else f"{100 * row['accuracy']:.2f}",
                _spread(row["top_eigenvalue"], row["top_eigenvalue_se"]),
                _spread(row["trace"], row["trace_se"]),
                f"≥ {area}" if row["flat_area_share_at_border"] > 0 else area,
                masked,
            ]
        )
    return table


def _sharpness_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame if str(name).startswith(tuple(_SHARPNESS))]


def sharpness(frame: pd.DataFrame) -> list[list[str]]:
    """Return header and rows of the second part: method, seed, every sharpness; [] if none."""
    columns = _sharpness_columns(frame)
    if not columns:
        return []
    header = ["method", "seed"]
    for name in columns:
        kind, steps, rho = _sharpness(name)
        header.append(f"{_SHARPNESS[kind]}, rho {rho:g}, {_STEPS[steps]}")
    return [header] + [
        [row["method"], str(row["seed"]), *(_round(row[name]) for name in columns)]
        for row in frame.to_dict("records")
    ]


def _round(value: float, digits: int = 3) -> str:
    """Write a number to `digits` significant digits; empty where it is unknown."""
    if math.isnan(value):
        return ""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", "−")
    power = math.floor(math.log10(abs(value)))
    if -4 <= power < 6:
        text = f"{value:.{max(digits - 1 - power, 0)}f}"
    else:
        text = f"{value:.{digits - 1}e}"
    return text.replace("-", "−")


def _spread(value: float, spread: float) -> str:
    """Write `value ± spread`, both to the last digit that the spread has (two significant)."""
    if math.isnan(value) or math.isnan(spread) or not math.isfinite(value):
        return _round(value)
    if spread < 1e-4 * abs(value):  # the number as it is shown has no error
        return _round(value, 4)
    digits = max(1 - math.floor(math.log10(spread)), 0)
    if digits > 6 or abs(value) >= 1e6:
        return f"{_round(value)} ± {_round(spread, 2)}"
    return f"{value:.{digits}f} ± {spread:.{digits}f}".replace("-", "−")


def caption(frame: pd.DataFrame) -> str:
    """Return the sentences that say what the numbers are."""
    margins = sorted(set(frame["flat_area_margin"])) if len(frame) else [FLAT_MARGIN]
    parts = [
        "Loss (nats) and accuracy at the checkpoint; largest eigenvalue and trace of the Hessian "
        "± standard error (left out below a ten-thousandth of the number); sharpness: largest rise "
        "of the loss (nats) found within rho by one or several ascent steps; flat area: "
        f"where the loss is less than {', '.join(f'{m:g}' for m in margins)} nats above the "
        "checkpoint's, in the plane's own coordinates, mean ± standard deviation over direction "
        "seeds, ≥ where it touches the plane's border for any of them; masked: points without a "
        "finite loss."
    ]
    words = {
        "images": "Images",
        "curvature_images": "Images for curvature and sharpness",
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


def markdown(frame: pd.DataFrame, dataset: str) -> str:
    """Return the table for GitHub, its sharpness as a table of its own."""
    lines = [f"# Loss landscapes: {dataset}", ""]
    lines += [f"> **{warning}**\n" for warning in warnings_of(frame)]
    lines += _md_table(general(frame))
    rises = sharpness(frame)
    if rises:
        lines += ["", "## Sharpness (nats)", "", *_md_table(rises)]
    return "\n".join([*lines, "", caption(frame), ""])


def _md_table(table: Sequence[Sequence[str]]) -> list[str]:
    header, *rows = table
    lines = [header, ["---"] * len(header), *([f"`{row[0]}`", *row[1:]] for row in rows)]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def latex(frame: pd.DataFrame, dataset: str) -> str:
    """Return the table for `\\input`: two tabulars, the second of sharpness. Needs booktabs."""
    header, *rows = general(frame)
    lines = [
        r"\begin{table}\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{Loss landscapes: {escape(dataset)}. {prose(caption(frame))}}}"
        rf"\label{{tab:landscape-{dataset}}}",
        *_tabular([[escape(name[0].upper() + name[1:]) for name in header]], rows),
    ]
    columns = _sharpness_columns(frame)
    if columns:
        lines += [r"\par\medskip", *_tabular(_sharpness_header(columns), sharpness(frame)[1:])]
    lines += [rf"\par\textbf{{{prose(warning)}}}" for warning in warnings_of(frame)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _sharpness_header(columns: Sequence[str]) -> list[list[str]]:
    """Return three lines of cells: kind, radius, number of steps."""
    kinds, radii, last = ["", ""], ["", ""], ["Method", "Seed"]
    found = [_sharpness(name) for name in columns]
    for kind, group in groupby(found, key=lambda item: item[0]):
        name = f"{_SHARPNESS[kind][0].upper()}{_SHARPNESS[kind][1:]} sharpness (nats)"
        kinds.append(rf"\multicolumn{{{len(list(group))}}}{{c}}{{{name}}}")
    for (_, rho), group in groupby(found, key=lambda item: (item[0], item[2])):
        radii.append(rf"\multicolumn{{{len(list(group))}}}{{c}}{{$\rho = {rho:g}$}}")
    last += [{"one_step": "one", "several_steps": "several"}[steps] for _, steps, _ in found]
    return [kinds, radii, last]


def _tabular(header: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a tabular: a header already in LaTeX, rows in plain text, a method first."""
    body = [[method_tex(row[0]), *map(escape, row[1:])] for row in rows]
    return [
        rf"\begin{{tabular}}{{@{{}}l{'r' * (len(header[-1]) - 1)}@{{}}}}",
        r"\toprule",
        *(" & ".join(cells) + r"\\" for cells in header),
        r"\midrule",
        *(" & ".join(cells) + r"\\" for cells in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
