import numpy as np
import pytest

from perturb.landscape.area import flat_area
from tests.landscape.planes import make_plane

MATRIX = np.array([[3.0, 1.0], [1.0, 2.0]])


def bowl(x, y):
    return 0.5 * (MATRIX[0, 0] * x * x + 2 * MATRIX[0, 1] * x * y + MATRIX[1, 1] * y * y) + 0.3


def test_a_bowl_gives_the_ellipse_and_the_error_falls_with_the_square_of_the_spacing():
    margin = 0.4
    exact = np.pi * 2 * margin / np.sqrt(np.linalg.det(MATRIX))
    errors = [abs(flat_area(make_plane(bowl, n), margin).area - exact) for n in (21, 41, 81, 161)]
    assert errors[0] < 0.03 * exact
    assert errors[-1] < 5e-4 * exact
    assert 40 < errors[0] / errors[-1] < 100  # 64 = 8 ** 2


def test_a_bowl_inside_does_not_touch_the_border_and_a_wide_one_is_a_lower_bound():
    inside, cut = (flat_area(make_plane(bowl), margin) for margin in (0.4, 1.5))
    assert not inside.at_border
    assert cut.at_border
    assert cut.area < np.pi * 2 * 1.5 / np.sqrt(np.linalg.det(MATRIX))
    assert inside.level == pytest.approx(0.7)


def test_a_tilted_plane_is_exact_and_cut_by_the_border():
    found = flat_area(make_plane(lambda x, y: 1 + x + 0 * y, 21), 0.25)
    assert found.area == pytest.approx(1.25 * 2, abs=1e-12)
    assert found.at_border
    slanted = flat_area(make_plane(lambda x, y: 1 + x + y, 21), 0.0)
    assert slanted.area == pytest.approx(2.0, abs=1e-12)


def test_spacings_may_differ_and_be_uneven():
    alpha, beta = np.array([-1, -0.4, 0, 0.1, 1.0]), np.array([-3, 0, 2.0])
    plane = make_plane(lambda x, y: x + 0 * y, alpha=alpha, beta=beta)
    assert flat_area(plane, 0.05).area == pytest.approx(1.05 * 5, abs=1e-12)


def test_the_whole_plane_is_flat():
    found = flat_area(make_plane(lambda x, y: 0 * x + 0 * y + 2, 5), 0.1)
    assert (found.area, found.at_border) == (4.0, True)


def test_islands_are_added():
    def two(x, y):
        return np.minimum((x - 0.5) ** 2 + y**2, (x + 0.5) ** 2 + y**2)

    plane = make_plane(two, 201)
    found = flat_area(plane, 0.04 - 0.25)
    assert found.area == pytest.approx(2 * np.pi * 0.04, rel=2e-3)


def test_holes_are_taken_out():
    def ring(x, y):
        radius = np.hypot(x, y)
        return np.where(radius < 0.05, 0.0, (radius - 0.6) ** 2)

    plane = make_plane(ring, 401)
    band = flat_area(plane, 0.01).area
    assert band == pytest.approx(np.pi * (0.7**2 - 0.5**2) + np.pi * 0.05**2, rel=0.01)


def test_masked_cells_are_not_flat_and_counted():
    plane = make_plane(lambda x, y: 0 * x + 0 * y + 2, 5)
    for value in (np.nan, np.inf, -np.inf):
        loss = plane.loss.copy()
        loss[1, 3] = value
        found = flat_area(make_plane(loss), 0.1)
        assert found.area == pytest.approx(4 - 4 * 0.25)
        assert found.masked_cells == 4


def test_no_level_without_a_finite_centre():
    found = flat_area(make_plane(np.full((5, 5), np.nan)), 0.1)
    assert np.isnan(found.area) and found.masked_cells == 16
    with pytest.raises(ValueError, match=r"\(0, 0\)"):
        flat_area(make_plane(np.ones((4, 4))), 0.1)
