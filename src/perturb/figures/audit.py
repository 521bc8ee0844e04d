"""The figures of an audit: claims as a forest plot, and the curves that speak for or against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perturb.audit.claims import HOLDS, NOISE, REVERSED, UNKNOWN, Claim
from perturb.audit.curves import turn_of
from perturb.audit.findings import NOT_HEALTHY
from perturb.audit.reading import ResultFile
from perturb.audit.schedules import Expectation, Verification
from perturb.audit.study import Audit
from perturb.figures.sheet import make_logarithmic, make_sheet, say_nothing_to_show
from perturb.figures.style import (
    COLOURS,
    GREY,
    REFERENCE_COLOUR,
    WARNING_COLOUR,
    LineStyle,
    style,
)

_ROW = 0.165  # inches a claim
_VERDICT_STYLES = {
    HOLDS: LineStyle(COLOURS[2], "-", "^", 1.2),
    NOISE: LineStyle(GREY, "-", "o", 1.2),
    REVERSED: LineStyle(COLOURS[1], "-", "v", 1.2),
    UNKNOWN: LineStyle(COLOURS[3], "-", "s", 1.2),
}
_CLAIMED = LineStyle(REFERENCE_COLOUR, "none", "D", 0.8, face="white")
_STARTED_AGAIN = LineStyle(REFERENCE_COLOUR, "none", "o", 1.0, face="none")
_PANELS = 30  # suspicious curves drawn at most
# What an empty figure says; a page has the sentence in its place.
_NO_CLAIMS = "no claims"
_NO_SCHEDULE = "no schedule of the radius could be tested"
_NO_SUSPECT = "no suspicious curve"


def draw(name: str, audit: Audit) -> Figure:
    """Draw the figure `name` of `catalogue.AUDIT` in the project's style."""
    with style():
        return FIGURES[name](audit)


def nothing_to_show(name: str, audit: Audit) -> str:
    """Return why the figure `name` of an audit is empty, "" where it is not."""
    reasons = {
        "claims": "" if _claims(audit) else _NO_CLAIMS,
        "comparisons": "" if _comparisons(audit) else _NO_CLAIMS,
        "names_against_curves": "" if _tested(audit) else _NO_SCHEDULE,
        "suspicious_curves": "" if _suspects(audit) else _NO_SUSPECT,
    }
    return reasons.get(name, "")


def _say_nothing(reason: str) -> Figure:
    sheet = make_sheet(1, 1, panel_height=0.8)
    say_nothing_to_show(sheet.axes[0, 0], reason)
    return sheet.figure


def draw_claims(audit: Audit) -> Figure:
    """Draw the headline claims, or all claims where there are no headlines."""
    return _forest(_claims(audit))


def _claims(audit: Audit) -> list[Claim]:
    return [claim for claim in audit.claims if claim.headline] or list(audit.claims)


def draw_comparisons(audit: Audit) -> Figure:
    """Draw the comparisons that are no headlines."""
    return _forest(_comparisons(audit))


def _comparisons(audit: Audit) -> list[Claim]:
    headlines = any(claim.headline for claim in audit.claims)
    return [claim for claim in audit.claims if headlines and not claim.headline]


def _forest(claims: Sequence[Claim]) -> Figure:
    """Draw differences of last epochs with intervals, and of best epochs, one row per claim."""
    if not claims:
        return _say_nothing(_NO_CLAIMS)
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        epochs = f"{claim.epochs} epochs" if claim.epochs else ""
        against = f"against {claim.baseline.name}"
        label = ", ".join(filter(None, [claim.dataset, claim.model, epochs, against]))
        groups.setdefault(label, []).append(claim)
    rows = len(claims) + 1.4 * len(groups)
    seen = {claim.verdict for claim in claims}
    sheet = make_sheet(
        1,
        1,
        panel_height=0.5 + _ROW * rows,
        legend=[
            *((verdict, look) for verdict, look in _VERDICT_STYLES.items() if verdict in seen),
            ("best epochs, as claimed", _CLAIMED),
        ],
    )
    axes = sheet.axes[0, 0]
    reach = _reach(claims)
    y, ticks = 0.0, {}
    for label, members in groups.items():
        axes.text(
            -0.01,
            y + 0.35,
            label,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            weight="bold",
            fontsize=7.5,
        )
        y += 1.4
        for claim in members:
            _claim(axes, claim, y, reach)
            ticks[y] = claim.method.name
            y += 1.0
    axes.axvline(0, color=REFERENCE_COLOUR, linewidth=0.8, zorder=1)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - 0.3, -0.4)
    axes.set_xlim(-reach, reach)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("Test accuracy, method less baseline (points)")
    return sheet.figure


def _reach(claims: Sequence[Claim]) -> float:
    """Return the end of the axis in points: all that is not far beyond the middle of the claims."""
    ends = [abs(100 * end) for c in claims for end in (c.low, c.high) if end is not None]
    ends += [abs(100 * claim.best_difference) for claim in claims]
    known = np.array([end for end in ends if np.isfinite(end)] or [1.0])
    near = known[known <= 4 * np.median(known)]
    return 1.08 * float(near.max())


def _claim(axes: Axes, claim: Claim, y: float, reach: float) -> None:
    look = _VERDICT_STYLES[claim.verdict]
    value = 100 * claim.difference
    if not np.isfinite(value):
        return
    if abs(value) > reach:
        side = np.sign(value)
        axes.annotate(
            f"{value:+.1f}".replace("-", "−"),
            (side * reach, y),
            xytext=(-16 * side, 0),
            textcoords="offset points",
            arrowprops={"arrowstyle": "->", "color": look.colour, "linewidth": 1.0},
            ha="right" if side > 0 else "left",
            va="center",
            fontsize=7,
            color=look.colour,
        )
    else:
        if claim.low is not None:
            ends = [100 * claim.low, 100 * claim.high]
            axes.plot(ends, [y, y], color=look.colour, linewidth=1.1, solid_capstyle="butt")
        axes.plot(value, y, look.marker, color=look.colour, markersize=4.2)
    # Beside an arrow's number there is no room for it.
    free = reach if abs(value) <= reach else 0.7 * reach
    if abs(100 * claim.best_difference) <= free:
        axes.plot(
            100 * claim.best_difference,
            y,
            "D",
            markersize=3.4,
            markerfacecolor="white",
            markeredgecolor=REFERENCE_COLOUR,
            markeredgewidth=0.7,
            zorder=4,
        )


def draw_best_against_last(audit: Audit) -> Figure:
    """Draw each file's best accuracy against its last, and what lies between them if healthy."""
    unhealthy = {found.path for found in audit.findings if found.kind in NOT_HEALTHY}
    restarted = {found.path for found in audit.of_kind("restart")} - unhealthy
    files = [f for f in audit.read_files() if np.isfinite(audit.ends[f.path].last)]
    looks = {
        key: LineStyle(COLOURS[i % len(COLOURS)], "none", "os^vPX"[i % 6], 1.0)
        for i, key in enumerate(dict.fromkeys((file.dataset, file.model) for file in files))
    }
    legend = [(", ".join(filter(None, key)) or "files", look) for key, look in looks.items()]
    note = "Hollow: a finding keeps the file from being healthy. Right: the healthy files alone."
    if restarted:
        legend.append(("started again, healthy", _STARTED_AGAIN))
        note += " In a ring: of a file that was started again, its last complete attempt."
    sheet = make_sheet(1, 2, panel_height=2.8, legend=legend, note=note)
    left, right = sheet.axes[0]
    for file in files:
        ends, look = audit.ends[file.path], looks[file.dataset, file.model]
        healthy = file.path not in unhealthy
        mark = dict(marker=look.marker, color=look.colour, markersize=3.6, markeredgewidth=0.8)
        face = look.colour if healthy else "white"
        best, last = 100 * ends.best, 100 * ends.last
        left.plot(best, last, markerfacecolor=face, alpha=0.85, **mark)
        if healthy:
            right.plot(best, best - last, alpha=0.85, **mark)
        if file.path in restarted:
            ring = dict(marker="o", color=REFERENCE_COLOUR, markersize=7, markerfacecolor="none")
            left.plot(best, last, markeredgewidth=0.8, **ring)
            right.plot(best, best - last, markeredgewidth=0.8, **ring)
    left.axline((50, 50), slope=1, color=REFERENCE_COLOUR, linewidth=0.8, zorder=1)
    left.set_title("All files")
    left.set_ylabel("Last epoch (%)")
    right.set_title("Healthy files")
    right.set_ylabel("Best less last (points)")
    for axes in (left, right):
        axes.set_xlabel("Best of all epochs (%)")
    return sheet.figure


_Panels = dict[tuple[str, str, str, int], list[tuple[Verification, Expectation]]]


def _tested(audit: Audit) -> _Panels:
    """Return what is evidence of a radius, by data set, model, end and number of epochs."""
    panels: _Panels = {}
    where = {file.path: (file.dataset, file.model) for file in audit.read_files()}
    for item in audit.verifications.values():
        for end in item.ends:
            panels.setdefault((*where[item.path], end.end, end.epochs), []).append((item, end))
    return panels


def draw_names_against_curves(audit: Audit) -> Figure:
    """Draw training loss against radius at every end that is evidence: as named and as run."""
    panels = _tested(audit)
    if not panels:
        return _say_nothing(_NO_SCHEDULE)
    columns = min(2, len(panels))
    sheet = make_sheet(
        -(-len(panels) // columns),
        columns,
        panel_height=2.5,
        legend=[
            ("curve agrees with its name", LineStyle(GREY, "none", "o", 1.0)),
            ("contradicts: radius as named", LineStyle(WARNING_COLOUR, "none", "o", 1, face="w")),
            ("the same file: radius as run", LineStyle(WARNING_COLOUR, "none", "o", 1)),
        ],
    )
    for axes, (key, points) in zip(sheet.axes.flat, panels.items(), strict=False):
        _radii(axes, points)
        dataset, model, end, epochs = key
        last = f"last of {epochs} epochs" if end == "last" else "first epoch"
        axes.set_title(", ".join(filter(None, [dataset, model, last])))
    for axes in sheet.axes.flat[len(panels) :]:
        axes.set_visible(False)
    return sheet.figure


def _radii(axes: Axes, points: Sequence[tuple[Verification, Expectation]]) -> None:
    for item, end in points:
        if not item.contradicts:
            axes.plot(end.run_radius, end.found, "o", color=GREY, markersize=3.0, alpha=0.7)
            continue
        axes.annotate(
            "",
            (end.run_radius, end.found),
            xytext=(end.named_radius, end.found),
            arrowprops={"arrowstyle": "->", "color": WARNING_COLOUR, "linewidth": 0.7},
        )
        both = dict(color=WARNING_COLOUR, markersize=4.0, zorder=4)
        axes.plot(end.named_radius, end.found, "o", markerfacecolor="white", **both)
        axes.plot(end.run_radius, end.found, "o", **both)
    radii = [radius for _, end in points for radius in (end.run_radius, end.named_radius)]
    smallest = min((radius for radius in radii if radius > 0), default=1.0)
    axes.set_xscale("symlog", linthresh=max(smallest, 1e-3), linscale=0.4)
    axes.set_xlim(
        -0.3 * max(smallest, 1e-3) if min(radii) == 0 else 0.6 * smallest, 1.7 * max(radii)
    )
    axes.set_yscale("log")
    axes.set_xlabel("Radius")
    axes.set_ylabel("Training loss")


def _suspects(audit: Audit) -> list[tuple[str, str]]:
    """Return the kind of finding and the file of each curve whose name or end is in doubt."""
    untrained = {found.path for found in audit.of_kind("never_learned")}
    return [
        (kind, found.path)
        for kind in _WORDS
        for found in audit.of_kind(kind)
        if found.path not in untrained
    ]


def draw_suspicious_curves(audit: Audit) -> Figure:
    """Draw a panel for each file whose name or end is in doubt, against its baseline's curve."""
    suspects = _suspects(audit)
    if not suspects:
        return _say_nothing(_NO_SUSPECT)
    drawn = suspects[:_PANELS]
    rows = [[one for one in drawn if _quantity(one[0]) == quantity] for quantity in _QUANTITIES]
    rows = [part[i : i + 3] for part in rows for i in range(0, len(part), 3)]
    more = len(suspects) - len(drawn)
    left = f" {more} more {'is' if more == 1 else 'are'} not drawn." if more else ""
    sheet = make_sheet(
        len(rows),
        3,
        panel_height=1.45,
        legend=[
            ("the file", LineStyle(COLOURS[1], "-", None, 1.0)),
            ("its baseline", LineStyle(GREY, "-", None, 1.0)),
            ("where the loss turns", LineStyle(REFERENCE_COLOUR, (0, (1, 1.2)), None, 0.9)),
        ],
        note="Training loss where the name or the learning rate is in doubt, test accuracy where "
        f"the run collapsed.{left}",
    )
    files = {file.path: file for file in audit.read_files()}
    baselines = {
        file.path: claim.baseline.files[0] for claim in audit.claims for file in claim.method.files
    }
    for axes, row in zip(sheet.axes, rows, strict=True):
        for panel, (kind, path) in zip(axes, row, strict=False):
            _curve(panel, kind, files[path], baselines.get(path))
        for panel in axes[len(row) :]:
            panel.set_visible(False)
        axes[0].set_ylabel(_QUANTITIES[_quantity(row[0][0])])
    for panel in sheet.axes[-1]:
        panel.set_xlabel("Epoch")
    return sheet.figure


_QUANTITIES = {"train_loss": "Training loss", "test_accuracy": "Test accuracy (%)"}
_WORDS = {
    "contradiction": "not as named",
    "learning_rate": "learning rate climbs",
    "collapse": "collapses",
}


def _quantity(kind: str) -> str:
    return "train_loss" if kind in ("contradiction", "learning_rate") else "test_accuracy"


def _curve(axes: Axes, kind: str, file: ResultFile, baseline: ResultFile | None) -> None:
    quantity = _quantity(kind)
    factor = 100 if quantity == "test_accuracy" else 1
    top = 0.0
    if baseline is not None and baseline.curve(quantity) is not None:
        theirs = factor * baseline.curve(quantity)
        axes.plot(theirs, color=GREY, linewidth=0.9)
        top = np.nanmax(theirs)
    values = factor * file.curve(quantity)
    axes.plot(values, color=COLOURS[1], linewidth=0.9)
    turn = turn_of(file.curve("train_loss")) if kind == "learning_rate" else None
    if turn is not None:
        axes.axvline(turn.epoch, color=REFERENCE_COLOUR, linestyle=(0, (1, 1.2)), linewidth=0.9)
    if quantity == "train_loss":
        make_logarithmic(axes)
    else:
        late = values[len(values) // 2 :]
        axes.set_ylim(max(0.0, np.nanmin(late) - 5), min(100.0, np.nanmax([top, *values]) + 3))
    axes.set_title(f"{file.name}\n{_WORDS[kind]}", fontsize=6.4)


FIGURES: dict[str, Callable[[Audit], Figure]] = {
    "claims": draw_claims,
    "best_against_last": draw_best_against_last,
    "names_against_curves": draw_names_against_curves,
    "suspicious_curves": draw_suspicious_curves,
    "comparisons": draw_comparisons,
}
