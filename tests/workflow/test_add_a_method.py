"""docs/add-a-method.md, followed to the letter, puts a method of a new kind in the table."""

import re
import textwrap

import pandas as pd


def test_a_file_and_a_row_put_a_new_method_in_the_table(make_checkout, root):
    checkout = make_checkout(values={"seeds": [0], "partial_results": True})
    page = (root / "docs" / "add-a-method.md").read_text()
    path = re.search(r"`(src/perturb/optim/rules/\w+\.py)`", page)[1]
    blocks = re.findall(r"^   ```(\w+)\n(.*?)^   ```", page, flags=re.S | re.M)
    code, row = (
        next(text for kind, text in blocks if kind == wanted) for wanted in ("python", "yaml")
    )
    (checkout.path / path).write_text(textwrap.dedent(code))
    study = checkout.path / "config" / "studies" / "rts.yaml"
    text = study.read_text()
    anchor = "        - {method: sgd_30}\n"
    assert anchor in text
    study.write_text(text.replace(anchor, anchor + row))

    name = re.search(r"method: (\w[\w.]+)", row)[1]
    # The table's costs are over those of SGD, so that one is trained, too.
    runs = [f"results/runs/digits/cnn/{method}/seed0/record.json" for method in (name, "sgd_30")]
    done = checkout.snakemake("--", *runs)
    assert done.returncode == 0, done.stderr
    done = checkout.snakemake("--", "results/tables/digits.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(checkout.results / "tables" / "digits.csv").set_index("method")
    finished = table.index[table["seeds_finished"] == 1]
    assert sorted(finished) == sorted([name, "sgd_30"])
    assert table.loc["sgd_30", "gradient_evaluations_relative_to_sgd"] == 1
    assert table.loc[name, "gradient_evaluations_relative_to_sgd"] == 2
    assert table.loc[name, "last_epoch_test_accuracy_mean"] > 0.9
