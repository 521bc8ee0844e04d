"""A run's folder, and its networks opened again for their landscapes."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from perturb.data import load, prepare
from perturb.errors import PerturbError
from perturb.landscape import directions
from perturb.landscape import run as landscapes
from perturb.landscape.curvature import Objective
from perturb.landscape.files import read_plane
from perturb.landscape.settings import LandscapeSettings
from perturb.landscape.table import read_curvature
from perturb.models import build, initial_weights
from perturb.models.weights import save_weights
from perturb.runs import RunFiles, read_record
from perturb.studies.reid.batches import Pixels
from perturb.studies.reid.settings import ReidSpecification
from perturb.train.run import run
from perturb.train.trained import TrainedFiles, TrainedRun
from perturb.verify import records
from perturb.verify.found import Verification

WANTED = ReidSpecification(
    dataset="photo_patches_noise-0.5", model="embedding_small",
    method="core_selective-true_switch-1_2",
    seed=0, height=16, width=16, learning_rate=0.03, checkpoint_every=1,
)  # fmt: skip
SMALL = LandscapeSettings(
    direction_seeds=(0,), points=3, images=60, curvature_images=40, sharpness_radii=(0.1,),
    adaptive_radii=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    found = RunFiles(
        folder=folder / "runs" / str(WANTED.run),
        images=folder / "data.npz",
        manifest=folder / "manifest.json",
        initial=folder / "initial.safetensors",
    )
    prepare(WANTED.dataset, folder, npz=found.images, manifest=found.manifest)
    save_weights(found.initial, initial_weights("embedding_small", 48, 32, 3, 0))
    run(WANTED, found)
    return found


def test_its_folder(files):
    record = read_record(files.record)
    assert record["status"] == "ok" and record["networks"] == 2
    assert record["wrong_labels"] == 384 and record["first_epochs"] == 1
    assert set(record["last"]) >= {"test_mAP", "test_mINP", "test_mAP_net1", "train_loss"}
    assert record["best"]["test_mAP"] >= record["last"]["test_mAP"]
    kept = load_file(files.file("last.safetensors"))
    assert {name.partition(".")[0] for name in kept} == {"net0", "net1"}


def opened(files, network=""):
    return TrainedRun.load(WANTED, of(files), network=network)


def of(files):
    return TrainedFiles(files.images, files.manifest, files.record, files.file("last.safetensors"))


def test_the_first_network_is_what_a_measurement_looks_at_by_default(files):
    found = opened(files)
    assert found.key == "net0" and found.networks == ("net0", "net1")
    kept = load_file(files.file("last.safetensors"))
    assert torch.equal(found.weights["classifier.bias"], kept["net0.classifier.bias"])
    images, labels = found.images("train", 40)
    assert len(labels) == 40
    objective = Objective(found.model.requires_grad_(True), [found.batch(images, labels)])
    loss, gradient = objective.loss_and_gradient()
    assert 0 < loss < 10 and gradient.isfinite().all() and gradient.any()


def test_images_have_the_size_that_networks_were_trained_at(files):
    found, data = opened(files), load(files.images, files.manifest)
    assert data.train_images.shape[1:3] == (32, 32)
    inputs, _ = found.batch(data.train_images[:9], data.train_labels[:9])
    given = (data.manifest["mean"], data.manifest["std"], WANTED, torch.device("cpu"))
    trained = next(Pixels(data.train_images[:9], *given).evaluated())
    assert inputs.shape == (9, 3, 16, 16)
    torch.testing.assert_close(inputs, trained, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def drawn(files):
    """Landscapes of both networks of the run, in the folder that the workflow has for them."""
    folder = files.folder.parents[4] / "landscapes" / str(WANTED.run)
    with torch.device("meta"):
        shapes = {k: p.shape for k, p in build("embedding_small", 48, 32, 3).named_parameters()}
    pair = folder / "directions.safetensors"
    pair.parent.mkdir(parents=True)
    directions.save(pair, directions.draw(shapes, 0), 0)
    for network, ending in (("", ""), ("net1", "_net1")):
        common = {"network": network}
        state = folder / "state.npz"
        landscapes.compute_plane(
            WANTED, SMALL, of(files), pair, folder / f"plane0{ending}.npz", state, **common
        )
        landscapes.compute_trajectory(
            WANTED, SMALL, of(files), files.initial, files.folder / "checkpoints",
            folder / f"trajectory{ending}.npz", state, **common,
        )  # fmt: skip
        landscapes.compute_curvature(
            WANTED, SMALL, of(files), folder / f"curvature{ending}.json", **common
        )
    pair.unlink()
    return folder


def test_each_network_has_its_landscape(files, drawn):
    kept = load_file(files.file("last.safetensors"))
    for network, ending in (("net0", ""), ("net1", "_net1")):
        plane = read_plane(drawn / f"plane0{ending}.npz")
        assert plane.attributes["network"] == network
        # The loss in the middle is that of the network, computed by hand.
        model = build("embedding_small", 48, 32, 3).eval()
        own = {k.partition(".")[2]: v for k, v in kept.items() if k.startswith(f"{network}.")}
        model.load_state_dict(own)
        found = opened(files)
        inputs, labels = found.batch(*found.images("train", 60))
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(model(inputs), labels).item()
        assert plane.loss[plane.centre] == pytest.approx(loss, rel=1e-5)
        path = read_plane(drawn / f"trajectory{ending}.npz")
        assert path.attributes["network"] == network
        assert list(path.trajectory.epochs) == [0, 1, 2]
        # Before it was trained a network knows nothing.
        assert path.trajectory.true_loss[0] == pytest.approx(np.log(48), abs=0.1)
        assert path.trajectory.true_loss[-1] == pytest.approx(loss, rel=1e-5)
        assert read_curvature(drawn / f"curvature{ending}.json")["network"] == network
    losses = [read_plane(drawn / f"plane0{ending}.npz").loss for ending in ("", "_net1")]
    assert not np.isclose(*losses).any()


def test_verify_tells_the_landscape_of_another_network(files, drawn):
    def said():
        found = Verification(files.folder.parents[4])
        records.check_landscapes(found, {WANTED.run: read_record(files.record)})
        return [(finding.kind, finding.file.name) for finding in found.findings]

    assert said() == []
    kept = {name: (drawn / name).read_bytes() for name in ("plane0_net1.npz", "curvature.json")}
    (drawn / "plane0_net1.npz").write_bytes((drawn / "plane0.npz").read_bytes())
    (drawn / "curvature.json").write_bytes((drawn / "curvature_net1.json").read_bytes())
    assert said() == [("edited", "curvature.json"), ("edited", "plane0_net1.npz")]
    for name, content in kept.items():
        (drawn / name).write_bytes(content)


def test_a_network_that_there_is_not_is_refused(files):
    with pytest.raises(PerturbError, match=r"no network 'net2': its networks are net0, net1"):
        opened(files, "net2")
