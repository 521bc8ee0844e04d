"""What there is to choose from, and whether a configuration is one: `python -m perturb`.

    python -m perturb list                    models, update rules, base optimisers, data sets
    python -m perturb check FILE ...          as `snakemake --configfile FILE ...` would check it
    python -m perturb results FILE ...        where its results are
    python -m perturb times FILE ...          what took how long, of the jobs that made them

Without torch: it answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from perturb import bases, names, preflight, studies, times
from perturb.config import Config
from perturb.config_files import folders, merged
from perturb.data import registry
from perturb.errors import PerturbError
from perturb.methods import Schedule
from perturb.models import described
from perturb.models import registry as models
from perturb.planning import targets
from perturb.planning.here import check_here
from perturb.planning.settings import Settings
from perturb.search.listing import said
from perturb.study import Chapter
from perturb.train.settings import TrainSettings
from perturb.wording import plural
from perturb.workflow import Workflow

_SHAPES = {
    "cos": "anneals from beta_max to beta_min by a cosine",
    "sin": "heats from beta_min to beta_max by a sine",
    "icos": "heats: 1 / cos",
    "isin": "anneals: 1 / sin",
    "const": "stays at beta_max",
}


def parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser(
        prog="python -m perturb", description=(__doc__ or "").partition("\n\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listed = commands.add_parser("list", help="models, methods, base optimisers, data sets, shapes")
    check = commands.add_parser("check", help="check a configuration, run nothing")
    results = commands.add_parser("results", help="where the results of a configuration are")
    took = commands.add_parser("times", help="what took how long, of the jobs that made them")
    for command in (listed, check, results, took):
        command.add_argument(
            "files", nargs="*", type=Path, metavar="FILE", help="as for `snakemake --configfile`"
        )
        command.add_argument("--root", type=Path, default=Path(), help="the checkout")
    return parser


def configuration(root: Path, files: Sequence[Path]) -> Config:
    """Return the checkout's configuration with `files` over it; PerturbError where it is none."""
    own = [*sorted((root / "config" / "studies").glob("*.yaml")), root / "config" / "config.yaml"]
    for file in (*own, *files):
        if not file.exists():
            raise PerturbError(f"{file}: no such file. Run this in the checkout, or give --root.")
    return Config(merged([*own, *files]), root / "config" / "schema.yaml")


def check(root: Path, files: Sequence[Path]) -> str:
    """Return what the configuration asks for, in lines; PerturbError where it cannot work."""
    config = configuration(root, files)
    results = Path(config.values.get("pathvars", {}).get("results", "results"))
    workflow = Workflow(config, preflight.writable(results), root, writes=lambda: False)
    remarks = workflow.check()
    if target := Settings.of(config.values).target:
        targets.resolve(target, workflow)
    lines = [_line(config, chapter) for chapter in studies.asked(config)]
    notes = [f"{text}." for text in [*remarks, *_not_asked(config)]]
    notes += _refused_here(config) + _missing_weights(config)
    return "\n".join([*lines, *notes, "The configuration is valid."])


def _line(config: Config, chapter: Chapter) -> str:
    """Say what a chapter asks for."""
    if "plans" in chapter.settings and not chapter.runs:
        over = ", ".join(plan["chapter"] for plan in chapter.settings["plans"])
        return f"{chapter.name}: the ranking over {over}, from their runs"
    landscapes = plural(len(chapter.landscape_runs), "landscape")
    return f"{chapter.name}: {said(config, chapter)}, {landscapes}"


def _not_asked(config: Config) -> list[str]:
    """Say which chapters the user's own files describe, and no list of chapters asks for."""
    found = []
    for chapter in studies.chapters(config):
        own, shipped = config.section(chapter.study), config.shipped(chapter.study)
        described = {
            key
            for name, part in own.items()
            if isinstance(part, Mapping)
            for key in part.keys() - (shipped.get(name) or {}).keys()
        }
        if not chapter.asked and {chapter.name, chapter.name.partition("_")[2]} & described:
            found.append(
                f"{chapter.name} is described and not asked for. To have it in the report, write "
                f"`chapters: {json.dumps([*config.asked, chapter.name])}`".replace('"', "")
            )
    return found


def _missing_weights(config: Config) -> list[str]:
    """Say which weights, that runs begin from, are not on this machine.

    Only a library knows how its files are called, so it is imported where a model needs one.
    """
    models_of = {
        specification.model: None
        for chapter in studies.asked(config)
        for specification in preflight.specifications(config, chapter.runs)
        if isinstance(specification, TrainSettings)
    }
    found = []
    for name in models_of:
        known = described.get(config.models, name)
        if known.source.kind != "published":
            continue
        from perturb.models import pretrained

        model, root = models.get(known.network), config.values["data_root"]
        try:
            if isinstance(model, models.LibraryModel):
                pretrained.find(model, known.source.where, root)
            else:
                pretrained.find_backbone(known.network, root)
        except PerturbError as error:
            found.append(f"On this machine runs of {name} will fail: {error}")
    return found


def _refused_here(config: Config) -> list[str]:
    """Say what keeps this machine, if not another one, from running what is asked for."""
    for chapter in studies.asked(config):
        for specification in preflight.specifications(config, chapter.runs):
            try:
                check_here(specification)
            except PerturbError as error:
                return [f"On this machine snakemake will refuse it: {error}"]
    return []


def everything(root: Path, files: Sequence[Path]) -> str:
    """Return models, methods, base optimisers, data sets and shapes of schedules, in lines."""
    shapes = {
        name: f"{text}; epochs 0, 5 and 9 of 10 for beta 2/0.5: "
        + ", ".join(f"{Schedule(name, 2, 0.5).value(t, 10):.2f}" for t in (0, 5, 9))
        for name, text in _SHAPES.items()
    }
    parts = [
        ("Models (`model:`)", {model.name: _of_model(model) for model in models.MODELS.values()}),
        (
            "Update rules, the first word of a method's name (docs/method-names.md)",
            {rule: _of_rule(rule) for rule in names.rules()},
        ),
        ("Shapes of a radius or a scale (`pugdr_cos_2_0.5`, `pugds_isin_3_0.8`)", shapes),
        (
            "Base optimisers (`train: {base: adamw}`)",
            {name: ", ".join(options) or "no options" for name, options in bases.options().items()},
        ),
        ("Data sets (`chapters:`)", _datasets(root, files)),
    ]
    return "\n\n".join(f"{head}\n{_table(rows)}" for head, rows in parts)


def _of_model(model: models.Model) -> str:
    return f"{model.description}; square images of {model.sizes}"


def _of_rule(rule: str) -> str:
    given = ", ".join(f"{name} {value:g}" for name, value in names.rules()[rule].items())
    second = names.second_passes().get(rule, "decided as it trains")
    return f"{given or 'no parameters'}; second gradient: {second}"


def _datasets(root: Path, files: Sequence[Path]) -> dict[str, str]:
    found = {}
    for name in registry.DATASETS:
        shape = registry.shape(name)
        found[name] = (
            f"{shape.train:,} train and {shape.test:,} test images of {shape.num_classes} classes, "
            f"{shape.image_size} x {shape.width or shape.image_size}, {shape.channels} channel"
            f"{'' if shape.channels == 1 else 's'}"
            if shape
            else "size told when it is prepared"
        )
    try:
        own = configuration(root, files).values.get("image_folders", {})
    except PerturbError:
        if files:
            raise
        own = {}  # what there is can be told without a checkout's configuration
    return found | {name: f"your folder {folder}" for name, folder in own.items()}


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows), default=0)
    return "\n".join(f"  {name:{width}}  {text}" for name, text in rows.items())


_COMMANDS = {
    "list": everything,
    "check": check,
    "results": lambda root, files: str(folders(root, files).results),
    "times": lambda root, files: times.table(times.collect(folders(root, files).benchmarks)),
}


def main(arguments: Iterable[str] | None = None) -> None:
    """Print what the command asks for; a user's mistake is one message and exit 1."""
    chosen = parser().parse_args(None if arguments is None else list(arguments))
    try:
        print(_COMMANDS[chosen.command](chosen.root, chosen.files))
    except PerturbError as error:
        sys.exit(f"perturb: {error}")


if __name__ == "__main__":
    main()
