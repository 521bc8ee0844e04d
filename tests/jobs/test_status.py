"""What `perturb.jobs.status` makes of the files of runs, finished or not."""

import json
import subprocess
import sys

import pytest

from perturb.files import write_json
from perturb.jobs import status
from perturb.jobs.progress import Progress

NOW = 1_000_000.0


@pytest.fixture
def begin(tmp_path):
    """Write a run's progress: `epochs` of 10 epochs, 2 s each, the last one `ago` seconds ago."""

    def make(name, epochs=0, ago=0.0, end=None, record=None, said="", measure="mAP"):
        log = tmp_path / "logs" / "runs" / f"digits/cnn/{name}/seed0.log"
        log.parent.mkdir(parents=True)
        log.write_text(said)
        first = NOW - ago - 2 * epochs
        lines = [{"start": 0, "of": 10, "time": first}]
        lines += [
            {
                "epoch": e,
                "of": 10,
                "measures": {"train_loss": 1.0, measure: e / 10},
                "shown": measure,
                "seconds": 2,
                "time": first + 2 * e + 2,
            }
            for e in range(epochs)
        ]
        lines += [{"end": end, "message": "why it ended", "time": NOW}] if end else []
        if not said:
            text = "".join(json.dumps(line) + "\n" for line in lines)
            log.with_suffix(".progress.jsonl").write_text(text)
        if record:
            path = tmp_path / "runs" / f"digits/cnn/{name}/seed0/record.json"
            path.parent.mkdir(parents=True)
            write_json(path, {"epochs_completed": epochs, **record})

    return make


def found(folder):
    return {run.name.split("/")[2]: run for run in status.collect(folder, now=NOW)}


def test_each_state_is_told_from_the_files(begin, tmp_path):
    begin("done_10", 10, record={"status": "ok"})
    begin("diverged_10", 3, record={"status": "diverged", "diverged_at_step": 17})
    begin("running_10", 4, ago=1)
    begin("first_10")
    begin("stalled_10", 4, ago=100)
    begin("stopped_10", 4, end="stopped")
    begin("failed_10", 4, end="failed")
    begin("refused_10", said="epoch\nperturb: no such file\n")
    runs = found(tmp_path)
    states = {name: run.state for name, run in runs.items()}
    assert states.pop("refused_10") == "failed" and states.pop("first_10") == "running"
    assert all(name == f"{state}_10" for name, state in states.items()), states
    assert runs["running_10"].left == 2 * 6 - 1
    text = status.table(status.collect(tmp_path, now=NOW))
    assert text.splitlines()[1].split()[1] == "running"
    for said in ("at step 17", "no line for 2 min", "why it ended", "no such file", "▁▃▆█"):
        assert said in text
    summary = "8 runs: 2 running, 1 stalled, 1 stopped, 2 failed, 1 diverged, 1 done; 11 s until"
    assert text.splitlines()[-1].startswith(summary)


def test_each_run_shows_its_own_measure(begin, tmp_path):
    begin("classifier_10", 5, ago=1, measure="test_accuracy")
    begin("toy_10", 8, ago=1, measure="loss_decrease")
    begin("first_10")
    runs = found(tmp_path)
    assert runs["toy_10"].shown == "loss_decrease"
    assert runs["toy_10"].curve == tuple(e / 10 for e in range(8))
    assert (runs["first_10"].shown, runs["first_10"].curve) == ("", ())
    text = status.table(list(runs.values()))
    assert "5/10  test accuracy 0.4000  " in text and "8/10  loss decrease 0.7000  " in text


def test_a_finished_run_whose_method_no_longer_parses_says_so(begin, tmp_path):
    begin("foo_2", 2, record={"status": "ok"})
    begin("pugd_2", 2, record={"status": "ok"})
    runs = found(tmp_path)
    assert runs["foo_2"].state == "done" and runs["pugd_2"].note == ""
    assert "no method of today: method 'foo_2': 'foo' does not parse" in runs["foo_2"].note
    assert "foo" in status.table(list(runs.values()))


def test_epochs_trained_twice_are_read_once(tmp_path):
    path = tmp_path / "seed0.progress.jsonl"
    progress = Progress(path, 4)
    for first, last in ((0, 3), (2, 3)):
        progress.start(first)
        for epoch in range(first, last):
            progress.epoch(epoch, {"train_loss": 1.0, "mAP": 0.5}, "mAP", 1.0)
    with path.open("a") as file:
        file.write('{"epoch": 3, "of": 4, "train_l')
    progress.start(3)
    epochs, start, end = status.read(path)
    assert [json.loads(line)["epoch"] for line in epochs] == [0, 1, 2]
    assert (start["start"], end) == (3, {})
    progress.end("ok")
    assert status.read(path)[2]["end"] == "ok"


def test_it_needs_no_torch_and_names_a_folder_that_is_not_there(tmp_path):
    check = (
        "import sys, perturb.jobs.status;sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
    command = [sys.executable, "-m", "perturb.jobs.status", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("perturb: no folder")
    assert status.table(status.collect(tmp_path)) == "no run has begun"


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (700, "12 min"), (12_600, "3.5 h")], ids=str
)
def test_durations(seconds, text):
    assert status.duration(seconds) == text
