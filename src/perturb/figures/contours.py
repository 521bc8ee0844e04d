"""Filled contours that may be compared: one colour scale, levels labelled where there is room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from perturb.figures.style import GREY
from perturb.landscape.files import Plane

COLOUR_MAP = "viridis"
# A scale ends at this many times what is usual: the median over planes of their 95th percentiles.
_LINEAR_REACH, _LOGARITHMIC_REACH = 1.5, 10.0
_DECADES = 6  # a logarithmic scale is no longer


@dataclass(frozen=True)
class Scale:
    """Contour levels (nats), shared by every panel; losses beyond them take the end's colour."""

    levels: np.ndarray
    logarithmic: bool
    lowest: float
    highest: float

    @property
    def extend(self) -> str:
        """Which ends of the colour bar are open, in matplotlib's words."""
        below, above = self.lowest < self.levels[0], self.highest > self.levels[-1]
        return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]

    @property
    def norm(self) -> BoundaryNorm:
        """Colours of the bands between levels, evenly spread over the colour map."""
        return BoundaryNorm(self.levels, colormaps[COLOUR_MAP].N, extend=self.extend)

    @property
    def smooth(self) -> Normalize:
        """Colours of a surface, from the first level to the last."""
        kind = LogNorm if self.logarithmic else Normalize
        return kind(self.levels[0], self.levels[-1], clip=True)

    @property
    def note(self) -> str:
        """Say what is beyond the levels; '' where nothing is."""
        parts = []
        if self.highest > self.levels[-1]:
            parts.append(f"Losses above {self.levels[-1]:g} (up to {self.highest:.3g})")
        if self.lowest < self.levels[0]:
            parts.append(f"losses below {self.levels[0]:g} (down to {self.lowest:.2g})")
        text = " and ".join(parts)
        return f"{text[0].upper()}{text[1:]} are drawn at the end of the scale" if text else ""


def make_scale(planes: Iterable[Plane], logarithmic: bool) -> Scale:
    """Return levels for all of `planes`: evenly spaced, or 1, 2, 5 a power of ten.

    A wide logarithmic range has fewer, a narrow one more. One plane that explodes does not flatten
    the others: the scale ends below it, and `Scale.note` says so.
    """
    finite = [plane.loss[np.isfinite(plane.loss)] for plane in planes]
    finite = [losses for losses in finite if losses.size]
    if not finite:
        return Scale(np.array([0.1, 1.0]), logarithmic, 0.1, 1.0)
    lowest, highest = (float(end(np.concatenate(finite))) for end in (np.min, np.max))
    usual = float(np.median([np.quantile(losses, 0.95) for losses in finite]))
    if logarithmic and usual > 0:
        top = min(highest, _LOGARITHMIC_REACH * usual)
        positive = np.concatenate(finite)
        floor = max(positive[positive > 0].min(), top * 10.0**-_DECADES)
        return Scale(_logarithmic_levels(floor, top), True, lowest, highest)
    top = max(min(highest, _LINEAR_REACH * usual), lowest + 1e-9)
    levels = MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(lowest, top)
    return Scale(levels, False, lowest, highest)


# Levels of each power of ten, and the most decades that they are for: 6 to 13 levels in all.
_STEPS = (
    ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), 1.2),
    ((1, 1.5, 2, 3, 5, 7), 2.0),
    ((1, 2, 5), 3.5),
    ((1, 3), 5.0),
    ((1,), np.inf),
)


def _logarithmic_levels(low: float, high: float) -> np.ndarray:
    decades = np.log10(high / low)
    if decades < 0.5:  # where a logarithm is nearly straight
        return MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(low, max(high, 1.01 * low))
    steps = next(steps for steps, most in _STEPS if decades <= most)
    powers = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 2)
    candidates = np.array([float(f"{step}e{power}") for power in powers for step in steps])
    first = max(int(np.searchsorted(candidates, low, "right")) - 1, 0)
    last = int(np.searchsorted(candidates, high, "left"))
    return candidates[first : max(last, first + 1) + 1]


class Labels:
    """Text in one panel that covers neither other text nor what is blocked; inches throughout."""

    def __init__(self, axes: Axes, plane: Plane, sides: tuple[float, float], size: float) -> None:
        self.axes, self.sides, self.size = axes, np.array(sides), size
        self.low = np.array([plane.alpha[0], plane.beta[0]])
        self.scale = self.sides / (np.array([plane.alpha[-1], plane.beta[-1]]) - self.low)
        self.centres = np.empty((0, 2))
        self.halves = np.empty((0, 2))
        rows, columns = np.nonzero(~np.isfinite(plane.loss))
        self.block(np.stack([plane.alpha[columns], plane.beta[rows]], axis=1), 0.03)

    def block(self, points: np.ndarray, half: float) -> None:
        """Keep text `half` an inch away from points [N, 2] of the plane."""
        places = (np.asarray(points, dtype=float) - self.low) * self.scale
        self.centres = np.concatenate([self.centres, places])
        self.halves = np.concatenate([self.halves, np.full(places.shape, half)])

    def put(self, text: str, points: np.ndarray, shift: float = 0.0, **look: object) -> None:
        """Write `text` at that of `points` [N, 2] with the most room around it, if any has room.

        `shift`: write it that many inches above, below, right or left of the point instead.
        """
        half = self.size * np.array([0.0048 * len(text) + 0.001, 0.0075])
        places = (np.asarray(points, dtype=float) - self.low) * self.scale
        if shift:
            sides = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])
            places = (places[:, None] + sides * (half + shift)).reshape(-1, 2)
        gaps = np.abs(places[:, None] - self.centres) - (half + self.halves)
        room = gaps.max(axis=2).min(axis=1, initial=self.sides.max())
        inside = ((places > half + 0.02) & (places < self.sides - half - 0.02)).all(axis=1)
        room = np.where(inside, room, -1.0)
        if not len(room) or room.max() <= 0.01:
            return
        best = places[room.argmax()]
        self.axes.text(
            *(best / self.scale + self.low),
            text,
            ha="center",
            va="center",
            fontsize=self.size,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5},
            **look,
        )
        self.centres = np.concatenate([self.centres, best[None]])
        self.halves = np.concatenate([self.halves, half[None]])


def number(value: float) -> str:
    """Write a level: plainly where that is short, else as a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:g}"
    power = int(np.floor(np.log10(abs(value)) + 1e-9))
    digits = round(value / 10.0**power, 2)
    return rf"${digits:g}\times10^{{{power}}}$" if digits != 1 else rf"$10^{{{power}}}$"


def paint(axes: Axes, plane: Plane, scale: Scale) -> ContourSet | None:
    """Draw filled contours and their lines; return the lines, None where there are none.

    Cells with a corner that is not finite are left open, hatched grey.
    """
    axes.grid(visible=False)
    axes.patch.set(facecolor="#EDEDED", edgecolor="#9A9A9A", hatch="//////", linewidth=0)
    axes.set(xlim=(plane.alpha[0], plane.alpha[-1]), ylim=(plane.beta[0], plane.beta[-1]))
    loss = np.ma.masked_invalid(plane.loss)
    if loss.count() == 0:
        say_no_finite_loss(axes)
        return None
    if scale.logarithmic:
        loss = np.ma.maximum(loss, scale.levels[0] * 1e-3)
    grid = (plane.alpha, plane.beta, loss)
    colours = {
        "levels": scale.levels,
        "cmap": COLOUR_MAP,
        "norm": scale.norm,
        "extend": scale.extend,
    }
    axes.contourf(*grid, **colours, corner_mask=False)
    inside = [level for level in scale.levels if loss.min() < level < loss.max()]
    if not inside:
        return None
    return axes.contour(
        *grid,
        levels=inside,
        colors="black",
        linewidths=0.35,
        linestyles="solid",
        corner_mask=False,
    )


def say_no_finite_loss(axes: Axes) -> None:
    """Write into a panel that there is nothing to draw; its axes may be shared, so they stay."""
    box = {"facecolor": "white", "linewidth": 0, "pad": 2}
    axes.annotate(
        "no finite loss",
        (0.5, 0.5),
        xycoords="axes fraction",
        ha="center",
        va="center",
        fontsize=7.5,
        color=GREY,
        bbox=box,
        zorder=8,
    )


def label_levels(labels: Labels, lines: ContourSet | None) -> None:
    """Label each level once, where there is room."""
    for level, path in zip(lines.levels, lines.get_paths(), strict=True) if lines else ():
        labels.put(number(level), path.vertices[::2], zorder=4)


def mark_centre(axes: Axes, zorder: float = 5) -> None:
    """Draw the star at the checkpoint."""
    axes.plot(0, 0, "*", color="white", markersize=7, mec="black", mew=0.6, zorder=zorder)


def colour_bar(figure: Figure, scale: Scale, norm: Normalize, **place: object) -> None:
    """Draw the one colour bar of all panels, its ticks at the levels."""
    kind = "logarithmic" if scale.logarithmic else "linear"
    bar = figure.colorbar(
        ScalarMappable(norm, colormaps[COLOUR_MAP]),
        ax=figure.axes,
        label=f"Loss (nats), {kind} scale",
        ticks=scale.levels,
        extend=scale.extend,
        spacing="uniform" if isinstance(norm, BoundaryNorm) else "proportional",
        **{"fraction": 0.05, "extendfrac": 0.04} | place,
    )
    bar.long_axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    bar.long_axis.set_minor_locator(NullLocator())
    bar.outline.set_linewidth(0.5)
