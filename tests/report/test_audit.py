"""The page and the Markdown of an audit: claims first, everything in it, no network."""

import pytest

from perturb.audit import formats
from perturb.audit.simulation import make_folder, plan_of
from perturb.audit.study import build
from perturb.figures.audit import draw
from perturb.figures.catalogue import AUDIT
from perturb.figures.style import save
from perturb.report import audit as page

from .test_report import Page

COMMAND = "snakemake --cores 1 --configfile mine.yaml -- results/audit/made_up.html"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    make_folder(folder / "files", 0)
    (folder / "files" / "<b>odd.json").write_text("{")
    audit = build(plan_of(folder / "files"))
    pictures = {name: folder / f"{name}.png" for name in AUDIT}
    for name, path in pictures.items():
        save(draw(name, audit), path)
    path = folder / "results" / "audit" / "made_up.html"
    page.write(audit, pictures, path, COMMAND)
    return audit, path.read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_puts_claims_first(made):
    audit, text = made
    parsed = Page(text)
    assert not parsed.stack
    outside = [link for link in parsed.links if not link.startswith(("data:", "#", "made_up."))]
    assert not outside
    assert sum(link.startswith("data:image/png") for link in parsed.links) >= len(AUDIT) - 1
    words = " ".join(parsed.words)
    places = [text.index(f'id="{part}"') for part in ("verdicts", "noise", "suspects", "files")]
    assert places == sorted(places)
    for file in audit.files:
        assert file.path in words
    assert "<b>odd" not in text and "&lt;b&gt;odd" in text


def test_markdown_says_the_same(made):
    audit, _ = made
    text = formats.markdown(audit, COMMAND)
    for claim in audit.claims:
        assert f"| {claim.verdict} | {claim.method.name} |" in text
    assert COMMAND in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)
