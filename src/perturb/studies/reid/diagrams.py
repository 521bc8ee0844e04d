"""Diagrams of the methods, drawn from their definitions: networks, losses, what flows."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from perturb.figures.style import COLOURS, GREY, PAGE_WIDTH
from perturb.studies.reid import methods
from perturb.studies.reid.methods import Method, Stage

_NETWORK = "#DDE8F3"
_SOURCE = dict(zip(methods.SOURCES, (*COLOURS, GREY), strict=True))
_SHORT = {
    methods.GIVEN: "y",
    methods.OWN: "own p",
    methods.PEER: "peer p′",
    methods.SELECTION: "S",
    methods.MEMORY: "memory",
    methods.STRONG: "strong",
    methods.MIXTURE: "mixture",
    methods.FEATURES: "features",
}
_ROW = 0.17  # inches of a term
_STAGE = 0.34  # inches of a stage beside its terms
_HEAD = 0.36
_LINE = 100  # characters of the line of names
_LEGEND = 0.36


def draw(names: Sequence[str]) -> Figure:
    """Draw the methods of runs' names, one below the other; settings that change nothing once.

    Two methods whose stages are the same (another learning rate) share a diagram.
    """
    shown: dict[tuple[str, tuple[Stage, ...]], tuple[Method, list[str]]] = {}
    for name in names:
        method = methods.method(name)
        key = (method.definition.head, method.stages)
        shown.setdefault(key, (method, []))[1].append(name)
    heights = [_height(method) for method, _ in shown.values()]
    figure = Figure(figsize=(PAGE_WIDTH, sum(heights) + _LEGEND))
    top, whole = sum(heights), sum(heights) + _LEGEND
    for (method, own), height in zip(shown.values(), heights, strict=True):
        top -= height
        axes = figure.add_axes((0.01, (top + _LEGEND) / whole, 0.98, height / whole))
        _draw_method(axes, method, own, height)
    _legend(figure, whole)
    return figure


def _shared(stage: Stage) -> list[tuple[str, methods.Loss]]:
    """Return each loss of a stage with the networks that have it: one entry where all share it."""
    if len(stage.losses) == 2 and stage.losses[0] == stage.losses[1]:
        return [("net 0  |  net 1", stage.losses[0])]
    return [(f"net {network}", loss) for network, loss in enumerate(stage.losses)]


def _lines(stage: Stage) -> int:
    return sum(len(loss) for _, loss in _shared(stage))


def _height(method: Method) -> float:
    """Return the inches of a method: its stages stand below each other."""
    return _HEAD + sum(_STAGE + _ROW * _lines(stage) for stage in method.stages)


def _draw_method(axes: Axes, method: Method, names: Sequence[str], height: float) -> None:
    axes.set(xlim=(0, PAGE_WIDTH * 0.98), ylim=(0, height))
    axes.set_axis_off()
    approximation = method.definition.approximation
    note = f" (approximation: {approximation})" if approximation else ""
    axes.text(0, height - 0.14, method.definition.title + note, weight="bold", fontsize=8.5)
    axes.text(0, height - 0.28, _listed(names), fontsize=7, color=GREY)
    top = height - _HEAD
    for number, stage in enumerate(method.stages):
        bottom = top - _STAGE - _ROW * _lines(stage)
        _draw_stage(axes, method, number, top, bottom)
        top = bottom


def _listed(names: Sequence[str]) -> str:
    """Return the first names, as many as a line has place for, and how many more there are."""
    shown = [names[0]]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > _LINE:
            break
        shown.append(name)
    left = len(names) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _epochs(method: Method, number: int) -> str:
    """Return which epochs a stage has, counted from 1: `epochs 1-21`, also where they alternate."""
    own = [e + 1 for e in range(method.epochs) if method.stage_number(e) == number]
    spans: list[list[int]] = []
    for epoch in own:
        if spans and spans[-1][1] == epoch - 1:
            spans[-1][1] = epoch
        else:
            spans.append([epoch, epoch])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in spans) or "none"


def _draw_stage(axes: Axes, method: Method, number: int, top: float, bottom: float) -> None:
    stage = method.stages[number]
    axes.add_patch(
        FancyBboxPatch(
            (0.05, bottom + 0.03), PAGE_WIDTH * 0.98 - 0.1, top - bottom - 0.06,
            boxstyle="round,pad=0,rounding_size=0.05", facecolor="#FAFAFA", edgecolor="#D0D0D0",
            linewidth=0.6,
        )
    )  # fmt: skip
    batches = "batches balanced by identity" if stage.balanced else "batches in turn"
    words = f"Stage {stage.name}: epochs {_epochs(method, number)}, {batches}"
    if stage.selection:
        words += f". S: {stage.selection}"
    axes.text(0.15, top - 0.16, words, fontsize=7)
    y = top - 0.24
    for networks, loss in _shared(stage):
        middle = y - _ROW * len(loss) / 2
        for term in loss:
            y -= _ROW
            _draw_term(axes, term, y + _ROW / 2, middle)
        _box(axes, *((0.72, middle, 1.1) if "|" in networks else (1.0, middle, 0.55)), networks)


def _draw_term(axes: Axes, term: methods.Term, y: float, network: float) -> None:
    """Draw a term: an arrow from its network to its formula, and what else flows into it."""
    axes.add_patch(
        FancyArrowPatch(
            (1.3, network), (1.8, y), arrowstyle="-|>", mutation_scale=6, linewidth=0.7,
            color=GREY, shrinkA=0, shrinkB=1,
        )
    )  # fmt: skip
    axes.text(1.84, y, term.formula, fontsize=7, va="center")
    for place, source in enumerate(term.sources):
        x = 3.95 + 0.85 * place
        axes.add_patch(
            FancyArrowPatch(
                (x - 0.34, y), (x - 0.48, y), arrowstyle="-|>", mutation_scale=5, linewidth=0.7,
                color=_SOURCE[source], shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip
        axes.text(
            x - 0.32, y, _SHORT[source], fontsize=6.5, va="center", color=_SOURCE[source],
            weight="bold",
        )  # fmt: skip


def _box(axes: Axes, x: float, y: float, width: float, text: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.06), width, 0.12, boxstyle="round,pad=0.01",
            facecolor=_NETWORK, edgecolor="#7A93AD", linewidth=0.7, zorder=3,
        )
    )  # fmt: skip
    axes.text(x, y, text, fontsize=7, ha="center", va="center", zorder=4)


def _legend(figure: Figure, whole: float) -> None:
    for place, source in enumerate(methods.SOURCES):
        short = _SHORT[source]
        words = source if short in source else f"{short}: {source}"
        figure.text(
            0.02 + (place % 4) * 0.245, (0.22 - 0.14 * (place // 4)) / whole, words, fontsize=6.5,
            color=_SOURCE[source], weight="bold",
        )  # fmt: skip
