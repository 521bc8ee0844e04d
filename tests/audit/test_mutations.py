"""Seeded mutations of valid result files: none changes a verdict silently.

    PERTURB_MUTATIONS=2000 pytest -s tests/audit/test_mutations.py

prints how often each kind of mutation left the verdict as it was, changed it and said why, or was
refused. A change is silent where neither a finding nor the claim's reason speaks of it.
"""

import gc
import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from perturb.audit import formats
from perturb.audit.plan import AuditPlan, ClaimAsked
from perturb.audit.study import build
from perturb.errors import PerturbError

from .truth import runs

COUNT = int(os.environ.get("PERTURB_MUTATIONS", "240"))
PATTERN = r"(?P<method>[^/]+)_seed(?P<seed>\d+)\.csv"
FIELDS = {"test_accuracy": "val_acc", "train_loss": "loss", "test_loss": "val_loss"}
COLUMNS = ("epoch", "loss", "val_loss", "val_acc")
TOLERANCE = 2e-4  # of a difference that counts as the same: half a digit of percent with two


@dataclass
class Result:
    """A result file while it is mutated: cells of text, and how they will be written."""

    header: list[str]
    rows: list[list[str]]
    separator: str = ","
    encoding: str = "utf-8"
    ending: str = "\n"
    quoted: bool = False
    comma: bool = False
    above: str = ""
    after: str = ""  # behind the last cell of a row
    again: list[int] = field(default_factory=list)  # rows before which the header stands again
    cut: int = 0

    def column(self, name):
        return self.header.index(name) if name in self.header else None

    def content(self):
        lines = [self.above + self.line(self.header)] if self.header else []
        for place, row in enumerate(self.rows):
            if place in self.again:
                lines.append(self.line(self.header))
            lines.append(self.line(row) + self.after)
        text = self.ending.join(lines) + self.ending
        return (text[: -self.cut] if self.cut else text).encode(self.encoding)

    def line(self, cells):
        if self.comma:
            cells = [c.replace(".", ",") if c[:1].isdigit() else c for c in cells]
        if self.quoted or (self.comma and self.separator == ","):
            cells = [f'"{c}"' for c in cells]
        return self.separator.join(cells)


def add_column(result, random):
    name = str(random.choice(["lr", "time", "top5", "note", "train_acc", "gpu_memory"]))
    at = int(random.integers(len(result.header) + 1))
    result.header.insert(at, name)
    for row in result.rows:
        row.insert(at, "ok" if name == "note" else f"{random.random():.4f}")


def drop_column(result, random):
    at = int(random.integers(len(result.header)))
    del result.header[at]
    for row in result.rows:
        del row[at]


def swap_columns(result, random):
    one, two = random.choice(len(result.header), 2, replace=False)
    for row in (result.header, *result.rows):
        row[one], row[two] = row[two], row[one]


def swap_names(result, random):
    at, other = (
        result.column("val_acc"),
        result.column(str(random.choice(["loss", "epoch", "val_loss"]))),
    )
    if at is not None and other is not None:
        names = result.header
        names[at], names[other] = names[other], names[at]


def separator(result, random):
    result.separator = str(random.choice([";", "\t", "|", "  ", ", "]))


def decimal_comma(result, random):
    result.comma = True
    result.separator = str(random.choice([";", "\t", ","]))


def restart(result, random):
    cut = int(random.integers(2, len(result.rows)))
    failed = [list(row) for row in result.rows[:cut]]
    at = result.column("val_acc")
    if at is not None:
        for row in failed:
            row[at] = f"{_number(row[at]) * random.uniform(0.5, 0.9):.5f}" if row[at] else ""
    if random.random() < 0.5:
        result.again.append(cut)
    result.rows = failed + result.rows


def resume(result, random):
    start = int(random.integers(1, len(result.rows) - 1))
    end = int(random.integers(start + 1, len(result.rows)))
    result.rows = [list(row) for row in result.rows[:end]] + result.rows[start:]


def interrupted_again(result, random):
    """A second start that ends early, worse than the first."""
    cut = int(random.integers(2, len(result.rows)))
    at = result.column("val_acc")
    for row in [list(row) for row in result.rows[:cut]]:
        if at is not None and row[at]:
            row[at] = f"{_number(row[at]) * 0.8:.5f}"
        result.rows.append(row)


def _number(text):
    try:
        return float(text.rstrip("%"))
    except ValueError:
        return 0.5


def encoding(result, random):
    result.encoding = str(random.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"]))
    if result.encoding == "cp1252":
        result.header.append("Größe")
        for row in result.rows:
            row.append("1")


def percent(result, random):
    at = result.column("val_acc")
    sign = str(random.choice(["", "%", " %"]))
    start = int(random.choice([0, 0, 0, len(result.rows) // 2]))
    for row in result.rows[start:] if at is not None else []:
        row[at] = f"{100 * _number(row[at]):.3f}{sign}"


def twice(result, random):
    at = int(random.integers(len(result.rows)))
    result.rows.insert(at, list(result.rows[at]))


def cut(result, random):
    result.cut = int(random.integers(1, len(result.content()) // 2))


def order(result, random):
    if random.random() < 0.5:
        result.rows.reverse()
    else:
        random.shuffle(result.rows)


def ragged(result, random):
    rows = (
        result.rows
        if random.random() < 0.5
        else [result.rows[int(random.integers(len(result.rows)))]]
    )
    at = int(random.integers(len(result.header)))
    more = random.random() < 0.5
    for row in rows:
        if more:
            row.insert(at, "0.5")
        elif row:
            del row[min(at, len(row) - 1)]


def trailing(result, random):
    result.after = result.separator.strip(" ") or ""


def odd_cell(result, random):
    row = result.rows[int(random.integers(len(result.rows)))]
    if row:
        row[int(random.integers(len(row)))] = str(
            random.choice(["", "nan", "inf", "oops", "-1", "1e9"])
        )


def comments(result, random):
    result.above = "# a run, of today\n" + ("\n" if random.random() < 0.5 else "")


def lose_rows(result, random):
    count = int(random.integers(1, 6))
    at = int(random.integers(len(result.rows)))
    del result.rows[at : at + count]


def style(result, random):
    result.quoted = random.random() < 0.5
    result.ending = str(random.choice(["\n", "\r\n"]))


def no_header(result, random):
    result.header.clear()


def from_one(result, random):
    at = result.column("epoch")
    for row in result.rows if at is not None else []:
        row[at] = str(int(_number(row[at])) + 1)


def every_kth(result, random):
    at, k = result.column("val_acc"), int(random.integers(2, 6))
    for place, row in enumerate(result.rows):
        if at is not None and (len(result.rows) - 1 - place) % k:
            row[at] = ""


MUTATIONS = (
    *(add_column, drop_column, swap_columns, swap_names, separator, decimal_comma, restart, resume),
    *(
        interrupted_again,
        encoding,
        percent,
        twice,
        cut,
        order,
        ragged,
        trailing,
        odd_cell,
        comments,
    ),
    *(lose_rows, style, no_header, from_one, every_kth),
)
LAST = (ragged, no_header, cut)  # others need whole rows


def valid(names):
    found = {}
    for name, rows in runs().items():
        method, _, seed = name.partition("_seed")
        cells = [[str(row["epoch"]), *(f"{row[c]:.5f}" for c in COLUMNS[1:])] for row in rows]
        found[f"{names[method]}_seed{seed}"] = Result(list(COLUMNS), cells)
    return found


def outcome(plan):
    """Return (verdict, difference, reason, findings by path) or the one message."""
    try:
        audit = build(plan)
    except PerturbError as error:
        return str(error)
    assert formats.markdown(audit, "snakemake")  # whatever was found can be said
    assert len(formats.files_frame(audit)) == len(audit.files)
    found = {(f.path, f.kind) for f in audit.findings if f.kind != "name"}
    if not audit.claims:
        return "no claim", 0.0, "", found
    (claim,) = audit.claims
    return claim.verdict, claim.difference, claim.reason, found


def write(folder, results):
    for path in folder.iterdir():
        path.unlink()
    for name, result in results.items():
        (folder / f"{name}.csv").write_bytes(result.content())


def one(folder, number):
    """Mutate one, one arm's or all files, once or twice; return (which, of all, what came)."""
    random = np.random.default_rng(number)
    grammar = random.random() < 0.5
    names = dict.fromkeys(("pugd_20", "sgd_20"))
    names = {n: n if grammar else {"pugd_20": "ours", "sgd_20": "adam"}[n] for n in names}
    results = valid(names)
    settings = {"pattern": PATTERN, "fields": FIELDS} if random.random() < 0.5 else {}
    if not grammar:
        settings["claims"] = (ClaimAsked("ours", "adam"),)
    plan = AuditPlan("mine", str(folder), **settings)
    which = list(results)
    extent = random.choice(["one", "arm", "all"])
    chosen = (
        which[:3] if extent == "arm" else which if extent == "all" else [which[random.integers(6)]]
    )
    own = random.choice(len(MUTATIONS), int(random.integers(1, 3)), replace=False)
    own = sorted(own, key=lambda index: MUTATIONS[index] in LAST)
    for name in chosen:
        again = np.random.default_rng(number + 10**6)  # the same for every file
        for index in own:
            MUTATIONS[index](results[name], again)
            if not results[name].rows or not results[name].header:
                break
    write(folder, results)
    label = " + ".join(sorted(MUTATIONS[i].__name__ for i in own))
    return label, extent == "all", outcome(plan)


def classify(found, reference, every):
    """`every`: all files were mutated alike, so a shorter run of all is a folder of its own."""
    if isinstance(found, str):
        return "refused"
    verdict, difference, reason, findings = found
    tolerance = 10 * TOLERANCE if every else TOLERANCE
    same = verdict == reference[0] and abs(difference - reference[1]) < tolerance
    if same:
        return "same"
    return "said" if findings or reason != reference[2] else "SILENT"


@pytest.fixture
def reference(tmp_path):
    folder = tmp_path / "reference"
    folder.mkdir()
    write(folder, valid({"pugd_20": "pugd_20", "sgd_20": "sgd_20"}))
    found = outcome(AuditPlan("mine", str(folder)))
    assert found[0] == "holds" and not found[3]
    return found


def test_no_mutation_changes_a_verdict_silently(tmp_path, reference):
    folder = tmp_path / "mutated"
    folder.mkdir()
    gc.freeze()  # statsmodels collects garbage in every correction: not all of what is imported
    counts, silent, by_kind = Counter(), [], {}
    for number in range(COUNT):
        label, every, found = one(folder, number)
        what = classify(found, reference, every)
        counts[what] += 1
        for name in label.split(" + "):
            by_kind.setdefault(name, Counter())[what] += 1
        if what == "SILENT":
            silent.append((number, label, found))
    print(f"\n{COUNT} mutations: " + ", ".join(f"{k} {v / COUNT:.3f}" for k, v in counts.items()))
    for name, own in sorted(by_kind.items()):
        print(f"{name:18}", ", ".join(f"{k} {v}" for k, v in sorted(own.items())))
    assert not silent, silent
    assert counts["same"] > COUNT / 5 and counts["said"] > COUNT / 10
