"""Snakemake's messages: which are left out, and what is offered for a target that nothing makes."""

import logging

import pytest

from perturb.jobs import messages

TARGETS = [
    "results/report.html",
    "results/tables/digits.csv",
    "results/tables/reid_table4.csv",
    "results/figures/digits/curves_baselines.pdf",
]


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("tables", "results/tables/digits.csv"),
        ("table", "results/tables/digits.csv"),
        ("results/tables/digit.csv", "results/tables/digits.csv"),
        ("reports.html", "results/report.html"),
        ("curves_baseline", "results/figures/digits/curves_baselines.pdf"),
        ("zzz", None),
    ],
)
def test_the_nearest_target(asked, offered):
    assert messages.nearest(asked, TARGETS) == offered
    said = messages.no_rule(asked, TARGETS)
    assert said.startswith(f"perturb: nothing makes '{asked}'.")
    assert (f"Did you mean '{offered}'?" in said) == (offered is not None)


@pytest.fixture
def shown(monkeypatch):
    """Return what a handler of the logger gets to see."""
    monkeypatch.setattr(messages, "LOGGER", "a logger of a test")
    logger = logging.getLogger(messages.LOGGER)
    logger.setLevel(logging.INFO)
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(handler)
    messages.mend(lambda: ["another"])
    messages.mend(lambda: TARGETS)
    yield logger, seen
    logger.handlers.clear()
    logger.filters.clear()


def test_what_nobody_needs_is_left_out_and_the_rest_is_as_it_was(shown):
    logger, seen = shown
    logger.info(
        "Config file /x/config/studies/fer.yaml is extended by additional config specified via the "
        "command line."
    )
    logger.info("100 %% of %s", "it")
    logger.error(
        "MissingRuleException:\nNo rule to produce tables (if you use input functions make sure "
        "that they don't raise unexpected exceptions)."
    )
    assert seen[0] == "100 % of it"
    assert seen[1].startswith("perturb: nothing makes 'tables'. Did you mean 'results/tables/")
    assert len(seen) == 2
