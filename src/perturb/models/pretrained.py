"""Published weights of the models that are fine-tuned: where they are, and under which names."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from perturb.errors import PerturbError, did_you_mean
from perturb.files import sha256_file

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Published:
    """An official weights file; its name ends in the first digits of its SHA-256."""

    url: str
    timm_names: bool = False

    @property
    def file_name(self) -> str:
        """The file's own name, as published."""
        return self.url.rsplit("/", 1)[1]

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the file's SHA-256, in hexadecimal."""
        return self.file_name.removesuffix(".pth").rsplit("-", 1)[1]


PUBLISHED: dict[str, Published] = {
    "resnet18_imagenet": Published("https://download.pytorch.org/models/resnet18-f37072fd.pth"),
    "reid_resnet50": Published("https://download.pytorch.org/models/resnet50-0676ba61.pth"),
    "vit": Published("https://download.pytorch.org/models/vit_b_16-c867db91.pth"),
    "deit": Published(
        "https://dl.fbaipublicfiles.com/deit/deit_base_patch16_224-b5f2ef4d.pth", timm_names=True
    ),
}

_LAYER = r"encoder.layers.encoder_layer_\1"
# timm's name of a ViT's weight, as a pattern, and torchvision's.
_TIMM_TO_TORCHVISION = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^cls_token$", "class_token"),
        (r"^pos_embed$", "encoder.pos_embedding"),
        (r"^patch_embed\.proj\.", "conv_proj."),
        (r"^norm\.", "encoder.ln."),
        (r"^head\.", "heads.head."),
        (r"^blocks\.(\d+)\.norm([12])\.", _LAYER + r".ln_\2."),
        (r"^blocks\.(\d+)\.attn\.qkv\.", _LAYER + ".self_attention.in_proj_"),
        (r"^blocks\.(\d+)\.attn\.proj\.", _LAYER + ".self_attention.out_proj."),
        (r"^blocks\.(\d+)\.mlp\.fc1\.", _LAYER + ".mlp.0."),
        (r"^blocks\.(\d+)\.mlp\.fc2\.", _LAYER + ".mlp.3."),
    )
)


def torchvision_name(timm_name: str) -> str:
    """Return torchvision's name of a ViT's weight that timm calls `timm_name`.

    Both keep query, key and value in one matrix, in that order, so that names are all that differs.
    PerturbError for a name that a ViT does not have.
    """
    for pattern, replacement in _TIMM_TO_TORCHVISION:
        if pattern.search(timm_name):
            return pattern.sub(replacement, timm_name)
    raise PerturbError(
        f"'{timm_name}' is not the name of a weight in a ViT-B/16 checkpoint of timm or DeiT. "
        "Give the official file, without distillation token."
    )


def from_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ViT's state dict with torchvision's names for timm's."""
    return {torchvision_name(name): tensor for name, tensor in weights.items()}


def find(name: str, data_root: str | Path | None = None) -> Path:
    """Return the path of model `name`'s official weights file, verified.

    It is looked for in `data_root`/weights (torch.hub's folder where `data_root` is None), and
    downloaded there where it is missing. PerturbError where that fails or the file is damaged.
    """
    if name not in PUBLISHED:
        raise PerturbError(
            f"Model '{name}' has no published weights.{did_you_mean(name, PUBLISHED)}"
        )
    published = PUBLISHED[name]
    folder = Path(torch.hub.get_dir(), "checkpoints")
    if data_root is not None:
        folder = Path(data_root, "weights")
    path = folder / published.file_name
    if not path.is_file():
        _download(name, published, path)
        return path
    found = sha256_file(path)
    if not found.startswith(published.sha256_prefix):
        raise PerturbError(
            f"Weights of model '{name}' in {path} are damaged: expected a sha256 that starts with "
            f"{published.sha256_prefix}, found {found}. Delete the file and get it again from "
            f"{published.url}"
        )
    return path


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Let every socket opened here give up after `seconds`: torch.hub would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _download(name: str, published: Published, path: Path) -> None:
    """Download the file to `path` through torch.hub, which compares its hash."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _socket_timeout(TIMEOUT_SECONDS):
            torch.hub.download_url_to_file(
                published.url, str(path), hash_prefix=published.sha256_prefix, progress=False
            )
    except (OSError, RuntimeError) as error:
        raise PerturbError(
            f"No weights for model '{name}', and downloading them failed ({error}). Get "
            f"{published.file_name} from {published.url} and put it in {path.parent}; its sha256 "
            f"starts with {published.sha256_prefix}."
        ) from error


def load(name: str, data_root: str | Path | None = None) -> dict[str, Tensor]:
    """Return model `name`'s published state dict, with torchvision's names, on the CPU."""
    path = find(name, data_root)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    weights = weights.get("model", weights)
    return from_timm(weights) if PUBLISHED[name].timm_names else dict(weights)
