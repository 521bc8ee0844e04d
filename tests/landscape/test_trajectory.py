"""Principal components of a path, against scikit-learn, and the loss along it."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from perturb.errors import PerturbError
from perturb.landscape.surface import Surface
from perturb.landscape.trajectory import covering_grid, principal_components

from .problems import mean, quadratic, with_spectrum

SHAPES = {"a": (4, 3), "b": (2, 2, 2), "c": (5,)}


def readers(vectors):
    """Return a reader of each row: a checkpoint with the tensors of SHAPES."""

    def split(vector):
        parts, start = {}, 0
        for name, shape in SHAPES.items():
            size = int(np.prod(shape))
            parts[name] = torch.from_numpy(vector[start : start + size]).view(shape)
            start += size
        return parts.__getitem__

    return [split(vector) for vector in vectors]


def flat(direction):
    return np.concatenate([direction[name].numpy().ravel() for name in SHAPES])


def test_components_are_those_of_scikit_learn():
    path = np.cumsum(np.random.default_rng(0).normal(size=(9, 25)), axis=0)
    found = principal_components(list(SHAPES), readers(path), readers(path)[-1])
    expected = PCA(2).fit(path - path[-1])
    np.testing.assert_allclose(
        found.explained_variance, expected.explained_variance_ratio_, rtol=1e-10
    )
    for direction, component, coordinates in zip(
        (found.first, found.second), expected.components_, found.path.T, strict=True
    ):
        sign = np.sign((path[0] - path[-1]) @ component)
        np.testing.assert_allclose(flat(direction), sign * component, atol=1e-10)
        # Seen from the final weights, not from the mean.
        np.testing.assert_allclose(coordinates, (path - path[-1]) @ flat(direction), atol=1e-10)
    assert found.path[-1].tolist() == [0, 0]
    assert (found.path[0] > 0).all()


def test_a_path_in_a_plane_has_its_own_loss_at_every_point():
    model = quadratic(with_spectrum([5.0, 2.0, 1.0, 0.5]), [1.0, -2.0, 0.5, 3.0]).model
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(2, *model.weight.shape, generator=generator, dtype=torch.float64)
    steps = np.array([[3.0, 1.0], [2.0, -1.0], [1.0, 0.5], [0.0, 0.0]])
    final = model.weight.detach().clone()
    path = [final + a * directions[0] + b * directions[1] for a, b in steps]
    found = principal_components(["weight"], [lambda _, w=w: w for w in path], lambda _: final)
    assert found.explained_variance.sum() == pytest.approx(1)
    data = [(torch.ones(2).double(), torch.ones(2))]
    with Surface(model, data, found.first, found.second, loss_function=mean) as surface:
        projected = [surface.at(*point)[0] for point in found.path.tolist()]
    for w, loss in zip(path, projected, strict=True):
        away = w.flatten()
        assert loss == pytest.approx((0.5 * away @ model.matrix @ away).item(), rel=1e-10)


def test_too_few_checkpoints_and_a_straight_line_are_refused():
    path = np.random.default_rng(0).normal(size=(2, 25))
    with pytest.raises(PerturbError, match="2 checkpoints make no trajectory"):
        principal_components(list(SHAPES), readers(path), readers(path)[-1])
    line = np.arange(5.0)[:, None] * path[:1]
    with pytest.raises(PerturbError, match="on a line"):
        principal_components(list(SHAPES), readers(line), readers(line)[-1])


def test_the_grid_is_a_square_around_the_path():
    path = np.array([[4.0, 0.0], [1.0, 3.0], [0.0, 0.0]])
    alpha, beta = covering_grid(path, 5)
    assert (alpha[0], alpha[-1]) == pytest.approx((-0.6, 4.6))
    assert (beta[0], beta[-1]) == pytest.approx((-1.1, 4.1))
