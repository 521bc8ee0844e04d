"""The page and the Markdown of an audit: claims first, everything in it, no network."""

import json
from html import escape

import pytest

from perturb.audit import formats, words
from perturb.audit.simulation import make_folder, plan_of
from perturb.audit.study import build
from perturb.figures.audit import draw
from perturb.figures.catalogue import AUDIT
from perturb.figures.style import save
from perturb.report import audit as page
from tests.browser import faults

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


def test_the_page_says_its_command_and_what_counts_as_the_run_of_a_name(made):
    audit, text = made
    assert escape(COMMAND) in text
    words_of_page = " ".join(" ".join(Page(text).words).split())
    assert words.verdict_sentence() in words_of_page
    assert words.holm_sentence(audit) in words_of_page
    assert "Suspicious files" not in words_of_page


def test_a_figure_with_nothing_to_show_is_a_line(tmp_path):
    (tmp_path / "files").mkdir()
    for seed in range(3):
        for method in ("pugd_20", "sgd_20"):
            values = [0.5 + 0.01 * epoch + 0.001 * seed for epoch in range(20)]
            (tmp_path / "files" / f"{method}-{seed}.json").write_text(
                json.dumps({"test_accuracy": values})
            )
    audit = build(plan_of(tmp_path / "files"))
    pictures = {name: tmp_path / f"{name}.png" for name in AUDIT}
    for name, path in pictures.items():
        save(draw(name, audit), path)
    text = page.render(audit, pictures, tmp_path, COMMAND)
    assert "Names against curves: no schedule of the radius could be tested." in text
    assert "Suspicious curves: no suspicious curve." in text
    assert text.count("<figure") == 2


@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_no_serious_fault(made, open_page, axe, tmp_path, width):
    (tmp_path / "audit.html").write_text(made[1], encoding="utf-8")
    page = open_page(tmp_path / "audit.html", viewport={"width": width, "height": 900})
    assert faults(page, axe) == []
