"""A small sample of the hundred networks of `make networks`, and that the check can fail."""

import pytest
from torch import nn

from benchmarks.networks import NETWORKS, RULES, Network, check, page
from perturb import names


def test_a_hundred_networks_of_both_libraries_and_every_rule():
    assert len({(network.library, network.name) for network in NETWORKS}) == len(NETWORKS) >= 100
    assert {network.library for network in NETWORKS} == {"torchvision", "timm"}
    assert set(RULES) == set(names.rules())
    assert {names.parse(name).rule for name in RULES.values()} == set(RULES)


@pytest.mark.parametrize(
    "network",
    [
        Network("timm", "test_vit", 160),
        Network("timm", "test_nfnet", 64),  # weights standardised in each pass
        Network("timm", "test_efficientnet", 64),
        Network("torchvision", "shufflenet_v2_x0_5", 32),
    ],
    ids=lambda network: network.name,
)
def test_networks_of_other_people_run(network):
    pytest.importorskip(network.library)
    outcome = check(network)
    assert set(outcome.results.values()) == {"runs"} and not outcome.failed
    assert f"| {network.library} `{network.name}` |" in page([outcome])


class Odd(nn.Module):
    """Does one thing that the check is to notice."""

    def __init__(self, how):
        super().__init__()
        self.how, self.calls = how, 0
        self.layer, self.norm = nn.Linear(3 * 64, 10), nn.BatchNorm1d(10)

    def forward(self, x):
        self.calls += 1
        out = self.layer(x.flatten(1))
        if self.how == "stays switched":
            self.norm.momentum = 0.5
        if self.how == "another centre":
            out = out * self.calls
        if self.how == "own error":
            raise TypeError("no such thing")
        if self.how == "two outputs":
            return out, out
        return self.norm(out)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("as it should be", {"runs"}),
        ("stays switched", {"FAILED: AssertionError: left switched: momentum"}),
        ("another centre", {"FAILED: AssertionError: the centre is"}),
        ("own error", {"FAILED: TypeError: no such thing"}),
        ("two outputs", {"landscape: the network returns a tuple"}),
    ],
)
def test_the_check_notices(how, says, monkeypatch):
    monkeypatch.setattr(Network, "build", lambda self: Odd(how))
    results = check(Network("timm", "odd", 8)).results
    found = {word for word in says for result in results.values() if result.startswith(word)}
    assert found == says
