import io
import re
import shutil
import subprocess

import pandas as pd
import pytest

from perturb.analysis import printers
from perturb.analysis.table import Cell, Column, Group, Table

from . import forms


@pytest.fixture
def table():
    columns = (
        Column("method", "code", width=30),
        Column("accuracy", unit="%", short="Acc.\n(%)"),
        Column("difference", over=("to a & b_c",), unit="points"),
        Column("p", over=("to a & b_c",)),
        Column("verdict", "verdict"),
        Column("window", paper=False),
        Column("share", compact=True),
        Column("words", "text", width=20),
    )
    rows = (
        (
            Cell("a_1", label="first | of all", notes=("same at every seed",)),
            Cell("98.70", "± 0.80"),
            Cell("−0.09", "[−0.49, +0.31]", bar=(-0.1, -0.5, 0.3)),
            Cell("<0.001"),
            Cell("worse", tone="worse", short="↓"),
            Cell("0.1"),
            Cell("0.25", "± 0.05"),
            Cell("50 % of all"),
        ),
        (
            Cell("b_c", alerts=("diverged 1 of 3",), notes=("same at every seed",)),
            Cell("97.00"),
            Cell(""),
            Cell(""),
            Cell("reference", short=""),
            Cell("0.2"),
            Cell("10.05"),
            Cell(""),
        ),
        (
            Cell("c_1"),
            Cell("not run (0 of 3)", tone="absent", span=6),
            Cell("x ≥ 2"),
        ),
    )
    frame = pd.DataFrame({"method": ["a_1", "b_c", "c_1"], "accuracy": [0.9870, 0.97, None]})
    return Table(
        name="made_up",
        title="Made up",
        frame=frame,
        columns=columns,
        groups=(Group("One", rows[:2]), Group("Two", rows[2:])),
        caption="Made up for b_c, 5 % of it.",
        warnings=("Smoke run <of> a_1.",),
        provenance=pd.DataFrame({"method": ["a_1"], "run": ["runs/a"]}),
    )


def test_csv_reads_back_to_the_last_digit(table):
    found = pd.read_csv(io.StringIO(printers.csv(table)))
    pd.testing.assert_frame_equal(found, table.frame)


def test_markdown_says_every_cell(table):
    first, second, third = forms.of_markdown(printers.markdown(table))
    assert first == [
        *("a_1 first | of all", "98.70 ± 0.80", "−0.09 [−0.49, +0.31]", "<0.001", "worse", "0.1"),
        *("0.25 ± 0.05", "50 % of all", "same at every seed"),
    ]
    assert second[-1] == "diverged 1 of 3; same at every seed"
    assert third == ["c_1", "not run (0 of 3)", "", "", "", "", "", "x ≥ 2", ""]


def test_html_says_every_cell_and_draws_the_difference(table):
    text = printers.html(table)
    first, second, third = forms.of_html(text)
    assert first == [
        *("a_1 first | of all same at every seed", "98.70 ± 0.80", "−0.09 [−0.49, +0.31]", ""),
        *("<0.001", "worse", "0.1", "0.25 ± 0.05", "50 % of all"),
    ]
    assert second[0] == "b_c diverged 1 of 3 same at every seed"
    assert third == ["c_1", "not run (0 of 3)", "x ≥ 2"]
    assert 'colspan="7">not run' in text
    assert '<circle cx="54.0"' in text and 'x1="30.0" x2="78.0"' in text
    assert "Smoke run &lt;of&gt; a_1." in text
    assert text.count('colspan="3">to a &amp; b_c<') == 1


def test_latex_says_every_cell_that_has_a_place(table):
    text = printers.latex(table)
    rows, notes = forms.of_latex(text)
    heading, first, second, other, third = rows
    assert heading == ["One"] and other == ["Two"]
    assert first == [
        *(r"a_1\textsuperscript{a} first | of all", "98.70", "± 0.80", "−0.09", "[−0.49, +0.31]"),
        *("<0.001", "↓", ".25", "± .05", "50 % of all"),
    ]
    assert second[0] == r"b_c\textsuperscript{b,a}" and second[-3:] == ["10.05", "", ""]
    assert third == ["c_1", "not run (0 of 3)", "x ≥ 2"]
    assert notes == {"a": "same at every seed", "b": "diverged 1 of 3"}
    assert r"$\downarrow$ worse; no mark: reference." in text
    assert r"but in \texttt{made\_\allowbreak{}up.csv}: window." in text
    assert r"\textbf{Smoke run \textless{}of\textgreater{} \texttt{a\_\allowbreak{}1}.}" in text


def test_every_line_of_a_longtable_has_the_same_number_of_cells(table):
    text = printers.latex(table)
    body = text.partition("\\toprule")[2].partition("\\end{longtable}")[0]
    widths = {
        len(re.findall(r"(?<!\\)&", line))
        + sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
        for line in body.splitlines()
        if "&" in line
    }
    assert widths == {9}


def test_a_row_that_does_not_fill_the_columns_is_refused(table):
    groups = [Group("", [[Cell("a_1"), Cell("1")]])]
    with pytest.raises(ValueError, match="'a_1' does not fill"):
        Table("t", "T", table.frame, table.columns, groups, "")


def test_its_files_are_called_after_it(table, tmp_path):
    printers.write(table, tmp_path)
    assert (tmp_path / f"{table.name}.provenance.csv").read_text() == "method,run\na_1,runs/a\n"
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"{table.name}.{ending}" for ending in printers.KINDS}


def wide(number, width=0):
    """A table of so many columns of numbers behind a name and, with a width, running text."""
    columns = [Column("Method", "code")]
    columns += [Column("Why", "text", width=width)] if width else []
    columns += [Column(f"Accuracy {at}", unit="%") for at in range(number)]
    cells = [
        Cell("pugdr_isin_2_0.01_30"),
        *([Cell("as it is told, in words " * 4)] if width else []),
    ]
    cells += [Cell("98.61", interval="[97.20, 99.90]") for _ in range(number)]
    return Table("wide", "Wide", pd.DataFrame(), tuple(columns), [Group("", [cells])], "A caption.")


@pytest.mark.parametrize(
    ("made", "size", "text"),
    [
        (wide(4), r"\scriptsize", None),
        (wide(7), r"\tiny", None),
        (wide(2, width=60), r"\scriptsize", 60),
        (wide(4, width=60), r"\scriptsize", "narrower"),
    ],
    ids=["narrow", "wide", "with text", "wide with text"],
)
def test_a_wide_table_fits_the_page_first_by_its_text_then_by_its_type(made, size, text, tmp_path):
    found = printers.latex(made)
    assert found.startswith(rf"\begingroup{size}\setlength")
    given = [float(mm) for mm in re.findall(r"p\{([\d.]+)mm\}", found)]
    if text == "narrower":
        assert 0.6 * 60 <= given[0] < 60
    else:
        assert given == ([text] if text else [])
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex: whether it fits is not seen")
    (tmp_path / "alone.tex").write_text(
        r"\documentclass[a4paper,10pt]{article}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}"
        r"\usepackage[margin=18mm]{geometry}\usepackage{array,booktabs,longtable}"
        rf"\begin{{document}}{found}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "alone.tex"]
    for _ in range(2):  # a longtable's columns are as wide as the run before found them
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    too_wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) in alignment", done.stdout)
    assert [points for points in map(float, too_wide) if points > 10] == []
