"""What the study runs: toys, layers of trained networks, stochastic units. Pure, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from perturb import slugs
from perturb.config import Config, with_base
from perturb.errors import PerturbError, did_you_mean
from perturb.models import described
from perturb.runs import Run, Specification

NAME = "gradients"
HEAD = "toy"
MODEL = "sign_units"
ONE_SIDED = ("plain", "baseline")  # kinds of NES that take evaluations one by one
KEYS = {"dimension": None, "pretraining": None}  # of a toy's name, both required


class Nes(msgspec.Struct, frozen=True):
    """Arms of NES that are compared at a number of evaluations of the loss."""

    evaluations: int
    kinds: tuple[str, ...]


class ToySpecification(Specification, frozen=True, kw_only=True):
    """A network of sign units, raw or after a number of batches of pre-training.

    Its data set is the chapter that it belongs to.

    Args:
        dimension: of its inputs, and its units in a layer.
        pretraining: batches; 0 is raw.
        batches: that are reported, beside the one that chooses.
        samples: of a batch that a gradient is estimated on.
        held_out_samples: that a step is measured on.
        pooled_samples: of the cosines between gradients of many samples.
        windows: eps of the coordinate gradient and sigma of NES.
        learning_rates: a decade, from 1e-5 to 1.
        nes: arms of NES; `straight_through` the straight-through estimators.
        pretraining_samples: a batch of pre-training, with Adam's `pretraining_learning_rate`.
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


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """Coordinate gradients of some layers of a trained XNOR-ResNet.

    `models` are the numbers of the measured units, from 1 to 16, by model; `images` that gradients
    are estimated on, of the train split, and that steps are measured on, of the test split.
    """

    dataset: str
    method: str
    seed: int
    models: dict[str, tuple[int, ...]]
    images: int
    windows: tuple[float, ...]
    learning_rates: int

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs whose last weights are measured."""
        return tuple(Run(self.dataset, m, self.method, self.seed) for m in self.models)

    def values(self) -> dict[str, Any]:
        """Return the settings as plain values; `of` reads them back."""
        return msgspec.to_builtins(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read what `values` returned, or its JSON's values."""
        return msgspec.convert(values, cls)


class Stochastic(msgspec.Struct, frozen=True, kw_only=True):
    """Estimators through stochastic units, on a number of inputs, repeated for their spread."""

    units: int
    inputs: int
    evaluations: tuple[int, ...]
    repeats: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A chapter as the configuration describes it.

    `toy` are the settings that its toys share; `published` loss decreases of the lab log, by
    dimension and estimator.
    """

    name: str
    title: str
    scale: str
    dimensions: tuple[int, ...]
    pretraining: tuple[int, ...]
    seeds: tuple[int, ...]
    toy: dict[str, Any]
    stochastic: Stochastic
    layers: Layers | None
    published: dict[str, dict[str, float]]

    @property
    def toys(self) -> tuple[Run, ...]:
        """The runs of its toys, by dimension, pre-training and seed."""
        return tuple(
            Run(self.name, MODEL, format({"dimension": d, "pretraining": p}), seed)
            for d in self.dimensions
            for p in self.pretraining
            for seed in self.seeds
        )


def entry(config: Config, chapter: str) -> Entry:
    """Return the entry of a chapter; what it leaves out is, part by part, that of its `like`.

    Raises PerturbError where the configuration has no such chapter.
    """
    known = config.section(NAME)
    if chapter not in known:
        raise PerturbError(
            f"no chapter '{chapter}' of study {NAME} (config/studies/{NAME}.yaml)."
            f"{did_you_mean(chapter, known)}"
        )
    values, base = with_base(known, chapter, NAME)
    for part, given in base.items():
        own = values.get(part, {})
        values[part] = {**given, **own} if isinstance(given, Mapping) else own or given
    toy = dict(values["toy"])
    compared = {key: toy.pop(key) for key in ("dimensions", "pretraining", "seeds")}
    published = {str(d): found for d, found in values.get("published", {}).items()}
    read = {**values, **compared, "name": chapter, "toy": toy, "published": published}
    found = msgspec.convert({"layers": None} | read, Entry)
    _check(config, found)
    return found


def _check(config: Config, found: Entry) -> None:
    """Raise PerturbError for what no run or table of a chapter could compute."""
    where = f"config, {NAME}.{found.name}"
    for nes in found.toy.get("nes", ()):
        halved = sorted(set(nes["kinds"]) - set(ONE_SIDED))
        if halved and nes["evaluations"] % 2:
            raise PerturbError(
                f"{where}.toy.nes: {nes['evaluations']} evaluations, but {halved[0]} takes them in "
                "pairs. Give an even number."
            )
    for model in found.layers.models if found.layers else ():
        described.check_module(config.models, model, "xnor_resnet", f"{where}.layers: study {NAME}")


def parse(method: str) -> dict[str, int]:
    """Return the dimension and the batches of pre-training that a toy's name gives.

    Raises PerturbError where it does not parse, or where they are no whole numbers.
    """
    values, _ = slugs.parse(method, HEAD, KEYS, has_epochs=False)
    if any(v != int(v) or v < 0 for v in values.values()) or values["dimension"] < 1:
        raise PerturbError(f"'{method}' does not fit: dimension and pretraining are whole numbers.")
    return {key: int(value) for key, value in values.items()}


def format(values: Mapping[str, int]) -> str:
    """Return the one spelling of a toy's name; `parse` reads it back."""
    return slugs.format(HEAD, values, KEYS)


def resolve(config: Config, run: Run) -> ToySpecification:
    """Return what a toy computes, compared by its chapter or not.

    Raises PerturbError where its name does not parse, is that of another network, or where the
    configuration has no such chapter.
    """
    named = parse(run.method)
    if run.model != MODEL:
        raise PerturbError(
            f"{run}: a toy is a network of sign units. Ask for .../{run.dataset}/{MODEL}/"
            f"{run.method}/..."
        )
    found = entry(config, run.dataset)
    machine = {key: config.values["train"][key] for key in ("threads", "device")}
    named_run = {"study": NAME, "dataset": run.dataset, "model": MODEL, "seed": run.seed}
    values = found.toy | named | machine | named_run
    return msgspec.convert(
        values | {"method": format(named), "scale": found.scale}, ToySpecification
    )
