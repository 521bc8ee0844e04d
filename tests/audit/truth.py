"""Folders of six runs whose truth is known, written as any tool writes them.

Truth: pugd_20 ends 2.0 points above sgd_20, and the difference holds.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

EPOCHS = 20
NOISE = (-0.001, 0.0, 0.001)
LAST = {"pugd_20": 0.914, "sgd_20": 0.894}
DIFFERENCE = 0.02


def runs() -> dict[str, list[dict[str, float]]]:
    """One list of epochs per run, by `<method>_seed<seed>`; accuracies are fractions."""
    found = {}
    for method, last in LAST.items():
        for seed, offset in enumerate(NOISE):
            random = np.random.default_rng(hash_of(method) + seed)
            rise = 1 - 0.78 * np.exp(-np.arange(EPOCHS) / 4)
            curve = (last + offset) * rise / rise[-1] + random.normal(0, 0.0005, EPOCHS)
            curve[-1] = last + offset
            loss = 2 * np.exp(-np.arange(EPOCHS) / 6) * np.exp(random.normal(0, 0.01, EPOCHS))
            found[f"{method}_seed{seed}"] = [
                {
                    "epoch": epoch,
                    "loss": round(float(loss[epoch]), 5),
                    "val_loss": round(float(loss[epoch]) + 0.1, 5),
                    "val_acc": round(float(curve[epoch]), 5),
                }
                for epoch in range(EPOCHS)
            ]
    return found


def hash_of(method: str) -> int:
    """A number of the method's own, the same in every process."""
    return sum(map(ord, method))


def table(rows: list[dict], separator: str = ",", names: list[str] | None = None) -> str:
    """A plain table of the rows; None is a blank cell."""
    names = names or list(rows[0])
    lines = [separator.join(names)]
    for row in rows:
        cells = ("" if row.get(name) is None else str(row[name]) for name in names)
        lines.append(separator.join(cells))
    return "\n".join(lines) + "\n"


def write_all(
    folder: Path, write: Callable[[list[dict]], str | bytes], suffix: str = "csv"
) -> None:
    """Write every run to `<folder>/toy/<run>.<suffix>` as `write` has it."""
    for name, rows in runs().items():
        path = folder / "toy" / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = write(rows)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
