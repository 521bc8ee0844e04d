"""Files of a configuration: what is wrong with one is told with its file and line."""

import pytest

from perturb.config_files import check_files, merged, read
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
        ("a:\n\tb: 1\n", "line 2, column 1: does not parse as YAML"),
        ("a: *nowhere\n", "line 1, column 4: does not parse as YAML"),
        ("- a\n- b\n", "no configuration. Write keys with their values"),
        ("a: \x07\n", "does not parse as YAML"),
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
