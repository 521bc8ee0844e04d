"""The profiles of clusters, as far as Snakemake can be asked without one."""

import pytest
import yaml


@pytest.mark.parametrize("name", ["slurm", "slurm-gpu"])
def test_default_resources_ask_for_no_size_of_inputs_that_are_not_there(root, make_checkout, name):
    """Snakemake's own defaults do, within another event loop, and warn that nobody awaits it."""
    checkout = make_checkout(name)
    profile = yaml.safe_load((root / "profiles" / name / "config.yaml").read_text())
    given = [f"{key}={value}" for key, value in profile["default-resources"].items()]

    def warned(resources):
        target = "results/tables/digits.csv"
        done = checkout.snakemake("-n", "--default-resources", *resources, "--", target)
        assert done.returncode == 0, done.stderr
        return "was never awaited" in done.stdout + done.stderr

    assert not warned(given)
    if name == "slurm":
        assert warned([one for one in given if not one.startswith("disk_mb")])
