"""The documentation site, as `make docs` builds it: every page is reached, nothing is dead.

Zensical's strict mode finds dead links and anchors between pages; pictures, and pages that the
navigation forgot, are looked for here in what it has built.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
ZENSICAL = [sys.executable, "-c", "from zensical.main import cli; cli()", "build", "--strict"]


def build(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ZENSICAL, cwd=folder, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"}
    )


def copy(folder: Path) -> Path:
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


class Page(HTMLParser):
    """What a page refers to, and the names of its places."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.names |= {values["id"]} if values.get("id") else set()
        for key in ("href", "src"):
            if values.get(key) and (tag, values.get("rel")) != ("link", "canonical"):
                self.links.append(values[key])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = copy(tmp_path_factory.mktemp("docs"))
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def nav(entries):
    for entry in entries:
        for value in entry.values():
            yield from nav(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_navigation_once_and_every_entry_is_a_page():
    values = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    listed = list(nav(values["project"]["nav"]))
    assert sorted(listed) == PAGES


def test_every_link_of_the_site_leads_somewhere(site):
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    assert len(pages) == len(PAGES) + 1  # and the page that says that there is none
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            known = target in pages and pages[target].names
            if not target.exists() or (parts.fragment and known and parts.fragment not in known):
                dead.append((path.name, link))
    assert dead == []


def test_no_page_asks_another_host_for_anything(site):
    asked = [
        (path.name, found)
        for path in site.rglob("*.html")
        for found in re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)', path.read_text())
        + re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)',
                     path.read_text())
    ]  # fmt: skip
    assert asked == []


@pytest.mark.parametrize("text", ["[page](nowhere.md)", "[place](audit.md#nowhere)"])
def test_a_dead_link_fails_the_build(tmp_path, text):
    folder = copy(tmp_path)
    with open(folder / "docs/index.md", "a", encoding="utf-8") as page:
        page.write(f"\n{text}\n")
    assert build(folder).returncode != 0


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{page}" for page in PAGES)])
def test_links_lead_somewhere_on_github_too(name):
    page = ROOT / name
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
