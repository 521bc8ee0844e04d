"""Variants of a data set, in its own name: `cifar10_duplicates-dropped_noise-0.4`. Without torch.

`<base>(_<key>-<value>)*`: the base is any data set's name, underscores and all (`fashion_mnist`,
a user's own folder of images); the variant begins at the first part whose key is one of `KEYS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from perturb.errors import PerturbError, did_you_mean

KINDS = ("random", "patterned")
DROPPED = "duplicates-dropped"
KEYS = ("duplicates", "noise", "kind")


@dataclass(frozen=True)
class Noise:
    """Label noise: the fraction of each class that gets a wrong label, in (0, 1], and its kind."""

    rate: float
    kind: str = "random"

    @property
    def words(self) -> str:
        """What a reader is told of it: `40 % of the train labels wrong`."""
        kind = "" if self.kind == "random" else f" ({self.kind})"
        return f"{100 * self.rate:g} % of the train labels wrong{kind}"


@dataclass(frozen=True)
class Variant:
    """A data set's name taken apart.

    `noise` is None where the labels are the true ones; `dropped` says that images which are in the
    data set twice are left out (`perturb.data.dropping`).
    """

    base: str
    noise: Noise | None = None
    dropped: bool = False

    @property
    def without_noise(self) -> str:
        """The name of the data set with its true labels."""
        return f"{self.base}_{DROPPED}" if self.dropped else self.base


def parse(name: str) -> Variant:
    """Return what a data set's name says; `format` prints it back.

    Whether there is a data set called `base` is not asked here (`perturb.data.registry`). Raises
    PerturbError for an unknown key or kind, a key that stands twice, a kind without noise, a rate
    outside (0, 1] (0 among them: the data set without noise is the base), and any other spelling
    than the canonical one, which it names.
    """
    parts = name.split("_")
    keys = [part.partition("-")[0] if "-" in part else "" for part in parts]
    start = next((i for i in range(1, len(parts)) if keys[i] in KEYS), len(parts))
    base = "_".join(parts[:start])
    if start == len(parts):
        return Variant(base)
    found: dict[str, str] = {}
    for part in parts[start:]:
        key, _, value = part.partition("-")
        if key not in KEYS:
            raise PerturbError(
                f"data set '{name}': '{part}' is no variant.{did_you_mean(key, KEYS)} "
                f"Write {base}_{DROPPED}, {base}_noise-<rate> or "
                f"{base}_noise-<rate>_kind-<kind>."
            )
        if key in found:
            raise PerturbError(f"data set '{name}': {key} stands twice. Remove one.")
        found[key] = value
    dropped = found.pop("duplicates", "")
    if dropped not in ("", "dropped"):
        raise PerturbError(
            f"data set '{name}': copies are dropped or kept. Write {base}_{DROPPED}."
        )
    noise = _noise(name, base, found) if found else None
    variant = Variant(base, noise, bool(dropped))
    if format(variant) != name:
        raise PerturbError(f"data set '{name}' is called '{format(variant)}'. Use that name.")
    return variant


def _noise(name: str, base: str, found: dict[str, str]) -> Noise:
    if "noise" not in found:
        raise PerturbError(f"data set '{name}': a kind of no noise. Write {base}_noise-<rate>_...")
    try:
        rate = float(found["noise"])
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1:
        raise PerturbError(
            f"data set '{name}': the rate of the noise must be a number above 0 and at most 1, "
            f"not '{found['noise']}'. The data set without noise is '{base}'."
        )
    kind = found.get("kind", Noise.kind)
    if kind not in KINDS:
        raise PerturbError(
            f"data set '{name}': no noise of kind '{kind}'.{did_you_mean(kind, KINDS)}"
        )
    return Noise(rate, kind)


def format(variant: Variant) -> str:
    """Return the one name of a data set: numbers in shortest form, defaults left out."""
    if variant.noise is None:
        return variant.without_noise
    kind = "" if variant.noise.kind == Noise.kind else f"_kind-{variant.noise.kind}"
    return f"{variant.without_noise}_noise-{_number(variant.noise.rate)}{kind}"


def base_name(name: str) -> str:
    """Return the name of the data set that `name` is a variant of; its own where it is none."""
    return parse(name).base


def _number(value: float) -> str:
    """Return the shortest text that reads back as `value`: 0.4, 1, 1e-3; a tie goes to the first.

    The two candidates are the plain decimal and whole digits with an exponent.
    """
    shortest = Decimal(repr(value)).normalize()
    digits = "".join(map(str, shortest.as_tuple().digits))
    return min(f"{shortest:f}", f"{digits}e{shortest.as_tuple().exponent}", key=len)
