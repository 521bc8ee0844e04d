"""How figures look: sizes for a paper, colours that the colour-blind can tell apart, saving."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from perturb.files import write_atomically

DPI = 200
PAGE_WIDTH = 6.9  # inches, the text width of a two-column paper
# Okabe and Ito (2008) without black, which is the reference's, and yellow, faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F4FA3")
REFERENCE_COLOUR = "#000000"
WARNING_COLOUR = "#B03A00"
GREY = "#6E6E6E"
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_MARKERS = ("o", "s", "^")
_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.unicode_minus": True,
    "path.simplify": False,
}


@dataclass(frozen=True)
class LineStyle:
    """How one method is drawn; `offset` keeps the markers of methods apart."""

    colour: str
    dashes: Any
    marker: str | None
    width: float
    offset: int = 0
    face: str | None = None

    def line(self) -> dict[str, Any]:
        """Return the arguments of `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": self.width}

    def marked(self, points: int) -> dict[str, Any]:
        """Return the arguments of `Axes.plot` for a line of `points` with about five markers."""
        every = max(1, points // 5)
        places = (self.offset * every // 7 % every, every)
        return self.line() | {"marker": self.marker, "markersize": 2.8, "markevery": places}


REFERENCE = LineStyle(REFERENCE_COLOUR, "-", None, 1.8)


def line_style(position: int) -> LineStyle:
    """Return the style of the method at `position` among those that are not the reference."""
    turn = position // len(COLOURS) % len(_DASHES)
    return LineStyle(COLOURS[position % len(COLOURS)], _DASHES[turn], _MARKERS[turn], 1.2, position)


@contextmanager
def style() -> Iterator[None]:
    """Draw and save with the project's settings, on top of matplotlib's own defaults."""
    with matplotlib.rc_context(), matplotlib.rc_context(matplotlib.rcParamsDefault):
        matplotlib.rcParams.update(_RC)
        yield


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PDF or PNG, by the ending."""
    with write_atomically(path) as file:
        file.write(render(figure, Path(path).suffix[1:]))


def render(figure: Figure, kind: str) -> bytes:
    """Return a figure as `pdf` or `png` (`DPI`): the same bytes for the same figure."""
    metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
    buffer = io.BytesIO()
    with style():
        _fix_layout(figure)
        figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
    return buffer.getvalue()


def _fix_layout(figure: Figure) -> None:
    """Lay a figure out, once, and round where its panels came to lie.

    The solver of the constrained layout orders its variables by their addresses in memory, so that
    the last bit of a position changes from time to time, and with it digits in the PDF.
    """
    if figure.get_layout_engine() is None:
        return
    figure.dpi = DPI  # at fewer, hinting makes text narrower than it is drawn
    figure.draw_without_rendering()
    places = [(axes, axes.get_position(original=True).bounds) for axes in figure.axes]
    figure.set_layout_engine("none")
    for axes, bounds in places:
        axes.set_position([round(edge, 7) for edge in bounds])
