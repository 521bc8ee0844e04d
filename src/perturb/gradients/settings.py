"""What a study of gradients compares, from the configuration. Pure, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from perturb import names
from perturb.config import with_base
from perturb.errors import PerturbError, did_you_mean

TOY_KEYS = ("dimension", "pretraining")


@dataclass(frozen=True)
class Nes:
    """Arms of NES that are compared at a number of evaluations of the loss."""

    evaluations: int
    kinds: tuple[str, ...]


class Settings:
    """Settings of a job, as text that Snakemake compares."""

    def to_json(self) -> str:
        """Return the settings as JSON; `from_json` reads them back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        return _of_values(cls, json.loads(text))


@dataclass(frozen=True)
class Toy(Settings):
    """The toy of one dimension, raw or after so many batches of pre-training.

    `samples` a batch that a gradient is estimated on, `held_out_samples` that a step is measured
    on, `pooled_samples` of the cosines between gradients of many samples. `windows` are eps of the
    coordinate gradient and sigma of NES; `learning_rates` a decade.
    """

    dimension: int
    pretraining: int
    batches: int
    samples: int
    held_out_samples: int
    pooled_samples: int
    windows: tuple[float, ...]
    learning_rates: int
    nes: tuple[Nes, ...]
    straight_through: tuple[str, ...]
    pretraining_samples: int
    pretraining_learning_rate: float
    threads: int
    device: str

    @property
    def slug(self) -> str:
        """The name of its runs."""
        return names.format_slug("toy", {key: getattr(self, key) for key in TOY_KEYS})


@dataclass(frozen=True)
class Layers(Settings):
    """Coordinate gradients of some layers of a trained XNOR-ResNet.

    `layers` are numbers of units from 1 to 16 by model; `images` of the train split that gradients
    are estimated on, and as many of the test split that steps are measured on.
    """

    dataset: str
    method: str
    seed: int
    models: Mapping[str, tuple[int, ...]]
    images: int
    windows: tuple[float, ...]
    learning_rates: int


@dataclass(frozen=True)
class Stochastic(Settings):
    """Estimators through stochastic units, on so many inputs, repeated for their spread."""

    units: int
    inputs: int
    evaluations: tuple[int, ...]
    repeats: int


@dataclass(frozen=True)
class Study:
    """A study of gradients: its toys, its layers and its stochastic units.

    `published` are loss decreases of the lab log, by dimension and estimator.
    """

    name: str
    title: str
    scale: str
    dimensions: tuple[int, ...]
    pretraining: tuple[int, ...]
    seeds: tuple[int, ...]
    toys: tuple[Toy, ...]
    stochastic: Stochastic
    layers: Layers | None
    published: Mapping[str, Mapping[str, float]]

    def words(self) -> str:
        """Return what tables and figures say of the study beside its runs, as JSON."""
        published = {str(d): dict(values) for d, values in self.published.items()}
        what = {"name": self.name, "title": self.title, "scale": self.scale}
        return json.dumps(what | {"published": published}, sort_keys=True)

    def toy(self, slug: str) -> Toy:
        """Return the settings of the runs called `slug`, compared by the study or not.

        Raises PerturbError where the name does not parse.
        """
        values = names.parse_slug(slug, "toy", TOY_KEYS)
        if any(v != int(v) or v < 0 for v in values.values()) or values["dimension"] < 1:
            raise PerturbError(
                f"'{slug}' does not fit: dimension and pretraining are whole numbers."
            )
        given = {field.name: getattr(self.toys[0], field.name) for field in fields(Toy)}
        return Toy(**given | {key: int(value) for key, value in values.items()})


def _of_values(cls: type, values: Mapping[str, Any]) -> Any:
    read = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    if "models" in read:
        read["models"] = {model: tuple(numbers) for model, numbers in read["models"].items()}
    if "nes" in read:
        read["nes"] = tuple(Nes(n["evaluations"], tuple(n["kinds"])) for n in read["nes"])
    return cls(**read)


def study(config: Mapping[str, Any], name: str) -> Study:
    """Return the study of that name under `gradients` of a checked configuration.

    What it leaves out is taken, part by part, from the one that it is `like`. Raises PerturbError
    for an unknown name.
    """
    known = config.get("gradients", {})
    if name not in known:
        raise PerturbError(f"unknown study '{name}' of gradients.{did_you_mean(name, known)}")
    values, base = with_base(known, name, "gradients")
    for part, given in base.items():
        own = values.get(part, {})
        values[part] = {**given, **own} if isinstance(given, Mapping) else own or given
    toy = dict(values["toy"])
    compared = {key: tuple(toy.pop(key)) for key in ("dimensions", "pretraining", "seeds")}
    machine = {key: config["train"][key] for key in ("threads", "device")}
    toys = [
        _of_values(Toy, {"dimension": d, "pretraining": p, **toy, **machine})
        for d in compared["dimensions"]
        for p in compared["pretraining"]
    ]
    layers = values.get("layers")
    return Study(
        name=name,
        title=values["title"],
        scale=values["scale"],
        **compared,
        toys=tuple(toys),
        stochastic=_of_values(Stochastic, values["stochastic"]),
        layers=_of_values(Layers, layers) if layers else None,
        published=values.get("published", {}),
    )
