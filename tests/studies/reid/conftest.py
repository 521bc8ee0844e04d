from dataclasses import replace

import numpy as np
import pytest
import torch

from perturb import models
from perturb.data import load, prepare
from perturb.data.identities import Sightings
from perturb.studies.reid.learner import learner
from perturb.studies.reid.settings import ReidSpecification
from perturb.train.determinism import make_deterministic
from perturb.train.learner import Inputs

CLASSES = 12


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Twelve identities of photo_patches to train on, half of whose labels are wrong, and ten to
    find."""
    folder = tmp_path_factory.mktemp("data")
    paths = {"npz": folder / "data.npz", "manifest": folder / "manifest.json"}
    prepare("photo_patches_noise-0.5", folder, **paths)
    whole = load(**paths)
    train = whole.train_true_labels < CLASSES
    tested = np.isin(whole.test_labels, np.unique(whole.test_labels)[:10])
    seen = whole.sightings
    return replace(
        whole,
        train_images=whole.train_images[train],
        train_labels=whole.train_labels[train] % CLASSES,
        train_true_labels=whole.train_true_labels[train],
        test_images=whole.test_images[tested],
        test_labels=whole.test_labels[tested],
        sightings=Sightings(
            seen.train_cameras[train], seen.test_cameras[tested], seen.test_is_query[tested]
        ),
        manifest={**whole.manifest, "num_classes": CLASSES},
    )


@pytest.fixture
def make(data):
    """Return a function that makes a small learner of a method."""
    make_deterministic(1)

    def made(method: str, **settings):
        wanted = ReidSpecification(
            dataset="photo_patches_noise-0.5",
            model="embedding_small",
            method=method,
            seed=0,
            **{"height": 16, "width": 16, "learning_rate": 0.03, "head_multiplier": 3.0} | settings,
        )
        initial = models.initial_weights("embedding_small", CLASSES, 32, 3, 0)
        return learner(wanted, Inputs(torch.device("cpu"), data, initial))

    return made
