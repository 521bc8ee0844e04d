"""Estimates are read back where they belong to the job, and made anew where they do not."""

import pytest
import torch

from perturb.gradients import kept
from perturb.gradients.kept import Kept
from perturb.jobs.packs import FINISHED


@pytest.fixture
def keep_all(monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", -1.0)


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


@pytest.mark.usefixtures("keep_all")
def test_a_finished_job_forgets_or_marks_what_it_kept(tmp_path):
    folder = tmp_path / "states" / "one"
    (tmp_path / "other").touch()
    keeper = Kept(folder, {"seed": 0})
    keeper("one", lambda: {"gradient": torch.ones(2)})
    assert keeper.count == 1
    keeper.finish(keep=True)
    assert (folder / FINISHED).exists() and keeper.count == 1
    again = Kept(folder, {"seed": 0})
    _, seconds = again("one", lambda: pytest.fail("it was made before"))
    assert again.found_seconds == seconds > 0
    again.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    Kept().finish()
