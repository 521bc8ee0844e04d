"""The figure of layers of trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb.figures.sheet import make_sheet
from perturb.figures.style import COLOURS, GREY, REFERENCE, LineStyle, style
from perturb.studies.gradients.figures import LABELS, SMOKE


def make(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Return the figure of the layers in a chapter's table (`Part.make`)."""
    return draw(pd.read_csv(inputs["table"][0]), settings["scale"])


def draw(frame: pd.DataFrame, scale: str) -> Figure:
    """Draw decrease against learning rate in each measured layer, one row per network.

    `frame` as `layers.gather` returns it.
    """
    models = list(frame["model"].unique())
    columns = int(frame.groupby("model")["layer"].nunique().max())
    curves = frame[["estimator", "window"]].drop_duplicates().itertuples(index=False, name=None)
    looks = {(n, w): _layer_look(n, w, at) for at, (n, w) in enumerate(sorted(curves))}
    with style():
        sheet = make_sheet(
            len(models),
            columns,
            panel_height=1.9,
            legend=[
                (LABELS[name] + (f", eps {window:g}" if window else ""), drawn)
                for (name, window), drawn in looks.items()
            ],
            note=_note(frame),
            mark=SMOKE if scale == "smoke" else "",
        )
        for row, model in enumerate(models):
            of_model = frame[frame["model"] == model]
            layers = sorted(of_model["layer"].unique())
            for axes in sheet.axes[row, len(layers) :]:
                axes.set_axis_off()
            for axes, layer in zip(sheet.axes[row], layers, strict=False):
                _draw_layer(axes, of_model[of_model["layer"] == layer], looks)
                kind = "full-precision weights" if model.startswith("real_") else "binary weights"
                width = model.rsplit("_", 1)[1]
                axes.set_title(f"{width} channels, layer {layer}", fontsize=7.5)
                if axes is sheet.axes[row, 0]:
                    axes.set_ylabel(f"loss decrease\n{kind}")
                axes.set_xlabel("learning rate" if row == len(models) - 1 else "")
    return sheet.figure


def _layer_look(estimator: str, window: float, at: int) -> LineStyle:
    if estimator == "ste":
        return REFERENCE
    dashes = (0, (3, 1.2)) if estimator == "sign_flip" else "-"
    return LineStyle(COLOURS[at % len(COLOURS)], dashes, None, 1.2)


def _draw_layer(axes: Axes, frame: pd.DataFrame, looks: dict[tuple[str, float], LineStyle]) -> None:
    tops, texts = [1e-6], []
    for (name, window), part in frame.groupby(["estimator", "window"]):
        axes.plot(part["learning_rate"], part["decrease"], **looks[name, window].line())
        tops.append(part["decrease"].max())
        if name != "ste":
            label = "flip" if name == "sign_flip" else f"eps {window:g}"
            texts.append(f"{label}: {part['cosine'].iloc[0]:.2f}".replace("-", "−"))
    axes.set_ylim(-1.2 * max(tops), 1.25 * max(tops))
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set_xscale("log")
    axes.set_xticks([1e-5, 1e-3, 1e-1])
    axes.minorticks_off()
    axes.text(0.03, 0.04, "\n".join(texts), transform=axes.transAxes, fontsize=6.5, color=GREY)


def _note(frame: pd.DataFrame) -> str:
    first = frame.iloc[0]
    count = first["training_images"]
    images = "all images" if count == "all" else f"{int(count):,} images"
    return (
        f"Trained on {images} of {first['dataset']}, {first['method']}, seed {first['seed']}. "
        "In the corner, cosine to straight-through."
    )
