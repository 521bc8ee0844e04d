import pytest

from perturb.studies.minima.verdict import KINDS, Evidence


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(0.02, 0.02, 0.01, 0.0, 0.03), "same basin"),
        (Evidence(0.02, 0.02, 0.05, 0.01, 0.03), "curved valley"),
        (Evidence(0.02, 0.02, 0.05, 0.05, 0.03), "undecided"),
        (Evidence(0.02, 0.03, 0.05, 0.01, 0.30), "jump"),
        (Evidence(0.02, 0.03, 0.00, 0.00, 0.30), "jump"),  # and back into the same basin
        (Evidence(0.02, 0.10, 0.05, 0.01, 0.30), "undecided"),  # it did not recover
        (Evidence(0.02, 0.02, 0.05, 0.01), "barrier"),
        (Evidence(0.02, 0.02, 0.01, 0.01), "same basin"),
    ],
)
def test_verdicts(evidence, expected):
    assert evidence.verdict(0.02) == expected
    assert expected in KINDS


def test_the_height_is_over_the_worse_end():
    assert Evidence(0.02, 0.05, 0, 0, 0.09).height == pytest.approx(0.04)
    assert Evidence(0.02, 0.05, 0, 0, 0.01).height == 0
    assert Evidence(0.02, 0.05, 0, 0).height is None


def test_a_path_along_a_known_curved_valley_is_one():
    """The control: two parameters, a loss that is 0 on the circle of radius 1 and 1 in its middle.

    Error is the loss; the path goes along the circle, the line through the middle, and the curve
    is what `train_bend` finds.
    """
    import math

    import torch

    from perturb.ensembles import paths

    def error(theta):
        return 0.5 * float((theta.norm() - 1) ** 2)

    def gradient(theta, step):
        norm = theta.norm()
        return (norm - 1) * theta / norm

    def on_circle(angle):
        return torch.tensor([math.cos(angle), math.sin(angle)])

    start, end = on_circle(0.3), on_circle(math.pi - 0.3)
    shares = [at / 20 for at in range(21)]
    bend = paths.train_bend(
        gradient, start, end, steps=600, lr=0.2, generator=torch.Generator().manual_seed(0)
    )
    evidence = Evidence(
        start_error=error(start),
        end_error=error(end),
        line=paths.barrier([error(paths.line(start, end, share)) for share in shares]),
        curve=paths.barrier([error(paths.bezier(start, bend, end, share)) for share in shares]),
        highest_error=max(error(on_circle(0.3 + (math.pi - 0.6) * share)) for share in shares),
    )
    assert evidence.line > 0.2
    assert evidence.verdict(0.02) == "curved valley"
