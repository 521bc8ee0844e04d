"""What a run records: one row per epoch, and every batch's numbers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd


class History:
    """Rows of `epochs.csv` and arrays of `batches.npz`, growing by an epoch at a time.

    `series` are the names of the arrays, in their order in the file; `batches` has an array for
    each epoch of each.
    """

    def __init__(
        self,
        series: Iterable[str],
        rows: Iterable[dict[str, Any]] = (),
        batches: Mapping[str, Iterable[np.ndarray]] | None = None,
    ) -> None:
        self.rows = list(rows)
        self.batches = {name: list(batches[name]) if batches else [] for name in series}

    def add(self, row: Mapping[str, Any], series: Mapping[str, np.ndarray]) -> None:
        """Add an epoch: its row, and of each series its array [batches].

        ValueError where it has other columns, or other or longer series, than the epoch before:
        what an epoch does not have is NaN.
        """
        if series.keys() != self.batches.keys():
            raise ValueError(f"series {sorted(series)}, expected {sorted(self.batches)}")
        if self.rows and list(row) != list(self.rows[0]):
            raise ValueError(f"columns {list(row)}, before {list(self.rows[0])}")
        for name, epochs in self.batches.items():
            if epochs and series[name].shape != epochs[0].shape:
                raise ValueError(f"{name}: {series[name].shape}, before {epochs[0].shape}")
            epochs.append(series[name])
        self.rows.append(dict(row))

    def copy(self) -> History:
        """Return a history that does not grow with this one."""
        return History(self.batches, self.rows, self.batches)

    def csv(self) -> str:
        """Return `epochs.csv`: a header and one row per epoch, floats to their last digit."""
        text = io.StringIO()
        pd.DataFrame(self.rows).to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return `batches.npz`: each series as [epochs, batches]."""
        empty = np.empty((0, 0))
        return {name: np.stack(rows) if rows else empty for name, rows in self.batches.items()}
