"""Which rungs a budget buys."""

import pytest

from perturb import studies
from perturb.config import Config
from perturb.errors import PerturbError
from perturb.search.listing import by_stage, search_of
from perturb.search.reading import read
from perturb.search.rungs import buy, epochs_of_rungs, section, share, text


@pytest.mark.parametrize(
    ("epochs", "number", "expected"), [(60, 2, (7, 20)), (60, 1, (20,)), (9, 3, (1, 3)), (1, 2, ())]
)
def test_rungs_are_thirds(epochs, number, expected):
    assert epochs_of_rungs(epochs, number) == expected


def test_the_share_is_that_of_the_epochs():
    """9 points to 20, a third of them to 40, of these a third on to 60: 9 * 20 + 3 * 20 + 20."""
    assert share(9, 60, (20, 40)) == pytest.approx((9 * 20 + 3 * 20 + 1 * 20) / (9 * 60))
    assert share(9, 60, ()) == 1


@pytest.fixture
def chapter(raw_config, root):
    config = Config(raw_config, root / "config" / "schema.yaml")
    return config, studies.chapter(config, "fer_ckplus48")


def test_a_budget_buys_the_fewest_rungs_that_fit(chapter):
    config, found = chapter
    runs = by_stage(config, found)
    assert {name: len(of_stage) for name, of_stage in runs.items()} == {"joint": 24, "repeats": 18}
    enough = buy(config, found, lambda run: 10.0, 10.0 * 42)
    assert [one.rungs for one in enough] == [(), ()]
    halved = buy(config, found, lambda run: 10.0, 340)
    assert [one.rungs for one in halved] == [(7,), ()]
    joint = halved[0]
    # 24 points to 7 of 20 epochs, 8 of them on.
    assert joint.seconds_with_rungs == pytest.approx(10 * (24 * 7 + 8 * 13) / 20)
    search = search_of(found)
    assert "rungs at 7 epochs, 2.27 min instead of 4 min" in text(search, halved, 340)
    given = section(config, search, halved)["fer"]["searches"]["ckplus48"]["stages"]
    (first, _) = read(given, (0,), "plan")
    assert first.halving.epochs == (7,) and first.halving.keep == pytest.approx(1 / 3, abs=1e-4)
    with pytest.raises(PerturbError, match=r"takes .* at least.*; the budget is 60 s"):
        buy(config, found, lambda run: 10.0, 60)


def test_without_a_search_nothing_is_listed(raw_config, root):
    config = Config(raw_config, root / "config" / "schema.yaml")
    assert by_stage(config, studies.chapter(config, "digits")) == {}
