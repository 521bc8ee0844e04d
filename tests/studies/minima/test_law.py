import pytest

from perturb.errors import PerturbError
from perturb.studies.minima import law


@pytest.mark.parametrize(
    ("kernel", "strength", "expected"),
    [("rbf", 1, 347.286257), ("rbf", 10, 565.135109), ("tanh", 1, 248.191645)],
)
def test_distance_without_loss_as_the_specification_has_it(kernel, strength, expected):
    found = law.distance_without_loss(50, strength, 0.01, 1e-3, kernel)
    assert found == pytest.approx(expected, abs=5e-7)


def test_the_law_solves_its_equation():
    base, s, w, decay = 40.0, 10.0, 1e-2, 1e-3
    d = law.distance(base, s, w, decay)
    g = 2 * s * w / decay * law.slope(w * d, "rbf")
    x = 1 / (1 - g)
    assert d == pytest.approx(base / 2 * (x * x + x))
    assert law.distance(base, 0.1, 1e-3, 1e-3) is None


@pytest.mark.parametrize("kernel", ["rbf", "tanh"])
def test_a_target_distance_comes_back(kernel):
    strength = law.strength_for(500, 40, 1e-2, 1e-3, kernel)
    assert law.distance(40, strength, 1e-2, 1e-3, kernel) == pytest.approx(500)


@pytest.mark.parametrize(
    ("target", "width", "decay", "says"),
    [(30, 1e-2, 1e-3, "no strength reaches it"), (1e5, 1.0, 1e-3, "died out"), (50, 1, 0, "decay")],
)
def test_a_target_that_no_strength_reaches(target, width, decay, says):
    with pytest.raises(PerturbError, match=says):
        law.strength_for(target, 40, width, decay)


def test_escape_times_of_the_specification():
    assert law.escape_steps(0.1, 0.01, 1e-3, 0.01, 0.9) == pytest.approx(10_000)
    # 526 is what s 1, w .01 gives: with s .1 it would be 10,000, see docs/minima.md.
    assert law.escape_steps(1, 0.01, 1e-3, 0.01, 0.9) == pytest.approx(526, abs=0.5)
    assert law.escape_steps(0.1, 1e-3, 1e-3, 0.01, 0.9) is None
