"""`lr` and `learning_rate` are one setting: what the user writes holds, under either name."""

import subprocess
import sys

import pytest
import yaml

RUN = "results/runs/digits/cnn/sgd_30/seed0/record.json"
WHOLE = {"train": {"lr": 0.003}}
OF_ENTRY = {"rts": {"datasets": {"digits": {"train": {"lr": 0.003}}}}}


def planned(root, folder, values, *config):
    """Return the learning rate that Snakemake would hand to the job of a run of digits."""
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "-n"]
    command += [
        "--directory",
        str(root),
        "--cores",
        "1",
        "--nolock",
        "--quiet",
        "host",
        "--printshellcmds",
    ]
    command += ["--configfile", str(folder / "mine.yaml"), "--config", "chapters=[digits]"]
    command += [*config, f"pathvars={{results: {folder}/results}}"]
    command += ["--", RUN.replace("results", f"{folder}/results", 1)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("values", [WHOLE, OF_ENTRY, {"train": {"learning_rate": 0.003}}])
def test_the_learning_rate_of_a_user_holds_whatever_it_is_called(root, tmp_path, values):
    said = planned(root, tmp_path, values)
    assert '"learning_rate": 0.003' in said, said


def test_on_the_command_line_too(root, tmp_path):
    assert '"learning_rate": 0.02' in planned(root, tmp_path, {"seeds": [0]}, "train={lr: 0.02}")


def test_two_of_a_users_own_are_refused(root, tmp_path):
    said = planned(root, tmp_path, WHOLE, "train={learning_rate: 0.02}")
    assert "lr 0.003 and learning_rate 0.02 are two names of one setting" in said
