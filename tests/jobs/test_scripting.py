"""A user's error and a failing disk are one message and exit 1; a defect keeps its traceback."""

import subprocess
import sys

import pytest

from perturb.errors import PerturbError
from perturb.jobs.scripting import user_errors


@pytest.mark.parametrize("error", [PerturbError("put it there"), OSError(28, "No space", "a.npz")])
def test_the_message_goes_to_the_log_and_to_the_terminal(tmp_path, capsys, error):
    log = tmp_path / "logs" / "job.log"
    with pytest.raises(SystemExit) as ended, user_errors(str(log)):
        print("working", file=sys.stderr)
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"perturb: {error} (log: {log})\n"
    assert log.read_text() == f"working\nperturb: {error}\n"


def test_a_defect_keeps_its_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError), user_errors(str(tmp_path / "job.log")):
        1 / 0  # noqa: B018


def test_a_log_on_a_full_disk_is_one_message_too():
    code = (
        "import sys; from perturb.jobs.scripting import user_errors\n"
        "with user_errors('/dev/full'): print('epoch 1', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "perturb: /dev/full: [Errno 28] No space left on device\n"
