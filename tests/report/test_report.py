import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import pandas as pd
import pytest
from PIL import Image, ImageChops

from perturb.analysis import display, printers, runs, tables
from perturb.errors import PerturbError
from perturb.report import html, section, words
from perturb.study import Chapter, Part
from tests.analysis.study import make_plan, make_row, write_study

VOID = {"meta", "img", "br", "line", "circle"}
UNSEEN = ("script", "style")
INLINE = ("a", "code")


class Page(HTMLParser):
    """Collects what a reader sees of a page and what it points to; checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.words, self.links, self.stack, self.goes_on = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        self.goes_on = tag in INLINE
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag
        self.goes_on = tag in INLINE

    def handle_data(self, data):
        if self.stack and self.stack[-1] in UNSEEN:
            return
        if self.goes_on and self.words:
            self.words[-1] += data
        else:
            self.words.append(data)


@pytest.fixture
def table(results, plan):
    return tables.read(results / "tables" / "digits.csv", plan)


def words_of(path):
    return " ".join(" ".join(Page(path.read_text(encoding="utf-8")).words).split())


def test_the_report_holds_everything_and_needs_no_network(chapter, plan, results):
    path = results / "report.html"
    html.write([chapter], path, title=plan.title)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.stack
    inside = [link for link in page.links if link.startswith(("#", "data:image/webp;base64,"))]
    beside = set(page.links) - set(inside)
    page_that_turns = "landscapes/digits/cnn/sgd_30/seed0/plane0.html"
    assert {
        page_that_turns,
        *(f"tables/digits.{kind}" for kind in ("csv", "tex", "md", "provenance.csv")),
        "tables/landscape_digits.provenance.csv",
        *(f"figures/digits/schedules.{kind}" for kind in ("pdf", "png")),
        plan.runs()[0].record,
    } <= beside
    # Relative, and there: the folder may be moved or zipped.
    missing = [link for link in beside - {page_that_turns} if not (results / link).is_file()]
    assert not missing
    named = [link[1:] for link in inside if link.startswith("#")]
    assert not [name for name in named if f'id="{name}"' not in text]
    ids = re.findall(r'\sid="([^"]+)"', text.partition("<dialog")[0])
    assert len(ids) == len(set(ids))
    styles = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert not any("url(" in style or "@import" in style for style in styles)
    said = " ".join(" ".join(page.words).split())
    for row in plan.rows:
        assert row.method in said
    assert "Flat area" in said and "nan" not in said.split()
    for status in ("not run (0 of 3)", "not asked for", "diverged 1 of 3 (seed 2 at step 143)"):
        assert status in said
    assert said.index("What limits these numbers") < said.index("Every method")
    assert text.count('src="data:image/webp;base64,') == 2
    assert "d" * 64 in said
    assert f"/{plan.runs()[0].record}" in said


def test_pictures_have_the_pixels_of_their_files(chapter, results):
    text = html.render([chapter], results)
    for source, name in zip(
        re.findall(r'src="data:image/webp;base64,([^"]+)"', text),
        (part.name for part in chapter.figures),
        strict=True,
    ):
        shown = Image.open(io.BytesIO(base64.b64decode(source))).convert("RGB")
        beside = Image.open(results / "figures/digits" / f"{name}.png").convert("RGB")
        assert shown.size == beside.size and not ImageChops.difference(shown, beside).getbbox()


def test_a_claim_leads_to_the_row_of_its_method(chapter, results):
    text = html.render([chapter], results)
    finding = '<a href="#digits-pugd_30"><code>pugd_30</code></a> reached 98.52'
    assert finding in text
    row = text.partition('id="digits-pugd_30"')[2].partition("</tr>")[0]
    for seed in (0, 1, 2):
        assert f'<a href="runs/digits/cnn/pugd_30/seed{seed}/record.json">seed {seed}</a>' in row
    assert "PUGD with radius r and scale s" in row


def test_a_name_inside_another_is_not_taken_for_it():
    links = {"sgd_3": "digits-sgd_3", "sgd_30": "digits-sgd_30"}
    made = html._linked("sgd_30, not resnet_sgd_30 nor sgd_3.5, but sgd_3. <b>", links)
    assert re.sub(r"</?(?:a|code)[^>]*>", "|", made) == (
        "||sgd_30||, not resnet_sgd_30 nor sgd_3.5, but ||sgd_3||. &lt;b&gt;"
    )


def test_the_same_results_make_the_same_bytes_without_dates(chapter, results):
    for part in ("a", "b"):
        html.write([chapter], results / f"{part}.html")
        section.write([chapter], results / f"{part}.tex")
    for kind in ("html", "tex"):
        text = (results / f"a.{kind}").read_bytes()
        assert text == (results / f"b.{kind}").read_bytes()
        own = re.sub(
            rb"<script>.*?</script>", b"", text, flags=re.S
        )  # plotly.js names its licences
        assert not re.search(rb"20[2-9]\d-\d\d-\d\d", own)


def test_a_chapter_reads_back_from_its_values(chapter, results):
    again = Chapter.of(json.loads(json.dumps(chapter.values())))
    assert html.render([again], results) == html.render([chapter], results)
    assert (again.name, again.measure, again.runs) == (chapter.name, chapter.measure, chapter.runs)


def test_chapters_that_are_not_asked_for_are_left_out(chapter, results):
    second = replace(chapter, name="second", asked=False)
    assert html.render([chapter, second], results) == html.render([chapter], results)
    assert section.render([second], results).count("subsection") == 0


def test_a_smoke_run_says_so_first(chapter, results, table):
    html.write([replace(chapter, scale="smoke")], results / "smoke.html")
    said = words_of(results / "smoke.html")
    assert said.index("Smoke run.") < said.index("Every method")
    table.frame["scale"] = "smoke"
    assert words.what_was_run(table).startswith("Smoke run, not a result. Which of ")


def test_the_findings_come_from_the_numbers(table):
    said = " ".join(words.findings(table))
    assert "pugd_30 reached 98.52 ± 1.05 % test accuracy" in said
    assert "At equal gradient evaluations, the difference of sgd_60 to pugd_30 is −0.19" in said
    assert "no method differs from its reference at the 5 % level" in said
    assert "is found on these seeds with power 0.8" in said
    assert "Runs are missing of gsam_0.05_0.01_30." in said


def test_what_was_asked_is_a_question_with_its_data(table):
    said = words.what_was_run(table)
    assert said.startswith("Which of ") and " end at a higher test accuracy than pugd_30? " in said
    assert "wrong" not in said
    plan = msgspec.structs.replace(table.plan, dataset="digits_noise-0.4")
    noisy = replace(table, plan=plan)
    assert "on digits_noise-0.4 (40 % of the train labels wrong)" in words.what_was_run(noisy)


def test_what_no_test_decides_is_named_with_its_difference(table):
    said = next(text for text in words.findings(table) if "be told from" in text)
    undecided = table.frame[table.frame["verdict"] == "not distinguishable"]
    furthest = undecided.loc[undecided["difference_to_pugd_30_mean"].abs().idxmax(), "method"]
    assert said.partition(" of it: ")[2].startswith(f"{furthest} (")
    assert said.startswith(f"{len(undecided)} methods cannot, after the correction, be told")


def test_what_no_test_decides_is_named_with_a_reference_of_its_own(table):
    frame = table.frame
    undecided = frame[frame["verdict"] == "not distinguishable"]
    furthest = undecided.loc[undecided["difference_to_pugd_30_mean"].abs().idxmax(), "method"]
    said = next(text for text in words.findings(table) if "be told from" in text)
    assert "told from the reference" in said and "to pugd_30)" not in said
    frame.loc[frame["method"] == furthest, "reference"] = "sgd_30"
    said = next(text for text in words.findings(table) if "be told from" in text)
    assert "told from their reference" in said and said.count(" to sgd_30)") == 1


def test_significant_differences_are_named(table):
    frame = table.frame
    frame.loc[frame["method"] == "ugd_30", "verdict"] = "better"
    said = " ".join(words.findings(table))
    assert "Better: ugd_30 (+0.65)." in said
    assert "no method differs" not in said


def test_without_a_reference_nothing_is_compared(table):
    frame = table.frame
    frame.loc[frame["method"] == "pugd_30", "last_epoch_test_accuracy_mean"] = float("nan")
    assert "nothing is compared" in words.findings(table)[0]


def test_the_words_are_told_from_the_csv_alone(chapter, results, table):
    frame = pd.read_csv(results / "tables" / "digits.csv", keep_default_na=False, na_values=[""])
    found = words.comparison(chapter.settings, {"": frame})
    assert list(found.findings) == words.findings(table)
    assert list(found.warnings) == table.warnings
    assert found.facts["SHA-256 of the data"] == "d" * 64
    assert found.facts["Protocol"].startswith("every train image trained on")


def test_only_what_has_no_warning_is_called_clean(chapter, results, table, tmp_path):
    said = "All have one kind of device"
    assert table.warnings and said not in words.comparison(chapter.settings, {"": table.frame}).what
    plan = make_plan(rows=(make_row("pugd_30"), make_row("sgd_30")), sgd_double="")
    found = tables.build(plan, runs.collect(write_study(tmp_path, plan)))
    assert not found.warnings
    assert said in words.comparison({"plan": plan.values()}, {"": found.frame}).what


def test_difference_bars_lie_inside_the_picture(table):
    bars = display.difference_bars(table)
    assert bars["pugds_isin_3_0.8_30"][0] == 0
    assert all(-1 <= value <= 1 for bar in bars.values() for value in bar)
    assert "pugd_30" not in bars


@pytest.mark.parametrize("kind", ["table", "figure"])
def test_a_missing_part_is_one_message(chapter, results, kind):
    part = Part(name="other", kind=kind, make="a:b", inputs={})
    with pytest.raises(PerturbError, match=r"other.*missing, and the results section shows it"):
        html.render([replace(chapter, parts=(*chapter.parts, part))], results)


def test_the_section_names_tables_and_figures_relative_to_itself(chapter, results):
    section.write([chapter], results / "section.tex")
    text = (results / "section.tex").read_text()
    assert r"\input{\perturbresults/tables/digits.tex}" in text
    assert r"{\perturbresults/figures/digits/schedules.pdf}" in text
    assert r"\ref{tab:digits}" in text
    assert r"\label{tab:digits}" in (results / "tables/digits.tex").read_text()
    assert str(results) not in text


def test_the_section_heads_a_chapter_by_its_title_too(chapter, results):
    text = section.render([replace(chapter, title="Mine: 50 %")], results)
    assert r"\subsection{Mine: 50 \%}" in text and r"\emph{digits, cnn.}" in text
    assert r"\subsection{digits, cnn}" in section.render([chapter], results)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
@pytest.mark.parametrize("alone", [True, False])
def test_the_section_compiles(chapter, results, alone):
    section.write([chapter], results / "section.tex")
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
    assert not alone or not re.search(r"Overfull \\hbox", run.stdout)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_the_widest_table_is_no_wider_than_a_page(table, results):
    """Every column, verdicts of the longest marks, p-values at their longest."""
    frame = table.frame
    others = (frame["seeds_finished"] > 0) & (frame["method"] != "pugd_30")
    frame.loc[others, "verdict"] = "worse within margin"
    frame.loc[others, "p_value_holm"] = 1e-9
    (results / "wide.tex").write_text(printers.latex(display.table_of(table)))
    head = section.render([], results).partition(r"\section{Results}")[0]
    (results / "alone.tex").write_text(head + "\\input{wide.tex}\n\\end{document}\n")
    for _ in range(3):  # until longtable knows its widths
        run = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "alone.tex"],
            cwd=results,
            capture_output=True,
            text=True,
            errors="replace",
        )
    assert run.returncode == 0, run.stdout[-2000:]
    found = re.findall(r"Overfull \\hbox \((.*?)pt too wide", run.stdout)
    assert not found


@pytest.mark.parametrize(
    ("title", "said", "shown"),
    [
        ("Digits, noisy", "digits_noise-0.4, cnn", ("Digits, noisy", "digits_noise-0.4, cnn")),
        ("Pushed away", "Pushed away (smoke run)", ("Pushed away (smoke run)", "digits")),
        ("All data sets: a study", "All data sets", ("All data sets", "digits")),
    ],
)
def test_a_chapter_is_headed_by_its_title(chapter, title, said, shown):
    assert html.headings(replace(chapter, title=title), said) == shown


def test_no_two_headings_of_a_chapter_are_the_same(chapter, plan, results):
    text = html.render([chapter], results, title=plan.title)
    headings = [re.sub("<.*?>", "", one).strip() for one in re.findall(r"<h2.*?</h2>", text)]
    assert len(headings) == len(set(headings))
