"""What is asked for of an artefact: the section `artefact` of the configuration."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path

import msgspec

from perturb.config import Config
from perturb.errors import PerturbError


class ArtefactSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What goes in, and what the archive says of itself.

    Args:
        checkpoints: shell patterns of the weights that go in, below `runs` of the results.
        data: whether the prepared images go in.
        published: the date of publication, as 2026-01-31; "" for that of the last commit.
        licence: of the archive, by its SPDX identifier.
        authors: their names.
    """

    checkpoints: tuple[str, ...] = ()
    data: bool = True
    published: str = ""
    licence: str = "MIT"
    authors: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config) -> ArtefactSettings:
        """Return the settings of a configuration."""
        return msgspec.convert(config.values.get("artefact", {}), cls)

    def date(self, root: Path) -> str:
        """Return the date of publication; never today's, for the same content is the same archive.

        Raises PerturbError where none is given and there is no commit.
        """
        given = self.published or _date_of_commit(root)
        if not given:
            raise PerturbError(
                "config, artefact.published: there is no commit whose day could stand for that of "
                "publication. Give it: `artefact: {published: '2026-01-31'}`."
            )
        try:
            return date.fromisoformat(given).isoformat()
        except ValueError:
            raise PerturbError(
                f"config, artefact.published: {given!r} is no day such as '2026-01-31'."
            ) from None


def _date_of_commit(root: Path) -> str:
    """Return the day of a checkout's last commit, "" where there is none."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%cs"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
