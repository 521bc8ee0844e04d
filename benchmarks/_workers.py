"""Processes of their own that do a piece of work whenever they are told, for side-by-side times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

Work = Callable[[], object]


@contextmanager
def worker(make: Callable[..., Work], *arguments: object) -> Iterator[Connection]:
    """Start a process that makes its work by `make(*arguments)`, and end it after the block.

    `make` is a module's function, which the process imports.
    """
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(there, make, arguments))
    process.start()
    there.close()
    try:
        here.recv()  # it is ready
        yield here
        here.send(False)
    finally:
        here.close()
        process.join()


@contextmanager
def workers(makes: Sequence[tuple[object, ...]]) -> Iterator[list[Connection]]:
    """Start several at once: a tuple each, of the function and its arguments."""
    with ExitStack() as stack:
        yield [stack.enter_context(worker(*each)) for each in makes]


def together(connections: Sequence[Connection]) -> float:
    """Return the seconds until all have done their work once, side by side."""
    start = time.perf_counter()
    for connection in connections:
        connection.send(True)
    for connection in connections:
        connection.recv()
    return time.perf_counter() - start


def _serve(connection: Connection, make: Callable[..., Work], arguments: tuple) -> None:
    work = make(*arguments)
    work()  # a warm-up
    connection.send(None)
    while connection.recv():
        work()
        connection.send(None)
