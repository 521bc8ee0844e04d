"""Published weights of timm's and torchvision's models: which file it is, and where it may lie.

Nothing is downloaded and no network is asked: a run that needs a file names it, and how to get it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import timm
import torch
import torchvision
from huggingface_hub import try_to_load_from_cache

from perturb.errors import PerturbError, did_you_mean
from perturb.files import sha256_file
from perturb.models.registry import LibraryModel, get

# What a hub's repository calls the weights, the first that is there.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_BYTES = 4  # of a float32


# Weights that their makers give to those who ask, by model: the file below `weights`.
BROUGHT: dict[str, str] = {"ir50_vit_pretrained": "iresnet50.pth"}
# Networks of this project whose backbone is a library's: that model, and the tag of its weights.
BACKBONES: dict[str, tuple[str, str]] = {
    "embedding_resnet50": ("torchvision:resnet50", "IMAGENET1K_V1"),
}


@dataclass(frozen=True)
class Published:
    """Weights that somebody published.

    Args:
        label: architecture and tag, as the library calls them.
        files: names that the file may have in a folder of weights, the usual one first.
        hub: repository on the Hugging Face hub and its files, if it is there.
        url: of the file.
        megabytes: about its size.
    """

    label: str
    files: tuple[str, ...]
    hub: tuple[str, tuple[str, ...]] | None
    url: str
    megabytes: int


def published(model: LibraryModel, tag: str = "") -> Published:
    """Return which weights of an architecture a tag names, the library's default where empty.

    PerturbError where there are none of that tag.
    """
    find = {"timm": _of_timm, "torchvision": _of_torchvision}[model.library]
    return find(model.architecture, tag)


def _of_timm(architecture: str, tag: str) -> Published:
    known = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if (tag and tag not in known) or not known:
        raise PerturbError(_no_such_tag("timm", architecture, tag, known))
    name = f"{architecture}.{tag}" if tag else architecture
    found = timm.get_pretrained_cfg(name)
    label = f"{architecture}.{found.tag}" if found.tag else architecture
    hub, url = None, found.url or ""
    files = [f"{label}.safetensors", f"{label}.bin", f"{label}.pth"]
    if found.hf_hub_id:
        inside = (found.hf_hub_filename,) if found.hf_hub_filename else _HUB_FILES
        hub = (found.hf_hub_id, inside)
        files += [Path(url).name] if url else []
        url = f"https://huggingface.co/{found.hf_hub_id}/resolve/main/{inside[0]}"
    with torch.device("meta"):
        weights = timm.create_model(architecture, num_classes=found.num_classes).state_dict()
    size = sum(tensor.numel() for tensor in weights.values()) * _BYTES
    return Published(label, tuple(files), hub, url, round(size / 1e6))


def _of_torchvision(architecture: str, tag: str) -> Published:
    every = torchvision.models.get_model_weights(architecture)
    known = [one.name for one in every]
    if tag and tag not in known:
        raise PerturbError(_no_such_tag("torchvision", architecture, tag, known))
    found = every[tag] if tag else every.DEFAULT
    size = round(found.meta["_file_size"])
    label = f"{architecture}.{found.name}"
    return Published(label, (found.url.rsplit("/", 1)[1],), None, found.url, size)


def _no_such_tag(library: str, architecture: str, tag: str, known: list[str]) -> str:
    what = f"of tag '{tag}' " if tag else ""
    choice = did_you_mean(tag, known) if known else " Name a file of weights."
    return f"{library} knows no published weights {what}of '{architecture}'.{choice}"


def hub_cache() -> Path:
    """Return the folder of the Hugging Face hub's cache, as the environment says now."""
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{home}/huggingface")
    folder = os.environ.get("HF_HUB_CACHE", f"{home}/hub")
    return Path(os.path.expandvars(folder)).expanduser()


def find(model: LibraryModel, tag: str = "", data_root: str | Path | None = None) -> Path:
    """Return the file of a model's published weights, verified where its name tells its hash.

    Looked for in `data_root`/weights, in the hub's cache, in torch.hub's folder. PerturbError that
    says which file it is, where it may lie and how to get it, where it lies nowhere; and where it
    is damaged.
    """
    wanted = published(model, tag)
    folders = [Path(data_root, "weights")] if data_root is not None else []
    folders.append(Path(torch.hub.get_dir(), "checkpoints"))
    places = [folder / name for folder in folders for name in wanted.files]
    cached = [path for path in [_in_hub_cache(wanted)] if path]
    for path in (*places, *cached):
        if path.is_file():
            _verify(path, wanted)
            return path
    raise PerturbError(_missing(model, wanted, folders))


def find_backbone(name: str, data_root: str | Path | None = None) -> Path:
    """Return the file of the weights that a network's backbone starts from.

    PerturbError where it is not there, and for a network whose backbone nobody published.
    """
    if name in BACKBONES:
        library, tag = BACKBONES[name]
        return find(cast(LibraryModel, get(library)), tag, data_root)
    if name not in BROUGHT:
        raise PerturbError(f"nobody published weights of model '{name}'.")
    path = Path(data_root or torch.hub.get_dir(), "weights", BROUGHT[name])
    if not path.is_file():
        raise PerturbError(
            f"Model '{name}': no file {path}. Put insightface's weights of iresnet50 (backbone.pth "
            f"of an arcface_torch model) there, or use '{name.rpartition('_')[0]}', whose backbone "
            "is random."
        )
    return path


def _in_hub_cache(wanted: Published) -> Path | None:
    repository, files = wanted.hub or ("", ())
    for name in files:
        found = try_to_load_from_cache(repository, name, cache_dir=hub_cache())
        if isinstance(found, str):
            return Path(found)
    return None


def _verify(path: Path, wanted: Published) -> None:
    """Compare the hash that the file's name tells: a hub's blob, or torch's `name-<hash>.pth`."""
    expected = re.search(r"^([0-9a-f]{64})$|-([0-9a-f]{8,})\.pth$", path.resolve().name)
    if expected is None:
        return
    start, found = expected[1] or expected[2], sha256_file(path)
    if not found.startswith(start):
        raise PerturbError(
            f"{path}: damaged, its sha256 should begin with {start} and is {found}. Delete it and "
            f"get it again from {wanted.url}"
        )


def _missing(model: LibraryModel, wanted: Published, folders: list[Path]) -> str:
    text = (
        f"No weights for model '{model.name}' ({wanted.label}, {wanted.megabytes} MB): nothing is "
        f"downloaded unasked. Put {wanted.files[0]} in {folders[0]}"
    )
    command = f"curl -L -o {wanted.files[0]} {wanted.url}"
    if wanted.hub:
        repository, files = wanted.hub
        text += f", or {repository} in the Hugging Face cache {hub_cache()} (HF_HOME moves it)"
        command += f"  or  hf download {repository} {files[0]}"
    return (
        f"{text}. On a machine with network: {command}. With other weights, or random ones, "
        "describe the model under `models` in the configuration (docs/fine-tuning.md)."
    )
