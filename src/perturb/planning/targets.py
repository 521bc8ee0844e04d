"""Which runs a target needs, told from its name as the rules name their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perturb.config import Config
from perturb.errors import PerturbError, did_you_mean

Run = tuple[str, str, str, int]
_WHOLE = ("report.html", "section.tex")
_KINDS = ("tables", "figures", "runs", "landscapes", *_WHOLE)


@dataclass(frozen=True)
class Target:
    """What is asked for: its runs (data set, model, method, seed), each once.

    `datasets` are those whose table it makes, which a budget can be planned for; none for a
    target of single runs. `name` is what the plan's files are called.
    """

    path: str
    name: str
    runs: tuple[Run, ...]
    datasets: tuple[str, ...] = ()


def resolve(text: str, config: Config, results: Path) -> Target:
    """Return the runs of a target: a file under `results`, a data set's name, or all ("").

    Raises PerturbError for what is no target of training runs.
    """
    if text in ("", "all"):
        return _of_datasets("all data sets of the config", config, config.datasets)
    if text in config.values["rts"]["datasets"]:
        return _of_datasets(f"{results}/tables/{text}.csv", config, [text])
    path = Path(text)
    try:
        parts = path.relative_to(results).parts
    except ValueError:
        known = config.values["rts"]["datasets"]
        raise PerturbError(
            f"plan: target '{text}' is neither a file under {results} nor a data set."
            f"{did_you_mean(text, known)}"
        ) from None
    match parts:
        case (file,) if file in _WHOLE:
            return _of_datasets(text, config, config.datasets)
        case ("tables", file):
            dataset = file.partition(".")[0]
            if dataset.startswith("landscape_"):
                return _of_landscape(text, config, dataset.removeprefix("landscape_"))
            return _of_datasets(text, config, [dataset], landscapes=False)
        case ("figures", dataset, file):
            if file.startswith("landscape_"):
                return _of_landscape(text, config, dataset)
            return _of_datasets(text, config, [dataset], landscapes=False)
        case ("runs" | "landscapes", dataset, model, method, seed, _) if _is_seed(seed):
            run = (dataset, model, method, int(seed.removeprefix("seed")))
            return Target(text, f"{dataset}_{method}_{seed}", (run,))
    raise PerturbError(
        f"plan: no training run is known to lead to '{text}'.{did_you_mean(parts[0], _KINDS)} "
        "Give a table, a figure, a run's file or report.html."
    )


def _is_seed(part: str) -> bool:
    return part.startswith("seed") and part.removeprefix("seed").isdigit()


def _of_datasets(path: str, config: Config, datasets: list[str], landscapes: bool = True) -> Target:
    """Return the runs of data sets' tables, and those that only their landscapes are of."""
    runs: list[Run] = []
    for dataset in datasets:
        runs += config.runs("rts", dataset)
        runs += _landscape_runs(config, dataset) if landscapes else []
    name = datasets[0] if len(datasets) == 1 else "study"
    return Target(path, name, tuple(dict.fromkeys(runs)), tuple(datasets))


def _of_landscape(path: str, config: Config, dataset: str) -> Target:
    config.comparison("rts", dataset)
    return Target(path, f"landscape_{dataset}", tuple(_landscape_runs(config, dataset)))


def _landscape_runs(config: Config, dataset: str) -> list[Run]:
    drawn = config.landscape(dataset)
    model = config.comparison("rts", dataset)["model"]
    if not drawn:
        return []
    return [(dataset, model, m, seed) for m in drawn["methods"] for seed in drawn["seeds"]]
