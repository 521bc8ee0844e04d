import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from perturb.errors import PerturbError
from perturb.report import html, section
from perturb.report.material import chapters
from perturb.report.results import Results
from perturb.report.sentences import findings, what_was_run

VOID = {"meta", "img", "br", "line", "circle"}


class Page(HTMLParser):
    """Collects a page's text and what it points to, and checks that its tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.words, self.links, self.stack = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_report_holds_everything_and_needs_no_network(found, plan, results):
    path = results / "report.html"
    html.write(Results(found), path)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.stack
    inside = [link for link in page.links if link.startswith(("#", "data:image/png;base64,"))]
    # What is beside it: a page that turns, and where each cell comes from.
    assert set(page.links) - set(inside) == {
        "landscapes/digits/cnn/sgd_30/seed0/plane0.html",
        "tables/digits.provenance.csv",
        "tables/landscape_digits.provenance.csv",
    }
    assert "url(" not in text and "@import" not in text
    words = " ".join(" ".join(page.words).split())
    for row in plan["rows"]:
        assert row["method"] in words
    assert "flat area" in words and "nan" not in words.split()
    for said in ("not run (0 of 3)", "not asked for", "diverged 1 of 3 (seed 2 at step 143)"):
        assert said in words
    assert words.index("What limits these numbers") < words.index("Every method")
    assert text.count("data:image/png;base64,") == 2
    assert "d" * 64 in words


def test_the_same_results_make_the_same_bytes_without_dates(found, results):
    for part in ("a", "b"):
        html.write(Results(found), results / f"{part}.html")
        section.write(Results(found), results / f"{part}.tex")
    for kind in ("html", "tex"):
        text = (results / f"a.{kind}").read_bytes()
        assert text == (results / f"b.{kind}").read_bytes()
        assert not re.search(rb"20[2-9]\d-\d\d-\d\d", text)


def test_a_smoke_run_says_so_first(found, results):
    table = found[0].table
    table.frame["scale"] = "smoke"
    html.write(Results(found), results / "smoke.html")
    words = " ".join(Page((results / "smoke.html").read_text()).words)
    assert words.index("Smoke run.") < words.index("Every method")
    assert what_was_run(table).startswith("Smoke run, not a result")


def test_the_findings_come_from_the_numbers(found):
    said = " ".join(findings(found[0].table))
    assert "pugd_30 reached 98.52 ± 1.05 % test accuracy" in said
    assert "At equal gradient evaluations, the difference of sgd_60 to pugd_30 is −0.19" in said
    assert "no method differs from its reference at the 5 % level" in said
    assert "t tests of a difference" in said and "corrected after Holm" in said
    assert "a test on these seeds finds a difference with power 0.8 only from" in said
    assert "Runs are missing of gsam_0.05_0.01_30." in said


def test_significant_differences_are_named(found):
    frame = found[0].table.frame
    frame.loc[frame["method"] == "ugd_30", "verdict"] = "better"
    said = " ".join(findings(found[0].table))
    assert "Better: ugd_30 (+0.65)." in said
    assert "no method differs" not in said


def test_without_a_reference_nothing_is_compared(found):
    frame = found[0].table.frame
    frame.loc[frame["method"] == "pugd_30", "last_epoch_test_accuracy_mean"] = float("nan")
    assert "nothing is compared" in findings(found[0].table)[0]


def test_difference_bars_lie_inside_the_picture(found):
    bars = html.difference_bars(found[0].table)
    assert bars["pugds_isin_3_0.8_30"]["mean"] == 60
    assert all(0 <= value <= 120 for bar in bars.values() for value in bar.values())
    assert "pugd_30" not in bars


def test_a_missing_table_is_one_message(plan):
    with pytest.raises(PerturbError, match="no table of digits"):
        chapters(json.dumps([plan]), [], [])


def test_the_section_names_tables_and_figures_relative_to_itself(found, results):
    section.write(Results(found), results / "section.tex")
    text = (results / "section.tex").read_text()
    assert r"\input{\perturbresults/tables/digits.tex}" in text
    assert r"{\perturbresults/figures/digits/schedules.pdf}" in text
    assert str(results) not in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
@pytest.mark.parametrize("alone", [True, False])
def test_the_section_compiles(found, results, alone):
    section.write(Results(found), results / "section.tex")
    main = "section"
    if not alone:
        main = "paper"
        (results / "paper.tex").write_text(
            r"\documentclass{article}\usepackage{array,booktabs,graphicx,longtable}"
            r"\begin{document}\input{section}After.\end{document}"
        )
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{main}.tex"],
        cwd=results,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert (results / f"{main}.pdf").stat().st_size > 10_000
    assert "Overfull" not in run.stdout or alone is False
