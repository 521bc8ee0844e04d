"""What would fail in a job is refused before anything runs; what one may not expect is said. Pure.

`perturb.config` checks values one by one, the studies their own entries; here is what only all of
it together shows: names that meet on disk, data sets and models that do not fit, what wins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec

from perturb import studies
from perturb.audit import plan as audits
from perturb.config import Config, spelled_out
from perturb.data import image_sizes, registry, variants
from perturb.data.asked import DataSets
from perturb.data.image_folder import ImageFolder
from perturb.errors import PerturbError, did_you_mean
from perturb.jobs.store import store_folder
from perturb.limits import LARGEST_INTEGER, of_few_test_images
from perturb.models import described
from perturb.models import registry as models
from perturb.names import MAX_LENGTH
from perturb.planning.sizes import shape_of
from perturb.runs import Run, Specification
from perturb.study import Chapter
from perturb.train.settings import TrainSettings
from perturb.wording import plural

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", re.ASCII)
_LONGEST_NAME = 100
# Beginnings and ends of the names of files that perturb makes itself.
_RESERVED_STARTS = ("audit_", "landscape_", "efficiency_")
_RESERVED_ENDS = (".provenance", ".claims", ".manifest")


def check(config: Config, results: Path) -> dict[str, int]:
    """Return the models that chapters asked for train, each with a seed of its runs.

    Raises PerturbError for what of the configuration cannot work, whatever is asked for.
    """
    folders = config.values.get("image_folders", {})
    for name in config.values.get("image_sizes", {}):
        if name not in folders:
            raise PerturbError(
                f"config, image_sizes.{name}: no folder of images is called so."
                f"{did_you_mean(name, folders) if folders else ''}"
            )
    for section, names in (("image_folders", folders), ("audits", config.values.get("audits", {}))):
        for name in names:
            _check_name(name, f"config, {section}.{name[:_LONGEST_NAME]}")
    for name, folder in folders.items():
        if not str(folder).strip():
            raise PerturbError(
                f"config, image_folders.{name}: the path is empty. Write the folder that holds one "
                "folder for each class."
            )
        if name in registry.DATASETS or name in studies.NAMES:
            what = "study" if name in studies.NAMES else "built-in data set"
            raise PerturbError(
                f"config, image_folders.{name}: a {what} is called so. Use another name."
            )
        of_study = next((one for one in studies.NAMES if name.startswith(f"{one}_")), "")
        if of_study:
            raise PerturbError(
                f"config, image_folders.{name}: names that begin with {of_study}_ are chapters of "
                f"study {of_study}. Use another name."
            )
        if variants.base_name(name) != name:
            raise PerturbError(
                f"config, image_folders.{name}: a variant with label noise would be called so. Use "
                "another name."
            )
    _check_places(config, results)
    for name in config.values.get("audits", {}):
        audits.plan(config, name)
    for name, given in config.values.get("class_maps", {}).items():
        _check_class_map(name, given["classes"], folders)
    for name in config.values.get("efficiency", {}).get("models", {}):
        try:
            described.get(config.models, name)
        except PerturbError as error:
            raise PerturbError(f"config, efficiency.models: {error}") from None
    for name in config.asked:
        _check_name(name, "config, chapters")
        _check_described(config, name)
    _check_files(studies.chapters(config))
    trained: dict[str, int] = {}
    for chapter in studies.asked(config):
        for specification in specifications(config, chapter.runs):
            if isinstance(specification, TrainSettings):
                _check_data(config, results, specification)
                trained[specification.model] = specification.seed
        for run in chapter.landscape_runs:
            every = getattr(studies.specification(config, run), "checkpoint_every", 0)
            check_trajectory(run, studies.of_method(run.method).epochs(run.method), every)
    for name in trained:
        weights = described.get(config.models, name).source
        if weights.kind == "file" and not Path(weights.where).is_file():
            raise PerturbError(
                f"config, models.{name}: no file {weights.where}, from which it starts. Put it "
                "there, or name another one."
            )
    return trained


def _check_places(config: Config, results: Path) -> None:
    """Raise PerturbError for a folder of results that cannot be one, or lies among images."""
    for kind, text in config.values.get("pathvars", {}).items():
        rest = str(text).removeprefix("<results>") if kind != "results" else str(text)
        if not rest.strip() or rest.startswith("-") or set(rest) & set("<>{}"):
            raise PerturbError(
                f"config, pathvars.{kind}: '{text}' is no folder. Write its path, such as "
                "results/mine, without <, >, {, }."
            )
    for name, folder in config.values.get("image_folders", {}).items():
        images = Path(folder).expanduser().resolve()
        if str(folder).strip() and results.resolve().is_relative_to(images):
            raise PerturbError(
                f"config, pathvars.results: {results} is inside the images of {name} ({folder}), "
                "whose files would then change with every run. Write a folder outside of it."
            )
    store = store_folder(config, results)
    if store and store.exists() and not store.is_dir():
        raise PerturbError(f"config, store: {store} is a file. Write a folder, or '' for none.")


def _check_class_map(name: str, classes: Mapping[str, str | None], folders: Iterable[str]) -> None:
    """Raise PerturbError for a class map that leaves no two classes, or is called as images are."""
    if name in folders:
        raise PerturbError(
            f"config, class_maps.{name}: a folder of images is called so. Use another name."
        )
    if len(set(filter(None, classes.values()))) < 2:
        raise PerturbError(
            f"config, class_maps.{name}: fewer than two classes are left. Give two names or more."
        )


def _check_name(name: str, where: str) -> None:
    """Raise PerturbError for a name that files cannot be called after, or that is perturb's own."""
    if len(name) > _LONGEST_NAME:
        raise PerturbError(
            f"{where}: a name of {len(name)} characters. Files are called after it: use at most "
            f"{_LONGEST_NAME}."
        )
    if not _NAME.fullmatch(name):
        raise PerturbError(
            f"{where}: '{name}' is no name for files. Use letters, digits, _, -, + and points, "
            "beginning with a letter or a digit."
        )
    starts = [f"begins with '{text}'" for text in _RESERVED_STARTS if name.startswith(text)]
    ends = [f"ends with '{text}'" for text in _RESERVED_ENDS if name.endswith(text)]
    for says in starts + ends:
        raise PerturbError(
            f"{where}: '{name}' {says}, as perturb's own files do. Use another name."
        )


def _check_described(config: Config, name: str) -> None:
    """Raise PerturbError where a folder of images is asked for and nothing is compared on it."""
    any_run = Run(name, "", "", 0)
    is_described = any(study.entry(config, any_run) for study in studies.every())
    if name in config.values.get("image_folders", {}) and not is_described:
        examples = (
            f"`{study.name}: {{datasets: {{{name}: {study.example}}}}}`"
            for study in studies.every()
            if study.example
        )
        raise PerturbError(
            f"config, chapters: '{name}' is a folder of images, and nothing says what is compared "
            f"on it. Write {' or '.join(examples)} (docs/your-own-study.md)."
        )


def _check_files(chapters: Iterable[Chapter]) -> None:
    """Raise PerturbError where two tables, or the figures of two chapters, have one name."""
    owners: dict[str, str] = {}
    for chapter in chapters:
        for stem in [chapter.stem(part) for part in chapter.tables]:
            if stem in owners and owners[stem] != chapter.name:
                raise PerturbError(
                    f"config: chapters '{owners[stem]}' and '{chapter.name}' would both make the "
                    f"table '{stem}'. Rename one of them."
                )
            owners[stem] = chapter.name


def specifications(config: Config, runs: Iterable[Run]) -> Iterator[Specification]:
    """Yield one specification of each data set, model and method: seeds change nothing here."""
    seen = set()
    for run in runs:
        check_run(run)
        key = (run.dataset, run.model, run.method)
        if key not in seen:
            seen.add(key)
            yield studies.specification(config, run)


def check_run(run: Run) -> None:
    """Raise PerturbError for a run whose folder could not be called so, or read back."""
    if run.seed > LARGEST_INTEGER:
        raise PerturbError(f"seed {run.seed} does not fit. Seeds go up to 2^63 - 1.")
    for what, name in (("data set", run.dataset), ("model", run.model), ("method", run.method)):
        if len(name.encode()) > MAX_LENGTH:
            raise PerturbError(
                f"{what} '{name[:40]}...': a name of {len(name)} characters. At most {MAX_LENGTH} "
                "bytes fit the name of a folder."
            )


def _check_data(config: Config, results: Path, run: TrainSettings) -> None:
    """Raise PerturbError where there is no such data set, or the model does not take its images."""
    folders = config.values.get("image_folders", {})
    registry.check_name(run.dataset, folders)
    base = variants.base_name(run.dataset)
    prepared = (results / "data" / f"{run.dataset}.manifest.json").exists()
    if base in folders and not prepared:
        ImageFolder(name=base, folder=Path(folders[base]).expanduser()).files()
    elif base in folders and not Path(folders[base]).expanduser().is_dir():
        DataSets(config, results).content(run.dataset)  # refuses one that was never seen
    elif not prepared and registry.shape(run.dataset) is None:
        return  # its size is told when it is prepared
    shape = shape_of(run.dataset, results, config)
    known = described.get(config.models, run.model)
    model = models.get(known.network)
    try:
        model.check(shape.num_classes, shape.image_size, shape.channels)
    except PerturbError as error:
        said = str(error)
        if base in folders:  # whose size the configuration says
            multiple = model.image_multiple
            side = max(model.smallest_image, -(-shape.image_size // multiple) * multiple)
            resized = f"Write `image_sizes: {{{base}: {side}}}`"
            said = said.replace("Resize the images", resized)
        raise PerturbError(f"data set '{run.dataset}': {said}") from None
    if isinstance(run.freeze, int) and run.freeze:
        inputs = (shape.num_classes, shape.image_size, shape.channels)
        said = _of_freeze(run.freeze, known.network, known.to_json(), inputs)
        if said:
            raise PerturbError(f"config, train settings of {run.run}: {said}")


@cache
def _of_freeze(layers: int, network: str, model: str, inputs: tuple[int, int, int]) -> str:
    """Say why a network cannot keep so many layers as they are; "" where it can.

    Only the network knows its layers. So PyTorch is imported, where a number of them is given.
    """
    import torch

    from perturb.models import build
    from perturb.train.finetuning import freeze

    with torch.random.fork_rng(devices=[]):
        built = build(network, *inputs, described.Described.from_json(model).options)
    try:
        freeze(built, layers)
    except PerturbError as error:
        return str(error)
    return ""


def check_trajectory(run: Run, epochs: int, every: int) -> None:
    """Raise PerturbError where a run keeps too few checkpoints for the plane of its own path."""
    if 1 + (-(-epochs // every) if every else 1) >= 3:
        return
    kept = len({*range(every, epochs + 1, every), epochs}) if every else 1
    help = "Train for 2 epochs or more"
    if epochs > 1:
        help = f"Set landscape.checkpoint_every to {epochs - 1}{' or less' if epochs > 2 else ''}"
    raise PerturbError(
        f"landscape of {run}: its path needs the weights of 3 moments, the beginning among them. "
        f"This run has {plural(epochs, 'epoch')} and keeps the weights of {kept + 1} moments: the "
        f"beginning and {plural(kept, 'epoch')}. {help}, or leave the method out of "
        "landscape.methods."
    )


def remarks(config: Config) -> list[str]:
    """Return what a user may not expect of the chapters asked for: settings that do not hold."""
    found = []
    asked = {
        (chapter.study, _entry_name(chapter, run)): run
        for chapter in studies.asked(config)
        for run in reversed(chapter.runs)
    }
    defaults = _defaults(TrainSettings)
    for (study, name), run in asked.items():
        own = spelled_out(studies.get(study).entry(config, run).get("train", {}))
        for key, given in spelled_out(config.values["train"]).items():
            changed = given != defaults.get(key, given)
            if changed and key in own and own[key] != given:
                found.append(
                    f"{name} trains with {key} {own[key]}, as {study}.datasets.{name}.train says, "
                    f"and not with the {given} of train: a data set's own goes before"
                )
    found += _unused_models(config)
    of_studies = [text for study in studies.every() for text in study.remarks(config)]
    return found + of_studies + _of_images(config) + _unranked(config)


def _unused_models(config: Config) -> list[str]:
    """Say which settings of a model an entry has that none of its rows trains."""
    found = []
    for chapter in studies.asked(config):
        if not chapter.runs:
            continue
        given = studies.get(chapter.study).entry(config, chapter.runs[0]).get("models", {})
        trained = {run.model for run in chapter.runs}
        unused = [name for name in given if described.canonical(name) not in trained]
        if unused:
            found.append(
                f"{chapter.name}: settings of {', '.join(unused)} under its models, which no row "
                "of it trains"
            )
    return found


def _entry_name(chapter: Chapter, run: Run) -> str:
    """Return how the entry of a run is called: as its data set, or as a chapter of its own name."""
    plan = chapter.settings.get("plan", {"dataset": ""})
    own = plan["dataset"] == run.dataset and variants.base_name(run.dataset) == run.dataset
    return chapter.name.removeprefix(f"{chapter.study}_") if own else run.dataset


def _of_images(config: Config) -> list[str]:
    """Say what is done to the images of the folders asked for, and whose test split is small."""
    folders = config.values.get("image_folders", {})
    asked = {run.dataset for chapter in studies.asked(config) for run in chapter.runs}
    found = []
    for name in sorted({variants.base_name(dataset) for dataset in asked} & set(folders)):
        folder, side = Path(folders[name]).expanduser(), image_sizes.configured(config.values, name)
        if folder.is_dir():
            read = ImageFolder(name=name, folder=folder, side=side)
            found += [f"{name}: {text}" for text in read.remarks()]
            found += [f"{name}: {text}" for text in of_few_test_images(read.counted().test)]
    return found


def _unranked(config: Config) -> list[str]:
    """Say why several data sets of a study have no ranking."""
    found = []
    for name in dict.fromkeys(chapter.study for chapter in studies.asked(config)):
        of_study = [one for one in studies.asked(config) if one.study == name]
        compared = [one for one in of_study if "plan" in one.settings]
        if len(compared) < 2 or any("plans" in one.settings for one in of_study):
            continue
        further = [one.name for one in compared if _is_further(config, one)]
        ranked = [one.name for one in compared if one.name not in further]
        if len(ranked) > 1:
            which = ", ".join(ranked) if further else "they"
            why = f"{which} have fewer than two methods in common"
        else:
            why = (
                "a ranking takes each data set once, under its own name, and "
                f"{', '.join(further)} {'have' if len(further) > 1 else 'has'} a `dataset:`"
            )
        found.append(f"no ranking over {', '.join(one.name for one in compared)}: {why}")
    return found


def _is_further(config: Config, chapter: Chapter) -> bool:
    """Whether a chapter's entry names its data set, so that it is not the data set's own."""
    study = studies.get(chapter.study)
    return any("dataset" in study.entry(config, run) for run in chapter.runs[:1])


def _defaults(specification: type[Specification]) -> Mapping[str, Any]:
    return {field.name: field.default for field in msgspec.structs.fields(specification)}


def writable(folder: Path) -> Path:
    """Return `folder`; PerturbError where nothing can be written below it. Leaves nothing there."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    able = existing.is_dir() and os.access(existing, os.W_OK)
    if able and existing != folder.absolute():
        # To `root` every folder says yes, those of /proc too: only trying tells.
        try:
            Path(mkdtemp(prefix=".perturb-", dir=existing)).rmdir()
        except OSError:
            able = False
    if not able:
        raise PerturbError(
            f"cannot write to {folder}: {existing} is no folder that you may write to. Write "
            "another one: `pathvars: {results: results/mine}`."
        )
    return folder
