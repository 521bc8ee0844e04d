"""What a model's name means in a configuration: its network, and where its weights come from.

Pure, without torch. A name of the registry or of a library means itself; any other is described
under `models` (config/schema.yaml), where several names may share a network, so that a table can
compare one that starts from random weights with one that was trained before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from perturb import runs
from perturb.errors import PerturbError, did_you_mean
from perturb.models import libraries, registry
from perturb.models.registry import Option

# Names of described models: no name in the registry has a hyphen, nor a method before a letter.
PATTERN = r"[a-z][a-z0-9.]*(?:-[a-z][a-z0-9.]*)+"
KINDS = ("random", "published", "file", "run")


@dataclass(frozen=True)
class Source:
    """Where initial weights come from.

    `kind` is one of `KINDS`. `where` is the tag of published weights (the library's own default
    where empty), the path of a file, or a run, `{dataset}/{model}/{method}` (of the same seed) or
    that with `/seed{n}`.
    """

    kind: str = "random"
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".strip()

    def run(self, seed: int) -> str:
        """Return the run `{dataset}/{model}/{method}/seed{n}` for initial weights of a seed."""
        return self.where if "/seed" in self.where else f"{self.where}/seed{seed}"


@dataclass(frozen=True)
class Described:
    """A model: the network's name in the registry, its options, and where its weights come from."""

    name: str
    network: str
    source: Source
    options: Mapping[str, Option] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as JSON with sorted keys, which Snakemake compares; `from_json` reads it."""
        return json.dumps(msgspec.to_builtins(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.convert(json.loads(text), cls)

    def source_in(self, file: str, record: str = "", weights: str = "") -> Source:
        """Return the source as one that `perturb.models.initial_weights` reads.

        Args:
            file: the path of the file that a `file` source names.
            record, weights: the record and the last weights of the run that a `run` source names.

        Raises PerturbError where that run diverged, or its weights are not those of its record.
        """
        if self.source.kind == "file":
            return Source("file", file)
        if self.source.kind != "run":
            return self.source
        found = runs.read_record(Path(record))
        if found["status"] != "ok":
            raise PerturbError(
                f"{record}: this run {found['status']} at step {found.get('diverged_at_step')}, so "
                f"model '{self.name}' cannot start from it. Name another under `models`."
            )
        runs.check_file(Path(record), Path(weights).name, found)
        return Source("file", weights)


def canonical(name: str) -> str:
    """Return a model's name as folders have it: `timm-resnet26` for `timm:resnet26`."""
    library, architecture = libraries.split(name)
    return libraries.name_of(library, architecture) if library else name


def get(models: Mapping[str, Mapping[str, Any]], name: str) -> Described:
    """Return what `name` means where `models` is that section of the configuration.

    Raises PerturbError for a name that is nowhere, and for a description that cannot be.
    """
    if name not in models:
        if re.fullmatch(PATTERN, name) and not libraries.split(name)[0]:
            raise PerturbError(
                f"Unknown model '{name}': it is not described under `models` in the configuration."
                f"{did_you_mean(name, [*models, *registry.MODELS])}"
            )
        found = registry.get(name)
        return Described(found.name, found.name, _by_default(found))
    where, given = f"config, models.{name}", models[name]
    try:
        network = registry.get(given.get("network", name))
        options = dict(given.get("options", {}))
        network.check_options(options)
        own = network.name == name
        if own and options:
            raise PerturbError(
                "a name of the registry means that network as it is. Describe the one with "
                "options under a name of its own, such as vit-wide."
            )
        if not own:
            _check_name(name)
        source = _source(given["weights"]) if "weights" in given else _by_default(network)
        if source.kind == "published" and not isinstance(network, registry.LibraryModel):
            raise PerturbError(f"nobody published weights of '{network.name}'. Name a file or run.")
    except PerturbError as error:
        raise PerturbError(f"{where}: {error}") from None
    return Described(name, network.name, source, options)


def check_module(models: Mapping[str, Mapping[str, Any]], name: str, module: str, who: str) -> None:
    """Raise PerturbError where `name` is no model of `perturb.models.<module>`, as `who` needs."""
    start = f"perturb.models.{module}:"
    if not registry.get(get(models, name).network).function.startswith(start):
        fits = [one.name for one in registry.MODELS.values() if one.function.startswith(start)]
        raise PerturbError(f"{who} cannot train model '{name}'.{did_you_mean(name, fits)}")


def _by_default(network: registry.Model) -> Source:
    return Source("published" if network.pretrained else "random")


def _check_name(name: str) -> None:
    if not re.fullmatch(PATTERN, name) or libraries.split(name)[0]:
        raise PerturbError(
            "a described model is called by lower-case words of letters, digits and points with a "
            "hyphen between them (cnn-scratch), and begins with no library's name: so it can stand "
            "in front of a method, cnn-scratch_pugd_30."
        )


def _source(given: str | Mapping[str, Any]) -> Source:
    """Read `weights`: random, published, or one of {published: tag}, {file: path}, {run: run}."""
    if isinstance(given, str):
        return Source(given)
    ((kind, where),) = given.items()
    if kind == "run" and not re.fullmatch(r"[^/]+/[^/]+/[^/]+(/seed\d+)?", str(where)):
        raise PerturbError(
            f"weights: run '{where}' is no run. Write <data set>/<model>/<method>, whose seed is "
            "then that of the weights, or <data set>/<model>/<method>/seed<n>."
        )
    return Source(kind, str(where))
