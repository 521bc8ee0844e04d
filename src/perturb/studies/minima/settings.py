"""What the study runs: the specification of a run, and a chapter's entry. Pure, without torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from perturb import studies
from perturb.config import Config, spelled_out, with_base
from perturb.data import variants
from perturb.errors import PerturbError, did_you_mean
from perturb.runs import CHECKPOINTS, LAST, Run, checkpoint
from perturb.studies.minima import law
from perturb.studies.minima.names import Name, format, number_stored, parse
from perturb.train.settings import TrainSettings

NAME = "minima"
# Sections that compare runs, with their headings: the thesis log's order.
COMPARED = {
    "baseline": "Baseline",
    "parameters": "Parameters",
    "hyperparameters": "Hyperparameters",
    "several": "Several minima",
    "restarts": "Warm restarts",
}
PLAIN = "plain"  # a section's reference: each row's own run without repulsion


class MinimaSpecification(TrainSettings, frozen=True, kw_only=True):
    """A classifier's settings, and when and how it is pushed away (`names.SETTINGS`).

    Args:
        strength, width, kernel: s, w and k of the term.
        every: weights are stored each time this number of epochs has passed; 0 for never.
        keep, most: which of them push (`perturb.optim.Repulsion`).
        start: whether the weights that it begins from are stored too.
        off: epochs after which the term is removed; 0 for never.
        schedule, anneal: of the learning rate and of the strength.
        period: of both, in epochs.
        boost: the term does not turn the gradient, it lengthens it by as much as it would.
        normalised: steps have the length of the learning rate.
        displace: squared length of a random displacement that the run begins with.
        trace: iterations between two looks at the path, in the first two epochs; 0 for none.
        trace_images: of the test split that the path's error is taken over, and of the train split
            that gradients and batch-norm's statistics are taken over there.
        at: epoch of the parent's weights that a clone begins from; 0 for its last.
        parent: method of the run that it branches; "" for none.
        members: networks of an ensemble that is trained together; 0 for one network.
    """

    study: str = NAME
    strength: float = 0.0
    width: float = 1e-3
    kernel: str = "rbf"
    every: int = 0
    keep: str = "all"
    most: int = 0
    start: bool = False
    off: int = 0
    schedule: str = "fixed"
    period: int = 0
    anneal: str = "fixed"
    boost: bool = False
    normalised: bool = False
    displace: float = 0.0
    trace: int = 0
    trace_images: int = 2000
    at: int = 0
    parent: str = ""
    members: int = 0

    @property
    def epochs(self) -> int:
        """The epochs of its name."""
        return parse(self.method).epochs

    @property
    def stored(self) -> int:
        """How many checkpoints push at its end: whose distances it records."""
        return number_stored(self.values(), self.epochs)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A distance that is asked for in place of a strength, and the plain run's drift `base`."""

    distance: float
    base: float
    width: float
    method: str

    def named(self) -> str:
        """Return the method with the strength that the law says, to three digits."""
        given = parse(self.method)
        strength = law.strength_for(
            self.distance, self.base, self.width, given.values["decay"], given.values["kernel"]
        )
        values = {**given.values, "strength": float(f"{strength:.3g}"), "width": self.width}
        return format(Name(given.head, values, given.epochs, given.parent))


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A section that compares runs: its methods, and what each is compared with.

    A method may hold alternatives in braces: `repel_strength-{1,10}_width-{1e-3,0.01}_every-2_4`.
    """

    reference: str
    methods: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()

    def rows(self) -> dict[str, str]:
        """Return the section's methods, each with its reference; references are among them."""
        spelled = [one for text in self.methods for one in expand(text)]
        names = [format(parse(one)) for one in spelled] + [t.named() for t in self.targets]
        found: dict[str, str] = {}
        if self.reference != PLAIN:
            reference = format(parse(self.reference))
            return {name: reference for name in dict.fromkeys([reference, *names])}
        for name in names:
            plain = format(parse(name).plain())
            found |= {plain: plain, name: plain}
        return found


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """An ensemble: the checkpoints of a method's run, or the last weights of several seeds.

    Args:
        label: in words.
        method: of the run or runs.
        seeds: number of runs, of seeds s, s + 100, s + 200, ...; 1 for the checkpoints of one.
        average: whether one network at the mean of the weights stands for them (SWA).
        together: whether the run is an ensemble trained together.
    """

    label: str
    method: str
    seeds: int = 1
    average: bool = False
    together: bool = False


class Valley(msgspec.Struct, frozen=True, kw_only=True):
    """Paths from one converged network.

    Args:
        parent: the method of that network, theta_c.
        clones: methods of its clones without `_of_<parent>`, by label.
        threshold: of barriers, a share of images.
        points: of a path.
        bend_steps, bend_lr: of the training of the Bezier curve's bend.
    """

    parent: str
    clones: dict[str, str]
    threshold: float = 0.02
    points: int = 11
    bend_steps: int = 300
    bend_lr: float = 0.02

    def methods(self) -> dict[str, str]:
        """Return the method of each clone, by label."""
        return {k: format(parse(f"{v}_of_{self.parent}")) for k, v in self.clones.items()}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A chapter as the configuration describes it; `seeds` are those of every method."""

    name: str
    dataset: str
    model: str
    title: str
    seeds: tuple[int, ...]
    train: dict[str, Any] = msgspec.field(default_factory=dict)
    scale: str = "full"
    trace_images: int = 2000
    smoothing: int = 5
    sections: dict[str, Section] = msgspec.field(default_factory=dict)
    ensembles: tuple[Ensemble, ...] = ()
    valley: Valley | None = None
    claims: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def chapter(self) -> str:
        """The name of its chapter."""
        return f"{NAME}_{self.name}"

    def run(self, method: str, seed: int) -> Run:
        """Return a run of the chapter."""
        return Run(self.dataset, self.model, method, seed)

    def runs(self, methods: Iterable[str]) -> list[Run]:
        """Return the runs of methods at every seed."""
        return [self.run(method, seed) for method in methods for seed in self.seeds]


def expand(text: str) -> list[str]:
    """Return a text with every combination of the alternatives in its braces."""
    parts = re.split(r"\{([^{}]*)\}", text)
    choices = [part.split(",") if at % 2 else [part] for at, part in enumerate(parts)]
    return ["".join(one) for one in itertools.product(*choices)]


def entry(config: Config, name: str) -> Entry:
    """Return the entry of a chapter; what it leaves out is that of its `like`, section by section.

    Raises PerturbError where the configuration has no such chapter, where a method does not parse
    or where an ensemble's run leaves no checkpoints.
    """
    known = config.section(NAME).get("chapters", {})
    if name not in known:
        raise PerturbError(
            f"no chapter '{name}' of study {NAME} (config/studies/{NAME}.yaml)."
            f"{did_you_mean(name, known)}"
        )
    values, base = with_base(known, name, f"{NAME}.chapters")
    sections = {**base.get("sections", {}), **values.get("sections", {})}
    merged = {"seeds": config.values["seeds"], **base, **values, "sections": sections, "name": name}
    where = f"config, {NAME}.chapters.{name}"
    for key in ("dataset", "model", "title"):
        if key not in merged:
            raise PerturbError(f"{where}: missing key '{key}'. config/schema.yaml explains it.")
    found = msgspec.convert(merged, Entry)
    try:
        for section in found.sections.values():
            section.rows()
        for one in found.ensembles:
            _check_ensemble(one)
        if found.valley:
            _check_valley(found.valley)
    except PerturbError as error:
        raise PerturbError(f"{where}: {error}") from None
    return found


def _check_ensemble(ensemble: Ensemble) -> None:
    name = parse(ensemble.method)
    alone = ensemble.seeds == 1 and not ensemble.together
    if alone and not checkpoint_every(name):
        raise PerturbError(
            f"ensemble '{ensemble.label}': {ensemble.method} keeps no weights on its way. Give it "
            "every-<epochs>, or a schedule with a period."
        )
    if ensemble.together != (name.head == "wgd"):
        raise PerturbError(f"ensemble '{ensemble.label}': `together` is of methods wgd_....")


def _check_valley(valley: Valley) -> None:
    for label, method in valley.methods().items():
        if parse(method).values.get("at"):
            raise PerturbError(
                f"valley, '{label}': paths begin at the last weights of {valley.parent}; leave "
                "`at` out, or name a parent of fewer epochs."
            )


@lru_cache
def entries(config: Config) -> tuple[Entry, ...]:
    """Return the entry of every chapter."""
    return tuple(entry(config, name) for name in config.section(NAME).get("chapters", {}))


def of_run(config: Config, run: Run) -> Entry | None:
    """Return the entry whose settings a run has: of its data set and model, or a variant's base.

    PerturbError where two chapters train one model on one data set in different ways.
    """
    base = variants.base_name(run.dataset)
    fits = [
        found
        for found in entries(config)
        if found.dataset in (run.dataset, base) and found.model == run.model
    ]
    for other in fits[1:]:
        if (other.train, other.trace_images) != (fits[0].train, fits[0].trace_images):
            raise PerturbError(
                f"config, {NAME}.chapters: {fits[0].name} and {other.name} train {run.model} on "
                f"{run.dataset} with different settings, so that a run's name would mean two "
                "things. Give both the same `train` and `trace_images`."
            )
    return fits[0] if fits else None


def checkpoint_every(name: Name) -> int:
    """Return how often a run keeps its weights: whenever it stores them, or a cycle ends."""
    values = name.values
    cycles = values["schedule"] in ("cosine", "triangle")
    return int(values["every"] or (values["period"] if cycles else 0))


def resolve(config: Config, run: Run) -> MinimaSpecification:
    """Return what a run computes: global settings, its chapter's, those of its name.

    Raises PerturbError where its name does not parse, and where a clone's parent is of another
    study without such weights, or keeps none of the epoch that is asked for.
    """
    name = parse(run.method)
    own = of_run(config, run)
    settings = spelled_out(config.values["train"]) | spelled_out(own.train if own else {})
    values = dict(name.values)
    named = {
        "learning_rate": values.pop("lr"),
        "weight_decay": values.pop("decay"),
        "checkpoint_every": checkpoint_every(name) or settings.get("checkpoint_every", 0),
        "members": int(values.pop("members", 0)),
        "parent": name.parent,
        "trace_images": own.trace_images if own and values["trace"] else 2000,
    }
    fixed = {
        "study": NAME,
        "dataset": run.dataset,
        "model": run.model,
        "method": format(name),
        "seed": run.seed,
        "split_seed": config.values.get("split_seed", 0),
        "scale": config.scale,
    }
    found = MinimaSpecification.of({**settings, **values, **named, **fixed})
    _check_parent(config, found)
    return found


def _check_parent(config: Config, clone: MinimaSpecification) -> None:
    if not clone.parent:
        return
    parent = Run(clone.dataset, clone.model, clone.parent, clone.seed)
    given = studies.specification(config, parent)
    if not isinstance(given, TrainSettings) or getattr(given, "members", False):
        raise PerturbError(
            f"{clone.run}: {clone.parent} trains no single classifier, so nothing can branch it."
        )
    epochs = studies.of_method(clone.parent).epochs(clone.parent)
    kept = given.checkpoint_every
    if clone.at > epochs or (clone.at not in (0, epochs) and not (kept and clone.at % kept == 0)):
        keeps = f"every {kept} epochs and its last" if kept else "its last only"
        raise PerturbError(
            f"{clone.run}: {clone.parent} of {epochs} epochs keeps weights of {keeps}, none of "
            f"epoch {clone.at}. Choose such an epoch, or leave `at` out for the last."
        )


def begins_from(clone: MinimaSpecification) -> str:
    """Return the file of the weights that a clone begins from, below the results, or ""."""
    if not clone.parent:
        return ""
    epochs = studies.of_method(clone.parent).epochs(clone.parent)
    name = LAST if clone.at in (0, epochs) else checkpoint(clone.at - 1)
    return Run(clone.dataset, clone.model, clone.parent, clone.seed).file(name)


def members_of(entry: Entry, ensemble: Ensemble, seed: int) -> tuple[list[Run], list[str]]:
    """Return the runs of an ensemble at a seed, and its members' files, below the results."""
    runs = [entry.run(ensemble.method, seed + 100 * at) for at in range(ensemble.seeds)]
    if ensemble.seeds > 1 or ensemble.together:
        return runs, [run.file(LAST) for run in runs]
    name = parse(ensemble.method)
    every = checkpoint_every(name)
    epochs = range(every, name.epochs + 1, every)
    return runs, [runs[0].file(checkpoint(epoch - 1)) for epoch in epochs]


def folder_of_checkpoints(file: str) -> str:
    """Return what a rule makes a file of weights with: the folder of checkpoints, or the file."""
    folder, _, _ = file.rpartition("/")
    return folder if folder.endswith(f"/{CHECKPOINTS}") else file
