"""Where the time went: the benchmark files of jobs, added up by what they made."""

import pytest

from perturb.__main__ import main
from perturb.times import collect

HEAD = "s\th:m:s\tmax_rss\n"


def write(path, *seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(f"{s}\t0:00:00\t1\n" for s in seconds))


def test_what_took_longest_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "benchmarks"
    for seed, seconds in enumerate((2.0, 4.0, 9.0)):
        write(folder / f"runs/digits/cnn/pugd_30/seed{seed}.tsv", seconds)
    write(folder / "landscapes/digits/cnn/pugd_30/seed0/plane0.tsv", 3.0)
    write(folder / "landscapes/digits/cnn/pugd_30/seed0/plane1.tsv", 1.0, 2.0)  # made twice
    write(folder / "report.tsv", 0.0)
    main(["times"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["part", "jobs", "seconds", "share", "median", "longest"]
    assert lines[1] == ["runs/digits", "3", "15.0", "75.0%", "4.0", "9.0"]
    assert lines[2] == ["landscapes/digits,", "plane", "2", "5.0", "25.0%", "2.5", "3.0"]
    assert lines[3] == ["report", "1", "0.0", "0.0%", "0.0", "0.0"]
    assert lines[4] == ["all", "6", "20.0"]


def test_landscapes_of_all_networks_count_together(tmp_path):
    folder = tmp_path / "landscapes/photo_patches/embedding_small/core_8/seed0"
    for stem in ("plane0", "plane1", "plane0_net1", "plane12_net1"):
        write(folder / f"{stem}.tsv", 1.0)
    write(folder / "trajectory.tsv", 1.0)
    write(folder / "trajectory_net1.tsv", 1.0)
    found = collect(tmp_path)
    parts = {part.rpartition(", ")[2]: len(seconds) for part, seconds in found.items()}
    assert parts == {"plane": 4, "trajectory": 2}


def test_no_benchmark_files_is_one_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"perturb: results/benchmarks: no benchmark files"):
        main(["times"])
