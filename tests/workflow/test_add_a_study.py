"""docs/add-a-study.md, followed to the letter, adds a study and makes no finished run again."""

import re
import textwrap

import pandas as pd
import pytest
import yaml

from .conftest import SMALL, copy_of_project

CHAPTER = "l1_digits_noise-0.2"


def follow(checkout, page: str) -> None:
    """Write the files of the page's numbered blocks, and replace the list of studies."""
    steps = []
    for item in re.split(r"^\d\. ", page, flags=re.M)[1:]:
        path = re.search(r"`((?:src|config)/[\w/.]+\.(?:py|yaml))`", item)
        block = re.search(r"^   ```\w+\n(.*?)^   ```", item, flags=re.S | re.M)
        steps.append((path[1], block[1]))
    assert [path.rpartition("/")[2] for path, _ in steps] == [
        "__init__.py",
        "learner.py",
        "schema.yaml",
        "l1.yaml",
        "__init__.py",
    ]
    for path, text in steps:
        file = checkout.path / path
        content = textwrap.dedent(text)
        if file.exists():  # the list of studies, one line of it
            before = file.read_text()
            content, count = re.subn(r"^NAMES = \(.*\)\n", content, before, flags=re.M)
            assert count == 1
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)


@pytest.fixture(scope="module")
def finished(request, root, tmp_path_factory):
    """A checkout with a finished small study rts, and the page followed in it."""
    digits = {**SMALL["rts"]["datasets"]["digits"], "landscape": {"methods": []}}
    values = SMALL | {"seeds": [0, 1, 2], "rts": {"datasets": {"digits": digits}}}
    folder = tmp_path_factory.mktemp("add_a_study") / "checkout"
    checkout = copy_of_project(root, folder, values)
    done = checkout.snakemake()
    assert done.returncode == 0, done.stderr
    follow(checkout, (root / "docs" / "add-a-study.md").read_text())
    return checkout


def nothing_to_do(checkout) -> bool:
    done = checkout.snakemake("-n")
    assert done.returncode == 0, done.stderr
    return "Nothing to be done" in done.stdout + done.stderr


def test_a_study_more_makes_no_finished_run_again(finished):
    assert nothing_to_do(finished)


def test_a_field_of_another_study_or_a_slug_makes_no_finished_run_again(finished):
    settings = finished.path / "src/perturb/studies/gradients/settings.py"
    text = settings.read_text()
    assert "    samples: int\n" in text
    settings.write_text(
        text.replace("    samples: int\n", "    samples: int\n    more: int = 1\n", 1)
    )
    slugs = finished.path / "src/perturb/slugs.py"
    slugs.write_text(slugs.read_text() + "\n\nMORE = Grammar('more', {'amount': 1.0})\n")
    assert nothing_to_do(finished)


@pytest.mark.long
def test_the_new_study_is_in_table_report_plan_status_and_verify(finished):
    target = f"results/tables/{CHAPTER}.csv"
    plan = finished.snakemake("--config", f"target={target}", "--", "plan")
    assert plan.returncode == 0, plan.stderr
    assert re.search(r"runs +9: 0 finished, 9 to do", plan.stdout)
    test = yaml.safe_load((finished.path / "test.yaml").read_text())
    finished.configure(test | {"chapters": ["digits", CHAPTER]})
    done = finished.snakemake()
    assert done.returncode == 0, done.stderr
    assert "rule: train" not in done.stdout + done.stderr or "digits/cnn/pugd" not in done.stderr
    table = pd.read_csv(finished.path / target).set_index("method")
    assert list(table["seeds_finished"]) == [3, 3, 3]
    zeros = table["final_train_loss_mean"]
    assert zeros["l1_strength-0.01_5"] > zeros["l1_5"], "the penalty keeps the loss up"
    report = (finished.results / "report.html").read_text()
    assert "l1_strength-1e-3_5" in report and "Does an L1 penalty" in report
    status = finished.results.parent / "results"
    records = sorted(status.glob("runs/digits_noise-0.2/cnn/l1*/seed*/record.json"))
    assert len(records) == 9
    verify = finished.snakemake("--config", "verify={retrain: 2, seed: 1}", "--", "verify")
    assert verify.returncode == 0, verify.stdout + verify.stderr
    assert verify.stdout.count("the same bits") == 2
