"""Planes: the grid, and going on after being killed."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch

from perturb.landscape import plane
from perturb.landscape.files import Plane, read_plane, write_plane
from perturb.landscape.surface import Surface

from .problems import batches, network
from .test_surface import pair

ATTRIBUTES = {"checkpoint_sha256": "abc", "direction_seed": 0}


@pytest.fixture
def surface():
    model = network()
    with Surface(model, batches(7, 5), *pair(model)) as found:
        yield found


def test_the_grid_has_an_exact_zero_and_mirrors():
    grid = plane.symmetric_grid(51)
    assert (grid[0], grid[25], grid[-1]) == (-1.0, 0.0, 1.0)
    np.testing.assert_array_equal(grid, -grid[::-1])
    np.testing.assert_allclose(plane.symmetric_grid(5, 0.5), [-0.5, -0.25, 0, 0.25, 0.5])


def test_rows_are_betas_and_columns_alphas(surface):
    alpha, beta = np.array([-1.0, 0.0, 0.5]), np.array([0.0, 2.0])
    found = plane.compute(surface, alpha, beta, ATTRIBUTES)
    for row, b in enumerate(beta):
        for column, a in enumerate(alpha):
            assert (found.loss[row, column], found.accuracy[row, column]) == surface.at(a, b)
    assert found.centre == (0, 1)
    assert found.cut("beta")[1].tolist() == found.loss[:, 1].tolist()


class Killed(Exception):
    pass


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_a_plane_goes_on_to_the_same_bytes(surface, tmp_path, monkeypatch, rows):
    monkeypatch.setattr(plane, "SAVE_SECONDS", -1.0)
    alpha, beta = plane.symmetric_grid(5), plane.symmetric_grid(7)
    whole = plane.compute(surface, alpha, beta, ATTRIBUTES)
    state = tmp_path / "state.npz"

    def kill(done, _of):
        if done > rows:
            raise Killed

    with pytest.raises(Killed):
        plane.compute(surface, alpha, beta, ATTRIBUTES, state=state, report=kill)
    computed = []
    resumed = plane.compute(
        surface, alpha, beta, ATTRIBUTES, state=state, report=lambda done, _: computed.append(done)
    )
    assert computed == list(range(rows + 1, 8))
    for name, found in (("whole", whole), ("resumed", resumed)):
        write_plane(tmp_path / f"{name}.npz", found)
    assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "resumed.npz").read_bytes()


@pytest.mark.parametrize("batch_norm", ["stored", "reestimated"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("one_thread")
def test_workers_come_to_the_same_bits_and_stop_when_the_caller_does(batch_norm, precision):
    alpha, beta = plane.symmetric_grid(5), plane.symmetric_grid(40)
    model, data = network().float(), [(x.float(), y) for x, y in batches(7, 5)]
    options = {"batch_norm": batch_norm, "precision": precision}
    found, computed = [], []
    for workers in (1, 3):
        with Surface(model, data, *pair(model), workers=workers, **options) as surface:
            found.append(plane.compute(surface, alpha, beta, ATTRIBUTES))
    np.testing.assert_array_equal(found[0].loss, found[1].loss)
    np.testing.assert_array_equal(found[0].accuracy, found[1].accuracy)

    def loss(outputs, targets):
        computed.append(threading.get_ident())
        return torch.nn.functional.cross_entropy(outputs, targets)

    def kill(_done, _of):
        raise Killed

    with Surface(model, data, *pair(model), workers=3, loss_function=loss, **options) as surface:
        with pytest.raises(Killed):
            plane.compute(surface, alpha, beta, ATTRIBUTES, report=kill)
        before = len(computed)
        assert before < len(alpha) * len(beta) * len(data)
        assert threading.get_ident() not in computed
        assert surface.at(0.0, 0.0)[0] == surface.at(0.0, 0.0)[0]


@pytest.mark.parametrize("harm", ["other checkpoint", "other grid", "flipped", "cut"])
def test_a_state_of_something_else_or_damaged_is_said_and_not_used(
    surface, tmp_path, monkeypatch, capsys, harm
):
    monkeypatch.setattr(plane, "SAVE_SECONDS", -1.0)
    grid, state = plane.symmetric_grid(3), tmp_path / "state.npz"
    other = ATTRIBUTES | {"checkpoint_sha256": "xyz"} if "checkpoint" in harm else ATTRIBUTES
    span = 2.0 if harm == "other grid" else 1.0
    plane.compute(surface, plane.symmetric_grid(3, span), grid, other, state=state)
    content = bytearray(state.read_bytes())
    if harm == "flipped":
        content[content.index(b"values.npy") + 200] ^= 16
    state.write_bytes(content[:-40] if harm == "cut" else content)
    computed = []
    found = plane.compute(
        surface, grid, grid, ATTRIBUTES, state=state, report=lambda done, _: computed.append(done)
    )
    assert len(computed) == 3
    assert str(state) in capsys.readouterr().err
    np.testing.assert_array_equal(found.loss, plane.compute(surface, grid, grid, ATTRIBUTES).loss)


@pytest.mark.parametrize(
    "other", ["weights", "buffer", "images", "directions", "loss", "batch_norm", "precision"]
)
def test_rows_of_another_surface_are_said_and_not_used(tmp_path, monkeypatch, capsys, other):
    """Whoever computes planes without the workflow names nothing of what they are of."""
    monkeypatch.setattr(plane, "SAVE_SECONDS", -1.0)
    grid, state = plane.symmetric_grid(3), tmp_path / "rows.npz"
    model, data, options = network().float(), [(x.float(), y) for x, y in batches(7)], {}
    directions = pair(model)
    with Surface(model, data, *directions) as surface:
        surface.at(1.0, 1.0)  # the weights are elsewhere when the hash is taken
        plane.compute(surface, grid, grid, {"what": "mine"}, state=state)
        assert surface.sha256() == Surface(network().float(), data, *directions).sha256()
    with torch.no_grad():
        if other == "weights":
            next(model.parameters()).view(-1)[0] += 1e-3
        elif other == "buffer":
            next(b for b in model.buffers() if b.is_floating_point())[0] += 1e-3
        elif other == "images":
            data[0][1][0] = (data[0][1][0] + 1) % 3
        elif other == "directions":
            directions = directions[::-1]
        elif other == "loss":
            options = {"loss_function": torch.nn.CrossEntropyLoss(label_smoothing=0.1)}
        else:
            options = {"batch_norm": {"batch_norm": "reestimated"}}.get(
                other, {"precision": torch.bfloat16}
            )
    with Surface(model, data, *directions, **options) as surface:
        capsys.readouterr()
        found = plane.compute(surface, grid, grid, {"what": "mine"}, state=state)
        assert "surface_sha256 differ): starting anew" in capsys.readouterr().err
        fresh = plane.compute(surface, grid, grid, {"what": "mine"})
        again = plane.compute(surface, grid, grid, {"what": "mine"}, state=state)
        assert "going on after 3 of 3 rows" in capsys.readouterr().err
    np.testing.assert_array_equal(found.loss, fresh.loss)
    np.testing.assert_array_equal(again.loss, fresh.loss)


def test_planes_of_two_checkpoints_differ_in_the_same_directions():
    planes = []
    for seed in (0, 1):
        model = network(seed)
        with Surface(model, batches(7, 5), *pair(model, seed=0)) as surface:
            planes.append(plane.compute(surface, *2 * [plane.symmetric_grid(5)], ATTRIBUTES))
    assert not np.isclose(planes[0].loss, planes[1].loss).any()


def test_points_that_are_not_finite_are_kept_and_counted(tmp_path):
    loss = np.array([[1.0, np.nan, np.inf], [2.0, 3.0, 4.0], [5.0, -np.inf, 6.0]])
    grid = plane.symmetric_grid(3)
    write_plane(tmp_path / "plane.npz", Plane(grid, grid, loss, np.zeros((3, 3)), ATTRIBUTES))
    found = read_plane(tmp_path / "plane.npz")
    np.testing.assert_array_equal(found.loss, loss)
    assert found.masked == 3
    assert found.attributes == ATTRIBUTES


WORKER = """
import sys
from pathlib import Path
import torch
from perturb.landscape import plane
from perturb.landscape.files import write_plane
from perturb.landscape.surface import Surface
from tests.landscape.problems import batches, network
from tests.landscape.test_surface import pair

torch.set_num_threads(1)
plane.SAVE_SECONDS = 0.002
model, (state, output) = network(), map(Path, sys.argv[1:])
with Surface(model, batches(7, 5), *pair(model)) as surface:
    grid = plane.symmetric_grid(41)
    print("ready", flush=True)
    found = plane.compute(surface, grid, grid, {"seed": 0}, state=state)
write_plane(output, found)
"""


def start(tmp_path, name):
    arguments = [tmp_path / f"{name}.state.npz", tmp_path / f"{name}.npz"]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), *map(str, arguments)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["src", "."])},
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def test_killed_at_random_moments_it_comes_to_the_same_bytes(tmp_path):
    """PERTURB_TEST_KILLS says how many kills; ten by hand, fewer in a usual run."""
    started = time.monotonic()
    assert start(tmp_path, "whole").wait() == 0
    seconds = time.monotonic() - started
    moments = np.random.default_rng(0).uniform(
        0, 0.25, int(os.environ.get("PERTURB_TEST_KILLS", 3))
    )
    killed = 0
    for moment in moments:
        process = start(tmp_path, "killed")
        time.sleep(moment * seconds)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    assert start(tmp_path, "killed").wait() == 0
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
