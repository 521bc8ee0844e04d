"""IResNet-50 + ViT: the specification's counts, timm's blocks, and the log's two bugs."""

from dataclasses import replace

import pytest
import torch
from timm.models.cait import ClassAttn
from timm.models.vision_transformer import Block as TimmBlock

import perturb.models
from perturb.efficiency.counting import count_macs, count_parameters
from perturb.errors import PerturbError
from perturb.models.expression import BLOCKS, Attention, Block, build, iresnet50

BACKBONE_MACS = 6_296_485_888


def made(block, depth=8, name="ir50_vit", size=224, channels=3):
    return build(name, 7, size, channels, replace(BLOCKS[block], depth=depth))


def test_the_backbones_counts():
    model = iresnet50()
    assert count_parameters(model) == 30_743_232
    assert count_macs(model, torch.zeros(1, 3, 224, 224)) == BACKBONE_MACS
    assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 512, 7, 7)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(
    ("depth", "expected"), [(2, 37_075_655), (4, 43_377_351), (6, 49_679_047), (8, 55_980_743)]
)
def test_parameters_at_each_depth(block, depth, expected):
    with torch.device("meta"):
        assert count_parameters(made(block, depth)) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("baseline", 7_575_260_672),
        ("cls", 6_527_585_792),
        ("cls.inverted", 6_527_585_792),
        ("cls.dropped", 6_347_403_776),
        ("cls.coded", 6_347_403_776),
    ],
)
def test_macs_at_depth_8(block, expected):
    """Attention products counted. In GFLOPs the log has 6.347 as coded, 6.528 patches kept."""
    model = made(block)
    model.stem = torch.nn.Identity()  # counted above
    model.input_size = None
    assert count_macs(model, torch.zeros(1, 512, 7, 7)) + BACKBONE_MACS == expected


def shared_weights(dim, heads, block, drop=0.0):
    torch.manual_seed(0)
    blocks = replace(BLOCKS[block], attention_dropout=drop)
    return Block(dim, heads, blocks).eval(), torch.randn(3, 10, dim)


def test_baseline_is_timms_block():
    ours, tokens = shared_weights(32, 4, "baseline")
    theirs = TimmBlock(32, 4, qkv_bias=False).eval()
    names = {"attention.qkv": "attn.qkv", "attention.out": "attn.proj", "mlp.0": "mlp.fc1"}
    names |= {"mlp.2": "mlp.fc2", "norm1": "norm1", "norm2": "norm2"}
    state = {}
    for name, tensor in ours.state_dict().items():
        layer, _, kind = name.rpartition(".")
        state[f"{names[layer]}.{kind}"] = tensor
    theirs.load_state_dict(state)
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_cls_is_caits_class_attention():
    ours, tokens = shared_weights(32, 4, "cls")
    theirs = ClassAttn(32, 4, qkv_bias=False).eval()
    query, key, value = ours.attention.qkv.weight.chunk(3)
    out = ours.attention.out
    theirs.load_state_dict(
        {"q.weight": query, "k.weight": key, "v.weight": value}
        | {"proj.weight": out.weight, "proj.bias": out.bias}
    )
    torch.testing.assert_close(ours.attention(tokens), theirs(tokens))
    changed = ours(tokens)
    assert changed.shape == tokens.shape
    assert torch.equal(changed[:, 1:], tokens[:, 1:]), "the patch tokens pass through"
    assert not torch.equal(changed[:, :1], tokens[:, :1])


@pytest.mark.parametrize("block", ["cls", "cls.inverted"])
def test_inverted_scale_is_64_times_the_right_logits(block):
    """512 dimensions in 8 heads, against softmax written out in float64."""
    torch.manual_seed(0)
    attention = Attention(512, 8, BLOCKS[block]).double()
    tokens = 0.3 * torch.randn(2, 50, 512, dtype=torch.float64)
    query, key, value = (
        (tokens @ part.T).view(2, 50, 8, 64).transpose(1, 2)
        for part in attention.qkv.weight.chunk(3)
    )
    logits = query[:, :, :1] @ key.transpose(2, 3) / 8
    if block == "cls.inverted":
        logits = 64 * logits
    found = (logits.softmax(-1) @ value).transpose(1, 2).reshape(2, 1, 512)
    torch.testing.assert_close(attention(tokens), attention.out(found))


def test_dropped_patches_are_lost_after_the_first_block():
    """Patches that only the second block would see change nothing; kept, they do."""
    for block, lost in (("cls", False), ("cls.dropped", True)):
        torch.manual_seed(0)
        model = made(block, depth=2, name="small_vit", size=48).eval()
        seen = []
        model.blocks[1].register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs))
        model(torch.randn(2, 3, 48, 48))
        assert seen[0][0].shape[1] == (1 if lost else 37)


def test_attention_dropout_drops_softmaxed_weights():
    """Attention over equal keys: each kept weight is 1 / (n (1 - p)), and the mean stays."""
    blocks = replace(BLOCKS["cls"], attention_dropout=0.25)
    attention = Attention(8, 1, blocks).train()
    with torch.no_grad():
        attention.qkv.weight.zero_()
        attention.qkv.weight[16:] = torch.eye(8)
        attention.out.weight.copy_(torch.eye(8))
        attention.out.bias.zero_()
    torch.manual_seed(0)
    tokens = torch.eye(8).expand(4000, 8, 8)  # the output is the attention weights themselves
    weights = attention(tokens).detach()[:, 0]
    values = {round(float(value), 6) for value in weights.unique()}
    assert values == {0.0, round(1 / (8 * 0.75), 6)}
    dropped = float((weights == 0).double().mean())
    assert abs(dropped - 0.25) < 5 * (0.25 * 0.75 / weights.numel()) ** 0.5
    assert torch.equal(attention.eval()(tokens).detach(), torch.full((4000, 1, 8), 1 / 8))


def test_stochastic_depth_draws_once_for_each_image():
    """A branch is lost for a whole image with probability p, else divided by 1 - p."""
    torch.manual_seed(0)
    block = Block(16, 2, replace(BLOCKS["baseline"], drop_path=0.5)).train()
    tokens = torch.randn(1, 5, 16).expand(2000, 5, 16)
    with torch.no_grad():
        outputs = block(tokens)
        distinct = torch.unique(outputs.round(decimals=4), dim=0)
        attended = tokens[:1] + 2 * block.attention(block.norm1(tokens[:1]))
        expected = [
            tokens[:1],
            attended,
            tokens[:1] + 2 * block.mlp(block.norm2(tokens[:1])),
            attended + 2 * block.mlp(block.norm2(attended)),
        ]
    assert len(distinct) == 4, "two branches, each kept or lost for the whole image"
    shares = [
        float(torch.isclose(outputs, one, atol=1e-5).all((1, 2)).double().mean())
        for one in expected
    ]
    assert sum(shares) == 1
    assert all(abs(share - 0.25) < 5 * (0.25 * 0.75 / 2000) ** 0.5 for share in shares)


@pytest.mark.parametrize(("size", "channels"), [(48, 1), (48, 3), (8, 1), (64, 3)])
@pytest.mark.parametrize("name", ["small_vit", "small_vit_cls", "small_vit_cls_coded"])
def test_small_networks(name, size, channels):
    model = perturb.models.build(name, 7, size, channels)
    assert model(torch.zeros(2, channels, size, size)).shape == (2, 7)


def test_every_depth_and_block_starts_from_the_same_weights():
    weights = perturb.models.initial_weights("small_vit", 7, 48, 1, seed=3)
    for block in BLOCKS:
        model = made(block, depth=2, name="small_vit", size=48, channels=1)
        model.load_deeper(weights)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, weights[name])
    with pytest.raises(RuntimeError, match="size mismatch"):
        made("cls", depth=2, name="small_vit", size=8, channels=1).load_deeper(weights)


class Insightface(torch.nn.Module):
    """insightface's iresnet50, its blocks written as its source has them (stem of stride 1)."""

    class IBasicBlock(torch.nn.Module):
        def __init__(self, inputs, outputs, stride, downsample):
            super().__init__()
            self.bn1 = torch.nn.BatchNorm2d(inputs)
            self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = torch.nn.BatchNorm2d(outputs)
            self.prelu = torch.nn.PReLU(outputs)
            self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
            self.bn3 = torch.nn.BatchNorm2d(outputs)
            self.downsample = downsample

        def forward(self, x):
            out = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
            return out + (self.downsample(x) if self.downsample is not None else x)

    def __init__(self, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 64, 3, stride, 1, bias=False)
        self.bn1, self.prelu = torch.nn.BatchNorm2d(64), torch.nn.PReLU(64)
        inputs = 64
        for at, (outputs, number) in enumerate([(64, 3), (128, 4), (256, 14), (512, 3)], 1):
            blocks = []
            for position in range(number):
                first = position == 0
                down = torch.nn.Sequential(
                    torch.nn.Conv2d(inputs, outputs, 1, 2, bias=False),
                    torch.nn.BatchNorm2d(outputs),
                )
                blocks.append(
                    self.IBasicBlock(inputs, outputs, 2 if first else 1, down if first else None)
                )
                inputs = outputs
            setattr(self, f"layer{at}", torch.nn.Sequential(*blocks))
        self.bn2, self.features = torch.nn.BatchNorm2d(512), torch.nn.BatchNorm1d(512)
        self.fc = torch.nn.Linear(512 * 49, 512)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        for at in range(1, 5):
            x = getattr(self, f"layer{at}")(x)
        return x


def test_weights_of_insightface_come_in_by_their_names(tmp_path):
    torch.manual_seed(1)
    theirs = Insightface(stride=2).eval()
    for buffer in theirs.buffers():
        if buffer.dtype == torch.float32:
            buffer.uniform_(0.5, 1.5)
    with pytest.raises(PerturbError, match=r"no file .*iresnet50.pth.*'ir50_vit', whose backbone"):
        perturb.models.initial_weights("ir50_vit_pretrained", 7, 48, 1, data_root=tmp_path)
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "iresnet50.pth"
    file.write_bytes(b"nothing")
    with pytest.raises(PerturbError, match=r"iresnet50.pth: no file of weights"):
        perturb.models.initial_weights("ir50_vit_pretrained", 7, 48, 1, data_root=tmp_path)
    torch.save(theirs.state_dict(), file)
    weights = perturb.models.initial_weights("ir50_vit_pretrained", 7, 48, 1, data_root=tmp_path)
    with torch.device("meta"):
        model = made("cls", depth=2)
    model.to_empty(device="cpu").load_deeper(weights)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.eval().stem(images), theirs(images))


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(PerturbError, match=r"Model 'small_vt'.*Did you mean 'small_vit'"):
        made("cls", name="small_vt")
