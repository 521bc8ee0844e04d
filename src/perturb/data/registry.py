"""The data sets that are asked for by name: one line each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from perturb.data import variants
from perturb.data.cifar import CIFAR10, Cifar
from perturb.data.cifar100 import CIFAR100
from perturb.data.dataset import Dataset, Shape
from perturb.data.digits import DIGITS
from perturb.data.dropping import WithoutDuplicates
from perturb.data.expressions import CKPLUS48, FER2013, RAFDB
from perturb.data.fashion_mnist import FASHION_MNIST, FashionMnist
from perturb.data.identity_folder import (
    MARKET1501,
    MARKET1501_SPLIT,
    VIPER,
    IdentityFolder,
    is_identity_folder,
)
from perturb.data.image_folder import ImageFolder
from perturb.data.image_sizes import Folder
from perturb.data.mapped import MappedDataset
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
        CKPLUS48,
        FER2013,
        RAFDB,
        PHOTO_PATCHES,
        MARKET1501,
        MARKET1501_SPLIT,
        VIPER,
    )
}


def find(
    name: str,
    folder: str | PathLike[str] | None = None,
    seed: int = 0,
    class_map: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set called `name`, a variant too.

    `folder` is a user's own folder of images, where the base is one, with the size that they
    come to where it is an `image_sizes.Folder`; `seed` fixes label noise. `class_map` says which
    `dataset` the base is, and what its `classes` are called.
    Raises PerturbError where there is no such data set, or where its name is not spelled so.
    """
    variant = variants.parse(name)
    if class_map:
        if variant.base in DATASETS:
            raise PerturbError(
                f"class_maps: '{variant.base}' is a built-in data set. Use another name."
            )
        base: Dataset = MappedDataset.of(
            variant.base, find(class_map["dataset"], folder), class_map["classes"]
        )
    elif folder:
        if variant.base in DATASETS:
            raise PerturbError(
                f"image_folders: '{variant.base}' is a built-in data set. Use another name."
            )
        path = Path(folder).expanduser().resolve()
        side = folder.side if isinstance(folder, Folder) else 0
        base: Dataset = of_folder(variant.base, path, side)
    else:
        base = DATASETS[variants.base_name(check_name(name))]
    if variant.dropped:
        base = WithoutDuplicates.of(base)
    return NoisyDataset.of(base, variant.noise, seed) if variant.noise else base


def of_folder(name: str, folder: Path, side: int = 0) -> ImageFolder | IdentityFolder:
    """Return a user's own data set: of identities where its layout is Market-1501's.

    Other images are brought to `side` pixels, where 0 to what they say themselves.
    """
    if is_identity_folder(folder):
        return IdentityFolder(name=name, folder=folder)
    return ImageFolder(name=name, folder=folder, side=side)


def check_name(name: str, folders: Collection[str] = ()) -> str:
    """Return `name`; PerturbError where no data set is called so.

    `folders` are the names of the user's own folders of images.
    """
    for folder in folders:
        if variants.parse(folder).base != folder:
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


def root_of(name: str, data_root: str | Path) -> Path:
    """Return the folder that the official files of a data set lie in: `data_root`, or one below it.

    `data_root` itself where they lie in neither. Raises PerturbError where several folders have
    them.
    """
    root, known = Path(data_root).expanduser(), DATASETS.get(variants.base_name(name))
    layouts = getattr(known, "layouts", ())
    places = [place for layout in layouts for place in (layout.folder, layout.archive)]

    def holds(folder: Path) -> bool:
        return any((folder / place).exists() for place in places)

    if not places or not root.is_dir() or holds(root):
        return root
    below = [path for path in sorted(root.iterdir()) if path.is_dir() and holds(path)]
    if len(below) > 1:
        raise PerturbError(
            f"data_root {root}: {', '.join(path.name for path in below)} each hold {name}. Name "
            "one of them as data_root, or remove the others."
        )
    return below[0] if below else root


def readers(name: str, mapped: str = "") -> tuple[str, ...]:
    """Return the modules that read a data set: its own, and those of its variant.

    `mapped`: the data set whose classes it has under other names.
    """
    variant = variants.parse(name)
    known = DATASETS.get(mapped or variant.base)
    folders = [ImageFolder.__module__, IdentityFolder.__module__]
    found = [type(known).__module__] if known else folders
    found += [MappedDataset.__module__] if mapped else []
    found += [WithoutDuplicates.__module__] if variant.dropped else []
    found += [NoisyDataset.__module__] if variant.noise else []
    return tuple(found)


def may_be_partial(name: str) -> bool:
    """Return whether a copy of a data set may be incomplete: one of several official files."""
    known = DATASETS.get(variants.base_name(name))
    return isinstance(known, Cifar | FashionMnist)


def shape(name: str) -> Shape | None:
    """Return the shape of a data set's official distribution, or None where it has none."""
    variant = variants.parse(name)
    known = DATASETS.get(variant.base)
    return known.shape if known and not variant.dropped else None
