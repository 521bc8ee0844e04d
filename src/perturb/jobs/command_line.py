"""Commands that a user can repeat, as texts."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Keys that choose what a target of its own does, and change no result.
_OF_A_COMMAND = frozenset(
    ("target", "budget", "gpus", "verify", "artefact", "plan", "save_seconds")
)


def of_target(target: str, given: str, force: bool = False) -> str:
    """Return the command that makes a target; `given` is what `configuration` returned.

    `force` makes what Snakemake would take as made.
    """
    forced = "--force" if force else ""
    return " ".join(filter(None, ["snakemake --cores 1", given, forced, "--", shlex.quote(target)]))


def told_by(path: Path, target: str) -> str | None:
    """Return the configuration that a file's command for a target tells; None where it has none.

    It is what was `given` when the file was made: a page of HTML, or another text.
    """
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    # A page has libraries on lines of a million characters, so that no pattern begins at will.
    command = rf"snakemake --cores 1(?: ([^\n]*?))? -- {re.escape(shlex.quote(target))}(?![\w./-])"
    commands = re.findall(command, text)
    if not commands:
        return None
    return html.unescape(commands[-1]) if path.suffix == ".html" else commands[-1]


def configuration(files: Iterable[str], values: Mapping[str, Any]) -> str:
    """Return Snakemake's options for configuration files, and for keys given on the command line.

    `--configfile mine.yaml --config 'seeds=[0, 1]'`, quoted for a shell; "" where there are none.
    """
    told = [f"{k}={json.dumps(v)}" for k, v in values.items() if k not in _OF_A_COMMAND]
    named = list(files)
    words = ["--configfile", *named] if named else []
    words += ["--config", *told] if told else []
    return shlex.join(words)
