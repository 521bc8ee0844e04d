"""Number format, memory layout and compiler: what each changes, and what it leaves as it was."""

import json
import os
import shutil
import sys

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from perturb import models, optim
from perturb.data import load
from perturb.data.feeding import Feed, make_feeds
from perturb.data.protocol import make_splits
from perturb.errors import PerturbError
from perturb.runs import RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train import run as run_module
from perturb.train.classifier import evaluate, train_epoch
from perturb.train.determinism import check_precision, make_deterministic
from perturb.train.forward import forward_of
from perturb.train.run import run

from .trainer import OUTPUTS

SPECIFICATION = RtsSpecification(dataset="digits", model="cnn", method="pugd_4", seed=0)
CPU = torch.device("cpu")
OPTIONS = [{"precision": "bfloat16"}, {"channels_last": True}, {"compile": True}]
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler"
)


@pytest.fixture(autouse=True)
def compiled_anew():
    yield
    forget_compiled()


def forget_compiled():
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


@pytest.fixture
def make_run(inputs, tmp_path):
    def make(specification, name):
        run(specification, RunFiles(tmp_path / name, **inputs), save_seconds=0)
        return tmp_path / name

    return make


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def test_without_options_it_is_the_model_itself():
    model = models.build("cnn", 10, 8, 1)
    assert forward_of(model) is model
    assert forward_of(model, precision="tf32") is model  # a setting of the process


@pytest.mark.parametrize("option", [OPTIONS[0], OPTIONS[1], {**OPTIONS[0], **OPTIONS[1]}], ids=str)
@pytest.mark.parametrize("name", ["cnn", "resnet18", "upanet16"])
def test_logits_are_those_of_float32_within_the_formats_rounding(name, option):
    torch.manual_seed(0)
    model = models.build(name, 10, 16, 3)
    inputs = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        expected = model(inputs)
        found = forward_of(model, **option)(inputs)
    assert found.dtype == torch.float32
    # bfloat16 keeps 8 bits, of which each of some dozen layers may spoil one.
    tolerance = 0.1 if "precision" in option else 1e-4
    assert (found - expected).norm() <= tolerance * expected.norm()
    if "precision" in option:
        assert not torch.equal(found, expected)


def test_master_weights_gradients_and_momentum_stay_float32():
    torch.manual_seed(0)
    model = models.build("cnn", 10, 8, 1)
    optimizer = optim.build("pugd_4", model.parameters(), model=model)
    images = torch.randint(0, 256, (60, 8, 8, 1), dtype=torch.uint8)
    feed = Feed(images, torch.randint(0, 10, (60,)), batch_size=20, mean=[0.5], std=[0.25])
    train_epoch(model, optimizer, feed, 0, forward_of(model, precision="bfloat16"))
    kept = [*model.parameters(), *(p.grad for p in model.parameters())]
    kept += optimizer.flat.vectors.values()
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    # They are no rounded ones: a bfloat16 has its last 16 bits zero.
    assert (optimizer.flat.weights.view(torch.int32) & 0xFFFF).count_nonzero() > 1000


def test_channels_last_is_how_the_convolutions_lie_in_memory():
    model = models.build("cnn", 10, 8, 3)
    forward_of(model, channels_last=True)
    assert model[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert not model[3].weight.is_contiguous()


@needs_compiler
@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_each_option_is_recorded_evaluated_alike_and_the_same_when_killed(
    make_run, inputs, tmp_path, monkeypatch, option
):
    specification = replace(SPECIFICATION, **option)
    whole = make_run(specification, "whole")
    record = json.loads((whole / "record.json").read_text())
    assert option.items() <= record["specification"].items()
    plain = json.loads((make_run(SPECIFICATION, "plain") / "record.json").read_text())
    assert record["sha256"]["final_weights"] != plain["sha256"]["final_weights"]
    assert record["last"]["train_loss"] == pytest.approx(plain["last"]["train_loss"], rel=0.2)
    assert reevaluated(whole, inputs, option) == record["last"]["test_loss"]

    def interrupted(epoch, epochs, told):
        if epoch == 2:
            raise KeyboardInterrupt

    forget_compiled()
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_print_progress", interrupted)
        with pytest.raises(PerturbError, match="goes on after epoch 2"):
            make_run(specification, "killed")
    forget_compiled()
    assert bytes_of(make_run(specification, "killed")) == bytes_of(whole)


def reevaluated(folder, inputs, option):
    """Return the test loss of a run's last weights, passed through as the run did."""
    data = load(inputs["images"], inputs["manifest"])
    splits = make_splits(data, SPECIFICATION)
    feed = make_feeds(splits, data.manifest, SPECIFICATION, CPU)["test"]
    model = models.build("cnn", 10, 8, 1)
    model.load_state_dict(load_file(folder / "last.safetensors"))
    make_deterministic(1)
    forget_compiled()
    option = {"compiled" if key == "compile" else key: value for key, value in option.items()}
    return evaluate(model, feed, forward_of(model, **option)).loss


@needs_compiler
def test_a_compiled_nets_batch_norm_sees_each_batch_once(make_run):
    """Three steps of two passes an epoch: a second pass that counted would make it six."""
    specification = replace(SPECIFICATION, method="pugd_1")
    plain = load_file(make_run(specification, "plain") / "last.safetensors")
    folder = make_run(replace(specification, compile=True), "compiled")
    compiled = load_file(folder / "last.safetensors")
    for name, expected in plain.items():
        if "num_batches" in name:
            assert compiled[name] == expected == 3
        else:
            torch.testing.assert_close(compiled[name], expected, rtol=1e-3, atol=1e-4)


def test_the_second_pass_is_the_same_told_the_model_or_not():
    found = []
    for told in (False, True):
        torch.manual_seed(0)
        model = models.build("cnn", 10, 8, 1)
        options = {"model": model} if told else {}
        optimizer = optim.build("pugd_4", model.parameters(), **options)
        images = torch.randint(0, 256, (60, 8, 8, 1), dtype=torch.uint8)
        feed = Feed(images, torch.randint(0, 10, (60,)), batch_size=20, mean=[0.5], std=[0.25])
        train_epoch(model, optimizer, feed, 0)
        found.append(model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_format_that_the_device_lacks_is_one_message(make_run):
    with pytest.raises(PerturbError, match=r"precision is 'tf32', in which the CPU does not"):
        make_run(replace(SPECIFICATION, precision="tf32", device="cpu"), "tf32")
    check_precision("bfloat16", CPU)


def test_an_old_gpu_has_float32_only(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    for precision in ("tf32", "bfloat16"):
        with pytest.raises(PerturbError, match="in which Tesla V100 does not compute"):
            check_precision(precision, gpu)
    check_precision("float32", gpu)


def test_tf32_is_allowed_where_it_is_asked_for_only():
    try:
        make_deterministic(1, "tf32")
        assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    finally:
        make_deterministic(1)
    assert not (torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)


def test_no_compiler_is_one_message(tmp_path, monkeypatch):
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = models.build("cnn", 10, 8, 1)
    with (
        inductor.patch({"cpp.cxx": (None, "no-such-compiler"), "force_disable_caches": True}),
        pytest.raises(PerturbError, match=r"cannot compile this net here .* set `compile: false`"),
    ):
        forward_of(model, compiled=True)(torch.randn(4, 1, 8, 8))
