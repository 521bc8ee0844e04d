import math

import pytest
import torch
from torch import nn

from perturb.ensembles import members, schedules
from perturb.errors import PerturbError


def test_cosine_of_the_thesis():
    rates = [schedules.cosine(0.01, epoch, 150) for epoch in (0, 75, 149, 150)]
    assert rates == pytest.approx([0.01, 0.005, 1.097e-6, 0.01], rel=1e-3)
    torch_scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.01)
    scheduler = torch_scheduler(optimizer, 7)
    for epoch in range(20):
        assert schedules.cosine(0.01, epoch, 7) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_steps_restart_at_each_checkpoint():
    found = [schedules.step(1.0, epoch, 50, every=150) for epoch in (0, 49, 50, 100, 149, 150, 200)]
    assert found == pytest.approx([1, 1, 0.1, 0.01, 0.01, 1, 0.1])
    assert schedules.step(1.0, 150, 50) == pytest.approx(1e-3)


def test_the_triangle_is_lowest_at_the_ends_of_a_cycle():
    found = [schedules.triangle(0.05, time, 4, 0.01) for time in (0, 1, 2, 3, 4, 5)]
    assert found == pytest.approx([0.01, 0.03, 0.05, 0.03, 0.01, 0.03])


def linear():
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


@pytest.mark.parametrize(
    ("make", "options", "rates"),
    [
        (members.fast_geometric, {"highest": 0.3, "lowest": 0.1}, [0.1, 0.2, 0.3, 0.2] * 3),
        (
            members.snapshots,
            {"highest": 0.4},
            [0.2 * (1 + math.cos(math.pi * at / 4)) for at in range(4)] * 3,
        ),
    ],
)
def test_members_are_taken_at_the_end_of_each_cycle(make, options, rates):
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    seen = []

    def train_step(at):
        seen.append(optimizer.param_groups[0]["lr"])
        model.bias.grad = torch.tensor([-1.0, 0.0])
        optimizer.step()

    found = list(make(model, optimizer, train_step, **options, steps_of_cycle=4, cycles=3))
    assert seen == pytest.approx(rates)
    sums = [sum(rates[:count]) for count in (4, 8, 12)]
    assert [weights["bias"][0].item() for weights in found] == pytest.approx(sums)


def test_swa_is_the_mean_with_statistics_of_its_own():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))
    found = []
    for _ in range(3):
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        found.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    inputs = torch.randn(64, 4)
    mean = members.averaged(model, found, [inputs])
    weights = torch.stack([one["0.weight"] for one in found]).mean(0)
    torch.testing.assert_close(mean[0].weight, weights)
    hidden = mean[0](inputs)
    torch.testing.assert_close(mean[1].running_mean, hidden.mean(0))
    torch.testing.assert_close(mean[1].running_var, hidden.var(0))
    with pytest.raises(PerturbError, match="no member"):
        members.averaged(model, [], [])
