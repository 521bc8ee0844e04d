"""Scripts run in forks of a server that has PyTorch, as Snakemake's jobs do."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from perturb.jobs import forkserver

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="process handles need Linux")

HEAD = "from perturb.jobs.forkserver import hand_over\nhand_over()\nimport os, signal, sys, time\n"
# What a script sees of its place: the server's number, its own, and whether PyTorch came with it.
PLACE = "print(os.getppid(), os.getpid(), 'torch' in sys.modules)"


class Jobs:
    """Scripts of one owner, which stands for a Snakemake process."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.owner = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        self.environment = os.environ | {
            forkserver.OWNER: str(self.owner.pid),
            "TMPDIR": str(folder),
        }

    def start(self, body, **environment):
        script = self.folder / f"script{time.monotonic_ns()}.py"
        script.write_text(HEAD + body)
        return subprocess.Popen(
            [sys.executable, script],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, body, **environment):
        process = self.start(body, **environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def place(self):
        code, out, err = self.run(PLACE)
        assert code == 0, err
        server, own, preloaded = out.split()
        return int(server), int(own), preloaded

    def end(self):
        self.owner.communicate()


@pytest.fixture
def make_jobs(tmp_path_factory):
    made = []

    def make():
        made.append(Jobs(tmp_path_factory.mktemp("jobs")))
        return made[-1]

    yield make
    for jobs in made:
        jobs.end()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    made = Jobs(tmp_path_factory.mktemp("jobs"))
    yield made
    made.end()


def is_there(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_jobs_are_processes_of_their_own_with_one_import(jobs):
    first, second = jobs.place(), jobs.place()
    assert first[0] == second[0] != os.getpid()
    assert first[1] != second[1]
    assert first[2] == second[2] == "True"


def test_edited_code_is_what_the_next_job_runs(make_jobs):
    jobs = make_jobs()
    source = jobs.folder / "src"
    shutil.copytree(Path(forkserver.__file__).parent.parent, source / "perturb")
    jobs.environment["PYTHONPATH"] = str(source)
    body = (
        "before = 'perturb.random' in sys.modules\n"
        "from perturb import code, random\n"
        "print(before, hasattr(random, 'MARK'), code.of('perturb.random'))"
    )
    first, again = jobs.run(body), jobs.run(body)
    assert first == again and first[1].startswith("True False")
    with open(source / "perturb/random.py", "a") as file:
        file.write("\nMARK = 1\n")
    code, out, err = jobs.run(body)
    assert (code, err) == (0, "")
    assert out.startswith("False True") and out.split()[2:] != first[1].split()[2:]


def test_a_job_has_the_folder_environment_and_path_of_its_process(jobs):
    body = "print(os.getcwd(), os.environ['MARK'], sys.argv[0] == __file__, sys.path[0])"
    code, out, err = jobs.run(body, MARK="here")
    assert (code, out, err) == (0, f"{jobs.folder} here True {jobs.folder}\n", "")


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('a message')", 1, "a message\n"),
        ("print('before', file=sys.stderr)", 0, "before\n"),
    ],
)
def test_a_job_ends_as_its_script_does(jobs, body, code, said):
    assert jobs.run(body) == (code, "", said)


def test_an_exception_keeps_its_traceback(jobs):
    code, _, err = jobs.run("raise ValueError('what is wrong')")
    assert code == 1
    assert err.startswith("Traceback") and err.endswith("ValueError: what is wrong\n")


def test_sigterm_reaches_the_job(jobs):
    process = jobs.start(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('up', flush=True)\n"
        "time.sleep(60)"
    )
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.wait(20) == 7


def test_a_job_that_a_signal_ends_is_seen_to_end_by_it(jobs):
    code, _, _ = jobs.run("os.kill(os.getpid(), signal.SIGKILL)")
    assert code == -signal.SIGKILL
    assert jobs.place()[2] == "True"  # and the server goes on


def test_killing_a_process_kills_its_job_and_no_other(jobs):
    body = "print(os.getpid(), flush=True)\ntime.sleep(60)"
    killed, other = jobs.start(body), jobs.start(body)
    pids = [int(process.stdout.readline()) for process in (killed, other)]
    killed.kill()
    killed.wait()
    wait_until(lambda: not is_there(pids[0]))
    assert is_there(pids[1])
    other.terminate()
    assert other.wait(20) == -signal.SIGTERM


def test_the_server_ends_with_its_owner_and_leaves_nothing(make_jobs):
    jobs = make_jobs()
    server, _, _ = jobs.place()
    running = jobs.start(
        "def save(number, frame):\n    print('saved')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    careless = jobs.start("print('up', flush=True)\ntime.sleep(60)")
    assert running.stdout.readline() == careless.stdout.readline() == "up\n"
    jobs.end()
    assert running.communicate(timeout=20)[0] == "saved\n"  # what runs may save itself
    assert careless.wait(20) == -signal.SIGTERM
    wait_until(lambda: not is_there(server))
    assert list(jobs.folder.glob("perturb-forkserver-*/*")) == []


def test_a_killed_server_takes_its_jobs_with_it_and_says_so(make_jobs):
    jobs = make_jobs()
    server, _, _ = jobs.place()
    process = jobs.start("print(os.getpid(), flush=True)\ntime.sleep(60)")
    pid = int(process.stdout.readline())
    os.kill(server, signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == "perturb: the process that jobs are forked from was killed.\n"
    wait_until(lambda: not is_there(pid))
    assert jobs.place()[0] != server  # the next job starts another


def test_a_server_can_start_before_the_first_job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    script = folder / "script.py"
    script.write_text(HEAD + PLACE)
    code = f"""
        import os, subprocess, sys
        from perturb.jobs import forkserver
        forkserver.start()  # of no Snakemake: there is none
        assert not os.listdir(forkserver._folder())
        forkserver.serve_jobs_of_this_process()
        forkserver.start()
        assert any(name.endswith(".socket") for name in os.listdir(forkserver._folder()))
        subprocess.run([sys.executable, {str(script)!r}], check=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[2] == "True"


def test_a_folder_too_long_for_a_socket_is_not_used(tmp_path_factory, monkeypatch):
    short = tmp_path_factory.mktemp("jobs")
    for folder, used in ((short, short), (short / ("x" * 80), Path("/tmp"))):
        monkeypatch.setenv("TMPDIR", str(folder))
        assert forkserver._folder() == str(used / f"perturb-forkserver-{os.getuid()}")


def test_without_a_server_a_job_runs_by_itself(make_jobs):
    jobs = make_jobs()
    open_to_all = jobs.folder / f"perturb-forkserver-{os.getuid()}"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o777)
    code, out, err = jobs.run(PLACE)
    assert code == 0
    assert out.split()[0] == str(os.getpid())
    assert err.startswith("perturb: this job imports PyTorch itself") and str(open_to_all) in err
