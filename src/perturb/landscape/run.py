"""Landscapes of a run's weights, from its files to files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from perturb import code
from perturb.analysis.comparability import data_used
from perturb.errors import PerturbError
from perturb.files import sha256_arrays, sha256_file, write_json
from perturb.jobs.store import Store, keep, put_back
from perturb.landscape import directions, plane, trajectory
from perturb.landscape.curvature import Objective, measure
from perturb.landscape.files import Plane, Trajectory, write_plane
from perturb.landscape.settings import USED_BY, LandscapeSettings
from perturb.landscape.surface import Batch, Surface, batch_size, mean_loss
from perturb.models.weights import load_weights, sha256_weights
from perturb.train.determinism import describe_device, versions
from perturb.train.learner import Weights, part_of
from perturb.train.settings import TrainSettings
from perturb.train.trained import TrainedFiles, TrainedRun, began_from, made_from


@dataclass(frozen=True)
class Scene:
    """A trained model, the images that its loss is taken over, and what both are.

    `hashes` are those of the run's record; `key` is the model's in files of weights (`TrainedRun`).
    """

    model: nn.Module
    weights: dict[str, Tensor]
    batches: list[Batch]
    precision: torch.dtype
    attributes: dict[str, Any]
    hashes: dict[str, Any]
    key: str

    def surface(
        self, first: directions.Direction, second: directions.Direction, batch_norm: str
    ) -> Surface:
        """Return the loss surface around the weights."""
        return Surface(
            self.model,
            self.batches,
            first,
            second,
            batch_norm=batch_norm,
            precision=self.precision,
        )

    def parameters(self) -> dict[str, Tensor]:
        """Return the trainable tensors by name, on the CPU."""
        return {name: self.weights[name] for name, _ in self.model.named_parameters()}


def set_scene(
    specification: TrainSettings,
    files: TrainedFiles,
    images_wanted: int | str,
    precision: str = "float32",
    network: str = "",
) -> Scene:
    """Load a run's last weights and this number of images of its train split (`full`: all).

    `network` is one of those that the run trained: `net1`; by default its first.

    Raises PerturbError where a file is missing or damaged, where the weights are not those that the
    run's record speaks of, or where there is no such network.
    """
    run = TrainedRun.load(specification, files, network=network)
    model, record = run.model.requires_grad_(True), run.record
    images, labels = run.images("train", images_wanted)
    inputs, targets = run.batch(images, labels)
    size = batch_size(model, inputs[:1])
    batches = list(zip(inputs.split(size), targets.split(size), strict=True))
    # Where nothing moves, the surface is the model itself.
    with Surface(model, batches, {}, {}, precision=getattr(torch, precision)) as surface:
        loss, accuracy = surface.at(0.0, 0.0)
    attributes = {
        **{key: getattr(specification, key) for key in ("dataset", "model", "method", "seed")},
        **({"network": run.key} if len(run.networks) > 1 else {}),
        "scale": specification.scale,
        "data": data_used(
            specification.dataset,
            record["images"]["train"],
            whole=not run.manifest["partial"] and specification.limit is None,
        ),
        "status": record["status"],
        "epochs_completed": record["epochs_completed"],
        "checkpoint": files.weights.name,
        "checkpoint_sha256": run.weights_sha256,
        "checkpoint_loss": _finite(loss),
        "checkpoint_accuracy": accuracy,
        "split": "train",
        "images": len(labels),
        "images_sha256": sha256_arrays({"images": images, "labels": labels}),
        "batch_size": size,
        "precision": precision,
        "device": describe_device(run.device),
        "threads": specification.threads,
        "versions": versions(run.device, specification.architecture),
        "code_sha256": code.digest(_modules(specification.architecture)),
    }
    return Scene(
        model,
        run.weights,
        batches,
        getattr(torch, precision),
        attributes,
        record["sha256"],
        run.key,
    )


def compute_plane(
    specification: TrainSettings,
    settings: LandscapeSettings,
    files: TrainedFiles,
    directions_file: Path,
    output: Path,
    state: Path,
    store: Store | None = None,
    network: str = "",
) -> None:
    """Write the plane of a run in a pair of random directions.

    As the trajectory and the curvature it is put back where `store` has it, else kept there, and is
    of the run's first network where `network` names no other (`net1`).
    """
    drawn = {"directions": sha256_file(directions_file)}
    fingerprint = _made_from("plane", specification, settings, files, output, drawn)
    if put_back(store, fingerprint, output.parent):
        return
    scene = set_scene(specification, files, settings.images, settings.precision, network)
    pair, seed = directions.load(directions_file)
    first, second = (
        directions.normalise(d, scene.parameters(), settings.normalisation, settings.ignore)
        for d in pair
    )
    attributes = scene.attributes | {
        "directions": "random",
        "direction_seed": seed,
        "normalisation": settings.normalisation,
        "ignore": settings.ignore,
        "directions_sha256": _sha256(first, second),
        "batch_norm": settings.batch_norm,
    }
    grid = plane.symmetric_grid(settings.points, settings.span)
    with scene.surface(first, second, settings.batch_norm) as surface:
        found = plane.compute(surface, grid, grid, attributes, state=state, report=_print_rows)
    write_plane(output, found)
    keep(store, fingerprint, [output])
    state.unlink(missing_ok=True)


def compute_trajectory(
    specification: TrainSettings,
    settings: LandscapeSettings,
    files: TrainedFiles,
    initial: Path,
    checkpoints: Path,
    output: Path,
    state: Path,
    store: Store | None = None,
    network: str = "",
) -> None:
    """Write the plane of a run's own path, and the path in it.

    The path begins at the initial weights. Its epochs count those completed. A run that diverged
    before it left a path gets a plane without points: it stops nothing else.
    """
    fingerprint = _made_from("trajectory", specification, settings, files, output)
    if put_back(store, fingerprint, output.parent):
        return
    scene = set_scene(specification, files, settings.images, settings.precision, network)
    kept = sorted(
        (int(Path(name).stem.removeprefix("epoch")) + 1, checkpoints / Path(name).name)
        for name in scene.hashes["files"]
        if name.startswith("checkpoints/")
    )
    _check_path(files.record, scene.hashes, initial, [file for _, file in kept])
    # The file of initial weights is of one network, which a run of several calls by another name.
    first = began_from(specification, files, initial, scene.key) if scene.key else initial
    path: list[tuple[int, Path | Weights]] = [(0, first), *kept]
    if path[-1][0] != scene.attributes["epochs_completed"]:
        path.append((scene.attributes["epochs_completed"], files.weights))
    moved = [
        name
        for name, tensor in scene.parameters().items()
        if tensor.dim() > 1 or settings.ignore == "nothing"
    ]
    attributes = scene.attributes | {
        "directions": "principal components",
        "normalisation": "unit length",
        "ignore": settings.ignore,
        "batch_norm": "stored",
    }
    try:
        found = trajectory.principal_components(
            moved,
            [_tensors(scene, weights) for _, weights in path],
            _tensors(scene, files.weights),
        )
    except PerturbError as error:
        if scene.attributes["status"] == "ok":
            raise
        print(f"perturb: {error} The run diverged: no trajectory.", file=sys.stderr)
        none = np.empty(0)
        write_plane(output, Plane(none, none, np.empty((0, 0)), np.empty((0, 0)), attributes))
        return
    attributes["directions_sha256"] = _sha256(found.first, found.second)
    true_loss = [_loss_of(scene, weights) for _, weights in path]
    scene.model.load_state_dict(scene.weights)
    alpha, beta = trajectory.covering_grid(found.path, settings.points)
    with scene.surface(found.first, found.second, "stored") as surface:
        projected = [surface.at(*point)[0] for point in found.path.tolist()]
        grid = plane.compute(surface, alpha, beta, attributes, state=state, report=_print_rows)
    route = Trajectory(
        np.array([epoch for epoch, _ in path]),
        found.path,
        np.array(projected),
        np.array(true_loss),
        found.explained_variance,
    )
    whole = Plane(alpha, beta, grid.loss, grid.accuracy, grid.attributes, route)
    write_plane(output, whole)
    keep(store, fingerprint, [output])
    state.unlink(missing_ok=True)


def compute_curvature(
    specification: TrainSettings,
    settings: LandscapeSettings,
    files: TrainedFiles,
    output: Path,
    store: Store | None = None,
    network: str = "",
) -> None:
    """Write Hessian eigenvalues, trace and sharpness of a run's last weights as JSON."""
    fingerprint = _made_from("curvature", specification, settings, files, output)
    if put_back(store, fingerprint, output.parent):
        return
    scene = set_scene(specification, files, settings.curvature_images, network=network)
    measured = measure(
        Objective(scene.model, scene.batches),
        radii=settings.sharpness_radii,
        adaptive_radii=settings.adaptive_radii,
        seeds=settings.direction_seeds,
    )
    write_json(output, scene.attributes | {"curvature": measured})
    keep(store, fingerprint, [output])


def _made_from(
    kind: str,
    specification: TrainSettings,
    settings: LandscapeSettings,
    files: TrainedFiles,
    output: Path,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the fingerprint of a landscape.

    The file's name has the seed of its directions, and which network it is of.
    """
    used = {name: getattr(settings, name) for name in USED_BY[kind]}
    modules = _modules(specification.architecture)
    return made_from(
        kind, specification, files, modules, used | {"file": output.name} | dict(more or {})
    )


def _modules(model: str) -> dict[str, str]:
    return code.of("perturb.landscape.run") | code.of_model(model)


def _check_path(record: Path, hashes: dict[str, Any], initial: Path, kept: list[Path]) -> None:
    """Refuse a path of checkpoints that are not those that the run's record speaks of."""
    expected = {initial: hashes["initial_weights"]}
    expected |= {file: hashes["files"][f"checkpoints/{file.name}"] for file in kept}
    for file, sha256 in expected.items():
        found = sha256_weights(load_weights(file)) if file is initial else sha256_file(file)
        if found != sha256:
            raise PerturbError(
                f"{file}: not what {record} speaks of (sha256 {found[:12]}, the record says "
                f"{sha256[:12]}). Delete the file and rerun that run."
            )


def _loss_of(scene: Scene, weights: Path | Weights) -> float:
    if isinstance(weights, Path):
        weights = part_of(load_weights(weights), scene.key)
    scene.model.load_state_dict(weights)
    return mean_loss(scene.model, scene.batches)[0]


def _tensors(scene: Scene, weights: Path | Weights) -> Callable[[str], Tensor]:
    """Return what reads one tensor of the model by its name, from weights or a file of them."""
    if not isinstance(weights, Path):
        return weights.__getitem__
    prefix = f"{scene.key}." if scene.key else ""

    def read(name: str) -> Tensor:
        with safe_open(weights, framework="pt") as opened:
            return opened.get_tensor(prefix + name)

    return read


def _sha256(first: directions.Direction, second: directions.Direction) -> str:
    return sha256_weights(
        {f"{n}/{name}": t for n, d in enumerate((first, second), 1) for name, t in d.items()}
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _print_rows(done: int, of: int) -> None:
    print(f"row {done}/{of}", file=sys.stderr, flush=True)
