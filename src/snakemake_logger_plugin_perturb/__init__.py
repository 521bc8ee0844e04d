"""What `make` shows while Snakemake works: `snakemake --logger perturb`.

Snakemake finds its logger plugins by the name of their package, which is why this one stands beside
`perturb` and not in it. What is shown is in `perturb.jobs.display`.

Snakemake imports this file at every start, before it reads a configuration: what is wrong with one
is said here, for Snakemake's own message names neither file nor line.
"""

import json
import sys
from collections.abc import Sequence
from logging import LogRecord
from pathlib import Path
from typing import Any

import yaml
from snakemake_interface_logger_plugins.base import LogHandlerBase

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # perturb's: its words are others


def stop_if_broken(arguments: Sequence[str]) -> None:
    """Stop with one message where a `--configfile` of Snakemake's arguments does not parse.

    The words are those of `perturb.config_files`, without perturb: a checkout's Snakefile decides
    which one is imported. Snakemake takes JSON, too, whatever it is indented with.
    """
    taking = False
    for argument in arguments:
        if argument.startswith("-"):
            option, _, given = argument.partition("=")
            taking, argument = option in ("--configfile", "--configfiles"), given
        if not (taking and argument):
            continue
        try:
            text = Path(argument).read_text(encoding="utf-8")
            yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            if not _is_json(text):
                sys.exit(f"perturb: {says(argument, error)}")
        except (OSError, ValueError, yaml.YAMLError):
            continue  # Snakemake names it


def says(path: str, error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong with a file, as `perturb.config_files` says it."""
    mark, begun = error.problem_mark, error.context_mark
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    since = f" {error.context}, begun in line {begun.line + 1}" if error.context and begun else ""
    return (
        f"{path}{where}: does not parse as YAML: {error.problem}{since}. Mend that line; indent "
        "with spaces, close every bracket and quotation mark."
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


if any(argument.startswith("--configfile") for argument in sys.argv):
    stop_if_broken(sys.argv[1:])


class LogHandler(LogHandlerBase):
    """Hands Snakemake's events on to the display; what fails in there stops no workflow."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Make the display. Every Snakemake imports this file, few of them show anything."""
        from perturb.jobs.display import Display

        self.display = Display()

    def emit(self, record: LogRecord) -> None:
        """Show an event."""
        try:
            self.display.handle(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """End the display; Snakemake and Python's logging both ask for it."""
        self.display.close()
        super().close()
