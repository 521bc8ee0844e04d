"""What every study in `perturb.studies` is held to, on a small configuration of it.

`tests/studies/small/<study>.yaml` is that configuration. One checkout a study runs it once through
the real workflow; the tests look at what came out.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml

from perturb import studies
from perturb.config import Config
from perturb.jobs import status
from perturb.runs import Run, read_record
from perturb.study import Chapter
from perturb.workflow import Workflow
from tests.workflow.conftest import Checkout, copy_of_project

SMALL = Path(__file__).with_name("small")


@dataclass(frozen=True)
class Made:
    """A study whose small configuration has been run, and the questions that tests ask of it."""

    checkout: Checkout
    ask: Workflow

    @property
    def chapters(self) -> tuple[Chapter, ...]:
        return self.ask.asked

    @property
    def runs(self) -> list[Run]:
        every = [run for one in self.chapters for run in (*one.runs, *one.landscape_runs)]
        return list(dict.fromkeys(every))

    @property
    def own_runs(self) -> list[Run]:
        """The runs of the study itself, not those that its chapters take from another."""
        return [run for run in self.runs if studies.of_method(run.method).name in self.names]

    @property
    def names(self) -> set[str]:
        return {chapter.study for chapter in self.chapters}


def configured(folder: Path) -> Config:
    """Return the configuration of a checkout as Snakemake reads it."""
    whole: dict = {}

    def add(values: dict, into: dict) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                add(value, into[key])
            else:
                into[key] = value

    files = [*sorted(folder.glob("config/studies/*.yaml")), folder / "config" / "config.yaml"]
    for file in [*files, folder / "test.yaml"]:
        add(yaml.safe_load(file.read_text()), whole)
    return Config(whole, folder / "config" / "schema.yaml")


@pytest.fixture(scope="module", params=studies.NAMES)
def made(request, root, tmp_path_factory) -> Made:
    """The study's small configuration, run once from nothing."""
    folder = tmp_path_factory.mktemp(request.param) / "checkout"
    file = SMALL / f"{request.param}.yaml"
    assert file.exists(), f"write {file.name}: a small configuration of the study"
    checkout = copy_of_project(root, folder, yaml.safe_load(file.read_text()))
    done = checkout.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    found = Made(checkout, Workflow(configured(folder), checkout.results, folder))
    assert request.param in found.names
    return found


def test_nothing_is_made_twice(made):
    done = made.checkout.snakemake("-n")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_names_parse_and_print_back(made):
    assert made.own_runs
    for run in made.runs:
        study = studies.of_method(run.method)
        assert study.format(study.parse(run.method)) == run.method
        specification = studies.specification(made.ask.config, run)
        assert studies.specification_of_json(specification.to_json()) == specification
        assert specification.run == run
        assert Run.of_folder(made.checkout.results / run.folder) == run


def test_a_killed_run_goes_on_to_the_same_bits(made, tmp_path):
    run = max(made.own_runs, key=lambda run: studies.of_method(run.method).epochs(run.method))
    whole = read_record(made.checkout.results / run.record)
    results, log = made.checkout.results, tmp_path / "log"
    command = [sys.executable, str(made.checkout.path / "workflow/scripts/train.py")]
    command += [made.ask.specification(run), str(log), "--gpu-shares", "1", "--save-seconds", "0"]
    command += ["--record", str(tmp_path / run.record), "--state", str(tmp_path / "state")]
    if "data" in whole["sha256"]:
        data = results / "data" / f"{run.dataset}"
        command += ["--images", f"{data}.npz", "--manifest", f"{data}.manifest.json"]
    if "initial_weights" in whole["sha256"]:
        command += ["--initial", made.ask.initial(run)]
    environment = os.environ | {"PYTHONPATH": str(made.checkout.path / "src")}
    progress = tmp_path / "log.progress.jsonl"
    job = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while job.poll() is None and not (progress.exists() and '"epoch"' in progress.read_text()):
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    record = read_record(tmp_path / run.record)
    assert record["sha256"] == whole["sha256"]
    assert len(re.findall('"start"', progress.read_text())) == 2, "it was not killed on its way"


def test_provenance_leads_from_every_row_to_runs(made):
    tables = [(chapter, part) for chapter in made.chapters for part in chapter.tables]
    assert tables
    for chapter, part in tables:
        stem = made.checkout.results / "tables" / chapter.stem(part)
        frame = pd.read_csv(f"{stem}.csv")
        assert len(frame), stem
        traced = pd.read_csv(f"{stem}.provenance.csv") if part.inputs else pd.DataFrame()
        if not part.inputs or not any(
            "/runs/" in f"/{p}" for ps in part.inputs.values() for p in ps
        ):
            continue
        assert len(traced), stem
        for folder in traced["run"].unique():
            record = made.checkout.results / folder / "record.json"
            assert record.exists() and read_record(record)["status"], folder


class _Cells(HTMLParser):
    """The text of an HTML table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_tables_in_their_forms_agree(made):
    """Each of the first cells, a row's name, stands in all forms, as often as in the Markdown."""
    for chapter in made.chapters:
        for part in chapter.tables:
            stem = made.checkout.results / "tables" / chapter.stem(part)
            markdown = Path(f"{stem}.md").read_text()
            rows = [
                line.split("|")[1].strip() for line in markdown.splitlines() if line[:2] == "| "
            ]
            rows = [row for row in rows if not set(row) <= set("-: ")]
            html = _Cells(Path(f"{stem}.html").read_text()).text
            tex = Path(f"{stem}.tex").read_text().replace(r"\_\allowbreak{}", "_")
            names = {m for row in rows for m in re.findall(r"`([^`]+)`", row)}
            for name in names:
                assert name in html, (stem, name)
                assert name in tex.replace(r"\_", "_"), (stem, name)
            numbers = set(re.findall(r"(?<![\w.])\d\.\d{3}(?![\w.])", markdown))
            missing = [number for number in numbers if number not in html]
            assert not missing, (stem, missing[:5])


def test_status_shows_every_run(made):
    found = {run.name: run for run in status.collect(made.checkout.results)}
    for run in made.runs:
        shown = found[str(run)]
        assert shown.state == "done", shown
        assert shown.curve, "the progress of a run has a curve"


def test_plan_prices_every_chapter(made):
    for chapter in made.chapters:
        if not chapter.runs:
            continue
        table = chapter.tables[0]
        paths = [path for kind in table.inputs.values() for path in kind]
        runs = {Run.of_folder(Path(p).parent) for p in paths if p.startswith("runs/")}
        target = f"results/tables/{chapter.stem(table)}.csv"
        done = made.checkout.snakemake("--config", f"target={target}", "--", "plan")
        assert done.returncode == 0, done.stderr
        assert re.search(rf"runs +{len(runs)}: {len(runs)} finished", done.stdout)
        assert re.search(r"on cpu.*: .* of one device", done.stdout)


def test_the_report_and_the_section_have_every_part(made):
    page = (made.checkout.results / "report.html").read_text()
    section = (made.checkout.results / "section.tex").read_text()
    for chapter in made.chapters:
        for part in chapter.tables:
            assert rf"tables/{chapter.stem(part)}.tex" in section
        for part in chapter.figures:
            assert part.title in page
            assert f"figures/{chapter.name}/{part.name}.pdf" in section


def test_the_gpu_profile_asks_for_a_gpu_wherever_one_is_leased(made):
    rules = {}
    for file in (made.checkout.path / "workflow" / "rules").rglob("*.smk"):
        for block in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            rules[block.split(":")[0]] = "gpu_shares=" in block
    for name in made.names:
        assert rules[studies.get(name).rule]
    profile = yaml.safe_load(
        (made.checkout.path / "profiles" / "slurm-gpu" / "config.yaml").read_text()
    )
    asked = {name for name, wanted in profile["set-resources"].items() if wanted.get("gpu")}
    assert asked == {name for name, leases in rules.items() if leases}


def verified(made) -> dict[str, str]:
    """Return what `snakemake verify` finds, by file."""
    done = made.checkout.snakemake("--config", "verify={retrain: 0, seed: 0}", "--", "verify")
    lines = [line.split(None, 1) for line in done.stdout.splitlines()]
    kinds = ("edited", "stale", "differs", "missing", "unknown", "uncompared")
    found = {line[1]: line[0] for line in lines if len(line) == 2 and line[0] in kinds}
    assert (done.returncode == 0) == (not found), done.stdout + done.stderr
    return found


@pytest.mark.long
def test_verify_finds_nothing_then_a_changed_byte_then_changed_code(made):
    done = made.checkout.snakemake("--", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same bits" in done.stdout
    run = made.own_runs[0]
    record = read_record(made.checkout.results / run.record)
    file = made.checkout.results / run.folder / sorted(record["sha256"]["files"])[0]
    content = file.read_bytes()
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)
    found = verified(made)
    assert any(str(run) in name and kind == "edited" for name, kind in found.items()), found
    file.write_bytes(content)
    study = studies.get(studies.of_method(run.method).name)
    module = study.learner.partition(":")[0]
    code = made.checkout.path / "src" / f"{module.replace('.', '/')}.py"
    text = code.read_text()
    code.write_text(text + "\n_CHANGED = True\n")
    found = verified(made)
    code.write_text(text)
    for other in made.own_runs:
        if studies.of_method(other.method) is study:
            stale = [kind for name, kind in found.items() if f"{other}/record.json" in name]
            assert stale == ["stale"], (other, found)


def test_its_settings_reach_no_other_studys_runs(made):
    """A field more in a study's settings leaves the text of another study's run as it is."""
    for run in made.runs:
        study = studies.of_method(run.method)
        text = json.loads(made.ask.specification(run))
        assert text["study"] == study.name
        fields = set(study.specification.__struct_fields__)
        assert set(text) <= fields
        assert set(study.specification.NEUTRAL) <= fields
