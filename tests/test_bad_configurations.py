"""130 configurations with a mistake: one message each, before anything is written."""

import pytest

from perturb.__main__ import main
from tests.bad_configurations import VALID, bad_configuration
from tests.workflow.test_your_own_study import make_photographs


@pytest.fixture(scope="module")
def checkout(root, tmp_path_factory):
    """A folder with the photographs, where the checkout's own configuration is read."""
    folder = tmp_path_factory.mktemp("bad")
    make_photographs(folder / "photographs", 16)
    (folder / "config").symlink_to(root / "config")
    return folder


def said_of(checkout, monkeypatch, text, capsys):
    """Return what `python -m perturb check` says, and whether it refuses."""
    monkeypatch.chdir(checkout)
    (checkout / "own.yaml").write_text(text, encoding="utf-8")
    try:
        main(["check", "own.yaml"])
    except SystemExit as refused:
        return str(refused.code), True
    return capsys.readouterr().out, False


def test_without_a_mistake_it_is_taken(checkout, monkeypatch, capsys):
    import yaml

    said, refused = said_of(checkout, monkeypatch, yaml.safe_dump(VALID), capsys)
    assert not refused and "faces: 9 runs, 1 landscapes" in said


@pytest.mark.parametrize("seed", range(132))
def test_a_mistake_is_one_message_and_nothing_is_written(checkout, monkeypatch, capsys, seed):
    kind, text = bad_configuration(seed)
    before = sorted(path.name for path in checkout.iterdir() if path.name != "own.yaml")
    said, refused = said_of(checkout, monkeypatch, text, capsys)
    assert refused, f"{kind} is taken"
    assert said.startswith("perturb: ") and "\n" not in said.rstrip(), (kind, said)
    assert 20 < len(said) < 700, (kind, said)
    assert sorted(p.name for p in checkout.iterdir() if p.name != "own.yaml") == before
