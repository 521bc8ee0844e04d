"""The data sets that are asked for by name: one line each."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from perturb.data import variants
from perturb.data.cifar import CIFAR10, CIFAR100, Cifar
from perturb.data.dataset import Dataset, Shape
from perturb.data.digits import DIGITS
from perturb.data.fashion_mnist import FASHION_MNIST, FashionMnist
from perturb.data.identity_folder import (
    MARKET1501,
    MARKET1501_SPLIT,
    VIPER,
    IdentityFolder,
    is_identity_folder,
)
from perturb.data.image_folder import ImageFolder
from perturb.data.noise import NoisyDataset
from perturb.data.photo_patches import PHOTO_PATCHES
from perturb.errors import PerturbError, did_you_mean

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        DIGITS,
        CIFAR10,
        CIFAR100,
        FASHION_MNIST,
        PHOTO_PATCHES,
        MARKET1501,
        MARKET1501_SPLIT,
        VIPER,
    )
}


def find(name: str, folder: str | Path | None = None, seed: int = 0) -> Dataset:
    """Return the data set called `name`, a variant too.

    `folder` is a user's own folder of images, where the base is one; `seed` fixes label noise.
    Raises PerturbError where there is no such data set, or where its name is not spelled so.
    """
    variant = variants.parse(name)
    if folder:
        if variant.base in DATASETS:
            raise PerturbError(
                f"image_folders: '{variant.base}' is a built-in data set. Use another name."
            )
        base: Dataset = of_folder(variant.base, Path(folder).expanduser().resolve())
    else:
        base = DATASETS[variants.base_name(check_name(name))]
    return NoisyDataset.of(base, variant.noise, seed) if variant.noise else base


def of_folder(name: str, folder: Path) -> ImageFolder | IdentityFolder:
    """Return a user's own data set: of identities where its layout is Market-1501's."""
    kind = IdentityFolder if is_identity_folder(folder) else ImageFolder
    return kind(name=name, folder=folder)


def check_name(name: str, folders: Collection[str] = ()) -> str:
    """Return `name`; PerturbError where no data set is called so.

    `folders` are the names of the user's own folders of images.
    """
    for folder in folders:
        if variants.parse(folder).noise:
            raise PerturbError(
                f"image_folders: '{folder}' ends like a variant of a data set. Use another name."
            )
    base = variants.base_name(name)
    if base not in DATASETS and base not in folders:
        raise PerturbError(
            f"Unknown data set '{base}'.{did_you_mean(base, [*DATASETS, *folders])} A folder of "
            "images of your own goes under image_folders in the config."
        )
    return name


def readers(name: str) -> tuple[str, ...]:
    """Return the modules that read a data set: its own, and that of its noise where it has any."""
    variant = variants.parse(name)
    known = DATASETS.get(variant.base)
    folders = (ImageFolder.__module__, IdentityFolder.__module__)
    own = (type(known).__module__,) if known else folders
    return (*own, NoisyDataset.__module__) if variant.noise else own


def may_be_partial(name: str) -> bool:
    """Return whether a copy of a data set may be incomplete: one of several official files."""
    known = DATASETS.get(variants.base_name(name))
    return isinstance(known, Cifar | FashionMnist)


def shape(name: str) -> Shape | None:
    """Return the shape of a data set's official distribution, or None where it has none."""
    known = DATASETS.get(variants.base_name(name))
    return known.shape if known else None
