"""What a run records: every batch loss, and a row an epoch made from them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

BATCH_SERIES = (
    "train_loss",
    "gradient_norm",
    "perturbation_norm",
    "validation_loss",
    "test_loss",
)


@dataclass(frozen=True)
class Evaluation:
    """One pass over a split: batch losses [batches] in nats, their images' mean, the accuracy."""

    batch_losses: np.ndarray
    loss: float
    accuracy: float


@dataclass
class History:
    """Rows of `epochs.csv` and arrays of `batches.npz`, growing by an epoch at a time."""

    rows: list[dict[str, float]] = field(default_factory=list)
    batches: dict[str, list[np.ndarray]] = field(
        default_factory=lambda: {name: [] for name in BATCH_SERIES}
    )

    def add(
        self,
        settings: dict[str, float],
        splits: dict[str, Evaluation],
        gradient_norms: np.ndarray,
        perturbation_norms: np.ndarray,
        gradient_evaluations: int,
    ) -> None:
        """Add an epoch.

        Args:
            settings: epoch, learning_rate, radius, scale, perturbing.
            splits: `train`, `validation` and `test`, all at the weights before each update (train)
                or at the epoch's end (the others).
            gradient_norms, perturbation_norms: norm(g) and norm(e) of each step.
            gradient_evaluations: batch gradients computed since the run began.
        """
        row = dict(settings)
        for name, split in splits.items():
            row[f"{name}_loss"] = split.loss
            row[f"{name}_accuracy"] = split.accuracy
            row[f"{name}_loss_variance"] = float(np.var(split.batch_losses))
            row[f"{name}_loss_min"] = float(split.batch_losses.min())
            row[f"{name}_loss_max"] = float(split.batch_losses.max())
            self.batches[f"{name}_loss"].append(split.batch_losses)
        row["gradient_norm_mean"] = float(gradient_norms.mean())
        row["gradient_norm_variance"] = float(np.var(gradient_norms))
        row["perturbation_norm_mean"] = float(perturbation_norms.mean())
        row["gradient_evaluations"] = gradient_evaluations
        self.batches["gradient_norm"].append(gradient_norms)
        self.batches["perturbation_norm"].append(perturbation_norms)
        self.rows.append(row)

    def copy(self) -> History:
        """Return a history that does not grow with this one."""
        return History(list(self.rows), {name: list(rows) for name, rows in self.batches.items()})

    def csv(self) -> str:
        """Return `epochs.csv`: a header and one row an epoch, floats to their last digit."""
        text = io.StringIO()
        pd.DataFrame(self.rows).to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return `batches.npz`: each series as [epochs, batches]."""
        empty = np.empty((0, 0))
        return {name: np.stack(rows) if rows else empty for name, rows in self.batches.items()}
