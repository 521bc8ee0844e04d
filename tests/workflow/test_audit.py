"""The audit as a user asks for it: a folder, a few lines of configuration, a target."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from perturb.audit.simulation import make_folder
from perturb.config import Config
from perturb.figures.catalogue import AUDIT
from perturb.jobs import command_line
from perturb.verify import verify

from .test_workflow import hashes, one_message

PATTERN = r"(?P<method>[^/]+)-(?P<seed>\d+)\.json"


def settings(folder, **others):
    return {"audits": {"mine": {"folder": str(folder), "pattern": PATTERN} | others}}


@pytest.mark.long
def test_an_audit_makes_its_tables_figures_and_page_the_same_each_time(make_checkout, tmp_path):
    truth = make_folder(tmp_path / "mine", 0)
    made = []
    for name in ("one", "two"):
        checkout = make_checkout(name, values=settings("../mine"))
        done = checkout.snakemake("--", "results/audit/mine.html")
        assert done.returncode == 0, done.stderr
        made.append(hashes(checkout.results))
    assert made[0] == made[1]
    figures = {f"figures/audit_mine/{name}.{kind}" for name in AUDIT for kind in ("pdf", "png")}
    tables = {f"audit/mine.{kind}" for kind in ("html", "md", "csv", "claims.csv")}
    assert set(made[0]) == figures | tables
    files = pd.read_csv(checkout.results / "audit" / "mine.csv")
    assert len(files) == len(list((tmp_path / "mine").iterdir()))
    claims = pd.read_csv(checkout.results / "audit" / "mine.claims.csv")
    assert set(claims["method"]) >= set(truth.effects) - {"pugd_60"}
    assert np.isfinite(claims["last_epoch_difference"]).all()
    assert str(tmp_path) not in (checkout.results / "audit" / "mine.html").read_text()
    again = checkout.snakemake("--", "results/audit/mine.html")
    assert "Nothing to be done" in again.stdout + again.stderr
    (tmp_path / "mine" / "pugd_60-9.json").write_bytes(
        (tmp_path / "mine" / "pugd_60-0.json").read_bytes()
    )
    again = checkout.snakemake("--", "results/audit/mine.csv")
    assert again.returncode == 0, again.stderr
    assert len(pd.read_csv(checkout.results / "audit" / "mine.csv")) == len(files) + 1


@pytest.mark.long
def test_verify_knows_what_an_audit_leaves_and_finds_what_was_changed(make_checkout, tmp_path):
    make_folder(tmp_path / "mine", 0)
    values = settings(tmp_path / "mine")
    checkout = make_checkout(values=values)
    for target in ("results/audit/mine.html", "verify"):
        done = checkout.snakemake("--", target)
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"audits +{4 + 2 * len(AUDIT)}\n", done.stdout + done.stderr)

    rest = [checkout.path / "config" / path for path in ("studies/rts.yaml", "config.yaml")]
    own = {k: v for path in rest for k, v in yaml.safe_load(path.read_text()).items()}
    config = Config(own | values, checkout.path / "config" / "schema.yaml")

    given = command_line.configuration(checkout.configfiles, {})

    def found():
        findings = verify(config, checkout.results, given=given).findings
        return {(str(f.file.relative_to(checkout.results)), f.kind) for f in findings}

    # The page says by what command it is made, with the folder of the results as it was called.
    for kind in ("html", "md"):
        page = checkout.results / "audit" / f"mine.{kind}"
        page.write_text(page.read_text().replace("results/audit", f"{checkout.results}/audit"))
    (checkout.results / "audit" / "other.html").write_text("of no configuration")
    for path, kinds in {
        "audit/mine.csv": {("audit/mine.csv", "differs")},
        "figures/audit_mine/claims.png": {
            ("figures/audit_mine/claims.png", "differs"),
            ("audit/mine.html", "uncompared"),
        },
    }.items():
        whole = (checkout.results / path).read_bytes()
        (checkout.results / path).write_bytes(whole + b" ")
        assert found() == kinds | {("audit/other.html", "unknown")}
        (checkout.results / path).write_bytes(whole)
    (checkout.results / "audit" / "other.html").unlink()
    shutil.rmtree(tmp_path / "mine")
    assert found() == {("audit/mine.html", "uncompared")}


@pytest.mark.long
def test_the_preconfigured_audit_needs_its_folder_only(make_checkout, real_data):
    if not (real_data / "cv_rts-results").is_dir():
        pytest.skip("PERTURB_TEST_DATA holds no cv_rts-results")
    checkout = make_checkout(values={"data_root": str(real_data)})
    done = checkout.snakemake("--", "results/audit/cv_rts.html")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(checkout.results / "audit" / "cv_rts.csv")) == 118
    page = (checkout.results / "audit" / "cv_rts.html").read_text()
    assert "None of 19 headline claims holds; 10 within noise" in page


def test_a_folder_alone_is_enough_whatever_its_files_are_called(make_checkout, tmp_path):
    """The one line that docs/audit.md begins with; braces in a stray name are no wildcards."""
    for name in ("pugd_20_seed0", "pugd_20_seed1", "sgd_20_seed0", "sgd_20_seed1", "notes {draft}"):
        last = 0.9 + 0.001 * len(name) + 0.0005 * (name[-1] == "1")
        rows = [f"{epoch};{last * (1 - 0.5 ** (epoch + 1)):.4f}" for epoch in range(20)]
        path = tmp_path / "mine" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["epoch;val_acc", *rows]).replace(".", ",") + "\n")
    checkout = make_checkout()
    given = f"audits={{mine: {{folder: {tmp_path / 'mine'}}}}}"
    done = checkout.snakemake("--config", given, "--", "results/audit/mine.html")
    assert done.returncode == 0, done.stderr
    said = (checkout.results / "audit" / "mine.md").read_text()
    assert "Guessed, since the configuration does not say it" in said
    assert "(notes {draft}.csv)" in said
    again = checkout.snakemake("--config", given, "--", "results/audit/mine.html")
    assert "Nothing to be done" in again.stdout + again.stderr


def write_logs(folder):
    """Logs of another tool's, which leave everything to be guessed."""
    folder.mkdir()
    for method, last in (("adamw", 0.89), ("mixup", 0.91)):
        for seed in range(3):
            rows = [f"{e},{last - 0.3 / (e + 1) + 0.001 * seed:.4f}" for e in range(20)]
            text = "\n".join(["epoch,val_acc", *rows]) + "\n"
            (folder / f"{method}_seed{seed}.csv").write_text(text)


def printed(checkout, language):
    """Return what stands in a block of the audit's Markdown."""
    text = (checkout.results / "audit" / "mine.md").read_text()
    return re.search(rf"```{language}\n(.+?)\n```", text, re.DOTALL)[1]


@pytest.mark.parametrize("how", ["command line", "file"])
def test_the_command_and_the_configuration_work_as_printed(make_checkout, tmp_path, how):
    write_logs(tmp_path / "my logs")
    audits = {"mine": {"folder": str(tmp_path / "my logs")}}
    checkout = make_checkout(values={"audits": audits} if how == "file" else None)
    given = ["--config", f"audits={json.dumps(audits)}"] if how == "command line" else []
    done = checkout.snakemake(*given, "--", "results/audit/mine.html")
    assert done.returncode == 0, done.stderr
    first = (checkout.results / "audit" / "mine.claims.csv").read_text()
    command, block = printed(checkout, "sh"), printed(checkout, "yaml")

    shutil.rmtree(checkout.results / "audit")
    program = checkout.path / "bin" / "snakemake"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m snakemake "$@"\n')
    program.chmod(0o755)
    around = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    again = subprocess.run(
        command, shell=True, cwd=checkout.path, env=around, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert (checkout.results / "audit" / "mine.claims.csv").read_text() == first

    pasted = make_checkout("pasted", values=yaml.safe_load(block))
    done = pasted.snakemake("--", "results/audit/mine.html")
    assert done.returncode == 0, done.stderr
    assert (pasted.results / "audit" / "mine.claims.csv").read_text() == first
    assert "Guessed" not in (pasted.results / "audit" / "mine.md").read_text()


@pytest.mark.parametrize(
    ("values", "target", "parts"),
    [
        ({}, "cv_rts", ["resources/data/cv_rts-results: no such folder", "audits.<name>.folder"]),
        ({}, "cv_rt", ["no audit 'cv_rt'", "Did you mean 'cv_rts'?"]),
        (settings("."), "mine", ["none of", "Change audits.mine.pattern"]),
        (settings(".", repeets="same_name"), "mine", ["Did you mean 'repeats'?"]),
        (settings(".", repeats="same name"), "mine", ["Did you mean 'same_name'?"]),
    ],
)
def test_a_mistake_is_one_message(make_checkout, values, target, parts):
    checkout = make_checkout(values=values)
    (checkout.path / "resources" / "data").mkdir(parents=True)
    (checkout.path / "resources" / "data" / "note.txt").write_text("not a result")
    one_message(checkout.snakemake("--", f"results/audit/{target}.html"), *parts)


def test_a_dry_run_writes_nothing_and_says_nothing_of_the_projects_own_files(
    make_checkout, tmp_path
):
    """Snakemake says of each file of config/ that the one of the command line goes before it."""
    write_logs(tmp_path / "logs")
    audits = {"mine": {"folder": str(tmp_path / "logs")}}
    checkout = make_checkout(values={"audits": audits})
    done = checkout.snakemake("--dry-run", "--", "results/audit/mine.html")
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout
    assert "is extended by" not in done.stdout + done.stderr
    assert not checkout.results.exists()


def test_a_target_that_nothing_makes_is_one_message_with_the_nearest(make_checkout):
    done = make_checkout().snakemake("--dry-run", "--", "tables")
    one_message(done, "nothing makes 'tables'. Did you mean 'results/tables/digits.csv'?")
    assert "MissingRuleException" not in done.stdout + done.stderr
