"""What a finished run says of every test image: made from its last weights, so no run is made anew.

A run's folder does not hold them: a file more among its outputs would make every finished run
again. They are measured on it, as landscapes are, by the network, number format and batches that
its own evaluation had; the accuracy that they come to is compared with that of its record.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from perturb import code, studies
from perturb.data import load
from perturb.data.prepared import PreparedData
from perturb.data.protocol import balanced_subset
from perturb.errors import PerturbError
from perturb.jobs.store import Store, keep, put_back
from perturb.models.weights import load_weights, sha256_weights
from perturb.predictions.files import Predictions, write
from perturb.runs import IDENTITY, read_record
from perturb.study import load as load_function
from perturb.train.classifier import Classifier
from perturb.train.determinism import describe_device, find_device, make_deterministic, versions
from perturb.train.learner import Inputs, load_weights_into
from perturb.train.settings import TrainSettings
from perturb.train.trained import TrainedFiles, made_from


def predict(
    specification: TrainSettings, files: TrainedFiles, output: Path, store: Store | None = None
) -> None:
    """Write the class that a run's last weights give each test image, and whether it is right.

    Put back where `store` has it, else kept there. Of a run that diverged there are none. Raises
    PerturbError where a file is missing or damaged, where the weights are not the run's, and for
    a study that trains no classifier.
    """
    modules = modules_of(specification)
    fingerprint = made_from("predictions", specification, files, modules, {})
    if put_back(store, fingerprint, output.parent):
        return
    make_deterministic(specification.threads)
    device, data = find_device(specification.device), load(files.images, files.manifest)
    record, weights = read_record(files.record), load_weights(files.weights)
    if (found := sha256_weights(weights)) != record["sha256"]["final_weights"]:
        raise PerturbError(
            f"{files.weights}: not the final weights of {files.record} (sha256 {found[:12]}, the "
            f"record says {record['sha256']['final_weights'][:12]}). Rerun that run."
        )
    predicted = labels = indices = np.zeros(0, dtype=np.int64)
    if record["status"] == "ok":
        make = load_function(studies.get(specification.study).learner)
        learner = make(specification, Inputs(device, data))
        if not isinstance(learner, Classifier):
            raise PerturbError(f"study {specification.study} trains no classifier to ask.")
        load_weights_into(learner, weights)
        predicted, labels = _classes(learner)
        indices = test_indices(data, specification)
    attributes = {
        **{key: getattr(specification, key) for key in IDENTITY},
        "final_weights_sha256": found,
        "data_sha256": data.manifest["sha256"],
        "record_accuracy": record["last"]["test_accuracy"] if len(labels) else None,
        "device": describe_device(device),
        "threads": specification.threads,
        "versions": versions(device),
        "code_sha256": code.digest(modules),
    }
    write(output, Predictions(indices, predicted, predicted == labels, attributes))
    keep(store, fingerprint, [output])


def modules_of(specification: TrainSettings) -> dict[str, str]:
    """Return the hash of every module that a run's predictions depend on, by name."""
    return code.of("perturb.predictions.run") | studies.code_of(specification)


def test_indices(data: PreparedData, specification: TrainSettings) -> np.ndarray:
    """Return which test images a run tests on, sorted: all, or those that its limit leaves."""
    limit = specification.limit
    if not limit:
        return np.arange(len(data.test_labels))
    return balanced_subset(data.test_labels, limit.test, specification.split_seed)


@torch.inference_mode()
def _classes(learner: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted classes and the labels of the test images, int64 [N] both."""
    learner.model.eval()
    forward = learner.forward or learner.model
    batches = [
        (forward(inputs).argmax(1), labels) for inputs, labels in learner.feeds["test"].epoch(0)
    ]
    predicted, labels = (torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True))
    return predicted.astype(np.int64), labels.astype(np.int64)
