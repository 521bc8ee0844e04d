"""A job that was cut off goes on after the last estimate that it had finished."""

import pytest
import torch

from perturb.gradients import kept, toy
from perturb.gradients.kept import Kept

from .conftest import NAMES, run


@pytest.fixture
def keep_all(monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", -1.0)


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("keep_all")
def test_a_toy_goes_on_to_the_same_bytes(smoke, records, tmp_path, monkeypatch, capsys):
    made, estimates = [], toy.estimates

    def counted(*given):
        made.append(given)
        return estimates(*given)

    def killed(*given):
        if len(made) == 3:
            raise Killed
        return counted(*given)

    arguments = (smoke.toys[0], smoke.seeds[0])
    monkeypatch.setattr(toy, "estimates", killed)
    with pytest.raises(Killed):
        run(*arguments, tmp_path / "cut", tmp_path / "state")
    assert len(list((tmp_path / "state").iterdir())) == 3
    capsys.readouterr()
    monkeypatch.setattr(toy, "estimates", counted)
    run(*arguments, tmp_path / "whole")
    whole = len(made) - 3
    record = run(*arguments, tmp_path / "resumed", tmp_path / "state")
    assert len(made) - 3 - whole == whole - 3
    assert capsys.readouterr().err.count("made before") == 3
    assert not (tmp_path / "state").exists()
    for name in set(NAMES) - {"timing.csv"}:
        assert record.with_name(name).read_bytes() == records[0].with_name(name).read_bytes()


@pytest.mark.usefixtures("keep_all")
def test_what_is_damaged_or_of_something_else_is_made_anew(tmp_path, capsys):
    def make(value):
        return lambda: {"gradient": torch.full((3,), value)}

    assert Kept(tmp_path, {"seed": 0})("one", make(1.0))[0]["gradient"].tolist() == [1.0] * 3
    assert Kept(tmp_path, {"seed": 0})("one", make(2.0))[0]["gradient"].tolist() == [1.0] * 3
    assert Kept(tmp_path, {"seed": 1})("one", make(3.0))[0]["gradient"].tolist() == [3.0] * 3
    assert "seed differ" in capsys.readouterr().err
    file = tmp_path / "one.npz"
    file.write_bytes(file.read_bytes()[:-40])
    assert Kept(tmp_path, {"seed": 1})("one", make(4.0))[0]["gradient"].tolist() == [4.0] * 3
    assert "damaged" in capsys.readouterr().err


def test_what_is_soon_made_again_is_not_written(tmp_path):
    Kept(tmp_path / "state")("one", lambda: {"gradient": torch.ones(2)})
    assert not (tmp_path / "state").exists()
