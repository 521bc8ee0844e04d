"""The figures of a chapter, from its runs' files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from perturb.analysis.statistics import summarise
from perturb.analysis.tables import measured
from perturb.figures.sheet import Sheet, make_sheet, say_nothing_to_show
from perturb.figures.style import (
    COLOURS,
    GREY,
    PAGE_WIDTH,
    REFERENCE,
    LineStyle,
    line_style,
    style,
)
from perturb.studies.reid import diagrams, methods
from perturb.studies.reid.catalogue import drawn, noise_words
from perturb.studies.reid.material import Material, gather, noise_rate

_TERMS = (REFERENCE.colour, *COLOURS, GREY, "#8B5A2B")
SMOKE = "Smoke run: a few short epochs, not a result of the study"
_POINTS = 14  # of type, for each inch of a cell in which the word `diverged` stands
_TITLE = 26  # characters
_LARGE_WEIGHT = 3
_SMALL_SHARE = 40  # percent: an axis to 100 would lay such lines on each other
_WEIGHTS = (0, 0.5, 1, 2, 5, 10, 20)


def make(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Return the figure `settings["figure"]` of a chapter (`Part.make`)."""
    name = settings["figure"]
    mark = SMOKE if settings["scale"] == "smoke" else ""
    with style():
        if name == "diagrams":
            listed = [row["method"] for row in settings["plans"][0]["rows"]]
            return diagrams.draw(listed)
        return _DRAWN[name](gather(settings["plans"], inputs["records"]), mark)


def _looks(material: Material, names: Sequence[str]) -> dict[str, LineStyle]:
    """Return the style of each method, the same in all figures of a chapter."""
    reference = material.plans[0].reference
    others = [name for name in drawn(material.methods) if name != reference]
    found = {name: line_style(place) for place, name in enumerate(others)}
    return {name: found.get(name, REFERENCE) for name in names}


def _finished(material: Material) -> list[str]:
    """Return the methods that are drawn and have a run."""
    done = set(material.runs["method"])
    return [name for name in drawn(material.methods) if name in done]


def _marks(look: LineStyle) -> dict[str, Any]:
    return {"color": look.colour, "marker": look.marker or "o", "linestyle": "none"}


def by_noise(material: Material, mark: str) -> Figure:
    """Draw mAP of each method on each data set, with its interval and its seeds."""
    names = _finished(material)
    looks = {
        name: replace(look, marker=look.marker or "D", dashes="none")
        for name, look in _looks(material, names).items()
    }
    sheet = make_sheet(
        1, 1, panel_height=2.6, legend=[(name, looks[name]) for name in names], mark=mark
    )
    axes = sheet.axes[0, 0]
    for place, dataset in enumerate(material.datasets):
        plan = material.plans[place]
        for number, name in enumerate(names):
            values = list(measured(material.of(dataset, name), plan.measure).values())
            if not values:
                continue
            x = place + 0.7 * ((number + 0.5) / len(names) - 0.5)
            shown = 100 * np.array(values)
            axes.plot(
                np.full(len(shown), x), shown, markersize=1.8, alpha=0.5, **_marks(looks[name])
            )
            found = summarise(values)
            low, high = found.low, found.high
            middle, ends = shown.mean(), None
            if low is not None and high is not None:
                ends = [[middle - 100 * low], [100 * high - middle]]
            axes.errorbar(
                [x], [middle], yerr=ends, markersize=4.5, elinewidth=1, capsize=2,
                **_marks(looks[name]),
            )  # fmt: skip
    axes.set_xticks(range(len(material.datasets)))
    axes.set_xticklabels([_in_two_lines(noise_words(dataset)) for dataset in material.datasets])
    axes.set(ylabel="Test mAP, last epoch (%)", xlim=(-0.5, len(material.datasets) - 0.5))
    axes.set_ylim(bottom=0)
    axes.grid(axis="x", visible=False)
    return sheet.figure


def _by_epoch(
    material: Material,
    names: Sequence[str],
    datasets: Sequence[str],
    rows: Sequence[tuple[str, str]],
    mark: str,
) -> Sheet:
    """Draw columns of the epochs, in percent: a row of panels per (column, label)."""
    looks = _looks(material, names)
    sheet = make_sheet(
        len(rows),
        len(datasets),
        panel_height=1.75,
        legend=[(name, looks[name]) for name in names],
        mark=mark,
        sharex=True,
        sharey="row",
    )
    for column, dataset in enumerate(datasets):
        for row, (series, label) in enumerate(rows):
            axes = sheet.axes[row, column]
            for name in names:
                mean = 100 * material.mean(dataset, name, series)
                axes.plot(mean.index + 1, mean, **looks[name].marked(len(mean)))
            if not axes.lines or all(not len(line.get_xdata()) for line in axes.lines):
                say_nothing_to_show(axes, "no finished epoch")
            if row == 0:
                axes.set_title(_in_two_lines(noise_words(dataset)))
            if row == len(rows) - 1:
                axes.set_xlabel("Epochs completed")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if column == 0:
                axes.set_ylabel(label)
    return sheet


def curves(material: Material, mark: str) -> Figure:
    """Draw mAP, and training accuracy on given and true labels, over the epochs."""
    rows = (
        ("test_mAP", "Test mAP (%)"),
        ("train_accuracy_net0", "Given labels (%)"),
        ("train_true_accuracy_net0", "True labels (%)"),
    )
    return _by_epoch(material, _finished(material), material.datasets, rows, mark).figure


def selection(material: Material, mark: str) -> Figure:
    """Draw what is selected, its precision and its recall, over the epochs."""
    rows = (
        ("selected_fraction_net0", "Selected (%)"),
        ("selection_precision_net0", "Precision (%)"),
        ("selection_recall_net0", "Recall (%)"),
    )
    names = [name for name in _finished(material) if methods.method(name).selects]
    noisy = [dataset for dataset in material.datasets if noise_rate(dataset)]
    sheet = _by_epoch(material, names, noisy, rows, mark)
    for column, dataset in enumerate(noisy):
        axes = sheet.axes[1, column]
        axes.axhline(100 * (1 - noise_rate(dataset)), color=GREY, linewidth=0.8, zorder=1)
    for row in sheet.axes:  # whose panels share the axis
        highest = max((axes.dataLim.ymax for axes in row if axes.has_data()), default=100)
        ends = (0, None) if 0 < highest < _SMALL_SHARE else (-3, 103)
        row[0].set_ylim(*ends)
    return sheet.figure


def weights(material: Material, mark: str) -> Figure:
    """Draw the mean weight of images with their true label and with a wrong one."""
    names = _finished(material)
    # Dashes tell the images apart here, so markers do what they do elsewhere.
    looks = {name: replace(look, dashes="-") for name, look in _looks(material, names).items()}
    noisy = [dataset for dataset in material.datasets if noise_rate(dataset)]
    sheet = make_sheet(
        1,
        len(noisy),
        panel_height=2.4,
        legend=[(name, looks[name]) for name in names],
        note="Solid: images with their true label. Dashed: images with a wrong label.",
        mark=mark,
        sharey=True,
    )
    for axes, dataset in zip(sheet.axes[0], noisy, strict=True):
        for name in names:
            for kind, dashes in (("clean", "-"), ("wrong", (0, (3, 1.5)))):
                mean = material.mean(dataset, name, f"{kind}_weight_net0")
                drawn_as = looks[name].marked(len(mean)) | {"linestyle": dashes}
                axes.plot(mean.index + 1, mean, **drawn_as)
        axes.set(title=_in_two_lines(noise_words(dataset)), xlabel="Epochs completed")
    sheet.axes[0, 0].set_ylabel("Mean weight")
    if sheet.axes[0, 0].get_ylim()[1] > _LARGE_WEIGHT:  # ACT's grow, those of the others end at 1
        sheet.axes[0, 0].set_yscale("symlog", linthresh=1)
        sheet.axes[0, 0].set_yticks(_WEIGHTS, [f"{weight:g}" for weight in _WEIGHTS])
        sheet.axes[0, 0].set_ylim(bottom=-0.05)
    return sheet.figure


def _in_two_lines(words: str) -> str:
    """Return the words of a data set's noise as a narrow panel has place for them."""
    return words.replace(" label", "\nlabel")


def _title(name: str) -> str:
    """Return a method's name in lines that a third of a page has place for."""
    lines = textwrap.wrap(name.replace("_", "_ "), _TITLE, break_on_hyphens=False)
    return "\n".join(line.replace("_ ", "_") for line in lines)


def losses(material: Material, mark: str) -> Figure:
    """Draw each term of each network's loss over the epochs, a panel per method."""
    names = _finished(material)
    dataset = max(material.datasets, key=noise_rate)
    columns = min(3, len(names))
    terms = list(
        dict.fromkeys(t for name in names for net in methods.method(name).terms for t in net)
    )
    # Dashes tell the networks apart, so every term has a colour of its own.
    looks = {
        term: LineStyle(_TERMS[place % len(_TERMS)], "-", None, 1.1)
        for place, term in enumerate(terms)
    }
    sheet = make_sheet(
        -(-len(names) // columns),
        columns,
        panel_height=1.75 + 0.15 * max(_title(name).count("\n") + 1 for name in names),
        legend=[(term.replace("_", " "), looks[term]) for term in terms],
        note=f"{dataset}. Solid: first network. Dashed: second.",
        mark=mark,
    )
    for axes in sheet.axes.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(sheet.axes.flat, names, strict=False):
        _losses_of(axes, material, dataset, name, looks)
    return sheet.figure


def _losses_of(
    axes: Axes, material: Material, dataset: str, name: str, looks: Mapping[str, LineStyle]
) -> None:
    method, frame = methods.method(name), material.curves
    own = frame[(frame["dataset"] == dataset) & (frame["method"] == name)]
    own = own[own["seed"] == own["seed"].min()]
    for network, terms in enumerate(method.terms):
        for term in terms:
            values = pd.to_numeric(own[f"train_{term}_net{network}"]) if len(own) else own["epoch"]
            dashes = (0, (3, 1.5)) if network else "-"
            axes.plot(
                own["epoch"] + 1, values, color=looks[term].colour, linestyle=dashes, linewidth=1.1,
                marker="o" if pd.notna(values).sum() == 1 else None, markersize=3,
            )  # fmt: skip
    if method.first_epochs and method.first_epochs < method.epochs:
        axes.axvline(method.first_epochs + 0.5, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(title=_title(name), xlabel="Epoch", ylabel="Nats")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if own.empty:
        say_nothing_to_show(axes, "no finished epoch")


def rates(material: Material, mark: str) -> Figure:
    """Draw mAP by the learning rates of both networks, a panel per kind of method."""
    runs = material.runs
    kinds: dict[str, list[str]] = {}
    for name in material.methods:
        method = methods.method(name)
        if method.definition.networks == 2 and method.values["lr0"] and method.values["lr1"]:
            rest = {**method.values, "lr0": 0.0, "lr1": 0.0}
            slug = methods.parse(name)
            kind = methods.format(type(slug)(slug.head, rest, slug.epochs))
            kinds.setdefault(kind, []).append(name)
    dataset = max(material.datasets, key=noise_rate)
    note = f"{dataset}, {next(iter(kinds))} with the settings above a panel. Grey: diverged."
    sheet = make_sheet(1, max(1, len(kinds)), panel_height=2.6, note=note, mark=mark)
    own = [
        runs[runs["method"].isin(names) & (runs["dataset"] == dataset)] for names in kinds.values()
    ]
    done = pd.concat(own)
    scores = done.loc[done["status"] == "ok", "last_test_mAP"].astype(float)
    best = 100 * scores.max() if len(scores) else 1.0
    tried = [sorted(done[key].unique()) for key in ("lr0", "lr1")]
    cell = 0.72 * PAGE_WIDTH / (len(kinds) * max(1, len(tried[0])))
    for axes, kind, part in zip(sheet.axes[0], kinds, own, strict=True):
        _rates_of(axes, part, best, tried, min(7.0, _POINTS * cell))
        axes.set_title(_differing(kind, list(kinds)))
    return sheet.figure


def _differing(kind: str, kinds: Sequence[str]) -> str:
    """Return the settings of a name that other names have otherwise: `warmup 2, clip 0`."""
    values = {name: methods.method(name).values for name in kinds}
    keys = [
        key
        for key in values[kind]
        if any(other.get(key) != values[kind][key] for other in values.values())
    ]
    return ", ".join(f"{key} {values[kind][key]}".removesuffix(".0") for key in keys)


def _rates_of(
    axes: Axes, own: pd.DataFrame, best: float, tried: Sequence[list[float]], size: float
) -> None:
    """Draw the map of one kind of method over all rates tried; `size` is of the word `diverged`."""
    first, second = tried
    grid = np.full((len(second), len(first)), np.nan)
    for (lr0, lr1), part in own.groupby(["lr0", "lr1"]):
        done = part.loc[part["status"] == "ok", "last_test_mAP"].astype(float)
        at = (second.index(lr1), first.index(lr0))
        text = f"{100 * done.mean():.1f}"
        if len(done):
            grid[at] = 100 * done.mean()
        else:
            text = f"diverged\nstep {part['diverged_at_step'].min():.0f}"
            corner = (at[1] - 0.5, at[0] - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor="#D8D8D8", linewidth=0))
        dark = len(done) and grid[at] < 0.6 * best
        axes.text(
            at[1], at[0], text, ha="center", va="center", fontsize=7 if len(done) else size,
            color="white" if dark else "black",
        )  # fmt: skip
    axes.imshow(grid, origin="lower", cmap="viridis", vmin=0, vmax=best, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(first)), [f"{rate:g}" for rate in first])
    axes.set_yticks(range(len(second)), [f"{rate:g}" for rate in second])
    axes.set(xlabel="Learning rate, first network", ylabel="Second network")


_DRAWN: dict[str, Callable[[Material, str], Figure]] = {
    "mAP": by_noise,
    "curves": curves,
    "selection": selection,
    "weights": weights,
    "losses": losses,
    "rates": rates,
}
