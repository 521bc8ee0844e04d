"""The parts of a chapter that its landscapes make: tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perturb.analysis.plan import Plan
from perturb.figures.catalogue import LANDSCAPES
from perturb.landscape.settings import LandscapeSettings
from perturb.runs import Run
from perturb.study import Chapter, Page, Part

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from perturb.analysis.table import Table
    from perturb.landscape.files import Plane

FIRST_NETWORK = "net0"
_SEVERAL = (
    " Each network of a method that trains two has its own: net0 is the first, net1 the second."
)


def parts(
    plan: Plan,
    *,
    planes: Sequence[str],
    trajectories: Sequence[str],
    curvatures: Sequence[str],
    records: Sequence[str],
    flat_margin: float,
    stem: str,
    sharpness: bool = True,
    several: Sequence[str] = (),
) -> list[Part]:
    """Return the tables and figures of the landscapes of a chapter; files relative to the results.

    Args:
        plan: of the chapter's table: its data set, model and reference.
        planes, trajectories, curvatures: what was computed of the drawn runs' last weights.
        records: of those runs.
        flat_margin: nats above the checkpoint's loss that count as flat.
        stem: of the table's files below `tables/`; the table of sharpness adds `_sharpness`.
        sharpness: whether curvatures have a sharpness to be told in a table of its own.
        several: methods that train several networks, each with its landscape.
    """
    if plan.reference in several:
        plan = msgspec.structs.replace(plan, reference=f"{plan.reference}, {FIRST_NETWORK}")
    scale = {"scale": plan.scale} if plan.scale == "smoke" else {}
    settings = {"dataset": plan.dataset, "model": plan.models, "flat_margin": flat_margin} | scale
    inputs = {"planes": planes, "curvatures": curvatures, "records": records}
    table = Part(
        name="landscape",
        kind="table",
        make="perturb.landscape.parts:table",
        inputs={kind: tuple(paths) for kind, paths in inputs.items()},
        settings=settings | {"name": stem},
        stem=stem,
    )
    steep = replace(
        table,
        name="sharpness",
        make="perturb.landscape.parts:sharpness",
        settings=settings | {"name": f"{stem}_sharpness"},
        stem=f"{stem}_sharpness",
    )
    figures = [
        Part(
            name=name,
            kind="figure",
            make="perturb.landscape.parts:figure",
            inputs={"planes": tuple(planes), "trajectories": tuple(trajectories)},
            settings={"figure": name, "reference": plan.reference} | scale,
            title=entry.title,
            caption=entry.caption(plan) + (_SEVERAL if several else ""),
        )
        for name, entry in LANDSCAPES.items()
    ]
    return [table, *([steep] if sharpness else []), *figures]


def of_runs(
    plan: Plan,
    runs: Sequence[Run],
    settings: LandscapeSettings,
    networks: Mapping[str, int] | None = None,
) -> list[Part]:
    """Return the parts of the landscapes of these runs' last weights.

    `networks` has the number of networks that a method trains, where that is not 1: each of them
    has its landscape.
    """
    several = networks or {}
    drawn = [
        (f"landscapes/{run}", ending_of(f"net{network}"))
        for run in runs
        for network in range(several.get(run.method, 1))
    ]
    return parts(
        plan,
        several=[method for method, count in several.items() if count > 1],
        planes=[
            f"{folder}/plane{seed}{ending}.npz"
            for seed in settings.direction_seeds
            for folder, ending in drawn
        ],
        trajectories=[f"{folder}/trajectory{ending}.npz" for folder, ending in drawn],
        curvatures=[f"{folder}/curvature{ending}.json" for folder, ending in drawn],
        records=[run.record for run in runs],
        flat_margin=settings.flat_margin,
        stem=f"landscape_{plan.chapter}",
        sharpness=bool(settings.sharpness_radii or settings.adaptive_radii),
    )


def ending_of(network: str) -> str:
    """Return what the names of the files of one of a run's networks end in: `_net1`.

    "" for its first, and for its only one.
    """
    return "" if network in ("", FIRST_NETWORK) else f"_{network}"


def pages(chapter: str) -> tuple[Page, ...]:
    """Return the page of a chapter's surfaces, which `planes_of` are on."""
    return (Page("loss landscapes that turn, two side by side", page_of(chapter)),)


def page_of(chapter: str) -> str:
    """Return the page of a chapter's surfaces, below the results."""
    return f"landscapes/{chapter}.html"


def planes_of(chapter: Chapter) -> tuple[str, ...]:
    """Return the planes of a chapter, below the results: of every run, in every direction."""
    found = (path for part in chapter.parts for path in part.inputs.get("planes", ()))
    return tuple(dict.fromkeys(found))


def table(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Table:
    """Make the table of landscapes from `planes` and `curvatures`, traced to `records`."""
    from perturb.landscape import table as tables

    return _made(tables.general, settings, inputs, results)


def sharpness(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Table:
    """Make the table of the sharpness of the same checkpoints."""
    from perturb.landscape import table as tables

    return _made(tables.sharpness, settings, inputs, results)


def _made(
    printed: Callable[[pd.DataFrame, str, str], Table],
    settings: Mapping[str, Any],
    inputs: Mapping[str, Sequence[Path]],
    results: Path,
) -> Table:
    from perturb.landscape import provenance
    from perturb.landscape import table as tables

    planes, curvatures = inputs["planes"], inputs["curvatures"]
    checkpoints = tables.read_checkpoints(planes, curvatures)
    frame = tables.build(checkpoints, settings["flat_margin"], settings.get("scale", ""))
    title = f"{settings['dataset']}, {settings['model']}"
    traced = provenance.of_table(planes, curvatures, inputs["records"], results)
    return replace(printed(frame, settings["name"], title), provenance=traced)


def figure(
    settings: Mapping[str, Any], inputs: Mapping[str, Sequence[Path]], results: Path
) -> Figure:
    """Draw `settings["figure"]` of `planes` and `trajectories`; `reference` is drawn in black."""
    from perturb.figures import landscape
    from perturb.landscape.files import read_plane

    def read(paths: Iterable[Path]) -> list[Plane]:
        return [read_plane(path) for path in paths]

    material = landscape.material(
        read(inputs["planes"]),
        read(inputs["trajectories"]),
        settings["reference"],
        settings.get("scale", ""),
    )
    return landscape.draw(settings["figure"], material)
