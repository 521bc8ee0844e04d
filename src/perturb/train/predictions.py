"""What a finished classifier takes each test image for."""

from __future__ import annotations

import numpy as np
import torch

from perturb import studies
from perturb.data import load
from perturb.errors import PerturbError
from perturb.models.weights import load_weights, sha256_weights
from perturb.runs import read_record
from perturb.study import load as load_function
from perturb.train.classifier import Classifier
from perturb.train.determinism import find_device, make_deterministic
from perturb.train.learner import Inputs, load_weights_into
from perturb.train.settings import TrainSettings
from perturb.train.trained import TrainedFiles


@torch.inference_mode()
def predict(specification: TrainSettings, files: TrainedFiles) -> dict[str, np.ndarray]:
    """Return `predicted` and `labels`, int64 [N] of the test split in its order.

    By the run's last weights, as its learner evaluates them. Raises PerturbError where those are
    not the ones that the record speaks of, or where the learner is no classifier.
    """
    make_deterministic(specification.threads)
    data, record = load(files.images, files.manifest), read_record(files.record)
    weights = load_weights(files.weights)
    if sha256_weights(weights) != record["sha256"]["final_weights"]:
        raise PerturbError(f"{files.weights}: not the final weights of {files.record}. Rerun it.")
    make = load_function(studies.get(specification.study).learner)
    learner = make(specification, Inputs(find_device(specification.device), data))
    if not isinstance(learner, Classifier):
        raise PerturbError(f"{files.record}: its learner is no classifier; it predicts no classes.")
    load_weights_into(learner, weights)
    forward = learner.forward or learner.model
    learner.model.eval()
    predicted, labels = [], []
    for inputs, of_batch in learner.feeds["test"].epoch(0):
        predicted.append(forward(inputs).argmax(1).cpu())
        labels.append(of_batch.cpu())
    return {"predicted": torch.cat(predicted).numpy(), "labels": torch.cat(labels).numpy()}
