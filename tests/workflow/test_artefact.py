"""`snakemake artefact` on the real workflow: packed, unpacked elsewhere, verified, retrained."""

import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import rocrate
from rocrate.rocrate import ROCrate

from perturb import studies
from perturb.__main__ import configuration
from perturb.artefact import contents
from perturb.files import read_json
from perturb.verify import records
from perturb.verify.found import Verification
from perturb.verify.retrain import retrain_sample
from perturb.verify.unpacked import MARK, check_files

from .conftest import Checkout, copy_of_project, small_study

SMALL = small_study(
    ["sgd_2", "sgd_4", "pugd_2"],
    {
        "methods": ["sgd_2"],
        "direction_seeds": [0],
        "points": 3,
        "images": 20,
        "curvature_images": 20,
    },
    seeds=[0, 1],
    chapters=["digits"],
    title="Two methods on digits",
    pathvars={"results": "results/small"},
    artefact={
        "checkpoints": ["digits/cnn/sgd_2/seed0/last.safetensors"],
        "published": "2026-01-31",
        "licence": "CC-BY-4.0",
        "authors": ["A. Author", "B. Author"],
    },
)
RESULTS = "results/small"
KEPT = "results/small/runs/digits/cnn/sgd_2/seed0/last.safetensors"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack(archive, folder):
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return Checkout(folder, ["test.yaml"])


def verify(checkout, *arguments):
    done = checkout.snakemake(*arguments, "--", "verify", cores=1)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def packed(root, tmp_path_factory):
    """A checkout whose results were packed, with a key given on the command line."""
    checkout = copy_of_project(root, tmp_path_factory.mktemp("packed") / "checkout", SMALL)
    for name in contents.PROJECT:
        if not (checkout.path / name).exists():
            copy = shutil.copytree if (root / name).is_dir() else shutil.copy
            copy(root / name, checkout.path / name)
    done = checkout.snakemake("--config", "equivalence_margin=0.7", "--", "artefact")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "artefact.zip: " in done.stdout and sha256(archive_of(checkout)) in done.stdout
    return checkout


def archive_of(checkout):
    return checkout.path / RESULTS / "artefact.zip"


@pytest.fixture(scope="module")
def unpacked(packed, tmp_path_factory):
    return unpack(archive_of(packed), tmp_path_factory.mktemp("elsewhere") / "taken")


def test_unpacked_elsewhere_it_verifies_and_a_run_is_trained_to_the_same_bits(packed, unpacked):
    hidden = packed.path.rename(packed.path.with_name("gone"))
    try:
        given = ("--config", "equivalence_margin=0.7")
        status, said = verify(unpacked, *given)
        assert status == 0, said
        assert "the same bits" in said and "files were left out of this artefact" in said
        # As `make verify` gives them: options of the archive's own.
        options = (unpacked.path / "artefact.mk").read_text()
        assert "GIVEN := --configfile test.yaml --config equivalence_margin=0.7\n" in options
        made = subprocess.run(
            ["make", "--dry-run", "verify"], cwd=unpacked.path, capture_output=True, text=True
        )
        assert "--configfile test.yaml --config equivalence_margin=0.7 " in made.stdout, made.stderr
    finally:
        hidden.rename(packed.path)


def test_weights_are_those_asked_for_and_times_and_unfinished_state_stay_behind(unpacked):
    names = {str(p.relative_to(unpacked.path)) for p in unpacked.path.rglob("*") if p.is_file()}
    weights = {name for name in names if name.endswith(".safetensors")}
    assert weights == {KEPT} | {
        f"{RESULTS}/init/digits/cnn/seed{seed}.safetensors" for seed in (0, 1)
    }
    listed = {line[66:] for line in (unpacked.path / "SHA256SUMS").read_text().splitlines()}
    assert listed <= names and "src/perturb/names.py" in listed and "test.yaml" in listed
    for part in ("timing.csv", "/logs/", "/store/", "/benchmarks/", "/state/", "__pycache__"):
        assert [name for name in listed if part in name] == []


def changed(file):
    """Change one bit, in the last word or in the middle of weights; return what was there."""
    whole = file.read_bytes()
    at = whole.rindex(b"e") if file.suffix != ".safetensors" else len(whole) // 2
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    return whole


@pytest.mark.parametrize(
    "name",
    [
        KEPT,
        f"{RESULTS}/tables/digits.csv",
        "src/perturb/names.py",
        "ARTEFACT.md",
        "ro-crate-metadata.json",
        "SHA256SUMS",
        f"{RESULTS}/artefact.json",
    ],
)
def test_one_bit_of_any_file_is_found(unpacked, name):
    """What `verify` asks first; the lists' own bits are found, too."""
    assert findings(unpacked) == []
    whole = changed(unpacked.path / name)
    try:
        found = findings(unpacked)
    finally:
        (unpacked.path / name).write_bytes(whole)
    assert found and {finding.part for finding in found} == {"artefact"}
    if name != "SHA256SUMS":
        first = found[0]
        assert (first.kind, first.file.resolve()) == ("edited", (unpacked.path / name).resolve())


def test_a_file_that_is_gone_is_found(unpacked, tmp_path):
    moved = shutil.move(unpacked.path / "docs/audit.md", tmp_path / "audit.md")
    try:
        found = findings(unpacked)
    finally:
        shutil.move(moved, unpacked.path / "docs/audit.md")
    assert [(one.kind, one.file.name) for one in found] == [("missing", "audit.md")]


def findings(checkout):
    found = Verification(checkout.path / RESULTS)
    check_files(found)
    assert found.findings or found.checked["artefact"] > 300
    return found.findings


def test_without_their_images_runs_are_checked_and_not_trained_again(unpacked, tmp_path):
    """As of an artefact with `data: false`."""
    results = unpacked.path / RESULTS
    config = configuration(unpacked.path, [unpacked.path / "test.yaml"])
    images = results / "data/digits.npz"
    shutil.move(images, tmp_path / "digits.npz")
    try:
        left_out = read_json(results / MARK)["left_out"] | {"data/digits.npz": ""}
        found = Verification(results, left_out=left_out)
        manifests = records.check_data(found, config)
        initial = records.check_initial_weights(found)
        asked, known = studies.asked(config), studies.chapters(config)
        runs = records.check_runs(found, config, asked, known, manifests, initial)
        retrain_sample(found, config, runs, 1, 0)
    finally:
        shutil.move(tmp_path / "digits.npz", images)
    assert found.findings == [] and len(runs) == 6 and list(manifests) == ["digits"]
    assert found.notes[-1].startswith("0 of 1 runs retrained") and "their data" in found.notes[-1]


@pytest.mark.long
def test_the_same_study_made_again_is_the_same_archive(packed, root, tmp_path):
    """From another folder, by other times of files, with one core."""
    again = replace(packed, path=tmp_path / "again")
    shutil.copytree(packed.path, again.path, ignore=shutil.ignore_patterns("small", ".snakemake"))
    done = again.snakemake("--config", "equivalence_margin=0.7", "--", "artefact", cores=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sha256(archive_of(again)) == sha256(archive_of(packed))


@pytest.mark.long
def test_results_that_were_edited_are_not_packed_and_the_last_archive_stays(packed):
    table, before = packed.path / RESULTS / "tables/digits.md", sha256(archive_of(packed))
    whole = table.read_bytes()
    table.write_bytes(whole + b"!")
    try:
        done = packed.snakemake("--config", "equivalence_margin=0.7", "--", "artefact")
    finally:
        table.write_bytes(whole)
    assert done.returncode != 0 and "do not verify, so nothing was packed" in done.stderr
    assert sha256(archive_of(packed)) == before


def test_the_crate_is_one_of_the_workflow_profile_and_its_library_reads_it(unpacked):
    """What both specifications require: RO-Crate 1.1 and Workflow RO-Crate 1.0."""
    graph = json.loads((unpacked.path / "ro-crate-metadata.json").read_text())
    assert graph["@context"] == "https://w3id.org/ro/crate/1.1/context"
    by_id = {entity["@id"]: entity for entity in graph["@graph"]}
    assert len(by_id) == len(graph["@graph"])
    descriptor, dataset = by_id["ro-crate-metadata.json"], by_id["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"} in descriptor["conformsTo"]
    assert dataset["name"] == "Two methods on digits" and dataset["description"]
    assert dataset["datePublished"] == "2026-01-31"
    assert dataset["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert [by_id[person["@id"]]["name"] for person in dataset["author"]] == [
        "A. Author",
        "B. Author",
    ]
    workflow = by_id[dataset["mainEntity"]["@id"]]
    assert set(workflow["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert by_id[workflow["programmingLanguage"]["@id"]]["@type"] == "ComputerLanguage"
    parts = [by_id[part["@id"]] for part in dataset["hasPart"]]
    for part in parts:
        path = unpacked.path / part["@id"]
        assert path.exists(), path
        if path.is_file():
            assert (
                sha256(path) == part["sha256"] and str(path.stat().st_size) == part["contentSize"]
            )
    ids = {part["@id"] for part in parts}
    assert {"envs/requirements.txt", "test.yaml", f"{RESULTS}/report.html", "src/"} <= ids
    referred = {
        value["@id"]
        for entity in graph["@graph"]
        for values in entity.values()
        for value in (values if isinstance(values, list) else [values])
        if isinstance(value, dict) and "@id" in value
    }
    assert {i for i in referred if not i.startswith("https://")} <= set(by_id)
    assert ROCrate(unpacked.path).mainEntity.id == "Snakefile"


CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def cached_context(folder):
    """Return a cache for the validator, which else would ask another host for the context.

    It has the one that `rocrate` brings, of a later version, with 1.1's name of a workflow.
    """
    from requests import Request, Response
    from requests_cache import CachedSession
    from urllib3 import HTTPResponse

    values = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text())
    values["@context"]["ComputationalWorkflow"] = "https://bioschemas.org/ComputationalWorkflow"
    response = Response()
    response.status_code, response.url = 200, CONTEXT
    response.headers["Content-Type"] = "application/ld+json"
    response._content = json.dumps(values).encode()
    response.raw = HTTPResponse(
        body=io.BytesIO(response.content),
        headers=dict(response.headers),
        status=200,
        preload_content=False,
        request_url=CONTEXT,
    )
    response.request = Request("GET", CONTEXT).prepare()
    session = CachedSession(str(folder / "http"), backend="sqlite", expire_after=-1)
    session.cache.save_response(response)
    return folder / "http"


@pytest.mark.skipif(
    not importlib.util.find_spec("rocrate_validator"),
    reason="roc-validator is not installed (docs/dependencies.md)",
)
def test_the_crate_validates(unpacked, tmp_path):
    """By roc-validator, offline; three recommendations are not followed.

    There is no publisher, authors have no affiliation, and the workflow does not claim Bioschemas'
    profile.
    """
    from rocrate_validator import models, services

    settings = services.ValidationSettings(
        rocrate_uri=str(unpacked.path),
        profile_identifier="workflow-ro-crate-1.0",
        requirement_severity=models.Severity.RECOMMENDED,
        offline=True,
        cache_path=str(cached_context(tmp_path)),
    )
    result = services.validate(settings)
    found = {(issue.severity.name, issue.message) for issue in result.get_issues()}
    assert {severity for severity, _ in found} == {"RECOMMENDED"}, found
    known = re.compile("`publisher`|affiliation|Bioschemas")
    assert [message for _, message in found if not known.search(message)] == []
    assert len(result.executed_checks) > 80


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_section_compiles_as_it_was_packed(unpacked, tmp_path):
    """Tables and figures of a whole job: no error, nothing too wide, every reference there."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"]
    for _ in range(3):  # until longtable knows its widths
        done = subprocess.run(
            [*command, f"-output-directory={tmp_path}", "section.tex"],
            cwd=unpacked.path / RESULTS,
            capture_output=True,
            text=True,
            errors="replace",
        )
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "section.log").read_text(errors="replace")
    too_wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)
    assert [points for points in too_wide if float(points) > 3] == []
    assert re.findall(r"Overfull \\vbox|undefined|Rerun|multiply defined", log) == []
    section = (unpacked.path / RESULTS / "section.tex").read_text()
    assert section.count(r"\perturbfigure{") > 5 and section.count(r"\input{") > 2
    assert len(re.findall(r"<[^>]*\.pdf>", "".join(log.split()))) >= section.count(
        r"\perturbfigure{"
    )


def test_only_this_job_imports_the_library_of_crates():
    """It is not asked for by anything else that a workflow imports."""
    script = (
        "import sys, perturb.workflow, perturb.verify, perturb.report.html, perturb.artefact;"
        "assert 'rocrate' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
