"""What this study trains: a stem with ViT blocks by Adam or AdamW, with an exponential decay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from perturb.data.feeding import Feed, make_feeds
from perturb.data.protocol import Split
from perturb.data.regularised import RegularisedFeed
from perturb.errors import PerturbError
from perturb.models import expression
from perturb.models.expression import BLOCKS
from perturb.random import stream
from perturb.train import classifier
from perturb.train.classifier import Classifier
from perturb.train.learner import Inputs, Trained

if TYPE_CHECKING:
    from perturb.studies.fer.settings import FerSpecification


class ExpressionClassifier(Classifier):
    """A classifier whose learning rate decays exponentially and whose network drops at random."""

    gamma: float = 1.0
    seed: int = 0

    def train(self, epoch: int) -> Trained:
        """Train for an epoch: lr * gamma^epoch; what the network drops is fixed by the epoch."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self.gamma**epoch
        device = self.feeds["train"].device
        seed = stream(self.seed, epoch, "dropout")
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.manual_seed(seed)
            return super().train(epoch)


def learner(specification: FerSpecification, inputs: Inputs) -> Classifier:
    """Return the classifier of one run."""
    assert inputs.data is not None
    manifest = inputs.data.manifest
    found = classifier.build(
        specification,
        inputs,
        method=f"sgd_{specification.method.rpartition('_')[2]}",
        model=network(specification, manifest, inputs),
        make_feeds=partial(feeds, num_classes=manifest["num_classes"]),
        kind=ExpressionClassifier,
        learning_rate_schedule="constant",
    )
    assert isinstance(found, ExpressionClassifier)
    found.gamma, found.seed = specification.gamma, specification.seed
    return found


def network(
    specification: FerSpecification, manifest: Mapping[str, Any], inputs: Inputs
) -> expression.ExpressionNet:
    """Return the network with as many blocks as asked for, the first of the initial weights'."""
    blocks = replace(
        BLOCKS[specification.block],
        depth=specification.depth,
        attention_dropout=specification.attention_dropout,
        drop_path=specification.drop_path,
    )
    shape = (manifest["num_classes"], manifest["image_size"], manifest["channels"])
    model = expression.build(specification.model, *shape, blocks)
    if inputs.initial is not None:
        try:
            model.load_deeper(inputs.initial)
        except RuntimeError as error:
            raise PerturbError(
                f"{inputs.initial_path}: these weights do not fit the model ({error}). "
                "Delete the file and rerun."
            ) from None
    return model


def feeds(
    splits: dict[str, Split],
    manifest: Mapping[str, Any],
    specification: FerSpecification,
    device: torch.device,
    *,
    num_classes: int,
) -> dict[str, Feed]:
    """Return the feeds: pixels from 0 to 1 as they are, flips without crops, train regularised."""
    channels = manifest["channels"]
    plain = {**manifest, "mean": [0.0] * channels, "std": [1.0] * channels, "crop_padding": 0}
    found = make_feeds(splits, plain, specification, device)
    train = splits["train"]
    found["train"] = RegularisedFeed(
        train.images,
        train.labels,
        true_labels=train.true_labels,
        batch_size=specification.batch_size,
        mean=plain["mean"],
        std=plain["std"],
        device=device,
        augment=specification.augment,
        flip=manifest["flip"],
        crop_padding=0,
        seed=specification.seed,
        shuffle=True,
        num_classes=num_classes,
        erasing=specification.erasing,
        mixup=specification.mixup,
        balanced=specification.balanced,
        drop_last=specification.drop_last,
    )
    return found
