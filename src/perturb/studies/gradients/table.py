"""From the runs of a chapter to frames: what each estimate lowers the loss by, and the claims."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from perturb.analysis.comparability import versions
from perturb.analysis.provenance import relative
from perturb.analysis.statistics import LEVEL, holm, summarise
from perturb.errors import PerturbError
from perturb.files import sha256_file, sha256_json
from perturb.runs import check_file, read_record

FRAMES = ("curves", "windows", "batches", "pooled")
ARM = ["dimension", "pretraining", "estimator", "evaluations"]
CELL = ["dimension", "pretraining"]
LAYERS = (1, 2, 3, 4)
WHOLE = "to_cdg_p_value_holm mixed"  # columns that are made from every run
_ORDER = (
    "cdg",
    *("nes_plain", "nes_baseline", "nes_antithetic", "nes_rank", "spsa"),
    *("ste_clip", "ste_steep", "ste_swish_sign", "ste_polynomial", "ste_reste", "ste_ewgs"),
)
# Cosine of the straight-through to the coordinate gradient by layer in the log, 1M samples.
LOG_COSINES = (0.893, 0.897, 0.963, 0.905)
AGREES = "comes out"
DIFFERS = "does not come out"


@dataclass(frozen=True)
class Material:
    """Everything that the runs of a chapter left, one frame per kind, with the run of each row.

    `records` have one row per run, `diverged` ones too, whose numbers are in no other frame.
    """

    study: str
    scale: str
    curves: pd.DataFrame
    windows: pd.DataFrame
    batches: pd.DataFrame
    pooled: pd.DataFrame
    records: pd.DataFrame

    @property
    def diverged(self) -> list[str]:
        """The runs that diverged, by method and seed."""
        found = self.records[self.records["status"] != "ok"]
        return [f"{run.method}, seed {run.seed}" for run in found.itertuples()]


def gather(study: str, scale: str, records: Iterable[str | Path]) -> Material:
    """Read the frames beside each record.

    Raises PerturbError where a file is missing or is not what its record says, and where every run
    diverged.
    """
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in FRAMES}
    kept = []
    for path in map(Path, records):
        record = read_record(path)
        settings = record["specification"]
        run = {key: settings[key] for key in CELL} | {"seed": record["seed"]}
        for name in FRAMES:
            check_file(path, f"{name}.csv", record)
            if record["status"] == "ok":
                frames[name].append(pd.read_csv(path.with_name(f"{name}.csv")).assign(**run))
        shared = {k: v for k, v in settings.items() if k not in CELL}
        kept.append(
            run
            | {key: record[key] for key in ("method", "status", "device", "threads", "versions")}
            | {"code_sha256": record["sha256"]["code"], "settings_sha256": sha256_json(shared)}
            | {"samples": settings["samples"]}
            | {"record": path, "record_sha256": sha256_file(path)}
        )
    if not kept:
        raise PerturbError(
            f"{study}: no toy has been run. Make one, or all: unset partial_results."
        )
    if not frames["batches"]:
        raise PerturbError(
            f"{study}: every toy diverged. Lower `pretraining_learning_rate` of its toys in "
            "config/studies/gradients.yaml."
        )
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}
    return Material(study, scale, records=pd.DataFrame(kept), **joined)


def order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows by dimension, pre-training, family of estimator, evaluations, estimator."""
    family = frame["estimator"].str.partition("_")[0].replace("spsa", "nes")
    place = frame["estimator"].map({name: at for at, name in enumerate(_ORDER)})
    keys = frame.assign(_family=family, _place=place)
    keys = keys.sort_values([*CELL, "_family", "evaluations", "_place"], ignore_index=True)
    return keys.drop(columns=["_family", "_place"])


def build(material: Material, published: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return the table: one row per dimension, state, estimator and number of evaluations.

    Decreases are means over initialisations and batches with their standard deviation; `to_cdg`
    the paired difference to the coordinate gradient, of initialisations' means, with its 95 % t
    interval and p-value, alone and after Holm's correction over the table.
    """
    rows = []
    by_seed = [*CELL, "seed"]
    cdg = material.batches[material.batches["estimator"] == "cdg"]
    reference = cdg.groupby(by_seed)["decrease_hidden"].mean()
    for arm, frame in material.batches.groupby(ARM, sort=False):
        what = dict(zip(ARM, arm, strict=True))
        windows = sorted(frame["window"].unique(), reverse=True)
        row: dict[str, Any] = what | {"scale": material.scale, "batches": len(frame)}
        row["windows"] = " ".join(f"{w:g}" for w in windows) if windows != [0] else ""
        row["learning_rates"] = _range(frame["learning_rate_hidden"])
        for name in [name for name in frame if name.startswith("decrease_")]:
            row |= {f"{name}_mean": frame[name].mean(), f"{name}_sd": frame[name].std()}
        row |= _against(frame, reference.loc[arm[:2]])
        for layer in LAYERS:
            row[f"cosine_to_cdg_layer_{layer}"] = frame[f"cosine_layer_{layer}"].mean()
        for layer in LAYERS:
            row[f"cdg_reliability_layer_{layer}"] = frame[f"reliability_layer_{layer}"].mean()
        rows.append(row | _log(row, published))
    table = order(pd.DataFrame(rows))
    others = table["estimator"] != "cdg"
    p_values = [None if pd.isna(p) else p for p in table.loc[others, "to_cdg_p_value"]]
    table.loc[others, "to_cdg_p_value_holm"] = np.array(holm(p_values), dtype=float)
    table["mixed"] = _mixed(material.records)
    return table


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _against(frame: pd.DataFrame, reference: pd.Series) -> dict[str, float | None]:
    """Return the paired difference to the coordinate gradient: initialisations are the sample."""
    own = frame.groupby("seed")["decrease_hidden"].mean()
    differences = (own - reference).to_numpy()
    found = summarise(differences)
    known = found.low is not None
    return {
        "to_cdg_mean": found.mean,
        "to_cdg_ci95_low": found.low,
        "to_cdg_ci95_high": found.high,
        "to_cdg_p_value": float(stats.ttest_1samp(differences, 0).pvalue) if known else None,
    }


def _log(row: dict[str, Any], published: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the log's decrease for a row, and whether ours at its learning rate comes out there.

    It does where the log's mean lies within two standard errors of ours, over all batches.
    """
    of_dimension = published.get(str(row["dimension"]), {}) if not row["pretraining"] else {}
    estimator = row["estimator"]
    # The log does not say which arm its NES is: no baseline, and so plain.
    key = f"nes_{row['evaluations']}" if estimator == "nes_plain" else estimator
    found = of_dimension.get(key)
    verdict = ""
    if found is not None:
        error = row["decrease_hidden_at_0.1_sd"] / row["batches"] ** 0.5
        far = abs(row["decrease_hidden_at_0.1_mean"] - found) > 2 * error
        verdict = DIFFERS if far else AGREES
    return {"log_decrease_at_0.1": found, "log_verdict": verdict}


def _mixed(records: pd.DataFrame) -> str:
    """Return what the runs of a table differ in, which they should not."""
    kinds = ("device", "threads", "versions", "code_sha256", "settings_sha256")
    return " ".join(k for k in kinds if records[k].map(json.dumps).nunique() > 1)


@dataclass(frozen=True)
class Claim:
    """A statement of the log or the issue, whether the runs bear it out, and the numbers."""

    claim: str
    verdict: str
    ours: str
    log: str


CLAIM = tuple(field.name for field in fields(Claim))  # columns of a table of claims


def claims(table: pd.DataFrame, material: Material) -> list[Claim]:
    """Return the orderings that the study is about, each with its numbers.

    Those that a study has no arms or networks for are left out.
    """
    raw = table[table["pretraining"] == 0]
    found = [*_cdg_against_nes(table), *_few_evaluations(raw), *_antithetic(raw)]
    return [*found, *_narrow_windows(material), *_cosines_of_many(material)]


def _arm(frame: pd.DataFrame, estimator: str, evaluations: int | None = None) -> pd.DataFrame:
    chosen = frame[frame["estimator"] == estimator]
    return chosen if evaluations is None else chosen[chosen["evaluations"] == evaluations]


def _said(ok: bool) -> str:
    return AGREES if ok else DIFFERS


def _cdg_against_nes(table: pd.DataFrame) -> Iterable[Claim]:
    for pretrained, name in ((False, "raw"), (True, "pre-trained")):
        part = table[(table["pretraining"] > 0) == pretrained]
        rivals = part[part["estimator"].str.startswith(("nes", "spsa"))]
        if rivals.empty:
            continue
        better = rivals["to_cdg_mean"] > 0
        worse = rivals[better & (rivals["to_cdg_p_value_holm"] < LEVEL)]
        listed = "; ".join(
            f"d {r.dimension} {r.estimator} {r.evaluations}: {r.to_cdg_mean:+.4f}"
            for r in worse.itertuples()
        )
        most = rivals.loc[rivals["to_cdg_mean"].idxmax()]
        ours = (
            f"{len(rivals)} arms of NES and SPSA: {int(better.sum())} with the larger mean "
            f"decrease (at most {most['to_cdg_mean']:+.4f}, d {most['dimension']} "
            f"{most['estimator']} {most['evaluations']}), {len(worse)} of them significant after "
            "Holm's correction" + (f" ({listed})" if listed else "")
        )
        log = "CDG ahead at every d and N" if not pretrained else ""
        claim = f"CDG lowers the loss at least as much as NES at every d and N, {name}"
        yield Claim(f"{claim}, hidden layers", _said(worse.empty), ours, log)
        cdg = _arm(part, "cdg").set_index("dimension")["decrease_all_mean"]
        more = rivals["decrease_all_mean"] - rivals["dimension"].map(cdg)
        ours = (
            f"{int((more > 0).sum())} of {len(rivals)} arms with the larger mean decrease (at most "
            f"{more.max():+.4f}); the linear output layer decides"
        )
        yield Claim(f"{claim}, all layers", _said(bool((more <= 0).all())), ours, log)


def _few_evaluations(raw: pd.DataFrame) -> Iterable[Claim]:
    if _arm(raw, "nes_plain").empty:
        return
    fewest = int(raw.loc[raw["estimator"] == "nes_plain", "evaluations"].min())
    plain = _arm(raw, "nes_plain", fewest).set_index("dimension")["decrease_hidden_mean"]
    share = plain / _arm(raw, "cdg").set_index("dimension")["decrease_hidden_mean"]
    ok = bool((share.iloc[1:] < 0.5 * share.iloc[0]).all())
    numbers = ", ".join(f"d {d}: {value:.2f}" for d, value in share.items())
    yield Claim(
        f"Plain NES with {fewest} evaluations falls apart as d grows",
        _said(ok),
        f"its decrease over CDG's: {numbers}",
        "d 8: 0.73, d 16: 0.00, d 32: -0.02 (500 evaluations)",
    )


def _antithetic(raw: pd.DataFrame) -> Iterable[Claim]:
    columns = [f"cosine_to_cdg_layer_{layer}" for layer in LAYERS[:3]]
    for evaluations in sorted(_arm(raw, "nes_antithetic")["evaluations"].unique()):
        if _arm(raw, "nes_plain", evaluations).empty:
            continue
        cosines = {
            kind: _arm(raw, f"nes_{kind}", evaluations).set_index("dimension")[columns]
            for kind in ("plain", "baseline", "antithetic")
            if not _arm(raw, f"nes_{kind}", evaluations).empty
        }
        # Noise that falls as 1 / N makes c^2 / (1 - c^2) of a cosine c rise as N.
        means = {kind: frame.mean(axis=1).clip(lower=1e-3) for kind, frame in cosines.items()}
        worth = {kind: mean**2 / (1 - mean**2) for kind, mean in means.items()}
        ratio = worth["antithetic"] / worth["plain"]
        at = 16 if 16 in ratio.index else ratio.index[-1]
        numbers = "; ".join(
            f"{kind} {' '.join(f'{value:.2f}' for value in frame.loc[at])}"
            for kind, frame in cosines.items()
        )
        log = "plain .16 .02 .22; baseline .27 .50 .63; antithetic .62 .76 .91 (window not stated)"
        yield Claim(
            f"Antithetic NES is far ahead of plain at {evaluations} evaluations (cosine to CDG)",
            _said(bool((ratio > 4).all())),
            f"layers 1 to 3, d {at}: {numbers}; plain would need "
            + ", ".join(f"{times:.2g}" if times < 10 else f"{times:.0f}" for times in ratio)
            + " times the evaluations at d "
            + ", ".join(str(d) for d in ratio.index),
            log if evaluations == 5000 else "",
        )


def _narrow_windows(material: Material) -> Iterable[Claim]:
    frame = material.windows[material.windows["pretraining"] > 0]
    for estimator, width in (("cdg", "eps"), ("nes_antithetic", "sigma")):
        part = frame[frame["estimator"] == estimator]
        if part.empty:
            continue
        part = part[
            part["evaluations"] == part.groupby("dimension")["evaluations"].transform("max")
        ]
        mean = part.groupby(["dimension", "window"])["decrease"].mean().unstack()
        wide, narrow = (
            mean[mean.columns[mean.columns >= 0.1]],
            mean[mean.columns[mean.columns < 0.1]],
        )
        ok = bool((narrow.max(axis=1) > wide.max(axis=1)).all() and (narrow.max(axis=1) > 0).all())
        numbers = "; ".join(
            f"d {d}: {wide.loc[d].max():.2g} from 0.1 up, {narrow.loc[d].max():.2g} below"
            for d in mean.index
        )
        yield Claim(
            f"After pre-training wide windows fail and narrow ones do not ({estimator}, {width})",
            _said(ok),
            f"best decrease: {numbers}",
            "eps 0.1 raises the loss, 0.01 lowers it" if estimator == "cdg" else "",
        )


def _cosines_of_many(material: Material) -> Iterable[Claim]:
    raw = material.pooled[material.pooled["pretraining"] == 0]
    if _arm(raw, "ste_clip").empty:
        return
    largest = raw["dimension"].max()
    at = 32 if (raw["dimension"] == 32).any() else largest
    part = raw[(raw["dimension"] == at) & (raw["estimator"] == "ste_clip")]
    ours = [part[f"cosine_layer_{layer}"].mean() for layer in LAYERS]
    ok = all(abs(a - b) < 0.05 for a, b in zip(ours, LOG_COSINES, strict=True))
    yield Claim(
        "Cosine of the clipped straight-through to the coordinate gradient, four layers",
        _said(ok),
        " ".join(f"{value:.3f}" for value in ours)
        + f" (d {at}; the fourth layer is linear, where both are the exact gradient)",
        " ".join(f"{value:.3f}" for value in LOG_COSINES) + " (1M samples, d not stated)",
    )


def provenance(material: Material, results: Path) -> pd.DataFrame:
    """Return which runs each cell of `build`'s table is made from, and their hashes and machines.

    One line per row's cell (dimension and pre-training) and run, then one per run for the columns
    that are made from all of them, on lines of no single row; runs are named relative to `results`.
    """
    every = [_line(run, results) for run in material.records.to_dict("records")]
    own = [{key: line[key] for key in CELL} | {"columns": "*"} | line for line in every]
    whole = [dict.fromkeys(CELL, "*") | {"columns": WHOLE} | _without_cell(line) for line in every]
    return pd.DataFrame([*own, *whole])


def provenance_of_all(material: Material, results: Path) -> pd.DataFrame:
    """Return one line per run, for a table whose rows are each made from all runs."""
    lines = [_line(run, results) for run in material.records.to_dict("records")]
    return pd.DataFrame([{"columns": "*"} | line for line in lines])


def _without_cell(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in CELL}


def _line(run: dict[str, Any], results: Path) -> dict[str, Any]:
    names = (*CELL, "seed", "status", "record_sha256", "settings_sha256", "code_sha256")
    return {
        "run": relative(Path(run["record"]).parent, results),
        **{name: run[name] for name in names},
        "device": run["device"],
        "threads": run["threads"],
        "versions": versions(json.dumps(run["versions"])),
    }
