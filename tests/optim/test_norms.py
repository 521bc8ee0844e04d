"""The norm of a long vector against its float64."""

import math

import pytest
import torch

from perturb import optim
from perturb.optim.norms import ROW, norm_of


def gradient_like(numbers):
    """Return numbers whose sizes spread over decades, as a network's gradients do."""
    return torch.randn(numbers, generator=torch.Generator().manual_seed(0)).pow(3) * 1e-4


@pytest.mark.parametrize("numbers", [0, 1, ROW - 1, ROW, ROW + 1, 3 * ROW + 7, 12_000_000])
def test_a_norm_is_right_to_float32_at_any_length(numbers):
    vector = gradient_like(numbers)
    found = norm_of(vector)
    assert (found.dtype, found.shape) == (torch.float32, ())
    assert found.item() == pytest.approx(vector.double().square().sum().sqrt().item(), rel=2e-6)


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-13), (torch.bfloat16, 4e-3)])
def test_other_formats_keep_theirs(dtype, rel):
    vector = gradient_like(3 * ROW + 7).to(dtype)
    assert norm_of(vector).dtype == dtype
    assert norm_of(vector).item() == pytest.approx(vector.double().norm().item(), rel=rel)


def test_it_does_not_depend_on_the_number_of_threads():
    vector, threads = gradient_like(1_000_003), torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(norm_of(vector).item())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_what_is_not_a_number_stays_so():
    vector = torch.ones(2 * ROW)
    vector[5] = math.inf
    assert norm_of(vector).isinf()
    vector[-1] = math.nan
    assert norm_of(vector).isnan()


def test_the_step_of_a_large_net_has_the_length_that_its_rule_says():
    """PyTorch's own norm would make it longer by 0.04 % at this size."""
    weight = torch.nn.Parameter(torch.zeros(11_000_000))
    slope = gradient_like(len(weight))
    optimizer = optim.build("ugd_2", [weight], lr=1.0, momentum=0.0, weight_decay=0.0)
    optimizer.set_epoch(0)
    weight.grad = slope
    optimizer.step()
    assert weight.detach().double().norm().item() == pytest.approx(1, rel=2e-6)
