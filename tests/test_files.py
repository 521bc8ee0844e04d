"""Files that are whole or absent, whoever is killed while writing them."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import pytest

from perturb.files import write_atomically, write_text

WRITER = """
import sys
from perturb.files import write_atomically
with write_atomically(sys.argv[1], "w") as file:
    file.write("half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
    file.write(" and whole")
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing `table.csv`."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), tmp_path / "table.csv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"writing\n"
    for file in tmp_path.iterdir():  # as if it had begun a minute ago
        os.utime(file, (0, 0))
    yield process
    process.kill()
    process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path, writer):
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    abandoned = f".table.csv.{writer.pid}.tmp"
    assert names(tmp_path) == [abandoned]
    write_text(tmp_path / "other.csv", "another file")
    assert abandoned in names(tmp_path)
    write_text(tmp_path / "table.csv", "whole")
    assert names(tmp_path) == ["other.csv", "table.csv"]


def test_another_writer_that_lives_is_left_alone(tmp_path, writer):
    write_text(tmp_path / "table.csv", "mine")
    assert f".table.csv.{writer.pid}.tmp" in names(tmp_path)
    writer.communicate(b"")
    assert (tmp_path / "table.csv").read_text() == "half and whole"
    assert names(tmp_path) == ["table.csv"]


def test_an_exception_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "before")
    with pytest.raises(RuntimeError), write_atomically(path, "w") as file:
        file.write("after")
        raise RuntimeError
    assert (names(tmp_path), path.read_text()) == (["table.csv"], "before")


def test_a_folder_that_others_remove_while_it_is_empty_is_made_again(tmp_path):
    folder = tmp_path / "failed" / "figures"
    stop = threading.Event()

    def remove():
        while not stop.is_set():
            with suppress(OSError):
                os.removedirs(folder)
            stop.wait(1e-4)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for number in range(2000):
            write_text(folder / "accuracy", str(number))
            (folder / "accuracy").unlink()
    finally:
        stop.set()
        remover.join()
