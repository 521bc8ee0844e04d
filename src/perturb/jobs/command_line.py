"""Commands that a user can repeat, as texts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

# Keys that choose what a target of its own does, and change no result.
_OF_A_COMMAND = frozenset(
    ("target", "budget", "gpus", "verify", "artefact", "plan", "save_seconds")
)


def of_target(target: str, given: str) -> str:
    """Return the command that makes a target; `given` is what `configuration` returned."""
    return " ".join(filter(None, ["snakemake --cores 1", given, "--", shlex.quote(target)]))


def configuration(files: Iterable[str], values: Mapping[str, Any]) -> str:
    """Return Snakemake's options for configuration files, and for keys given on the command line.

    `--configfile mine.yaml --config 'seeds=[0, 1]'`, quoted for a shell; "" where there are none.
    """
    told = [f"{k}={json.dumps(v)}" for k, v in values.items() if k not in _OF_A_COMMAND]
    named = list(files)
    words = ["--configfile", *named] if named else []
    words += ["--config", *told] if told else []
    return shlex.join(words)
