"""envs/install.sh, with a Python that only tells what it was asked for."""

import os
import shutil
import subprocess

import pytest

PYTHON = """#!/bin/sh
[ "$1" != -V ] || exec echo "Python 3.11.9"
case " $* " in
    *" -m pip install "*) ;;
    *) exit 0 ;;
esac
case " $* " in
    *" --quiet "*) ;;
    *) for i in 1 2 3 4 5 6 7 8; do echo "Collecting package $i"; done ;;
esac
if [ -e fails ]; then
    echo "ERROR: no such package" >&2
    exit 1
fi
"""


@pytest.fixture
def install(root, tmp_path):
    """Return what sets up an environment that was made before, for another lock file."""
    (tmp_path / "envs").mkdir()
    for name in ("install.sh", "requirements.txt", "slurm.txt"):
        shutil.copy(root / "envs" / name, tmp_path / "envs" / name)
    shutil.copy(root / "pyproject.toml", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    here = os.path.realpath(tmp_path)
    (tmp_path / ".venv" / ".ready").write_text(f"# Python 3.11.9 in {here}\nolder lines\n")

    def run(*extra):
        command = ["bash", str(tmp_path / "envs" / "install.sh"), *extra]
        return subprocess.run(command, capture_output=True, text=True)

    return run


def test_a_set_up_is_a_few_lines_that_say_how_long_it_takes(install):
    done = install("slurm")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 4 and not done.stderr
    assert "It takes minutes" in lines[0] and "6 GB" in lines[0]
    assert any(line.startswith("Set-up is complete") for line in lines)
    assert not install("slurm").stdout


def test_what_fails_is_still_said(install, tmp_path):
    (tmp_path / "fails").touch()
    done = install()
    assert done.returncode != 0
    assert "ERROR: no such package" in done.stderr
    assert "Set-up did not finish; the reason is above." in done.stderr
