"""Loss landscapes: contours, surfaces, cuts and trajectories of the methods, side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from perturb.errors import PerturbError, did_you_mean
from perturb.figures.contours import (
    COLOUR_MAP,
    Labels,
    Scale,
    colour_bar,
    label_levels,
    make_scale,
    mark_centre,
    number,
    paint,
    say_no_finite_loss,
)
from perturb.figures.sheet import Sheet, make_logarithmic, make_sheet, say_nothing_to_show
from perturb.figures.style import COLOURS, PAGE_WIDTH, REFERENCE, LineStyle, line_style, style
from perturb.landscape.files import Plane
from perturb.landscape.words import mark_of, masked_note, name_of

_ALPHA, _BETA = "Direction 1, α", "Direction 2, β"
_COLUMNS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 3, 6: 3, 7: 4, 8: 4, 9: 3}
_SIDE = 2.9  # inches, the most that a panel takes
_BAR = 0.75  # inches beside the panels for the colour bar
_TRUE, _PROJECTED = "at the checkpoint", "at its projection in the plane"


@dataclass(frozen=True)
class LandscapeMaterial:
    """The planes that figures compare.

    `planes` by method and direction seed, `trajectories` (planes of principal components, with
    their path) by method, both in the order of the figures. `reference` is the method drawn in
    black, `mark` what must stand on every figure: that runs are smoke, or data partial.
    """

    planes: Mapping[str, Mapping[int, Plane]]
    trajectories: Mapping[str, Plane] = field(default_factory=dict)
    reference: str = ""
    mark: str = ""

    @property
    def first(self) -> dict[str, Plane]:
        """The plane of the lowest direction seed of each method."""
        return {method: planes[min(planes)] for method, planes in self.planes.items() if planes}


def material(
    planes: Sequence[Plane],
    trajectories: Iterable[Plane] = (),
    reference: str = "",
    scale: str = "",
) -> LandscapeMaterial:
    """Return the material of figures: of each method the landscapes of its lowest run seed.

    The order of methods is that of `planes`; the mark is read from the planes' attributes and their
    chapter's `scale`. Each network of a method that trains several stands as a method of its own:
    `core_8, net1`.
    """
    drawn = sorted(planes, key=lambda plane: plane.attributes["seed"])
    by_method: dict[str, dict[int, Plane]] = {name_of(p.attributes): {} for p in planes}
    for plane in drawn:
        found = by_method[name_of(plane.attributes)]
        found.setdefault(plane.attributes["direction_seed"], plane)
    paths: dict[str, Plane] = {}
    for path in sorted(trajectories, key=lambda plane: plane.attributes["seed"]):
        paths.setdefault(name_of(path.attributes), path)
    paths = {method: paths[method] for method in by_method if method in paths}
    mark = mark_of([*drawn, *paths.values()], scale)
    return LandscapeMaterial(by_method, paths, reference, mark)


def _columns(panels: int, most: int = 4) -> int:
    return min(_COLUMNS.get(max(panels, 1), 4), most)


def _panels(
    count: int, columns: int, side: float, below: float, note: Sequence[str], mark: str, **more: str
) -> Sheet:
    """Return a sheet of `count` square panels with titles; those left over are taken away."""
    rows = -(-max(count, 1) // columns)
    sheet = make_sheet(
        rows,
        columns,
        panel_height=side + below,
        note=". ".join(filter(None, note)),
        mark=mark,
        **more,
    )
    for axes in sheet.axes.ravel()[max(count, 1) :]:
        axes.remove()
    return sheet


def _title_size(width: float) -> float:
    return 7.5 if width < 1.9 else 8.5


def _title_lines(method: str, width: float) -> list[str]:
    """Break a method's name after an underscore where it is wider than `width` inches."""
    characters = max(int(width / (0.0105 * _title_size(width))), 8)
    lines = textwrap.wrap(method.replace("_", "_ "), characters, break_on_hyphens=False)
    return [line.replace("_ ", "_") for line in lines]


def _title(axes: Axes, method: str, width: float, **place: object) -> None:
    text = "\n".join(_title_lines(method, width))
    axes.set_title(text, fontsize=_title_size(width), **place)


def _title_height(methods: Iterable[str], width: float, columns: int) -> float:
    """Return the inches that titles take of a row of panels, the mean over rows."""
    lines = [len(_title_lines(method, width)) for method in methods]
    rows = [max(lines[start : start + columns]) for start in range(0, len(lines), columns)]
    return 0.05 + 0.14 * sum(rows) / max(len(rows), 1)


def draw_contours(material: LandscapeMaterial, logarithmic: bool) -> Figure:
    """Draw one panel per method: contours of its first direction seed, on one colour scale."""
    planes = material.first
    scale = make_scale(planes.values(), logarithmic)
    columns = _columns(len(planes))
    side = min((PAGE_WIDTH - _BAR - 0.45) / columns - 0.12, _SIDE)
    notes = [scale.note, masked_note(planes)]
    sheet = _panels(
        len(planes),
        columns,
        side,
        0.22 + _title_height(planes, side, columns),
        notes,
        material.mark,
        sharex=True,
        sharey=True,
    )
    for axes, (method, plane) in zip(sheet.axes.flat, planes.items(), strict=False):
        labels = Labels(axes, plane, (side, side), 5.5 if columns == 4 else 6.5)
        labels.block(np.zeros((1, 2)), 0.06)
        label_levels(labels, paint(axes, plane, scale))
        if plane.centre and np.isfinite(plane.loss[plane.centre]):
            mark_centre(axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
        _title(axes, method, side)
        axes.set_aspect("equal")
    _outer_labels(sheet, len(planes))
    if not planes:
        say_nothing_to_show(sheet.axes[0, 0], "no plane")
    colour_bar(sheet.figure, scale, scale.norm, pad=0.015, aspect=18 * len(sheet.axes))
    return sheet.figure


def _outer_labels(sheet: Sheet, count: int) -> None:
    """Label the left panels and, in each column, the lowest that there is."""
    rows, columns = sheet.axes.shape
    for row in range(rows):
        sheet.axes[row, 0].set_ylabel(_BETA)
    for index in range(max(count - columns, 0), max(count, 1)):
        axes = sheet.axes.flat[index]
        axes.set_xlabel(_ALPHA)
        axes.tick_params(labelbottom=True)


def draw_surfaces(material: LandscapeMaterial) -> Figure:
    """Draw a 3-D surface a method: log height and colour, both shared; three panels a row."""
    planes = material.first
    scale = make_scale(planes.values(), logarithmic=True)
    columns = _columns(len(planes), 3)
    side = min((PAGE_WIDTH - _BAR) / columns, 3.6)
    notes = [scale.note, masked_note(planes).replace("hatched", "left open")]
    sheet = _panels(
        len(planes),
        columns,
        side,
        0.12,
        notes,
        material.mark,
        subplot_kw={"projection": "3d", "computed_zorder": False},
    )
    for axes, (method, plane) in zip(sheet.axes.flat, planes.items(), strict=False):
        _surface(axes, plane, scale)
        _title(axes, method, side, loc="center", y=0.98)
    if not planes:
        sheet.axes[0, 0].remove()
    colour_bar(sheet.figure, scale, scale.smooth, pad=0.05, aspect=18 * len(sheet.axes), shrink=0.9)
    return sheet.figure


def _surface(axes: Axes, plane: Plane, scale: Scale) -> None:
    low, high = scale.levels[0], scale.levels[-1]
    loss = np.where(np.isfinite(plane.loss), np.clip(plane.loss, low, high), np.nan)
    # Where no loss is above 0, the scale is linear, and so is the height.
    height = np.log10 if scale.logarithmic else np.asarray
    x, y = np.meshgrid(plane.alpha, plane.beta)
    if np.isfinite(loss).any():
        faces = colormaps[COLOUR_MAP](scale.smooth(np.nan_to_num(_cell_means(loss), nan=low)))
        axes.plot_surface(
            x,
            y,
            height(loss),
            facecolors=np.pad(faces, ((0, 1), (0, 1), (0, 0)), mode="edge"),
            rstride=1,
            cstride=1,
            linewidth=0.25,
            shade=False,
            zorder=2,
        )
    else:
        say_no_finite_loss(axes)
    if plane.centre and np.isfinite(loss[plane.centre]):
        star = {"color": "white", "markersize": 7, "mec": "black", "mew": 0.6, "zorder": 3}
        axes.plot([0], [0], [height(loss[plane.centre])], "*", **star)
    ticks = (_powers(low, high) if scale.logarithmic else []) or [low, high]
    axes.zaxis.set_major_locator(FixedLocator(height(ticks)))
    axes.zaxis.set_major_formatter(
        FuncFormatter(lambda value, _: number(10.0**value if scale.logarithmic else value))
    )
    axes.set(
        xlim=(plane.alpha[0], plane.alpha[-1]),
        ylim=(plane.beta[0], plane.beta[-1]),
        zlim=(height(low), height(high)),
    )
    axes.view_init(elev=28, azim=-58)
    axes.set_box_aspect((1, 1, 0.9), zoom=0.84)
    for axis, values in ((axes.xaxis, plane.alpha), (axes.yaxis, plane.beta)):
        axis.set_major_locator(MaxNLocator(2, symmetric=True))
        axis.set_view_interval(values[0], values[-1], ignore=True)
    axes.tick_params(labelsize=6.5, pad=-2)
    axes.tick_params(axis="z", pad=1)
    axes.patch.set_visible(False)  # it would cover the labels of the panel beside it
    axes.set_xlabel("α", labelpad=-7)
    axes.set_ylabel("β", labelpad=-7)
    axes.zaxis.set_rotate_label(False)
    axes.set_zlabel("Loss (nats)", labelpad=-2, rotation=90, fontsize=7)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color("white")
        axis._axinfo["grid"].update({"color": "#D8D8D8", "linewidth": 0.4})


def _cell_means(values: np.ndarray) -> np.ndarray:
    return (values[1:, 1:] + values[:-1, 1:] + values[1:, :-1] + values[:-1, :-1]) / 4


def _powers(low: float, high: float) -> list[float]:
    """Return the powers of ten from `low` to `high`, every second where there are many."""
    first, last = int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9))
    step = 1 if last - first < 5 else 2
    return [10.0**power for power in range(last, first - 1, -step)][::-1]


def looks(material: LandscapeMaterial) -> dict[str, LineStyle]:
    """Return the line style of each method: the reference's own, the others' by their order."""
    others = [method for method in material.planes if method != material.reference]
    found = {method: line_style(position) for position, method in enumerate(others)}
    return {method: found.get(method, REFERENCE) for method in material.planes}


def draw_cuts(material: LandscapeMaterial) -> Figure:
    """Draw loss and accuracy through the centre along both directions.

    A line is the mean over direction seeds, its band their smallest and largest value; where a
    seed's loss is not finite there is neither.
    """
    styles = looks(material)
    seeds = sorted({len(planes) for planes in material.planes.values()})
    counts = " to ".join(str(count) for count in (seeds[:1] + seeds[1:][-1:])) or "0"
    gaps = _gaps(material)
    notes = [
        "One direction seed: no bands"
        if seeds == [1]
        else f"Lines: mean over direction seeds (n = {counts}); bands: smallest to largest",
        f"Points without a finite loss on the cuts: {', '.join(gaps)}" if gaps else "",
    ]
    sheet = make_sheet(
        2,
        2,
        panel_height=2.15,
        legend=list(styles.items()),
        note=". ".join(filter(None, notes)),
        mark=material.mark,
        sharex="col",
        sharey="row",
    )
    for column, (axis, label) in enumerate((("alpha", _ALPHA), ("beta", _BETA))):
        for method, planes in material.planes.items():
            if planes:
                cuts = [plane.cut(axis) for plane in planes.values()]
                _draw_cut(sheet.axes[:, column], method, cuts, styles[method])
        sheet.axes[0, column].set_title(f"Along {label[0].lower()}{label[1:]}")
        sheet.axes[1, column].set_xlabel(label)
    sheet.axes[0, 0].set_ylabel("Loss (nats)")
    sheet.axes[1, 0].set_ylabel("Accuracy (%)")
    for axes in sheet.axes[0]:
        if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
            make_logarithmic(axes)
        else:
            say_no_finite_loss(axes)
    return sheet.figure


def _draw_cut(
    pair: Sequence[Axes],
    method: str,
    cuts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    look: LineStyle,
) -> None:
    place = cuts[0][0]
    if any(not np.array_equal(place, cut[0]) for cut in cuts):
        raise PerturbError(
            f"{method}: its direction seeds have different grids: no mean over them. "
            "Make them with the same extent and number of points."
        )
    finite = np.isfinite([loss for _, loss, _ in cuts]).all(axis=0)
    above = look is REFERENCE
    for axes, index, factor in ((pair[0], 1, 1.0), (pair[1], 2, 100.0)):
        values = np.where(finite, factor * np.array([cut[index] for cut in cuts]), np.nan)
        axes.fill_between(
            place, values.min(0), values.max(0), color=look.colour, alpha=0.13, linewidth=0
        )
        axes.plot(place, values.mean(0), **look.marked(len(place)), zorder=3 if above else 2)


def _gaps(material: LandscapeMaterial) -> list[str]:
    """Name the methods with points that are not finite on a cut, and how many."""
    found = []
    for method, planes in material.planes.items():
        cuts = [plane.cut(axis)[1] for plane in planes.values() for axis in ("alpha", "beta")]
        missing = sum(int((~np.isfinite(loss)).sum()) for loss in cuts)
        if missing:
            found.append(f"{method} {missing} of {sum(map(len, cuts))}")
    return found


def draw_trajectories(material: LandscapeMaterial) -> Figure:
    """Draw the path of each method's checkpoints over its plane, and the loss along it below."""
    planes = material.trajectories
    shown = {m: plane for m, plane in planes.items() if plane.trajectory is not None}
    absent = [method for method in {**material.planes, **planes} if method not in shown]
    scale = make_scale(shown.values(), logarithmic=True)
    columns = _columns(len(shown))
    blocks = -(-max(len(shown), 1) // columns)
    width = (PAGE_WIDTH - 0.3) / columns
    side = min(width - 0.3, _SIDE)
    true, projected = (
        LineStyle("#000000", "-", "o", 1.2),
        LineStyle(COLOURS[1], "--", "s", 1.2),
    )
    notes = [
        "Paths run to the star, the final weights; points are checkpoints, numbers their epochs; "
        "the axes of a panel have scales of their own",
        scale.note,
        masked_note(shown),
        f"No trajectory: {', '.join(absent)}" if absent else "",
    ]
    sheet = make_sheet(
        2 * blocks,
        columns,
        panel_height=(side + _title_height(shown, width, columns) + 1.15 + 0.65 / blocks) / 2,
        legend=[(f"Loss {_TRUE}", true), (f"Loss {_PROJECTED}", projected)],
        note=". ".join(filter(None, notes)),
        mark=material.mark,
        height_ratios=[side, 0.8] * blocks,
    )
    if not shown:
        for axes in sheet.axes.flat:
            say_nothing_to_show(axes, "no trajectory")
    lower = [axes for row in sheet.axes[1::2] for axes in row][: len(shown)]
    for index, (method, plane) in enumerate(shown.items()):
        row, column = divmod(index, columns)
        upper = sheet.axes[2 * row, column]
        lines = paint(upper, plane, scale)
        labels = Labels(upper, plane, (width - 0.35, side), 5.5 if columns == 4 else 6.5)
        _path(upper, plane, labels)
        label_levels(labels, lines)
        _title(upper, method, width)
        _losses(lower[index], plane, true, projected)
        lower[index].tick_params(labelleft=column == 0)
        if index + columns >= len(shown):
            lower[index].set_xlabel("Epochs completed", fontsize=7)
    _share_losses(lower, shown.values())
    for row in sheet.axes[1::2]:
        row[0].set_ylabel("Loss (nats)")
    for index in range(max(len(shown), 1), blocks * columns):
        row, column = divmod(index, columns)
        for axes in sheet.axes[2 * row : 2 * row + 2, column]:
            axes.remove()
    colour_bar(
        sheet.figure,
        scale,
        scale.norm,
        location="bottom",
        pad=0.02,
        aspect=60,
        fraction=0.03 / blocks,
    )
    return sheet.figure


def _path(axes: Axes, plane: Plane, labels: Labels) -> None:
    trajectory = plane.trajectory
    x, y = trajectory.path.T
    axes.plot(x, y, "-", color="black", linewidth=2.0, zorder=4, solid_capstyle="round")
    axes.plot(x, y, "-o", color="white", linewidth=0.9, ms=3, mec="black", mew=0.5, zorder=5)
    mark_centre(axes, 6)
    along = np.linspace(0, len(x) - 1, 12 * len(x))
    between = np.stack([np.interp(along, np.arange(len(x)), part) for part in (x, y)], axis=1)
    labels.block(between, 0.02)
    last = len(x) - 1
    for index in dict.fromkeys((0, last, last // 3, 2 * last // 3, 1)):
        text = str(trajectory.epochs[index])
        labels.put(text, trajectory.path[[index]], shift=0.045, weight="bold", zorder=7)
    shares = trajectory.explained_variance
    axes.set_xlabel(f"PC 1 ({100 * shares[0]:.1f} %)", fontsize=7)
    axes.set_ylabel(f"PC 2 ({100 * shares[1]:.1f} %)", fontsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=6.5)


def _losses(axes: Axes, plane: Plane, true: LineStyle, projected: LineStyle) -> None:
    trajectory = plane.trajectory
    for values, look in ((trajectory.true_loss, true), (trajectory.projected_loss, projected)):
        drawn = np.where(np.isfinite(values) & (values > 0), values, np.nan)
        axes.plot(trajectory.epochs, drawn, **look.line(), marker=look.marker, markersize=2.2)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=6.5)


def _share_losses(panels: Sequence[Axes], planes: Iterable[Plane]) -> None:
    """Give the panels one loss axis, logarithmic where the range warrants it."""
    paths = [plane.trajectory for plane in planes]
    values = [np.concatenate([path.true_loss, path.projected_loss]) for path in paths]
    positive = np.concatenate([np.empty(0), *(v[np.isfinite(v) & (v > 0)] for v in values)])
    for axes in panels:
        if positive.size:
            axes.set_ylim(positive.min() / 1.4, positive.max() * 1.4)
            make_logarithmic(axes)


FIGURES: dict[str, Callable[[LandscapeMaterial], Figure]] = {
    "landscape_contours_linear": partial(draw_contours, logarithmic=False),
    "landscape_contours_log": partial(draw_contours, logarithmic=True),
    "landscape_surfaces": draw_surfaces,
    "landscape_cuts": draw_cuts,
    "landscape_trajectories": draw_trajectories,
}


def draw(name: str, material: LandscapeMaterial) -> Figure:
    """Draw the figure `name` in the project's style; PerturbError where there is no such figure."""
    if name not in FIGURES:
        raise PerturbError(f"no landscape figure '{name}'.{did_you_mean(name, FIGURES)}")
    with style():
        return FIGURES[name](material)
