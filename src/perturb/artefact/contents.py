"""Which files go into an artefact, of the checkout and of the results, and which are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from perturb import studies
from perturb.artefact.settings import ArtefactSettings
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.files import sha256_file
from perturb.runs import TIMING, Run, folders

# What is needed to set up the environment, to run the workflow and to read about it.
PROJECT = (
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "README.md",
    "Snakefile",
    "config",
    "docs",
    "envs",
    "profiles",
    "pyproject.toml",
    "src",
    "workflow",
)
# Of the results: what the report is made from. A study's own folder is called as it is.
RESULTS = frozenset(
    {
        "data",
        "efficiency",
        "figures",
        "init",
        "landscapes",
        "predictions",
        "report.html",
        "runs",
        "search",
        "section.tex",
        "tables",
        *studies.NAMES,
    }
)
# What is not packed: what says how long something took (the same study made again is the same
# archive), what is kept twice or is unfinished, and what is said of other people's files.
NOT_PACKED = frozenset({"audit", "benchmarks", "logs", "plan", "state", "store"})
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Chosen:
    """The files of the results that go in, and the SHA-256 of those left out, by their names."""

    files: Mapping[str, Path]
    left_out: Mapping[str, str]


def place_of(results: Path, root: Path) -> str:
    """Return where the results are in the archive: as they are in the checkout.

    Raises PerturbError where they are elsewhere, or Snakemake works in another folder.
    """
    if Path.cwd() != root.resolve():
        raise PerturbError(
            f"artefact: Snakemake works in {Path.cwd()}, the checkout is {root}. Start it in the "
            "checkout, so that the archive has one folder for both."
        )
    return _below(results, root, "the results folder (`pathvars: {results: ...}`)")


def of_project(root: Path, configfiles: Iterable[str]) -> dict[str, Path]:
    """Return the checkout's own files and the configuration files that were given, by name."""
    missing = [name for name in PROJECT if not (root / name).exists()]
    if missing:
        raise PerturbError(
            f"artefact: {root} has no {', '.join(missing)}, which the archive holds."
        )
    found = {}
    for name in PROJECT:
        path = root / name
        for file in _files(path) if path.is_dir() else [path]:
            found[file.relative_to(root).as_posix()] = file
    for name in configfiles:
        found[_below(Path(name), root, "a configuration file")] = Path(name)
    return found


def of_results(results: Path, config: Config, settings: ArtefactSettings) -> Chosen:
    """Return which files of the results go in, and which are left out though others name them.

    Weights that other runs begin from go in whatever is asked for.
    """
    begun_from = set(_begun_from(results, config))
    files, left_out = {}, {}
    for file in _of_section(results):
        name = file.relative_to(results).as_posix()
        if name in begun_from or not _is_left_out(name, settings):
            files[name] = file
        else:
            left_out[name] = sha256_file(file)
    _check_patterns(settings.checkpoints, files)
    return Chosen(files, left_out)


def _of_section(results: Path) -> Iterator[Path]:
    """Yield the files that belong to the results section. Another one's results may lie below."""
    for top in sorted(RESULTS):
        path = results / top
        for file in _files(path) if path.is_dir() else [path] if path.exists() else []:
            of_audit = top == "figures" and file.parent.name.startswith("audit_")
            if file.name != TIMING and not of_audit:
                yield file


def _is_left_out(name: str, settings: ArtefactSettings) -> bool:
    kind, _, rest = name.partition("/")
    if kind == "data":
        return not settings.data and name.endswith(".npz")
    if kind == "landscapes":  # the directions, which a plane's seed and hash tell
        return name.endswith(WEIGHTS)
    if kind == "runs" and name.endswith(WEIGHTS):
        return not any(fnmatchcase(rest, pattern) for pattern in settings.checkpoints)
    return False


def _check_patterns(patterns: Sequence[str], files: Mapping[str, Path]) -> None:
    weights = [name for name in files if name.startswith("runs/") and name.endswith(WEIGHTS)]
    for pattern in patterns:
        if not any(fnmatchcase(name, f"runs/{pattern}") for name in weights):
            raise PerturbError(
                f"config, artefact.checkpoints: no weights are called '{pattern}'. A pattern is "
                "below `runs` of the results: digits/cnn/*/seed0/last.safetensors."
            )


def _begun_from(results: Path, config: Config) -> Iterator[str]:
    """Yield the weights of runs that other runs begin from, by their names below the results."""
    for folder in folders(results):
        try:
            name = studies.initial_file(studies.specification(config, Run.of_folder(folder)))
        except PerturbError:  # of another configuration: `verify` says what is wrong with it
            continue
        if name.startswith("runs/"):
            yield name


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, in order, but for hidden ones and what Python leaves."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            if path.suffix != ".egg-info":
                yield from _files(path)
        elif path.suffix != ".pyc":
            yield path


def _below(path: Path, root: Path, what: str) -> str:
    """Return a path as it is called below the checkout; PerturbError where it is not below it."""
    absolute = path.absolute()
    if not absolute.is_relative_to(root.absolute()) or ".." in absolute.parts:
        raise PerturbError(
            f"artefact: {what} is {path}, outside {root}. What an archive holds has to be in the "
            "checkout's folder: move it there."
        )
    return absolute.relative_to(root.absolute()).as_posix()
