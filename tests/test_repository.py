"""The files that people expect beside the code say what the code says."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

import perturb

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def keys_of(values: dict) -> set[str]:
    """Return the keys of a configuration's first two levels: below them are names of devices."""
    return set(values) | {key for part in values.values() if isinstance(part, dict) for key in part}


def test_the_licence_is_mits_and_pyproject_says_so():
    text = " ".join(read("LICENSE").split())
    assert text.startswith("MIT License Copyright (c) 2026 the perturb authors Permission is")
    assert "without restriction" in text and 'PROVIDED "AS IS", WITHOUT WARRANTY' in text
    assert PROJECT["license"] == "MIT"
    assert [name for name in PROJECT["license-files"] if not (ROOT / name).exists()] == []


def test_the_citation_has_the_keys_of_cff_1_2_and_the_version_of_the_package():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["title"] == PROJECT["name"] and citation["message"]
    assert citation["version"] == PROJECT["version"] == perturb.__version__
    assert citation["license"] == PROJECT["license"]
    names = [author["name"] for author in citation["authors"]]
    assert names == [author["name"] for author in PROJECT["authors"]]


def test_the_change_log_begins_with_what_is_unreleased():
    headings = re.findall(r"^## (.+)$", read("CHANGELOG.md"), flags=re.M)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        released = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", heading)
        assert released, f"{heading} is not of the form [1.2.3] - 2026-01-31"
        date.fromisoformat(released[2])
    kinds = set(re.findall(r"^### (.+)$", read("CHANGELOG.md"), flags=re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_catalogue_file_is_of_the_standard_form_and_says_what_there_is():
    text = read(".snakemake-workflow-catalog.yml")
    usage = yaml.safe_load(text)["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    deployment = usage["software-stack-deployment"]
    assert set(deployment) == {"conda", "apptainer", "apptainer+conda", "report"}
    files = {path: path.read_text() for path in (ROOT / "workflow/rules").rglob("*.smk")}
    rules = "".join(files.values())
    environments = [
        path.parent / name
        for path, text in files.items()
        for name in re.findall(r'^    conda:\n\s+"([^"]+)"', text, flags=re.M)
    ]
    assert deployment["conda"] == bool(environments)
    assert all(name.exists() for name in environments)
    assert deployment["apptainer"] == bool(re.search(r"^ *container:", rules, flags=re.M))
    assert deployment["report"] == ("report(" in rules)
    mentioned = re.findall(r"[\w-]+/[\w./-]+\.(?:md|ya?ml)", text)
    assert "config/README.md" in mentioned
    assert [name for name in mentioned if not (ROOT / name).exists()] == []


def test_every_key_of_the_configuration_is_explained():
    values = yaml.safe_load(read("config/config.yaml"))
    page = read("config/README.md")
    cells = re.findall(r"^\| (`.+?) \|", page, flags=re.M)
    explained = {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
    explained |= {key for row in re.findall(r"^\| `verify`.+$", page, flags=re.M)
                  for key in re.findall(r"`(\w+)`:", row)}  # fmt: skip
    assert explained == keys_of(values)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "config/README.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\((?!http)([^)#]+)", read(name))
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
