"""Files of a configuration: what is wrong with one is told with its file and line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perturb.config_files import check_files, folders, merged, read
from perturb.errors import PerturbError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\nchapters: [a]\nseeds: [1]\n", "'seeds' stands twice, in lines 1 and 3."),
        ("rts:\n  a: 1\n  b:\n    c: 1\n    c: 2\n", "'c' stands twice in rts.b, in lines 4 and 5"),
        ("rts: [{method: a, method: b}]\n", "'method' stands twice in rts, in lines 1 and 1."),
        ('{"seeds": [0], "seeds": [1]}', "'seeds' stands twice, in lines 1 and 1."),
        ("seeds: [0, 1\nchapters: [a]\n", "line 2, column 9: does not parse as YAML"),
        ("a: 'open\n", "line 2, column 1: does not parse as YAML"),
        ("a:\n\tb: 1\n", "line 2: a tab stands at the beginning of the line"),
        ("a:\n  b: 1\n  \tc: 2\n", "line 3: a tab stands at the beginning of the line"),
        ("a: *nowhere\n", "line 1, column 4: does not parse as YAML"),
        ("- a\n- b\n", "no configuration. Write keys with their values"),
        ("a: \x07\n", "does not parse as YAML"),
        ("a: &a {b: *a}\n", "line 1: what begins there stands within itself, by an alias"),
        ("a: 1\nb: &b [1, {c: [*b]}]\n", "line 2: what begins there stands within itself"),
        ("seeds: [010]\n", "line 1: YAML reads 010 as 8. Write the number that is meant"),
        ("a: 1\nb: 1:30\n", "line 2: YAML reads 1:30 as 90."),
        ("a: 1:30.5\n", "line 1: YAML reads 1:30.5 as 90.5."),
    ],
)
def test_what_is_wrong_is_one_message_with_file_and_line(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(PerturbError) as error:
        check_files([path])
    assert str(error.value).startswith(str(path)) and message in str(error.value)
    assert "\n" not in str(error.value)


def test_text_of_another_encoding_is_said(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"title: \xe9\n")
    with pytest.raises(PerturbError, match="no UTF-8 text"):
        read(path)


def test_numbers_and_texts_as_they_are_meant_are_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: [0, 0.5, -10, 1e-3, '010', \"1:30\", 10:a, 90m, 0x10]\n")
    assert read(path)["a"] == [0, 0.5, -10, "1e-3", "010", "1:30", "10:a", "90m", 16]


def test_aliases_and_merges_are_no_second_key(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &one {x: 1}\nb: *one\nc: {<<: *one, x: 2}\nd: &e [*one]\n")
    assert read(path) == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 2}, "d": [{"x": 1}]}


def test_every_file_of_the_project_is_read_and_a_later_one_goes_before(root, tmp_path):
    files = [*sorted(root.glob("config/studies/*.yaml")), root / "config" / "config.yaml"]
    check_files([*files, root / "config" / "smoke.yaml"])
    own = tmp_path / "own.yaml"
    own.write_text("seeds: [7]\ntrain: {batch_size: 3}\n")
    found = merged([*files, own])
    assert found["seeds"] == [7] and found["train"]["batch_size"] == 3
    assert found["train"]["momentum"] == 0.9


def test_a_configuration_says_where_its_results_are(root, tmp_path):
    assert folders(root, [])[:2] == (Path("results"), Path("results/logs"))
    own = tmp_path / "own.yaml"
    own.write_text("pathvars: {results: results/mine}\n")
    assert folders(root, [own])[:2] == (Path("results/mine"), Path("results/mine/logs"))
    own.write_text("pathvars: {results: /there, logs: <results>/said}\n")
    assert folders(root, [own])[:2] == (Path("/there"), Path("/there/said"))
    assert folders(root, [root / "config" / "smoke.yaml"])[0] == Path("results/smoke")


def test_make_asks_the_configuration_where_its_results_are(root, tmp_path):
    (tmp_path / "config").symlink_to(root / "config")
    (tmp_path / "Makefile").symlink_to(root / "Makefile")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "own.yaml").write_text("pathvars: {results: results/mine}\n")
    (tmp_path / "results" / "mine").mkdir(parents=True)
    # Make takes the variable away, so that nothing of the user's own shadows what is locked.
    text = (tmp_path / "Makefile").read_text().replace("unexport PYTHONPATH", "unexport")
    (tmp_path / "own.mk").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = ["make", "-f", "own.mk", "status"]
    for arguments, said in ((["CONFIG=own.yaml"], "no run has begun"), ([], "no run has begun")):
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert said in done.stdout, done.stderr
    (tmp_path / "own.yaml").write_text("pathvars: {results: nowhere}\n")
    done = subprocess.run(
        [*command, "CONFIG=own.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "perturb: no folder nowhere." in done.stderr


@pytest.mark.parametrize(
    "given", [["--configfile", "{}"], ["--configfile={}"], ["--configfiles", "{}"]]
)
def test_snakemake_itself_says_where_a_file_does_not_parse(root, tmp_path, given):
    (tmp_path / "broken.yaml").write_text("seeds: [0, 1\nchapters: [a]\n")
    arguments = [text.format(tmp_path / "broken.yaml") for text in given]
    command = [sys.executable, "-m", "snakemake", "--dry-run", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    checked = subprocess.run(
        [sys.executable, "-m", "perturb", "check", str(tmp_path / "broken.yaml")],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert "broken.yaml, line 2, column 9: does not parse as YAML" in checked.stderr
    assert (done.stdout, done.stderr) == ("", checked.stderr)


def test_json_that_is_no_yaml_is_left_to_snakemake(tmp_path):
    """YAML has no tabs, JSON has."""
    (tmp_path / "tabs.json").write_text('{\n\t"a": 1\n}')
    (tmp_path / "tabs.yaml").write_text("a:\n\tb: 1\n")
    plugin = "import snakemake_logger_plugin_perturb as p, sys; p.stop_if_broken(sys.argv[1:])"
    for name, code in (("tabs.json", 0), ("tabs.yaml", 1)):
        command = [sys.executable, "-c", plugin, "--configfile", str(tmp_path / name)]
        assert subprocess.run(command, capture_output=True).returncode == code


def test_a_clone_that_is_not_set_up_says_so(root, tmp_path):
    """Of what needs .venv, `status` alone does not make it."""
    (tmp_path / "Makefile").write_text((root / "Makefile").read_text())
    done = subprocess.run(["make", "status"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "there is no .venv here. Run 'make setup' first" in done.stderr
    assert "not found" not in done.stderr
