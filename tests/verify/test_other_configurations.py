"""Results that several configurations made: what each of them says of the other's."""

import html
from collections import Counter
from pathlib import Path

import pytest

from perturb.analysis import sealed
from perturb.figures.catalogue import AUDIT
from perturb.jobs import command_line
from perturb.runs import Run
from perturb.verify import made_again, records
from perturb.verify.found import Verification
from tests.analysis.study import chapter_of, make_plan


class Nothing:
    """A configuration without audits."""

    values: dict = {}  # noqa: RUF012


@pytest.fixture
def found(tmp_path):
    return Verification(tmp_path)


def wrong(found):
    return sorted((finding.kind, finding.file.name) for finding in found.findings)


# --- tables, figures and pages --------------------------------------------------------------------


def make_table(folder, name="signs"):
    files = {"csv": "method\nsgd_3\n", "provenance.csv": "run\n"}
    (folder / "tables").mkdir(exist_ok=True)
    for ending, text in (files | {sealed.ENDING: sealed.text(name, files)}).items():
        (folder / "tables" / f"{name}.{ending}").write_text(text)
    (folder / "figures" / name).mkdir(parents=True, exist_ok=True)
    (folder / "figures" / name / "accuracy.png").write_bytes(b"png")


def test_a_whole_table_of_another_configuration_is_named_and_not_wrong(found, tmp_path):
    make_table(tmp_path)
    made_again.find_unknown(found, Nothing(), [])
    assert wrong(found) == []
    assert found.others == {
        "files of tables": Counter(signs=3),
        "files of figures": Counter(signs=1),
    }
    assert "files of tables (signs: 3)" in found.table()


def test_an_edited_table_of_another_configuration_is_found(found, tmp_path):
    make_table(tmp_path)
    (tmp_path / "tables/signs.csv").write_text("method\npugd_3\n")
    made_again.find_unknown(found, Nothing(), [])
    assert wrong(found) == [("edited", "signs.csv")]


def test_what_somebody_put_there_is_unknown(found, tmp_path):
    make_table(tmp_path)
    for name in ("tables/signs.txt", "tables/other.csv", "figures/other/accuracy.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("by hand")
    made_again.find_unknown(found, Nothing(), [])
    assert wrong(found) == [
        ("unknown", "accuracy.png"),
        ("unknown", "other.csv"),
        ("unknown", "signs.txt"),
    ]


def test_an_audit_of_another_configuration_is_named_and_a_page_of_nobody_is_unknown(
    found, tmp_path
):
    given = command_line.configuration((), {"audits": {"mine": {"folder": "runs"}}})
    page, by_hand = (tmp_path / "audit" / f"{name}.html" for name in ("mine", "other"))
    page.parent.mkdir()
    command = command_line.of_target(page.as_posix(), given)
    page.write_text(f"<pre>{html.escape(command)}</pre>")
    by_hand.write_text("<p>no command</p>")
    figure = tmp_path / "figures" / "audit_mine" / f"{next(iter(AUDIT))}.png"
    figure.parent.mkdir(parents=True)
    for path in (page.with_suffix(".csv"), figure, figure.with_name("other.png")):
        path.write_text("made")
    made_again.compare_audits(found, Nothing())
    made_again.find_unknown(found, Nothing(), [])
    assert wrong(found) == [("unknown", "other.html")]
    assert found.others["files of audits"] == Counter(mine=2)
    assert found.others["files of figures"] == Counter(audit_mine=2)


# --- texts that tell commands ---------------------------------------------------------------------


def report(given, number="0.9"):
    return f"<p>{number}</p><code>snakemake --cores 1{given and ' ' + given} -- verify</code>\n"


@pytest.mark.parametrize("then", ["", "--configfile mine.yaml", "--config 'seeds=[0, 1]'"])
def test_other_commands_are_another_configuration_and_no_fault(found, tmp_path, then):
    path = tmp_path / "report.html"
    path.write_text(report(then))
    today = "--configfile mine.yaml more.yaml"
    made_again.compare_told(found, "report", path, report, today, "verify")
    assert wrong(found) == []
    assert f"made with another configuration ({then or 'without options'})" in found.notes[0]
    assert f"snakemake --cores 1 {today} --force -- {path}" in found.notes[0]


@pytest.mark.parametrize("then", ["--configfile mine.yaml", "--configfile mine.yaml more.yaml"])
def test_an_edited_number_is_found_whatever_the_commands_say(found, tmp_path, then):
    path = tmp_path / "report.html"
    path.write_text(report(then, "0.99"))
    today = "--configfile mine.yaml more.yaml"
    made_again.compare_told(found, "report", path, report, today, "verify")
    assert wrong(found) == [("differs", "report.html")] and not found.notes


def test_the_same_configuration_is_not_remarked_upon(found, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(report("--configfile a.yaml"))
    made_again.compare_told(found, "report", path, report, "--configfile a.yaml", "verify")
    made_again.compare_told(found, "report", tmp_path / "gone.html", report, "", "verify")
    assert wrong(found) == [("missing", "gone.html")] and not found.notes


def test_the_configuration_is_read_back_from_a_page_and_a_text(tmp_path):
    given = command_line.configuration(["a & b.yaml"], {"title": "<it's>", "verify": {}})
    command = command_line.of_target("results/audit/a.html", given)
    for name, text in (("a.md", command), ("a.html", command.replace("&", "&amp;"))):
        text = text.replace("<", "&lt;") if name == "a.html" else text
        (tmp_path / name).write_text(f"```sh\n{text}\n```\n")
        assert command_line.told_by(tmp_path / name, "results/audit/a.html") == given
        assert command_line.told_by(tmp_path / name, "results/audit/b.html") is None


# --- runs -----------------------------------------------------------------------------------------


@pytest.fixture
def check(monkeypatch, tmp_path, found):
    """Check runs that differ in settings by their seed: 0 as the configuration gives, 1 not."""
    runs = [Run("signs", "cnn", "pugd_3", seed) for seed in (0, 1)]
    for run in runs:
        (tmp_path / run.folder).mkdir(parents=True)

    class Specification:
        def __init__(self, run):
            self.run = run

        def differences(self, record):
            return ["base adamw then, sgd now"] if self.run.seed else []

    def record_of(path):
        run = Run.of_folder(Path(path).parent)
        named = {"dataset": run.dataset, "model": run.model, "method": run.method, "seed": run.seed}
        return named | {"sha256": {"code": records.code.digest({})}}

    monkeypatch.setattr(records, "read_record", record_of)
    monkeypatch.setattr(records, "folders", lambda _: [tmp_path / run.folder for run in runs])
    monkeypatch.setattr(records.studies, "specification", lambda _, run: Specification(run))
    monkeypatch.setattr(records.studies, "initial_file", lambda _: "init/a")
    monkeypatch.setattr(records.studies, "code_of", lambda _: {})
    return lambda asked, known: records.check_runs(found, None, asked, known, {}, {})


def test_runs_of_no_chapter_with_other_settings_are_named_and_not_stale(check, found):
    assert len(check([], [])) == 2
    assert wrong(found) == []
    assert found.others == {"runs": Counter({"signs/cnn/pugd_3": 1})}


def test_a_run_that_a_chapter_lists_is_stale_where_its_settings_differ(check, found):
    own = chapter_of(make_plan(), runs=(Run("signs", "cnn", "pugd_3", 1),))
    check([], [own])
    assert wrong(found) == [("stale", "record.json")] and not found.others


def test_one_wrong_file_is_one(found):
    for name in ("a", "a"):
        found.find("runs", "stale", name)
    assert found.count_of_wrong() == "1 file is not as it should be"
    found.find("runs", "stale", "b")
    assert found.count_of_wrong() == "2 files are not as they should be"
