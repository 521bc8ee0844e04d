"""What training tools write, as their documentation has it, gives the truth from `folder` alone."""

import json

import pytest
import yaml

from perturb.audit.plan import AuditPlan
from perturb.audit.study import build

from .test_dialects import audit, told
from .truth import DIFFERENCE, runs, table, write_all


def holds(found, kinds=frozenset()):
    difference, verdict, seen = told(found)
    assert difference == pytest.approx(DIFFERENCE, abs=2e-5)
    assert (verdict, seen) == ("holds", set(kinds))


def lightning(rows, order=("val_acc", "loss")):
    """Validation and training rows apart, `step` the last of the epoch."""
    found = []
    for row in rows:
        step = 10 * row["epoch"] + 9
        found += [{"epoch": row["epoch"], "step": step, name: row[name]} for name in order]
    return table(found, names=["epoch", "step", "loss", "val_acc"])


def lightning_with_steps(rows):
    """Training losses every few steps, between the validations."""
    found = []
    for row in rows:
        e = row["epoch"]
        for step in (3, 6, 9):
            found.append({"epoch": e, "step": 10 * e + step, "loss": row["loss"] + 0.01 * step})
        found.append({"epoch": e, "step": 10 * e + 9, "val_acc": row["val_acc"]})
    return table(found, names=["loss", "val_acc", "epoch", "step"])


def lightning_with_test(rows):
    """`trainer.test` adds a row of its own after the last epoch."""
    text = lightning(rows).replace("val_acc", "val_acc,test_acc")
    lines = [line if not i else line + "," for i, line in enumerate(text.strip().split("\n"))]
    return "\n".join([*lines, "20,200,,,0.5"]) + "\n"


def every(k, first):
    def write(rows):
        last = len(rows) - 1
        kept = {e for e in range(len(rows)) if (e - first) % k == 0} | {last}
        return table([r if r["epoch"] in kept else r | {"val_acc": None} for r in rows])

    return write


def one_based(rows):
    return table([row | {"epoch": row["epoch"] + 1} for row in rows])


def trainer_state(rows, steps=1):
    """Hugging Face's trainer_state.json; training losses `steps` times an epoch."""
    history = []
    for row in rows:
        for part in range(1, steps + 1):
            epoch = row["epoch"] + part / steps
            history.append({"epoch": epoch, "step": int(10 * epoch), "loss": row["loss"]})
        epoch = row["epoch"] + 1.0
        evaluated = {"eval_accuracy": row["val_acc"], "eval_loss": row["val_loss"]}
        history.append({"epoch": epoch, "step": int(10 * epoch)} | evaluated)
    history.append({"epoch": 20.0, "step": 200, "train_loss": 0.5, "train_runtime": 12.5})
    return json.dumps({"best_metric": None, "log_history": history, "global_step": 200}, indent=1)


def history(rows):
    """Keras: json.dump(model.fit(...).history)."""
    names = {
        "accuracy": "val_acc",
        "loss": "loss",
        "val_accuracy": "val_acc",
        "val_loss": "val_loss",
    }
    found = {name: [row[own] for row in rows] for name, own in names.items()}
    found["accuracy"] = [min(1.0, value + 0.03) for value in found["accuracy"]]
    return json.dumps(found)


def pandas_columns(rows):
    return json.dumps({name: {str(i): row[name] for i, row in enumerate(rows)} for name in rows[0]})


def ultralytics(rows):
    names = ["epoch", "train/loss", "metrics/accuracy_top1", "metrics/accuracy_top5", "val/loss"]
    head = ",".join(f"{name:>23}" for name in names)
    body = [
        (r["epoch"] + 1, r["loss"], r["val_acc"], (1 + r["val_acc"]) / 2, r["val_loss"])
        for r in rows
    ]
    return "\n".join([head, *(",".join(f"{v:>23.5g}" for v in row) for row in body)]) + "\n"


def timm(rows):
    found = [
        {
            "epoch": r["epoch"],
            "train_loss": r["loss"],
            "eval_loss": r["val_loss"],
            "eval_top1": round(100 * r["val_acc"], 3),
            "eval_top5": 99.0 + r["epoch"] / 100,
            "lr": 0.1,
        }
        for r in rows
    ]
    return table(found)


def keras_log(rows):
    found = [
        {"epoch": r["epoch"], "accuracy": min(1, r["val_acc"] + 0.02), "loss": r["loss"]}
        | {"val_accuracy": r["val_acc"], "val_loss": r["val_loss"]}
        for r in rows
    ]
    return table(found)


def by_epoch(rows):
    return json.dumps({f"epoch_{r['epoch']}": {"val": {"acc": r["val_acc"]}} for r in rows})


def torchvision_log(rows):
    lines = []
    for r in rows:
        lines += [f"Epoch: [{r['epoch']}]  [  0/391]  eta: 0:01:02  lr: 0.1  loss: 2.3"]
        lines += [f"Test:   Acc@1 {100 * r['val_acc']:.3f} Acc@5 99.000"]
    return "\n".join(lines)


def sentence_log(rows):
    return "\n".join(
        f"2024-01-{1 + r['epoch']:02d} 12:00:00,123 INFO epoch {r['epoch'] + 1}/20 - "
        f"train loss {r['loss']:.4f} - val acc {100 * r['val_acc']:.3f}%"
        for r in rows
    )


def equals_log(rows):
    return "\n".join(
        f"[epoch={r['epoch']}] loss={r['loss']:.4f} val_loss={r['val_loss']:.4f} "
        f"val_acc={r['val_acc']:.5f}"
        for r in rows
    )


FORMATS = {
    "lightning, validation first": ("csv", lightning),
    "lightning, training first": ("csv", lambda rows: lightning(rows, ("loss", "val_acc"))),
    "lightning, losses by step": ("csv", lightning_with_steps),
    "lightning, with a test row": ("csv", lightning_with_test),
    "every fifth, blanks": ("csv", every(5, 4)),
    "every fifth from the first": ("csv", every(5, 0)),
    "every fourth": ("csv", every(4, 3)),
    "every second in JSON": (
        "json",
        lambda rows: json.dumps(
            [r if r["epoch"] % 2 else {k: r[k] for k in ("epoch", "loss")} for r in rows]
        ),
    ),
    "newest first": ("csv", lambda rows: table(rows[::-1])),
    "newest first in JSON": ("json", lambda rows: json.dumps(rows[::-1])),
    "shuffled": ("csv", lambda rows: table(rows[10:] + rows[:10])),
    "odd rows after even ones": ("csv", lambda rows: table(rows[::2] + rows[1::2])),
    "epochs from 1": ("csv", one_based),
    "epochs as words": (
        "csv",
        lambda rows: table([r | {"epoch": f"{r['epoch'] + 1}/20"} for r in rows]),
    ),
    "Hugging Face": ("json", trainer_state),
    "Hugging Face, four losses an epoch": ("json", lambda rows: trainer_state(rows, 4)),
    "Hugging Face, newest first": (
        "json",
        lambda rows: json.dumps(
            {"log_history": json.loads(trainer_state(rows))["log_history"][::-1]}
        ),
    ),
    "list of epochs": ("json", json.dumps),
    "list of nested epochs": (
        "json",
        lambda rows: json.dumps(
            [{"train": {"loss": r["loss"]}, "val": {"acc": r["val_acc"]}} for r in rows]
        ),
    ),
    "epochs by their number": ("json", by_epoch),
    "JSON lines": ("jsonl", lambda rows: "\n".join(map(json.dumps, rows)) + "\n"),
    "JSON lines in a .json": ("json", lambda rows: "\n".join(map(json.dumps, rows))),
    "JSON lines, training and validation apart": (
        "jsonl",
        lambda rows: "\n".join(
            json.dumps({"epoch": r["epoch"], name: r[name]})
            for r in rows
            for name in ("loss", "val_acc")
        ),
    ),
    "numbers as text in JSON": (
        "json",
        lambda rows: json.dumps([{k: str(v) for k, v in r.items()} for r in rows]),
    ),
    "Keras History": ("json", history),
    "Keras History below a key": (
        "json",
        lambda rows: json.dumps({"history": json.loads(history(rows))}),
    ),
    "Keras CSVLogger": ("csv", keras_log),
    "pandas' columns": ("json", pandas_columns),
    "Ultralytics": ("csv", ultralytics),
    "timm": ("csv", timm),
    "log of torchvision's kind": ("log", torchvision_log),
    "log in sentences": ("log", sentence_log),
    "log with equals signs": ("txt", equals_log),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_alone_is_enough(tmp_path, name):
    suffix, write = FORMATS[name]
    write_all(tmp_path, write, suffix)
    found = audit(tmp_path)
    holds(found)
    assert all(len(file.curves) == 20 for file in found.read_files())
    assert "fields: test_accuracy is" in " ".join(found.guessed)
    said = yaml.safe_load(found.configuration)["audits"]["mine"]
    assert (said["pattern"], said["fields"]) == (found.plan.pattern, found.plan.fields)
    again = build(
        AuditPlan("mine", str(tmp_path), pattern=found.plan.pattern, fields=found.plan.fields)
    )
    assert not [text for text in again.guessed if text.startswith(("fields", "format"))]
    holds(again)


def test_a_log_is_searched_by_the_words_or_the_expression_that_the_configuration_has(tmp_path):
    write_all(tmp_path, lambda rows: sentence_log(rows).replace("val acc", "held out,"), "log")
    for field in ("held out", r"held out, ([\d.]+%)"):
        holds(audit(tmp_path, fields={"test_accuracy": field}))


RESTARTS = {
    "from the start, whole": lambda rows: table(rows[:8] + rows),
    "from a checkpoint": lambda rows: table(
        [*rows[:12], *(r | {"val_acc": r["val_acc"]} for r in rows[9:])]
    ).replace("\n11,", "\n11,", 1),
    "with the header again": lambda rows: table(rows[:8]) + table(rows),
    "with another header": lambda rows: (
        table(rows[:8]) + table(rows, names=["epoch", "val_acc", "loss"])
    ),
    "twice": lambda rows: table(rows[:8] + rows[:15] + rows),
    "an unfinished one last": lambda rows: table(rows + worse(rows)[:6]),
    "without an epoch": lambda rows: (
        table(rows[:8], names=["loss", "val_acc"]) + table(rows, names=["loss", "val_acc"])
    ),
    "in JSON lines": lambda rows: "\n".join(map(json.dumps, worse(rows)[:8] + rows)),
}


def worse(rows):
    return [row | {"val_acc": round(row["val_acc"] - 0.1, 5)} for row in rows]


@pytest.mark.parametrize("name", RESTARTS)
def test_the_last_complete_attempt_counts(tmp_path, name):
    suffix = "jsonl" if "JSON" in name else "csv"
    write_all(tmp_path, RESTARTS[name], suffix)
    found = audit(tmp_path)
    difference, verdict, kinds = told(found)
    assert difference == pytest.approx(DIFFERENCE, abs=2e-5)
    assert verdict == "holds"
    assert kinds <= {"restart"}
    assert all(len(file.curves) == 20 for file in found.read_files())


def test_a_restart_is_said(tmp_path):
    write_all(tmp_path, lambda rows: table(worse(rows)[:8] + rows))
    found = audit(tmp_path)
    assert "epochs 0 to 7, 0 to 19" in found.of_kind("restart")[0].text
    assert "started again" in found.claims[0].reason


def test_a_resumed_run_takes_its_beginning_from_the_attempt_before(tmp_path):
    write_all(tmp_path, lambda rows: table(rows[:12] + worse(rows)[9:]))
    found = audit(tmp_path)
    assert found.claims[0].difference == pytest.approx(DIFFERENCE, abs=2e-5)
    file = found.read_files()[0]
    assert file.accuracy[9] < file.accuracy[8]
    assert found.of_kind("restart")


def test_two_runs_in_one_file_without_names_are_refused(tmp_path):
    write_all(
        tmp_path, lambda rows: table([r for p in zip(rows, worse(rows), strict=True) for r in p])
    )
    found = audit(tmp_path, fields={"test_accuracy": "val_acc"})
    assert not found.claims
    assert "has two values of 'val_acc'" in found.of_kind("unreadable")[0].text


def wandb(metrics=("val_acc",), first="Step"):
    names = list(runs())
    columns = [first]
    for name in names:
        for metric in metrics:
            columns += [f"{name} - {metric}", f"{name} - {metric}__MIN", f"{name} - {metric}__MAX"]
    lines = [",".join(f'"{c}"' for c in columns)]
    for epoch in range(20):
        cells = [epoch]
        for rows in runs().values():
            cells += [rows[epoch][metric] for metric in metrics for _ in range(3)]
        lines.append(",".join(f'"{c}"' for c in cells))
    return "\n".join(lines) + "\n"


def long_table(key):
    rows = []
    for name, own in runs().items():
        method, _, seed = name.partition("_seed")
        names = {"run": name} if key == "run" else {"method": method, "seed": seed}
        rows += [names | row for row in own]
    return table(rows)


def staggered():
    """W&B's steps are its own: runs log at different ones, and cells are blank between."""
    lines = [",".join(["Step", *(f"{name} - val_acc" for name in runs())])]
    for place, (name, rows) in enumerate(runs().items()):
        for row in rows:
            cells = [""] * len(runs())
            cells[place] = str(row["val_acc"])
            lines.append(",".join([str(100 * row["epoch"] + place), *cells]))
        assert name
    head, *body = lines
    return "\n".join([head, *sorted(body, key=lambda line: int(line.partition(",")[0]))]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        wandb(),
        wandb(("val_acc", "loss")),
        wandb(first="epoch"),
        staggered(),
        long_table("run"),
        long_table("method"),
    ],
    ids=["W&B", "two metrics", "by epoch", "other steps", "column of runs", "method and seed"],
)
def test_a_file_of_several_runs(tmp_path, text):
    (tmp_path / "export.csv").write_text(text)
    found = audit(tmp_path)
    holds(found)
    assert {file.path for file in found.files} == {f"export.csv#{name}" for name in runs()}


def test_tensorboards_csv_files_of_one_run_are_put_together(tmp_path):
    for name, rows in runs().items():
        for tag, own in {"val_acc": "val_acc", "train_loss": "loss"}.items():
            lines = [f"17000{r['epoch']:02d}.5,{r['epoch']},{r[own]}" for r in rows]
            text = "\n".join(["Wall time,Step,Value", *lines]) + "\n"
            (tmp_path / f"run-{name}-tag-{tag}.csv").write_text(text)
    found = audit(tmp_path)
    holds(found)
    assert sum(file.state == "part of a run" for file in found.files) == 6
    assert found.read_files()[0].values("train_loss") is not None


def test_mlflows_file_store(tmp_path):
    for number, (name, rows) in enumerate(runs().items()):
        run = tmp_path / "mlruns" / "1" / f"{number:032x}"
        for folder in ("metrics", "tags", "params"):
            (run / folder).mkdir(parents=True)
        (run / "meta.yaml").write_text(f"run_name: {name}\n")
        (run / "tags" / "mlflow.runName").write_text(name)
        (run / "params" / "lr").write_text("0.1")
        for metric in ("val_acc", "loss"):
            lines = [f"17000000{r['epoch']:02d} {r[metric]} {r['epoch']}" for r in rows]
            (run / "metrics" / metric).write_text("\n".join(lines) + "\n")
    found = audit(tmp_path)
    holds(found)


FOLDERS = {
    "lightning_logs": "{method}/version_{seed}/metrics.csv",
    "a folder per run": "{method}_seed{seed}/results.csv",
    "data sets first": "toy/{method}/{seed}/log.csv",
    "perturb's own": "toy/model/{method}/seed{seed}/epochs.csv",
    "seeds as files": "{method}/seed_{seed}.csv",
    "runs with s": "{method}-s{seed}.csv",
    "fold": "{method}.fold{seed}.csv",
    "deep": "out/{method}_run{seed}/logs/x/metrics.csv",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_method_and_seed_are_guessed_from_paths(tmp_path, name):
    for run, rows in runs().items():
        method, _, seed = run.partition("_seed")
        path = tmp_path / FOLDERS[name].format(method=method, seed=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table(rows))
    (tmp_path / "README.txt").write_text("What this is.")
    (tmp_path / "config.json").write_text('{"lr": 0.1}')
    found = audit(tmp_path)
    holds(found)
    assert {file.seed for file in found.read_files()} == {"0", "1", "2"}
    strays = {file.path for file in found.files if file.state == "not a result file"}
    assert strays == {"README.txt", "config.json"}


@pytest.mark.parametrize(
    ("names", "baseline"),
    [
        (("ours", "adam"), "adam"),
        (("ours", "baseline"), "baseline"),
        (("resnet_lion", "resnet_sgd"), "resnet_sgd"),
        (("new-v2", "vanilla"), "vanilla"),
    ],
)
def test_the_baseline_is_guessed_from_its_name(tmp_path, names, baseline):
    for run, rows in runs().items():
        method, _, seed = run.partition("_seed")
        (tmp_path / f"{names[method == 'sgd_20']}_{seed}.csv").write_text(table(rows))
    found = audit(tmp_path)
    assert f"baseline: {baseline}, by its name" in found.guessed
    holds(found)


def test_no_baseline_is_said(tmp_path):
    for run, rows in runs().items():
        method, _, seed = run.partition("_seed")
        (tmp_path / f"{method.replace('gd_20', 'x')}_{seed}.csv").write_text(table(rows))
    found = audit(tmp_path)
    assert not found.claims
    assert any(text.startswith("no baseline") for text in found.guessed)
