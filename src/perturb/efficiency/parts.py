"""The efficiency table of a model: measured rows, the suggested batch size, MLPerf's figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from perturb.analysis.comparability import versions as versions_text
from perturb.analysis.table import Cell, Column, Group, Table
from perturb.efficiency.settings import PREFIX
from perturb.errors import PerturbError
from perturb.files import read_json

WITHIN = (0.02, 0.05)  # of the best throughput; the first one suggests
KEYS = ["device_name", "precision", "threads"]
COLUMNS = (
    Column("Batch", "count"),
    Column("Throughput", unit="images/s"),
    Column("Median", unit="ms"),
    Column("p90", unit="ms"),
    Column("p99", unit="ms"),
    Column("Allocated", unit="MiB"),
    Column("Reserved", unit="MiB"),
    Column("Remark", "text"),
)


def table(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Table:
    """Return the table of a model from its measurements."""
    measured = read_json(Path(inputs["measured"][0]))["rows"]
    frame = suggest(pd.DataFrame(measured))
    groups = [
        Group(_heading(keys, rows), [_cells(row) for row in rows.to_dict("records")])
        for keys, rows in frame.groupby(KEYS, sort=False, dropna=False)
    ]
    frame["versions"] = [versions_text(json.dumps(v)) if v else "" for v in frame["versions"]]
    first = frame.iloc[0]
    if pd.isna(first["macs"]):
        raise PerturbError(
            f"{inputs['measured'][0]}: nothing of {settings['model']} could be measured: no batch "
            "fits. Allow more memory (efficiency.memory_mb), or smaller batches."
        )
    return Table(
        name=f"{PREFIX}{settings['model']}",
        title=f"Efficiency of {settings['model']}",
        frame=frame.drop(columns=["device", "seconds"]),
        columns=COLUMNS,
        groups=groups,
        caption=f"Inference of {settings['model']} on {first['channels']}x{first['image_size']}x"
        f"{first['image_size']} images: {int(first['parameters']):,} parameters, "
        f"{int(first['macs']):,} multiply-accumulates an image, {int(first['flops']):,} FLOPs (two "
        "each; convolutions and matrix products, attention's among them). Fresh random input on "
        "the device, warm-up, the device synchronised around each step. Allocated: on a GPU the "
        "allocator's most, on a CPU by how much the process grew; reserved: the same of what the "
        "allocator, or the process, held. Single stream is the 90th percentile at batch 1, offline "
        "the best throughput (MLPerf inference). The suggested batch size is the smallest within "
        f"{100 * WITHIN[0]:.0f} % of it.",
        warnings=[],
    )


def suggest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the columns `suggested` and `scenario`.

    `suggested`: the smallest batch size within 2 % of the best throughput of its device, precision
    and threads; `within_5_percent`: the same at 5 %. `scenario`: `single stream`, `offline`.
    """
    found = frame.assign(suggested=False, within_5_percent=False, scenario="")
    for name in ("device_name", "versions", "images_per_second", "macs", "flops", "parameters"):
        if name not in found:
            found[name] = None
    # A process that the kernel ended told nothing of these: they are what the others told.
    for name in ("device_name", "versions", "macs", "flops", "parameters"):
        found[name] = found[name].ffill().bfill()
    found["device_name"] = found["device_name"].fillna(found["device"])
    for _, rows in found.groupby(KEYS, sort=False, dropna=False):
        ok = rows[rows["status"] == "ok"].sort_values("batch_size")
        if ok.empty:
            continue
        best = ok["images_per_second"].max()
        for column, share in zip(("suggested", "within_5_percent"), WITHIN, strict=True):
            enough = ok[ok["images_per_second"] >= (1 - share) * best]
            found.loc[enough.index[0], column] = True
        found.loc[ok.index[ok["batch_size"] == 1], "scenario"] = "single stream"
        at = ok["images_per_second"].idxmax()
        before = found.loc[at, "scenario"]
        found.loc[at, "scenario"] = f"{before}, offline" if before else "offline"
    return found


def _heading(keys: Sequence[Any], rows: pd.DataFrame) -> str:
    device, precision, threads = keys
    on_cpu = f", {threads} thread{'s' if threads > 1 else ''}" if "cuda" not in device else ""
    return f"{device}, {precision}{on_cpu}"


def _cells(row: Mapping[str, Any]) -> list[Cell]:
    batch = Cell(str(row["batch_size"]))
    if row["status"] != "ok":
        return [batch, *(Cell("", tone="absent") for _ in range(6)), Cell(row["status"])]
    remarks = [row["scenario"], "suggested (2 %)" if row["suggested"] else ""]
    remarks.append("5 %" if row["within_5_percent"] and not row["suggested"] else "")
    return [
        batch,
        Cell(f"{row['images_per_second']:,.1f}"),
        *(Cell(f"{row[f'step_ms_{name}']:,.2f}") for name in ("median", "p90", "p99")),
        *(Cell(f"{row[f'memory_{name}_mb']:,.0f}") for name in ("allocated", "reserved")),
        Cell(", ".join(filter(None, remarks)), tone="better" if row["suggested"] else ""),
    ]
