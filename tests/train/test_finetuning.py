"""Frozen layers, layer-wise learning rates, warm-up, label smoothing: as timm has them."""

import json

import numpy as np
import pytest
import timm.optim
import torch
from msgspec.structs import replace
from timm.loss import LabelSmoothingCrossEntropy
from timm.scheduler import CosineLRScheduler

from perturb import models, optim
from perturb.data.feeding import Feed
from perturb.errors import PerturbError
from perturb.random import stream
from perturb.studies.rts.settings import RtsSpecification
from perturb.train import finetuning
from perturb.train.classifier import Tuning, train_epoch
from perturb.train.finetuning import freeze, learning_rate, parameter_groups

VIT = "timm:vit_tiny_patch16_224"
SMALL = {"patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 2, "drop_path_rate": 0.3}
RECIPE = RtsSpecification(
    dataset="cifar10",
    model="vit-small",
    network="timm-vit_tiny_patch16_224",
    network_options=tuple(sorted(SMALL.items())),
    method="sgd_5",
    seed=3,
    base="adamw",
    learning_rate=2e-3,
    weight_decay=0.05,
    layer_decay=0.65,
    decay_biases=False,
    warmup_epochs=2,
    warmup_learning_rate=1e-5,
    minimum_learning_rate=1e-6,
    label_smoothing=0.1,
)


def small_vit():
    torch.manual_seed(0)
    return models.build(VIT, 10, 16, 3, SMALL).double()


def small_feed(channels=3, size=16):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, size, size, channels), dtype=np.uint8)
    labels = random.integers(0, 10, 20)
    return Feed(images, labels, batch_size=8, mean=[0.5] * channels, std=[0.25] * channels)


def optimiser_of(network, settings):
    return optim.build(
        settings.method,
        parameter_groups(network, settings),
        settings.learning_rate,
        settings.momentum,
        settings.weight_decay,
        base=settings.base,
        learning_rate_schedule="constant",
    )


def test_timms_recipe_for_a_vit_is_timms_own_optimiser_and_schedule():
    """AdamW, warm-up, cosine, label smoothing, drop path and layer decay, in float64."""
    own, theirs, feed = small_vit(), small_vit(), small_feed()
    optimizer = optimiser_of(own, RECIPE)
    rates = [group["lr"] for group in optimizer.param_groups]
    tuning = Tuning((), RECIPE.label_smoothing, learning_rate(RECIPE, 5), rates, RECIPE.seed)
    reference = timm.optim.create_optimizer_v2(
        theirs, "adamw", lr=2e-3, weight_decay=0.05, layer_decay=0.65
    )
    schedule = CosineLRScheduler(
        reference, t_initial=5, warmup_t=2, warmup_lr_init=1e-5, lr_min=1e-6
    )
    criterion = LabelSmoothingCrossEntropy(0.1)
    rates = set()
    for epoch in range(5):
        optimizer.set_epoch(epoch)
        tuning.set_epoch(optimizer, epoch)
        trained = train_epoch(own, optimizer, feed, epoch, lambda x: own(x.double()), tuning)

        schedule.step(epoch)
        torch.manual_seed(stream(RECIPE.seed, epoch, "layers of the network"))
        losses = []
        theirs.train()
        for images, labels in feed.epoch(epoch):
            reference.zero_grad()
            loss = criterion(theirs(images.double()), labels)
            loss.backward()
            reference.step()
            losses.append(loss.item())
        assert trained.train.batch_losses == pytest.approx(losses, rel=1e-12)
        assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx(
            sorted(g["lr"] for g in reference.param_groups), rel=1e-14
        )
        rates.add(max(g["lr"] for g in optimizer.param_groups))
        for name, parameter in theirs.named_parameters():
            mine = own.get_parameter(name)
            if name.endswith("qkv.bias"):
                # The softmax does not see the keys' bias: its gradient is rounding, which Adam
                # makes steps of.
                mine, parameter = (torch.cat([b[:24], b[48:]]) for b in (mine, parameter))
            torch.testing.assert_close(mine, parameter, rtol=1e-11, atol=1e-14, msg=name)
    assert len(rates) == 5


def test_another_seed_or_epoch_drops_other_paths():
    feed, found = small_feed(), []
    for seed, epoch in ((3, 0), (3, 0), (4, 0), (3, 1)):
        network = small_vit()
        optimizer = optimiser_of(network, RECIPE)
        tuning = Tuning(seed=seed)
        tuning.set_epoch(optimizer, epoch)
        train_epoch(network, optimizer, feed, 0, lambda x, n=network: n(x.double()), tuning)
        found.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert found[0].equal(found[1])
    assert not found[0].equal(found[2]) and not found[0].equal(found[3])


@pytest.mark.parametrize(("what", "moved"), [("backbone", {"7"}), (1, {"3", "4", "7"}), (2, {"7"})])
def test_what_is_frozen_stays_with_its_statistics(what, moved):
    torch.manual_seed(0)
    network = models.build("cnn", 10, 16, 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    settings = replace(RECIPE, freeze=what, base="sgd", layer_decay=1.0, decay_biases=True)
    frozen = freeze(network, what)
    optimizer = optimiser_of(network, replace(settings, method="pugd_5", learning_rate=0.1))
    for epoch in range(2):
        train_epoch(network, optimizer, small_feed(), epoch, tuning=Tuning(frozen))
    after = network.state_dict()
    changed = {name.partition(".")[0] for name in after if not after[name].equal(before[name])}
    assert changed == moved
    assert not any(module.training for module in frozen)


def test_freezing_everything_is_refused():
    with pytest.raises(PerturbError, match="freeze is 3, but the network has 2 layers below"):
        freeze(models.build("cnn", 10, 8), 3)
    assert freeze(models.build("cnn", 10, 8), 0) == []


def test_layers_decay_towards_the_input_and_the_head_keeps_its_rate():
    network = models.build("cnn", 10, 8)
    groups = parameter_groups(network, replace(RECIPE, layer_decay=0.5, learning_rate=0.4))
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert {name: rates[id(p)] for name, p in network.named_parameters()} == {
        "0.weight": (0.1, 0.05),
        "1.weight": (0.1, 0.0),
        "1.bias": (0.1, 0.0),
        "3.weight": (0.2, 0.05),
        "4.weight": (0.2, 0.0),
        "4.bias": (0.2, 0.0),
        "7.weight": (0.4, 0.05),
        "7.bias": (0.4, 0.0),
    }


def test_settings_that_are_left_alone_change_nothing():
    plain = RtsSpecification(dataset="digits", model="cnn", method="pugd_2", seed=0)
    text = json.loads(plain.to_json())
    assert not {"network", "weights", "freeze", "layer_decay", "label_smoothing"} & text.keys()
    assert plain.architecture == "cnn"
    network = models.build("cnn", 10, 8)
    found = parameter_groups(network, plain)
    assert [id(p) for p in found] == [id(p) for p in network.parameters()]
    assert learning_rate(plain, 5) is None
    assert RtsSpecification.from_json(RECIPE.to_json()) == RECIPE
    assert dict(RECIPE.network_options) == SMALL


def test_the_warm_up_climbs_and_the_cosine_ends_at_the_minimum():
    share = finetuning.WarmCosine(epochs=10, warmup=3, start=0.1, minimum=0.2)
    assert [share(epoch) for epoch in range(3)] == pytest.approx([0.1, 0.4, 0.7])
    assert share(5) == pytest.approx(0.6) and share(10) == pytest.approx(0.2)
    with pytest.raises(PerturbError, match="a learning rate that is 0"):
        learning_rate(replace(RECIPE, learning_rate=0.0), 5)
