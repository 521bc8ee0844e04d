"""The state of an unfinished run, kept so that a killed run goes on to the same bits.

Random draws are keyed by (seed, epoch, purpose), so the end of an epoch is all there is to keep:
weights and buffers, the learner's state, the records so far, the best weights.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import safetensors.torch
import torch
from torch import Tensor

from perturb.errors import PerturbError
from perturb.files import write_atomically
from perturb.jobs.packs import FINISHED
from perturb.models.weights import load_weights, save_weights, sha256_weights
from perturb.train.driver import Outcome
from perturb.train.history import History
from perturb.train.learner import Learner

KEPT = 2


@dataclass(frozen=True)
class State:
    """A run at the end of an epoch: its outcome so far and the learner's state, on the CPU."""

    outcome: Outcome
    learner: dict[str, Any]

    @classmethod
    def of(cls, outcome: Outcome, learner: Learner) -> State:
        """Copy what training goes on to change."""
        return cls(outcome.copy(), _copied(learner.state_dict()))

    @property
    def epochs(self) -> int:
        """How many epochs have been completed."""
        return len(self.outcome.history.rows)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor and array by a name."""
        outcome = self.outcome
        found = {f"last.{name}": tensor for name, tensor in outcome.last.items()}
        if outcome.best is not outcome.last:
            found |= {f"best.{name}": tensor for name, tensor in outcome.best.items()}
        for name, series in outcome.history.arrays().items():
            found[f"batches.{name}"] = torch.from_numpy(series)
        _plain(self.learner, "learner", found)
        return found

    def numbers(self) -> dict[str, Any]:
        """Return the rest, as JSON keeps it: floats to their last bit."""
        history = self.outcome.history
        return {
            "rows": history.rows,
            "series": list(history.batches),
            "best_epoch": self.outcome.best_epoch,
            "seconds": self.outcome.seconds,
            "learner": _plain(self.learner, "learner", {}),
        }

    @classmethod
    def join(cls, tensors: Mapping[str, Tensor], numbers: dict[str, Any]) -> State:
        """Put together what `tensors` and `numbers` returned; without checkpoints."""
        parts: dict[str, dict[str, Any]] = {"last": {}, "best": {}, "batches": {}, "learner": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        batches = {name: array.numpy() for name, array in parts["batches"].items()}
        outcome = Outcome(
            History(numbers["series"], numbers["rows"], batches),
            last=parts["last"],
            best=parts["best"] or parts["last"],
            best_epoch=numbers["best_epoch"],
            seconds=numbers["seconds"],
        )
        return cls(outcome, _restored(numbers["learner"], tensors))


def _copied(value: Any) -> Any:
    """Return a learner's state whose tensors are copies on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value


# A learner's state as JSON. What JSON has no word for is an object of one key.
_TENSOR, _ITEMS, _TUPLE = "tensor", "items", "tuple"


def _plain(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a learner's state as JSON keeps it; its tensors go into `tensors`, by a name."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):  # keys may be numbers
        items = [[key, _plain(item, f"{name}.{key}", tensors)] for key, item in value.items()]
        return {_ITEMS: items}
    if isinstance(value, list | tuple):
        plain = [_plain(item, f"{name}.{at}", tensors) for at, item in enumerate(value)]
        return {_TUPLE: plain} if isinstance(value, tuple) else plain
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name}: a state holds tensors and plain values, no {type(value).__name__}")


def _restored(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what `_plain` was given."""
    if isinstance(plain, list):
        return [_restored(item, tensors) for item in plain]
    if isinstance(plain, dict):
        ((kind, value),) = plain.items()
        if kind == _TENSOR:
            return tensors[value]
        if kind == _ITEMS:
            return {key: _restored(item, tensors) for key, item in value}
        return tuple(_restored(item, tensors) for item in value)
    return plain


class StateFolder:
    """The folder of one unfinished run's states; the newest two are kept.

    A state is one file: the SHA-256 of what follows, a line of JSON, the tensors as safetensors.
    Checkpoints lie beside it, each written once. Use it as a context: a lock keeps a second
    trainer out until then.

    Args:
        path: of the folder.
        fingerprint: what the run's numbers depend on, plain values, nested; a state made by
            another one is refused.
        save_seconds: time between two saves.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any], save_seconds: float) -> None:
        self.path = path
        self.fingerprint = json.loads(json.dumps(fingerprint))
        self.save_seconds = save_seconds
        self.saved_at = time.monotonic()
        self.state: State | None = None

    @contextmanager
    def locked(self) -> Iterator[StateFolder]:
        """Hold the folder's lock; PerturbError where another process holds it.

        The lock goes with its holder, however that ends.
        """
        with _locked_file(self.path / "lock") as file:
            file.truncate(0)
            with suppress(OSError):  # a full disk: who holds it is only said for the reader
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
            try:
                yield self
            except BaseException:
                if [path.name for path in self.path.iterdir()] == ["lock"]:
                    self.finish()  # it failed before there was anything to keep
                raise

    def load(self) -> State | None:
        """Return the newest whole state, or None; it is then what `save` would write.

        A damaged one is renamed and the one before is used. PerturbError where the state was made
        by something else.
        """
        for path in self._states():
            try:
                numbers, tensors = _read(path)
            except ValueError as error:
                _set_aside(path, str(error))
                continue
            try:
                self._check(path, numbers["fingerprint"])
            except PerturbError:
                if not (self.path / FINISHED).exists():
                    raise
                self._empty()  # nothing is lost: the run is asked for anew
                return None
            state = State.join(tensors, numbers)
            if self._load_checkpoints(state, numbers["checkpoints"]):
                self.state = state
                return state
            _set_aside(path, "a checkpoint that belongs to it is missing or damaged")
        return None

    def keep(self, state: State) -> None:
        """Take note of a state, and save it where the last save was long enough ago."""
        self.state = state
        if time.monotonic() - self.saved_at >= self.save_seconds:
            self.save()

    def save(self) -> int:
        """Write the state last noted, unless it has a file; return the epochs of the newest."""
        state, self.saved_at = self.state, time.monotonic()
        path = self.path / f"epoch{state.epochs}.state" if state else None
        if path and not path.exists():
            for epoch, weights in state.outcome.checkpoints.items():
                checkpoint = self._checkpoint(epoch)
                if not checkpoint.exists():
                    save_weights(checkpoint, weights)
            numbers = state.numbers() | {
                "fingerprint": self.fingerprint,
                "checkpoints": {
                    epoch: sha256_weights(weights)
                    for epoch, weights in state.outcome.checkpoints.items()
                },
            }
            _write(path, numbers, state.tensors())
        states = self._states()
        for old in states[KEPT:]:
            old.unlink()
        return int(states[0].stem[5:]) if states else 0

    def finish(self, keep: bool = False) -> None:
        """The run is finished: remove the folder, and the folders above it that are empty then.

        With `keep`, save the last state and mark it instead: made again, the run trains nothing.
        """
        if keep:
            self.save()
            (self.path / FINISHED).touch()
            return
        self._empty()
        (self.path / "lock").unlink()  # last, for it is held
        with suppress(OSError):
            os.removedirs(self.path)

    def leave(self) -> None:
        """The run was put back whole: remove its states, and keep those of another run.

        Those are of other code or data, which may be put back one day.
        """
        with suppress(ValueError):
            for path in self._states():
                if _flat(_read(path)[0]["fingerprint"]) != _flat(self.fingerprint):
                    return
        self.finish()

    def _empty(self) -> None:
        for path in self.path.iterdir():
            if path.name != "lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _states(self) -> list[Path]:
        """Return the states, the newest first."""
        found = [p for p in self.path.glob("epoch*.state") if re.fullmatch(r"epoch\d+", p.stem)]
        return sorted(found, key=lambda path: int(path.stem[5:]), reverse=True)

    def _checkpoint(self, epoch: int) -> Path:
        return self.path / "checkpoints" / f"epoch{epoch}.safetensors"

    def _load_checkpoints(self, state: State, hashes: Mapping[str, str]) -> bool:
        """Load a state's checkpoints into it; False where one is not what it was."""
        for epoch, expected in hashes.items():
            path = self._checkpoint(int(epoch))
            try:
                weights = load_weights(path)
            except PerturbError:
                weights = {}
            if sha256_weights(weights) != expected:
                path.unlink(missing_ok=True)
                return False
            state.outcome.checkpoints[int(epoch)] = weights
        return True

    def _check(self, path: Path, found: Mapping[str, Any]) -> None:
        then, now = _flat(found), _flat(self.fingerprint)
        differing = [
            f"{name} ({_short(then.get(name))} then, {_short(now.get(name))} now)"
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        ]
        if differing:
            raise PerturbError(
                f"{path}: this unfinished run was made by something else: "
                f"{', '.join(differing)}. Put that back and it goes on, or start anew: delete "
                f"the folder {self.path}"
            )


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return nested dicts as one, their names joined by dots and their values as text."""
    if isinstance(value, Mapping):
        return {
            inner: text
            for key, item in value.items()
            for inner, text in _flat(item, f"{name}.{key}" if name else str(key)).items()
        }
    return {name: str(value)}


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return f"{value[:12]}..." if re.fullmatch(r"[0-9a-f]{64}", value) else value


def _write(path: Path, numbers: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = json.dumps(numbers).encode() + b"\n" + safetensors.torch.save(contiguous)
    with write_atomically(path) as file:
        file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what `_write` wrote; ValueError where the file is damaged."""
    expected, _, content = path.read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != expected:
        raise ValueError("it is truncated or damaged")
    numbers, _, tensors = content.partition(b"\n")
    return json.loads(numbers), safetensors.torch.load(tensors)


def _set_aside(path: Path, reason: str) -> None:
    damaged = path.with_name(path.name + ".damaged")
    path.replace(damaged)
    print(
        f"perturb: {path}: {reason}; set aside as {damaged.name}, the state before it is used.",
        file=sys.stderr,
    )


@contextmanager
def _locked_file(path: Path) -> Iterator[TextIO]:
    """Hold an exclusive lock on the file `path`, open for the holder to write its name in."""
    while True:
        # Its folders too may be removed at any moment, by a run beside it that has finished.
        with suppress(FileNotFoundError), ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(path, "a+", encoding="utf-8"))
            _lock(file, path)
            # A holder that finished in between has removed the file that was opened here.
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                stack.pop_all()
                break
    with file:
        yield file


def _lock(file: TextIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise PerturbError(
            f"{path}: held by {file.read() or 'another process'}, which trains this run. "
            "Wait until it is done, or stop it."
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        print(f"perturb: {path}: this file system has no locks.", file=sys.stderr)
