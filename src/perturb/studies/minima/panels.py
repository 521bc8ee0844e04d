"""What a figure shows, as panels of lines: drawn, written as CSV, and as pgfplots."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perturb.figures.sheet import make_sheet, mark_logarithmic, say_nothing_to_show
from perturb.figures.style import COLOURS, GREY, REFERENCE, LineStyle, line_style, style

Numbers = Sequence[float] | np.ndarray
GUIDE = -2
# Numbers on a logarithmic axis of fewer decades are written out, not as powers of ten.
_WRITTEN_OUT = 1e3


@dataclass(frozen=True)
class Line:
    """One line or row of marks of a panel.

    Args:
        label: in the legend; lines of one label look alike in all panels.
        x, y: its places.
        spread: half the height of its band or of its bars, or nothing.
        raw: what y was before it was smoothed, drawn faint; or nothing.
        marks: drawn as marks with bars, without a line.
        look: place among the colours; -1 is the reference's black, -2 a grey dashed guide.
        hollow: whether marks are.
    """

    label: str
    x: Numbers
    y: Numbers
    spread: Numbers = ()
    raw: Numbers = ()
    marks: bool = False
    look: int = 0
    hollow: bool = False

    def style(self) -> LineStyle:
        """Return how it is drawn, with a mark where it has marks."""
        if self.look == GUIDE:
            return LineStyle(GREY, (0, (4, 2)), None, 1.0)
        found = REFERENCE if self.look == -1 else line_style(self.look)
        face = "white" if self.hollow else None
        return replace(found, marker="o" if self.marks else None, face=face)


@dataclass(frozen=True)
class Panel:
    """One pair of axes; `ticks` are labels of places 0, 1, ... on the x axis, or nothing."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    logarithmic_x: bool = False
    logarithmic_y: bool = False
    ticks: Sequence[str] = ()

    @property
    def whole_x(self) -> bool:
        """Whether places on the x axis are whole numbers: epochs."""
        return bool(self.lines) and all(float(x).is_integer() for x in self.lines[0].x)


@dataclass(frozen=True)
class Sheet:
    """All panels of a figure, `columns` beside each other; `height` of one in inches."""

    panels: Sequence[Panel]
    columns: int = 2
    height: float = 2.1
    note: str = ""
    mark: str = field(default="")


def draw(sheet: Sheet) -> Figure:
    """Return a sheet as a figure."""
    rows = -(-len(sheet.panels) // sheet.columns)
    lines = [line for panel in sheet.panels for line in panel.lines if line.label]
    lines.sort(key=lambda line: math.inf if line.look == GUIDE else line.look)
    legend = {line.label: line.style() for line in lines}
    with style():
        page = make_sheet(
            rows,
            sheet.columns,
            panel_height=sheet.height,
            legend=list(legend.items()),
            note=sheet.note,
            mark=sheet.mark,
        )
        for axes in page.axes.flat[len(sheet.panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(page.axes.flat, sheet.panels, strict=False):
            _draw_panel(axes, panel)
    return page.figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    shown = [float(v) for line in panel.lines for v in (*line.y, *line.raw) if _shown(v, True)]
    logarithmic = panel.logarithmic_y and bool(shown)
    for line in panel.lines:
        # An interval that reaches below 0 ends where the axis does.
        _draw_line(axes, line, min(shown) / 1.15 if logarithmic else -math.inf)
    if not panel.lines:
        say_nothing_to_show(axes, "nothing to show yet")
    axes.set_title(panel.title)
    axes.set(xlabel=panel.x, ylabel=panel.y)
    if panel.logarithmic_x and panel.lines:
        axes.set_xscale("log")
    elif panel.whole_x:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if logarithmic and max(shown) < _WRITTEN_OUT * min(shown):
        mark_logarithmic(axes.yaxis, shown)
    elif logarithmic:
        axes.set_yscale("log", nonpositive="mask")
    if panel.ticks:
        axes.set_xticks(range(len(panel.ticks)), panel.ticks, rotation=35, ha="right", fontsize=7)
        axes.set_xlim(-0.6, len(panel.ticks) - 0.4)


def _draw_line(axes: Axes, line: Line, lowest: float) -> None:
    look = line.style()
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    spread = np.asarray(line.spread, dtype=float)
    if line.marks:
        axes.errorbar(
            x,
            y,
            yerr=spread if len(spread) else None,
            linestyle="none",
            color=look.colour,
            marker=look.marker,
            markersize=4,
            markerfacecolor="white" if line.hollow else look.colour,
            elinewidth=0.8,
        )
        return
    if len(line.raw):
        axes.plot(x, line.raw, color=look.colour, linewidth=0.5, alpha=0.3)
    if len(spread):
        low, high = np.maximum(y - spread, lowest), y + spread
        some = high > low
        axes.fill_between(x, low, high, where=some, color=look.colour, alpha=0.12, linewidth=0)
    axes.plot(x, y, **look.line())


def csv_text(sheet: Sheet) -> str:
    """Return every point of a sheet, a row each: panel, line, x, y, spread, raw."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("panel", "line", "x", "y", "spread", "raw"))
    for panel in sheet.panels:
        for line in panel.lines:
            for at, (x, y) in enumerate(zip(line.x, line.y, strict=True)):
                place = panel.ticks[int(x)] if panel.ticks else repr(float(x))
                more = [repr(float(v[at])) if len(v) else "" for v in (line.spread, line.raw)]
                writer.writerow((panel.title, line.label, place, repr(float(y)), *more))
    return out.getvalue()


def pgfplots(sheet: Sheet) -> str:
    """Return a sheet as a LaTeX document of its own, its numbers in it."""
    colours = [
        rf"\definecolor{{c{at}}}{{HTML}}{{{colour.lstrip('#')}}}"
        for at, colour in enumerate(COLOURS)
    ]
    rows = -(-len(sheet.panels) // sheet.columns)
    body = [text for panel in sheet.panels for text in _axis(panel)]
    legend: dict[str, Line] = {}
    for panel in sheet.panels:
        for line in panel.lines:
            legend.setdefault(line.label, line)
    entries = [
        rf"\tikz[baseline=-.6ex]\draw[{_look(line)}] (0,0) -- (5mm,0);~{_tex(label)}"
        for label, line in legend.items()
        if label
    ]
    return "\n".join(
        [
            r"\documentclass[border=3mm]{standalone}",
            r"\usepackage{pgfplots}",
            r"\usepgfplotslibrary{groupplots}",
            r"\pgfplotsset{compat=1.16}",
            *colours,
            r"\begin{document}",
            r"\begin{minipage}{170mm}",
            r"\centering\small",
            *([rf"\textbf{{{_tex(sheet.mark)}}}\\[1mm]"] if sheet.mark else []),
            r"\begin{tikzpicture}",
            r"\begin{groupplot}[group style={group size=" + f"{sheet.columns} by {rows},"
            r" horizontal sep=16mm, vertical sep=20mm}, "
            rf"width={150 / sheet.columns:.0f}mm, height=52mm, "
            r"title style={font=\bfseries\small}, label style={font=\small}, "
            r"tick label style={font=\footnotesize}]",
            *body,
            r"\end{groupplot}",
            r"\end{tikzpicture}\\[2mm]",
            r"\raggedright\footnotesize " + r"\quad ".join(entries),
            r"\end{minipage}",
            r"\end{document}",
            "",
        ]
    )


def _axis(panel: Panel) -> list[str]:
    options = [f"title={{{_tex(panel.title)}}}", f"xlabel={{{_tex(panel.x)}}}"]
    options.append(f"ylabel={{{_tex(panel.y)}}}")
    options += ["xmode=log"] if panel.logarithmic_x else []
    positive = any(value > 0 for line in panel.lines for value in line.y)
    logarithmic = panel.logarithmic_y and positive
    options += ["ymode=log"] if logarithmic else []
    if panel.ticks:
        names = ",".join(f"{{{_tex(tick)}}}" for tick in panel.ticks)
        options += [f"xtick={{{','.join(map(str, range(len(panel.ticks))))}}}"]
        options += [f"xticklabels={{{names}}}"]
        options += [r"x tick label style={rotate=35, anchor=east, font=\scriptsize}"]
    plots = [text for line in panel.lines for text in _plots(line, logarithmic)]
    return [r"\nextgroupplot[" + ", ".join(options) + "]", *plots]


def _plots(line: Line, logarithmic: bool) -> list[str]:
    look = _look(line)
    kind = f"only marks, mark={'o' if line.hollow else '*'}, mark size=1.4pt" if line.marks else ""
    found = []
    if len(line.raw) and not line.marks:
        points = _points(line.x, line.raw, logarithmic)
        found.append(rf"\addplot[{look}, opacity=.3, line width=.2pt] coordinates {{{points}}};")
    if len(line.spread) and line.marks:
        bars = [
            f"({x:.8g},{y:.8g}) +- (0,{s:.6g})"
            for x, y, s in zip(line.x, line.y, line.spread, strict=True)
            if _shown(y, logarithmic) and math.isfinite(s)
        ]
        error = "error bars/.cd, y dir=both, y explicit"
        found.append(rf"\addplot[{look}, {kind}, {error}] coordinates {{{' '.join(bars)}}};")
        return found
    options = ", ".join(filter(None, (look, kind)))
    points = _points(line.x, line.y, logarithmic)
    found.append(rf"\addplot[{options}] coordinates {{{points}}};")
    return found


def _points(x: Numbers, y: Numbers, logarithmic: bool) -> str:
    pairs = zip(x, y, strict=True)
    return " ".join(f"({a:.8g},{b:.8g})" for a, b in pairs if _shown(b, logarithmic))


def _shown(value: float, logarithmic: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not logarithmic)


def _look(line: Line) -> str:
    if line.look == -1:
        return "black, line width=1.2pt"
    if line.look == GUIDE:
        return "gray, dashed"
    dashes = ("solid", "dashed", "dotted")[line.look // len(COLOURS) % 3]
    return f"c{line.look % len(COLOURS)}, {dashes}, line width=.8pt"


def _tex(text: str) -> str:
    """Return plain text as LaTeX has it."""
    for character in ("\\", "&", "%", "$", "#", "_", "{", "}"):
        escaped = r"\textbackslash{}" if character == "\\" else f"\\{character}"
        text = text.replace(character, escaped)
    return text.replace("^", r"\textasciicircum{}").replace("−", "$-$")
