"""What `make` shows while Snakemake works: `snakemake --logger perturb`.

Snakemake finds its logger plugins by the name of their package, which is why this one stands beside
`perturb` and not in it. What is shown is in `perturb.jobs.display`.

Snakemake imports this file at every start, before it reads a configuration: what is wrong with one
is said here, for Snakemake's own message names neither file nor line.
"""

import sys
from collections.abc import Sequence
from logging import LogRecord
from pathlib import Path

import yaml
from snakemake_interface_logger_plugins.base import LogHandlerBase


def say_broken(arguments: Sequence[str]) -> None:
    """Print where a `--configfile` of Snakemake's arguments does not parse.

    Without perturb: a checkout's Snakefile decides which one is imported.
    """
    taking = False
    for argument in arguments:
        if argument.startswith("-"):
            option, _, given = argument.partition("=")
            taking, argument = option in ("--configfile", "--configfiles"), given
        if not (taking and argument):
            continue
        try:
            yaml.compose(Path(argument).read_bytes(), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            print(
                f"perturb: {argument}{where}: does not parse as YAML: {error.problem}.",
                file=sys.stderr,
            )
        except (OSError, yaml.YAMLError):
            continue  # Snakemake names it


if any(argument.startswith("--configfile") for argument in sys.argv):
    say_broken(sys.argv[1:])


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
