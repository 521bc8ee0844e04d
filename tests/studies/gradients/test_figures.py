"""Figures of the study: every curve goes through the means that it says, at the cost counted."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from perturb.errors import PerturbError
from perturb.figures.style import render
from perturb.gradients.coordinate import factorised
from perturb.gradients.network import (
    SignNetwork,
    initial_weights,
    normal_inputs,
    straight_through,
    targets_of,
)
from perturb.studies.gradients import catalogue, figures, table

from .made_up import batch, material, record


@pytest.fixture(scope="module")
def measured(records):
    return table.gather("gradients_smoke", "smoke", records)


def chosen(frame, **values):
    for key, value in values.items():
        frame = frame[frame[key] == value]
    return frame


def curve(frame, along, values):
    """Return the points [2, n] of the means of `values` at each of `along`, in order."""
    places = sorted(set(frame[along]))
    return np.array([places, [np.mean(frame.loc[frame[along] == at, values]) for at in places]])


def learning_rate_cdg(found):
    for place in np.ndindex(2, 2):
        key = {"pretraining": (0, 50)[place[0]], "dimension": (8, 16)[place[1]]}
        for window in (1, 0.1, 0.01):
            part = chosen(found.curves, estimator="cdg", window=window, **key)
            yield place, curve(part, "learning_rate", "decrease")


def learning_rate_nes(found):
    kinds = [(n, kind) for n in (100, 500) for kind in ("nes_plain", "nes_antithetic")]
    for place in np.ndindex(4, 2):
        evaluations, estimator = kinds[place[0]]
        key = {"evaluations": evaluations, "estimator": estimator, "pretraining": 0}
        for window in (1, 0.1, 0.01):
            part = chosen(found.curves, dimension=(8, 16)[place[1]], window=window, **key)
            yield place, curve(part, "learning_rate", "decrease")


def dimension(found):
    for place in np.ndindex(2, 3):
        part = chosen(found.batches, pretraining=(0, 50)[place[0]])
        family = ("nes", "nes", "ste")[place[1]]
        mine = part[part["estimator"].str.startswith(family)]
        if family == "nes":
            mine = chosen(mine, evaluations=(100, 500)[place[1]])
        for name in {"cdg", *mine["estimator"]}:
            shown = chosen(part if name == "cdg" else mine, estimator=name)
            places, means = curve(shown, "dimension", "decrease_hidden")
            yield place, np.array([places * np.nan, means])  # curves stand a little apart


def cosine(found):
    for place in np.ndindex(2, 2):
        key = {"pretraining": (0, 50)[place[0]], "dimension": (8, 16)[place[1]]}
        part = chosen(found.batches, **key)
        shown = [("ste_clip", 1, "cosine"), ("ste_ewgs", 1, "cosine"), ("nes_plain", 500, "cosine")]
        for name, evaluations, kind in [*shown, ("cdg", None, "reliability")]:
            mine = chosen(part, estimator=name)
            mine = mine if evaluations is None else chosen(mine, evaluations=evaluations)
            means = [mine[f"{kind}_layer_{n}"].mean() for n in range(1, 5)]
            yield place, np.array([range(1, 5), means])


def cost(found):
    raw = chosen(found.batches, pretraining=0)
    for column, d in enumerate((8, 16)):
        for name in set(raw["estimator"]):
            evaluations, means = curve(
                chosen(raw, dimension=d, estimator=name), "evaluations", "decrease_hidden"
            )
            yield (0, column), np.array([evaluations, means])
            if name != "cdg":
                passes = 3 if name.startswith("ste") else 1
                a_pass = (6 * d * d + 2 * d) * 200  # samples of the fixture
                yield (1, column), np.array([evaluations * passes * a_pass, means])


def window(found):
    for place in np.ndindex(2, 2):
        key = {"pretraining": (0, 50)[place[0]], "dimension": (8, 16)[place[1]]}
        part = found.windows[found.windows["window"] > 0]
        for name in ("cdg", "nes_plain", "nes_baseline", "nes_antithetic"):
            mine = chosen(part, estimator=name, **key)
            mine = mine if name == "cdg" else chosen(mine, evaluations=500)
            yield place, curve(mine, "window", "decrease")


CURVES = {f.__name__: f for f in (learning_rate_cdg, learning_rate_nes, dimension, cosine, cost)}
CURVES["window"] = window


def is_drawn(points, axes):
    """Whether a line of the panel goes through these points; a place of NaN is any."""
    lines = [np.array(line.get_data(), dtype=float) for line in axes.lines]
    return any(
        line.shape == points.shape
        and np.allclose(np.where(np.isnan(points), line, points), line, rtol=1e-9, atol=1e-12)
        for line in lines
    )


@pytest.mark.parametrize("name", catalogue.TOY)
def test_every_curve_goes_through_the_means_of_its_runs(measured, name):
    drawn = figures.draw(name, measured)
    columns = drawn.axes[0].get_gridspec().ncols
    curves = list(CURVES[name](measured))
    assert len(curves) >= 12
    for (at, column), points in curves:
        assert points.shape[1] > 0 and not np.isnan(points[1]).any()
        assert is_drawn(points, drawn.axes[at * columns + column]), (name, at, column, points)


@pytest.mark.parametrize("name", catalogue.TOY)
def test_a_figure_is_drawn_the_same_to_the_byte(measured, name):
    first = render(figures.draw(name, measured), "png")
    assert first == render(figures.draw(name, measured), "png")


def test_an_unknown_figure_gets_the_closest_name(measured):
    with pytest.raises(PerturbError, match="Did you mean 'window'"):
        figures.draw("windo", measured)


def test_operations_are_those_of_a_count_by_hand():
    rows = [
        batch("cdg", 0, 0.1, dimension=2, evaluations=28),
        batch("nes_plain", 0, 0.1, dimension=2, evaluations=500),
        batch("spsa", 0, 0.1, dimension=2, evaluations=500),
        batch("ste_clip", 0, 0.1, dimension=2),
        batch("cdg", 0, 0.1, dimension=8, evaluations=400),
        batch("nes_rank", 0, 0.1, dimension=8, evaluations=5000),
    ]
    found = figures.operations(material(batches=rows, records=[record(2, 10), record(8, 3)]))
    # d = 2: three layers of 2 x 2 (8 operations each) and one of 1 x 2 (4) make a forward of 28.
    # The coordinate gradient takes that, and for the flips of layer 1: 8 to move what goes into
    # layer 2, then 2 units through a layer (16) and the output (8); of layer 2: 8 to move, 8 for
    # the output; of layer 3: 8; then a product of 8 per layer. 28 + 32 + 16 + 8 + 24 = 108.
    assert list(found[:4]) == [108 * 10, 28 * 500 * 10, 28 * 500 * 10, 3 * 28 * 10]
    # d = 8: 3 * 128 + 16 = 400; 400 + (128 + 1024 + 128) + (128 + 128) + 32 + 384 = 2352.
    assert list(found[4:]) == [2352 * 3, 400 * 5000 * 3]


@pytest.mark.parametrize("d", [4, 16])
def test_operations_are_those_that_pytorch_counts_in_the_products(d):
    samples = 7
    weights, target = (initial_weights(d, 0, purpose) for purpose in ("evaluated", "target"))
    inputs = normal_inputs(d, samples, 0, 0, "gradient")
    targets = targets_of(target, inputs)
    rows = [batch(name, 0, 0.1, dimension=d) for name in ("cdg", "nes_plain", "ste_clip")]
    ours = figures.operations(material(batches=rows, records=[record(d, samples)]))

    def counted(function):
        with FlopCounterMode(display=False) as counter:
            function()
        return counter.get_total_flops()

    network = SignNetwork(d)
    with torch.no_grad():
        assert counted(lambda: network(inputs)) == ours[1]
    # Ours also counts what is no product, moving inputs (2 d^2 twice, and 4 d), and leaves out the
    # gradient of the output's weights (2 d). With so wide a window no sample is left out.
    moved, output = (4 * d**2 + 4 * d) * samples, 2 * d * samples
    found = counted(lambda: factorised(weights, inputs, targets, [1e6]))
    assert found == ours[0] - moved + output
    # A backward is two forwards in ours, though nobody needs the gradient of the inputs.
    unused = 2 * d**2 * samples
    assert counted(lambda: straight_through(weights, inputs, targets, "clip")) == ours[2] - unused
