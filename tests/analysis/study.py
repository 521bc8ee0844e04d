"""A made-up study on disk: runs in the schema of a real one, with known numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
from msgspec.structs import replace

from perturb import names
from perturb.analysis import display, printers, runs, tables
from perturb.analysis.parts import comparison_parts
from perturb.analysis.plan import Plan, Row
from perturb.files import sha256_file, write_json
from perturb.study import Chapter

STEPS = 14
SPLITS = ("train", "validation", "test")
SECTIONS = {
    "Baselines": [
        "sgd_30",
        "sgd_60",
        "ugd_30",
        "pugd_30",
        "samx1_30",
        "sam_0.05_30",
        "asam_0.5_30",
        "gsam_0.05_0.01_30",
        "looksam_0.05_30",
        "aesam_0.05_30",
        "samt_0.05_27_30",
        "pugdt_27_30",
    ],
    "Radius": [
        "pugdr_const_0.5_30",
        "pugdr_icos_2_0.01_30",
        "pugdr_isin_2_0.01_30",
        "pugdr_cos_1.5_0.5_30",
        "pugdr_sin_2_0_30",
    ],
    "Scale": [
        "pugds_icos_2_1_30",
        "pugds_isin_3_0.8_30",
        "pugds_cos_1.5_0_30",
        "pugds_sin_2_0_30",
    ],
    "Radius and scale": ["pugdrs_isin2_0.01_isin2_0.1_30", "pugdrs_cos2_0_cos3_1.5_30"],
    "Timing": [
        "pugdt_6_30",
        "pugdt_delta_30xi5mu3_t3",
        "pugdt_var_30init_t5gamma0.2_k10",
        "pugdt_accdrop_30",
    ],
}
ORDER = [method for methods in SECTIONS.values() for method in methods]
DIVERGED = ("pugdr_icos_2_0.01_30", 2)
PUBLISHED = {"pugd_30": 0.9353, "pugdr_isin_2_0.01_30": 0.9417, "pugdt_6_30": 0.925}
LABELS = {"sgd_60": "SGD at equal gradient evaluations"}


def make_row(method, section="Baselines", seeds=(0, 1, 2), **changes):
    """Return a row of a plan, as a study of such names makes it."""
    parsed = names.parse(method)
    given = {"spellings": (names.format(parsed),), "model": parsed.model or ""}
    given |= {"timed": parsed.timing is not None, "epochs": parsed.epochs}
    return Row(method=method, section=section, seeds=tuple(seeds), **(given | changes))


def make_plan(seeds=(0, 1, 2), dataset="digits", model="cnn", **changes):
    """Return the plan of the made-up study's table."""
    rows = tuple(
        make_row(
            method,
            section,
            () if method == "pugds_sin_2_0_30" else seeds,
            label=LABELS.get(method, ""),
            published=PUBLISHED.get(method),
        )
        for section, methods in SECTIONS.items()
        for method in methods
    )
    plan = {
        "study": "made_up",
        "title": "When and how much to perturb",
        "chapter": dataset,
        "dataset": dataset,
        "model": model,
        "rows": rows,
        "sections": tuple(SECTIONS),
        "reference": "pugd_30",
        "sgd": "sgd_30",
        "sgd_double": "sgd_60",
        "epochs": 30,
        "published": "by a notebook",
    }
    return Plan(**(plan | changes))


def chapter_of(plan, **changes):
    """Return the chapter of a plan: its table, and the figures of every comparison."""
    given = {
        "study": plan.study,
        "name": plan.chapter,
        "title": plan.dataset,
        "asked": True,
        "measure": plan.measure,
        "runs": plan.runs(),
        "parts": tuple(comparison_parts(plan, [run.record for run in plan.runs()])),
        "words": "perturb.report.words:comparison",
        "settings": {"plan": plan.values()},
        "scale": plan.scale,
    }
    return Chapter(**(given | changes))


def _last_accuracy(method, seed):
    """Return a last-epoch accuracy in steps of 1/360, as the digits have them."""
    position = ORDER.index(method) if method in ORDER else 3
    right = 352 + (position * 7) % 5 + (seed * (3 + position % 3)) % 4
    if method.startswith("pugdr_icos"):
        right -= 40
    return min(right, 360) / 360


def make_epochs(method, seed, epochs, last_accuracy):
    """Return (epochs.csv as a frame, arrays of batches.npz) of one run."""
    random = np.random.default_rng(seed + 1000 * len(method))
    parsed = names.parse(method)
    t = np.arange(epochs)
    level = 0.02 + 0.05 * (len(method) % 7) / 7
    train_loss = 2.2 * np.exp(-t / (0.12 * epochs)) + level
    test_loss = 2.1 * np.exp(-t / (0.12 * epochs)) + 0.06 + level * 0.5
    loss = {"train": train_loss, "test": test_loss * (1 + 0.04 * random.standard_normal(epochs))}
    accuracy = {
        "train": 1 - 0.9 * np.exp(-t / (0.1 * epochs)),
        "test": last_accuracy * (1 - 0.85 * np.exp(-t / (0.08 * epochs)))
        + 0.004 * random.standard_normal(epochs) * np.linspace(1, 0.2, epochs),
    }
    accuracy["test"] = np.clip(accuracy["test"], 0, 1)
    accuracy["test"][-1:] = last_accuracy
    loss["validation"], accuracy["validation"] = loss["test"], accuracy["test"]
    batches = {
        f"{split}_loss": loss[split][:, None]
        * random.gamma(9, 1 / 9, (epochs, STEPS if split == "train" else 4))
        for split in SPLITS
    }
    batches["validation_loss"] = batches["test_loss"]
    batches["gradient_norm"] = random.gamma(4, 0.2, (epochs, STEPS))
    batches["perturbation_norm"] = np.full((epochs, STEPS), 0.0 if parsed.rule == "sgd" else 1.0)
    start = 6 if parsed.timing else 0
    perturbing = (t >= start) & (parsed.rule not in ("sgd", "ugd"))
    columns = {
        "epoch": t,
        "learning_rate": 0.05 * (1 + np.cos(np.pi * t / epochs)),
        "radius": np.where(perturbing, 1.0, 0.0),
        "scale": np.where(perturbing, 1.0, 0.0),
        "perturbing": perturbing.astype(int),
    }
    for split in SPLITS:
        columns[f"{split}_loss"] = loss[split]
        columns[f"{split}_accuracy"] = accuracy[split]
        columns[f"{split}_loss_variance"] = batches[f"{split}_loss"].var(axis=1)
        columns[f"{split}_loss_min"] = batches[f"{split}_loss"].min(axis=1)
        columns[f"{split}_loss_max"] = batches[f"{split}_loss"].max(axis=1)
    columns["gradient_norm_mean"] = batches["gradient_norm"].mean(axis=1)
    columns["gradient_norm_variance"] = batches["gradient_norm"].var(axis=1)
    columns["perturbation_norm_mean"] = batches["perturbation_norm"].mean(axis=1)
    columns["gradient_evaluations"] = np.cumsum(STEPS * (1 + perturbing.astype(int)))
    return pd.DataFrame(columns), batches


def write_run(
    folder, method, seed, *, accuracy=None, diverged=False, dataset="digits", series=None, **changes
):
    """Write one run's folder under `folder` and return the path of its record.json.

    `series` are further columns of its epochs with their last values. `changes` replace top-level
    keys of the record; `specification` is merged into its own.
    """
    epochs = names.parse(method).epochs
    accuracy = _last_accuracy(method, seed) if accuracy is None else accuracy
    frame, batches = make_epochs(method, seed, epochs, accuracy)
    for name, last in (series or {}).items():
        frame[name] = last * (2 - np.linspace(0, 1, len(frame)))
    if diverged:
        frame = frame.iloc[: epochs // 3]
        batches = {name: rows[: epochs // 3] for name, rows in batches.items()}
    measures = [f"{s}_{m}" for s in SPLITS for m in ("loss", "accuracy")] + list(series or {})
    best = frame.loc[frame["validation_accuracy"].idxmax()]
    timed = names.parse(method).timing is not None
    model = changes.get("model", "cnn")
    specification = {
        "protocol": "from400",
        "augment": "standard",
        "batch_size": 100,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "schedule_clock": "epoch",
        "bn_second_pass": False,
        "checkpoint_every": 0,
        "limit": None,
        "split_seed": 0,
        "threads": 1,
    } | changes.pop("specification", {})
    record = {
        "dataset": dataset,
        "model": model,
        "method": method,
        "seed": seed,
        "scale": "full",
        "specification": specification,
        "status": "diverged" if diverged else "ok",
        "diverged_at_step": len(frame) * STEPS + 3 if diverged else None,
        "epochs_completed": len(frame),
        "steps_per_epoch": STEPS,
        "gradient_evaluations": int(frame["gradient_evaluations"].iloc[-1]),
        "trigger_epoch": 5 + seed if timed else None,
        "perturbing_from": 6 + seed if timed else None,
        "last": {name: float(frame[name].iloc[-1]) for name in measures},
        "best": {
            "epoch": int(best["epoch"]),
            "validation_accuracy": float(best["validation_accuracy"]),
            "test_accuracy": float(best["test_accuracy"]),
            **{name: float(best[name]) for name in series or {}},
        },
        "device": "cpu (Made-up CPU @ 2.00GHz)",
        "threads": 1,
        "versions": {"python": "3.11.2", "torch": "2.14.0", "numpy": "2.4.6", "perturb": "0.1.0"},
        "reproducible": "bit-identical on this kind of device with these versions and threads",
        "images": {"train": 1437, "validation": 360, "test": 360},
        "partial_data": False,
        "sha256": {
            "data": "d" * 64,
            "split": "5" * 64,
            "initial_weights": f"{seed}" * 64,
            "final_weights": "f" * 64,
            "best_weights": "b" * 64,
            "code": "c" * 64,
        },
    } | changes
    path = Path(folder) / "runs" / dataset / model / method / f"seed{seed}" / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path.with_name("epochs.csv"), index=False, lineterminator="\n")
    np.savez(path.with_name("batches.npz"), **batches)
    files = {name: sha256_file(path.with_name(name)) for name in ("epochs.csv", "batches.npz")}
    write_json(path, record | {"sha256": record["sha256"] | {"files": files}})
    return path


def write_study(folder, plan, missing=(), **changes):
    """Write every run that `plan` asks for but those in `missing`; return the records' paths."""
    return [
        write_run(
            folder,
            row.method,
            seed,
            diverged=(row.method, seed) == DIVERGED,
            dataset=plan.dataset,
            **{"model": plan.model, **changes},
        )
        for row in plan.rows
        for seed in row.seeds
        if row.method not in missing and (row.method, seed) not in missing
    ]


def small_plan(methods=("sgd_30", "pugd_30", "sam_0.05_30"), seeds=(0, 1, 2), **changes):
    rows = tuple(make_row(method, seeds=seeds) for method in methods)
    return make_plan(rows=rows, sgd_double="", **changes)


def with_row(plan, number, **changes):
    """Return the plan with one of its rows changed."""
    rows = list(plan.rows)
    rows[number] = replace(rows[number], **changes)
    return replace(plan, rows=tuple(rows))


def printed(table, form):
    return getattr(printers, form)(display.table_of(table))


def small_table(folder, values, plan=None, **changes):
    """Return the table of a few methods with given last-epoch accuracies by seed."""
    plan = plan or small_plan(tuple(values))
    paths = [
        write_run(folder, method, seed, accuracy=accuracy, **changes)
        for method, accuracies in values.items()
        for seed, accuracy in enumerate(accuracies)
    ]
    return tables.build(plan, runs.collect(paths))


def row_of(table, method):
    return table.frame.set_index("method").loc[method]


def table_runs(folder):
    return runs.collect(sorted(folder.rglob("record.json")))
