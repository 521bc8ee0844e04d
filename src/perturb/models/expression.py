"""A convolutional stem, a class token and ViT blocks: IResNet-50 + ViT for facial expressions.

IResNet-50 is that of ArcFace (Deng et al. 2019, insightface's `iresnet50`) with a stem of stride 2,
so that images of 224 pixels come to 7x7 positions. The block `cls` is CaiT's class attention
(Touvron et al. 2021, section 2.2): only the class token asks and is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from perturb.errors import PerturbError, did_you_mean

STEMS = ("ir50_vit", "ir50_vit_pretrained", "small_vit")
DEPTH = 8
INPUT_SIZE = 224
LAYERS = ((64, 3), (128, 4), (256, 14), (512, 3))
SMALL_DIM = 64
_EPS = 1e-6  # of layer normalisation, as ViTs have it


@dataclass(frozen=True)
class Blocks:
    """What the ViT blocks are.

    Args:
        kind: `baseline` (self-attention) or `cls` (class attention).
        depth: number of blocks.
        drop_patches_after_first: with `cls`, the patch tokens are lost after the first block, as
            the lab log's code did: later blocks have the class token to look at, alone.
        scale_inverted: attention logits are multiplied by the root of a head's dimension instead of
            divided by it, the log's other bug: with 64 dimensions, 64 times the right ones.
        attention_dropout: probability that an attention weight is dropped, after the softmax.
        drop_path: probability that a residual branch is dropped, drawn for each image
            (Huang et al. 2016); the same in every block.
    """

    kind: str = "baseline"
    depth: int = DEPTH
    drop_patches_after_first: bool = False
    scale_inverted: bool = False
    attention_dropout: float = 0.0
    drop_path: float = 0.0


# The kinds of block by name: the two right ones, and the log's with one bug or both.
BLOCKS: Mapping[str, Blocks] = {
    "baseline": Blocks("baseline"),
    "cls": Blocks("cls"),
    "cls.dropped": Blocks("cls", drop_patches_after_first=True),
    "cls.inverted": Blocks("cls", scale_inverted=True),
    "cls.coded": Blocks("cls", drop_patches_after_first=True, scale_inverted=True),
}


class Residual(nn.Module):
    """IResNet's block: batch-norm, 3x3, batch-norm, PReLU, 3x3 of stride `stride`, batch-norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [B, outputs, H / stride, W / stride]."""
        return self.branch(inputs) + self.shortcut(inputs)


def iresnet50(channels: int = 3) -> nn.Sequential:
    """Return the backbone: [B, channels, 224, 224] -> [B, 512, 7, 7], 30,743,232 parameters."""
    width = LAYERS[0][0]
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.PReLU(width),
    ]
    for outputs, number in LAYERS:
        for position in range(number):
            layers.append(Residual(width, outputs, 2 if position == 0 else 1))
            width = outputs
    return nn.Sequential(*layers)


def small_stem(channels: int, image_size: int, dim: int = SMALL_DIM) -> nn.Sequential:
    """Return a stem for small images: 3x3 convolutions of stride 2 down to 4 to 7 positions a side.

    8x8 digits come to 4x4 tokens, 48x48 faces to 6x6.
    """
    halvings = 1
    while -(-image_size // 2**halvings) > 7:
        halvings += 1
    widths = [max(16, dim // 2 ** (halvings - 1 - at)) for at in range(halvings)]
    layers: list[nn.Module] = []
    for inputs, outputs in zip([channels, *widths], widths, strict=False):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """Multi-head attention without bias of query, key and value; the weights are dropped out.

    With `cls` the first token alone asks, else all do.
    """

    def __init__(self, dim: int, heads: int, blocks: Blocks) -> None:
        super().__init__()
        self.heads, self.cls = heads, blocks.kind == "cls"
        self.dropout = blocks.attention_dropout
        head = dim // heads
        self.scale = head**0.5 if blocks.scale_inverted else head**-0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, N, dim] for tokens [B, N, dim]; with `cls`, [B, 1, dim]."""
        batch, _, dim = tokens.shape
        asking = tokens[:, :1] if self.cls else tokens
        query = functional.linear(asking, self.qkv.weight[:dim])
        key, value = functional.linear(tokens, self.qkv.weight[dim:]).chunk(2, -1)
        query, key, value = (
            part.view(batch, -1, self.heads, dim // self.heads).transpose(1, 2)
            for part in (query, key, value)
        )
        found = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )
        return self.out(found.transpose(1, 2).reshape(batch, -1, dim))


class Block(nn.Module):
    """A pre-norm transformer block with an MLP of four times the width.

    With `cls` only the class token is changed; the patch tokens pass through.
    """

    def __init__(self, dim: int, heads: int, blocks: Blocks, keep_patches: bool = True) -> None:
        super().__init__()
        self.cls, self.keep_patches = blocks.kind == "cls", keep_patches
        self.norm1, self.norm2 = nn.LayerNorm(dim, _EPS), nn.LayerNorm(dim, _EPS)
        self.attention = Attention(dim, heads, blocks)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.drop_path: nn.Module = nn.Identity()
        if blocks.drop_path:
            from torchvision.ops import StochasticDepth  # more than a second

            self.drop_path = StochasticDepth(blocks.drop_path, "row")

    def forward(self, tokens: Tensor) -> Tensor:
        """Return [B, N, dim] for tokens [B, N, dim]; [B, 1, dim] where patches are not kept."""
        changed = tokens[:, :1] if self.cls else tokens
        changed = changed + self.drop_path(self.attention(self.norm1(tokens)))
        changed = changed + self.drop_path(self.mlp(self.norm2(changed)))
        if self.cls and self.keep_patches:
            return torch.cat([changed, tokens[:, 1:]], dim=1)
        return changed


class ExpressionNet(nn.Module):
    """A stem, its positions as tokens below a class token, blocks, LayerNorm and a Linear.

    Args:
        stem: [B, 3 or `channels`, S, S] -> [B, dim, side, side].
        input_size: what images are resized to, and grey ones repeated in three channels; None:
            as they come.
        blocks: what the blocks are.
    """

    def __init__(
        self,
        stem: nn.Module,
        side: int,
        dim: int,
        heads: int,
        num_classes: int,
        input_size: int | None,
        blocks: Blocks,
    ) -> None:
        super().__init__()
        self.stem, self.input_size = stem, input_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.positions = nn.Parameter(torch.empty(1, side**2 + 1, dim))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)
        dropping = blocks.kind == "cls" and blocks.drop_patches_after_first
        self.blocks = nn.Sequential(
            *(Block(dim, heads, blocks, keep_patches=not dropping) for _ in range(blocks.depth))
        )
        self.norm = nn.LayerNorm(dim, _EPS)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, num_classes] for images [B, channels, S, S]."""
        if self.input_size is not None:
            images = images.expand(-1, 3, -1, -1)
            if images.shape[-1] != self.input_size:
                size = (self.input_size, self.input_size)
                images = functional.interpolate(images, size, mode="bilinear", align_corners=False)
        patches = self.stem(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        return self.head(self.norm(self.blocks(tokens + self.positions)[:, 0]))

    def load_backbone(self, published: Mapping[str, Tensor]) -> None:
        """Load the stem's weights from a state dict of insightface's `iresnet50`.

        Its last batch-norm, dropout and Linear, which this network does not have, are left out.
        RuntimeError where a weight of the stem is missing or of another shape.
        """
        self.stem.load_state_dict(stem_weights(published))

    def load_deeper(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of the same network with as many blocks or more: the first are taken.

        So networks of every depth, and of both kinds of block, start from the same weights.
        RuntimeError where they do not fit.
        """
        depth = len(self.blocks)
        kept = {
            name: tensor
            for name, tensor in weights.items()
            if not name.startswith("blocks.") or int(name.split(".")[1]) < depth
        }
        self.load_state_dict(kept)


_OF_BLOCK = {
    "bn1": "branch.0",
    "conv1": "branch.1",
    "bn2": "branch.2",
    "prelu": "branch.3",
    "conv2": "branch.4",
    "bn3": "branch.5",
    "downsample.0": "shortcut.0",
    "downsample.1": "shortcut.1",
}
_OF_STEM = {"conv1": "0", "bn1": "1", "prelu": "2"}


def stem_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return insightface's weights of `iresnet50` under the names that `iresnet50()` has here."""
    first = {f"layer{at + 1}": 3 + sum(n for _, n in LAYERS[:at]) for at in range(len(LAYERS))}
    found = {}
    for name, tensor in published.items():
        layer, _, kind = name.rpartition(".")
        parts = layer.split(".", 2)
        if layer in _OF_STEM:
            found[f"{_OF_STEM[layer]}.{kind}"] = tensor
        elif parts[0] in first and len(parts) == 3 and parts[2] in _OF_BLOCK:
            found[f"{first[parts[0]] + int(parts[1])}.{_OF_BLOCK[parts[2]]}.{kind}"] = tensor
    return found


def build(
    name: str, num_classes: int, image_size: int, channels: int, blocks: Blocks
) -> ExpressionNet:
    """Return one of `STEMS` with such blocks: `ir50_vit` resizes images to 224, `small_vit` not.

    PerturbError for another name.
    """
    if name not in STEMS:
        raise PerturbError(
            f"Model '{name}': its blocks are set by the run's name; give {', '.join(STEMS)}."
            f"{did_you_mean(name, STEMS)}"
        )
    if name != "small_vit":
        return ExpressionNet(iresnet50(), 7, 512, 8, num_classes, INPUT_SIZE, blocks)
    stem = small_stem(channels, image_size)
    with torch.no_grad():
        side = stem.eval()(torch.zeros(1, channels, image_size, image_size)).shape[-1]
    return ExpressionNet(stem.train(), side, SMALL_DIM, 4, num_classes, None, blocks)


def _of(name: str, block: str) -> object:
    blocks = replace(BLOCKS[block], depth=DEPTH)

    def function(num_classes: int, image_size: int, channels: int) -> ExpressionNet:
        return build(name, num_classes, image_size, channels, blocks)

    return function


ir50_vit = _of("ir50_vit", "baseline")
ir50_vit_cls = _of("ir50_vit", "cls")
ir50_vit_cls_coded = _of("ir50_vit", "cls.coded")
small_vit = _of("small_vit", "baseline")
small_vit_cls = _of("small_vit", "cls")
small_vit_cls_coded = _of("small_vit", "cls.coded")
