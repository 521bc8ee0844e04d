"""What `make` shows while Snakemake works: `snakemake --logger perturb`.

Snakemake finds its logger plugins by the name of their package, which is why this one stands beside
`perturb` and not in it. What is shown is in `perturb.jobs.display`.

Snakemake imports this file at every start, before it reads a configuration: what is wrong with one
is said here, for Snakemake's own message names neither file nor line.
"""

import sys
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase

if any(argument.startswith("--configfile") for argument in sys.argv):
    from perturb.config_files import say_broken

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
