"""Frames of a study of gradients that nobody ran: a few rows each, with numbers chosen by hand."""

from dataclasses import replace

import pandas as pd

from perturb.studies.gradients.table import LAYERS, Material

NOTHING = Material("gradients_made_up", "full", *[pd.DataFrame({"pretraining": []})] * 5)
# The straight-through cosines of the lab log, layers 1 to 4.
LOG_COSINES = (0.893, 0.897, 0.963, 0.905)


def material(**frames: list[dict]) -> Material:
    """Return the material with these rows in place of empty frames."""
    empty = {
        "windows": pd.DataFrame(columns=["pretraining", "estimator"]),
        "pooled": pd.DataFrame(columns=["pretraining", "estimator"]),
    }
    return replace(NOTHING, **(empty | {name: pd.DataFrame(rows) for name, rows in frames.items()}))


def row(estimator: str, evaluations: int = 500, dimension: int = 8, **values: object) -> dict:
    """Return a row of a table; what is not given is as the coordinate gradient's."""
    cosines = values.pop("cosines", (1, 1, 1, 1))
    return {
        "dimension": dimension,
        "pretraining": 0,
        "estimator": estimator,
        "evaluations": evaluations,
        "decrease_hidden_mean": 0.04,
        "decrease_all_mean": 0.04,
        "to_cdg_mean": 0.0,
        "to_cdg_p_value_holm": 1.0,
        **{f"cosine_to_cdg_layer_{i}": c for i, c in zip(LAYERS, cosines, strict=True)},
        **values,
    }


def batch(estimator: str, number: int, decrease: float, **values: object) -> dict:
    """Return a row of the reported batches: `decrease` in every column, cosines of 1."""
    steps = ("decrease_hidden", "decrease_hidden_at_0.1", "decrease_all", "decrease_all_at_0.1")
    return {
        "dimension": 8,
        "pretraining": 0,
        "estimator": estimator,
        "evaluations": 1,
        "seed": number % 2,
        "batch": number,
        "window": 0.0,
        "learning_rate_hidden": 0.1,
        **dict.fromkeys(steps, decrease),
        **{f"{kind}_layer_{i}": 1.0 for kind in ("cosine", "reliability") for i in LAYERS},
        **values,
    }


def record(dimension: int, samples: int, **values: object) -> dict:
    """Return what is kept of a run's record."""
    facts = {"device": "cpu", "threads": 1, "versions": {}, "code_sha256": "a"}
    kept = {"dimension": dimension, "samples": samples, "settings_sha256": "b"}
    return facts | kept | values
