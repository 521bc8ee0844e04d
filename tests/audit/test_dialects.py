"""Tables of every dialect give the same curves, or one message with file, line and counts."""

import pytest

from perturb.audit.plan import AuditPlan
from perturb.audit.study import build

from .truth import DIFFERENCE, table, write_all


def audit(folder, **settings):
    return build(AuditPlan("mine", str(folder), **settings))


def told(found):
    """The one claim's difference and verdict, and the kinds of findings."""
    (claim,) = found.claims
    return claim.difference, claim.verdict, {f.kind for f in found.findings}


def comma(text):
    return "\n".join(
        line.replace(".", ",") if line[:1].isdigit() else line for line in text.split("\n")
    )


def quoted(rows):
    lines = table(rows).strip().split("\n")
    return "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines) + "\n"


def with_percent(rows, form="{:.3f}%"):
    return table([row | {"val_acc": form.format(100 * row["val_acc"])} for row in rows])


def ragged_header(rows, extra):
    head, *body = table(rows).strip().split("\n")
    return "\n".join([head, *(line + extra for line in body)]) + "\n"


DIALECTS = {
    "comma": table,
    "semicolon": lambda rows: table(rows, ";"),
    "semicolon and decimal comma": lambda rows: comma(table(rows, ";")),
    "tab": lambda rows: table(rows, "\t"),
    "tab and decimal comma": lambda rows: comma(table(rows, "\t")),
    "bar": lambda rows: table(rows, "|"),
    "spaces": lambda rows: table(rows, "   "),
    "padded": lambda rows: table(rows, ",     "),
    "quoted": quoted,
    "quoted decimal commas": lambda rows: quoted(rows).replace(".", ","),
    "windows line ends": lambda rows: table(rows).replace("\n", "\r\n"),
    "old mac line ends": lambda rows: table(rows).replace("\n", "\r"),
    "utf-8 mark": lambda rows: table(rows).encode("utf-8-sig"),
    "utf-16": lambda rows: table(rows).encode("utf-16"),
    "utf-16 without mark": lambda rows: table(rows).encode("utf-16-le"),
    "utf-32": lambda rows: table(rows, ";").encode("utf-32"),
    "latin letters": lambda rows: table([row | {"Größe": 3} for row in rows]).encode("cp1252"),
    "comments above": lambda rows: "# run of today\n# lr=0.1\n\n" + table(rows),
    "slashes above": lambda rows: "// run, of, today\n" + table(rows),
    "numpy's header": lambda rows: "# " + table(rows, " "),
    "comments between": lambda rows: table(rows).replace("\n7,", "\n# resumed?\n7,"),
    "blank lines": lambda rows: table(rows).replace("\n", "\n\n"),
    "comma after the last field": lambda rows: ragged_header(rows, ","),
    "comma after every line": lambda rows: table(rows).replace("\n", ",\n"),
    "semicolon after the last field": lambda rows: ragged_header(rows, ",").replace(",", ";"),
    "tab after the last field": lambda rows: ragged_header(rows, ",").replace(",", "\t"),
    "percent signs": with_percent,
    "percent signs with a space": lambda rows: with_percent(rows, "{:.3f} %"),
    "quoted percent signs": lambda rows: with_percent(rows, '"{:.3f}%"'),
    "percent and decimal comma": lambda rows: comma(with_percent(rows).replace(",", ";")),
    "percent without a sign": lambda rows: with_percent(rows, "{:.3f}"),
    "tensors": lambda rows: with_percent(rows, "\"tensor({:.3f}, device='cuda:0')\""),
    "numpy scalars": lambda rows: with_percent(rows, "np.float64({:.3f})"),
    "pandas' row numbers": lambda rows: (
        "\n".join(
            f"{'' if i == 0 else i - 1},{line}"
            for i, line in enumerate(table(rows).split("\n")[:-1])
        )
        + "\n"
    ),
    "a column twice": lambda rows: (
        "\n".join(f"{line},{line.split(',')[3]}" for line in table(rows).split("\n")[:-1]) + "\n"
    ),
    "no newline at the end": lambda rows: table(
        [row | {"val_acc": f"{row['val_acc']:.5f}"} for row in rows]
    ).rstrip("\n"),
    "capitals in numbers": lambda rows: table([r | {"loss": f"{r['loss']:.5E}"} for r in rows]),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_of_any_dialect_gives_the_truth(tmp_path, dialect):
    write_all(tmp_path, DIALECTS[dialect])
    difference, verdict, kinds = told(audit(tmp_path))
    assert difference == pytest.approx(DIFFERENCE, abs=2e-5)
    assert (verdict, kinds) == ("holds", set())


@pytest.mark.parametrize("fields", [{}, {"test_accuracy": "val_acc", "train_loss": "loss"}])
def test_a_column_that_some_files_spell_otherwise_is_read_and_said(tmp_path, fields):
    """Its words alone count; a file that has two such columns is read as neither."""
    spelled = iter(["val_acc", "Val Acc", "val_acc", "val-accuracy", "val_acc", "Validation Acc"])
    write_all(tmp_path, lambda rows: table(rows).replace("val_acc", next(spelled)))
    found = audit(tmp_path, fields=fields)
    read = {finding.path: finding.text for finding in found.findings if finding.kind == "spelling"}
    assert sorted(text.split("'")[1] for text in read.values()) == ["Val Acc", "val-accuracy"]
    (refused,) = [finding for finding in found.findings if finding.kind == "unreadable"]
    assert "has no 'val_acc'" in refused.text  # validation and val are two words
    path = tmp_path / min(read)
    path.write_text(path.read_text().replace("val_loss", "VAL acc"))
    unreadable = [f.path for f in audit(tmp_path, fields=fields).findings if f.kind == "unreadable"]
    assert min(read) in unreadable


def test_a_best_accuracy_is_not_offered_for_a_curve(tmp_path):
    write_all(tmp_path, table)
    path = tmp_path / "toy" / "pugd_20_seed7.csv"
    path.write_text("seed,best_val_acc\n7,0.92\n")
    (finding,) = [f for f in audit(tmp_path).findings if f.kind == "unreadable"]
    assert "has no 'val_acc'" in finding.text and "Did you mean" not in finding.text
    found = audit(tmp_path, fields={"test_accuracy": "best_val_acc"})
    assert any("by its name is no accuracy by epoch" in text for text in found.guessed)


RAGGED = {
    "a field more": (
        lambda rows: ragged_header(rows, ",0.99"),
        ["line 2 has 5 fields", "header 4"],
    ),
    "a field less": (
        lambda rows: "\n".join(
            line.rpartition(",")[0] if i else line
            for i, line in enumerate(table(rows).split("\n")[:-1])
        ),
        ["line 2 has 3 fields", "20 of 20"],
    ),
    "one row with a field more": (
        lambda rows: table(rows).replace("\n7,", "\n7,0,"),
        ["line 9 has 5 fields", "1 of 20"],
    ),
    "one row with a field less": (
        lambda rows: table(rows).replace("\n11,", "\n"),
        ["line 13 has 3 fields", "1 of 20"],
    ),
    "decimal commas between commas": (
        lambda rows: comma(table(rows)),
        ["line 2 has 7 fields", "its header 4"],
    ),
    "no header": (lambda rows: table(rows).partition("\n")[2], ["no header"]),
    "a quote that never ends": (lambda rows: table(rows).replace("\n5,", '\n"5,'), ["line"]),
    "a column twice, with other values": (
        lambda rows: table(rows).replace("val_loss", "val_acc"),
        ["'val_acc' 2 times"],
    ),
    "words for a number": (
        lambda rows: table([*rows[:7], rows[7] | {"val_acc": "high"}, *rows[8:]]),
        ["'val_acc' is 'high' in row 7"],
    ),
}


@pytest.mark.parametrize("fault", RAGGED)
def test_a_ragged_table_is_refused_with_line_and_counts(tmp_path, fault):
    write, parts = RAGGED[fault]
    write_all(tmp_path, write)
    fields = {"test_accuracy": "val_acc"}
    pattern = r"(?P<dataset>[^/]+)/(?P<method>[^/]+)_seed(?P<seed>\d+)\.csv"
    found = audit(tmp_path, fields=fields, pattern=pattern)
    assert not found.claims
    refused = found.of_kind("unreadable")
    assert len(refused) == 6
    for part in parts:
        assert part in refused[0].text


def test_a_line_that_was_cut_off_is_said(tmp_path):
    write_all(tmp_path, lambda rows: table(rows)[:-9])
    found = audit(tmp_path)
    assert {f.kind for f in found.findings} == {"truncated", "epochs"}
    assert told(found)[1] == "cannot be told"


def test_a_number_that_was_cut_off_is_said(tmp_path):
    cut = lambda rows: table([r | {"val_acc": f"{r['val_acc']:.5f}"} for r in rows])[:-5]  # noqa: E731
    write_all(tmp_path, cut)
    assert "without a line end" in audit(tmp_path).of_kind("truncated")[0].text
