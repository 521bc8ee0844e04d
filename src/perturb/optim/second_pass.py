"""The second pass of a step sees what the first one saw, and leaves nothing of its own behind.

Beside weights and inputs, a forward pass reads and moves random generators (dropout, stochastic
depth) and buffers (running statistics, the vectors of spectral norm). Without care a second pass
would draw another dropout mask, and would move every running mean twice.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from perturb.optim.batch_norm import is_batch_norm, running_statistics_frozen
from perturb.optim.buffers import Buffers

Restore = Callable[[], object]


class Surroundings:
    """What the passes of a step read and move beside the weights and the inputs.

    `first` is around the first pass; `again` is around each further one: it puts back what `first`
    found, and afterwards what the first pass left.

    Args:
        batch_norm_moves: let batch-norms move in every pass, as the published code does.

    Attributes:
        modules: all that may run in a pass; None for those that the first pass calls.
    """

    modules: Sequence[nn.Module] | None = None

    def __init__(self, batch_norm_moves: bool = False) -> None:
        self.batch_norm_moves = batch_norm_moves
        self._numpy = _NumPy()

    @contextmanager
    def first(self, devices: Iterable[torch.device], every_library: bool = True) -> Iterator[None]:
        """Note the generators and buffers that the first pass begins with.

        Args:
            devices: whose default generators the passes draw from, beside the CPU's.
            every_library: NumPy's and Python's global generators too.
        """
        self._devices = [device for device in devices if device.type != "cpu"]
        self._every_library = every_library
        self._seen: set[nn.Module] = set()
        self._batch_norms: list[nn.Module] = []
        self._buffers: list[Buffers] = []
        self._generators: list[torch.Generator] = []
        self._rewind = self._random_numbers()
        hook = None
        if self.modules is None:
            hook = register_module_forward_pre_hook(self._note)
        else:
            self._take(self.modules)
        try:
            yield
        finally:
            if hook is not None:
                hook.remove()

    @contextmanager
    def again(self) -> Iterator[None]:
        """Let one more pass begin as the first one did, and have no effect but its result."""
        left = [*self._random_numbers(), *map(_set_back, self._generators)]
        left += [buffers.restore_left() for buffers in self._buffers]
        for rewind in self._rewind:
            rewind()
        for buffers in self._buffers:
            buffers.rewind()
        frozen = [] if self.batch_norm_moves else self._batch_norms
        try:
            with running_statistics_frozen(frozen):
                yield
        finally:
            for restore in left:
                restore()

    def _note(self, module: nn.Module, _inputs: Any) -> None:
        if module not in self._seen:  # else a module around it has been called before
            self._take(module.modules())

    def _take(self, modules: Iterable[nn.Module]) -> None:
        """Note modules that are about to run, once each."""
        for module in modules:
            if module in self._seen:
                continue
            self._seen.add(module)
            for value in vars(module).values():
                # `isinstance` of it runs Python code of PyTorch 2.14, 1 % of a small net's step.
                if issubclass(type(value), torch.Generator) and value not in self._generators:
                    self._generators.append(value)
                    self._rewind.append(_set_back(value))
            if is_batch_norm(module):
                self._batch_norms.append(module)
            elif module._buffers:
                self._buffers.append(Buffers.of(module))

    def _random_numbers(self) -> list[Restore]:
        """Return what sets the global generators to where they are now."""
        found: list[Restore] = [_set_back(torch.default_generator)]
        for device in self._devices:
            module = torch.get_device_module(device)
            state = module.get_rng_state(device)
            found.append(lambda m=module, s=state, d=device: m.set_rng_state(s, d))
        if self._every_library:
            state = random.getstate()
            found += [lambda: random.setstate(state), self._numpy.set_back()]
        return found


def _set_back(generator: torch.Generator) -> Restore:
    state = generator.get_state()
    return lambda: generator.set_state(state)


class _NumPy:
    """NumPy's global generator, for layers that draw from it.

    Asking for its state takes 50 microseconds, half of a small layer's pass; a look at its memory
    takes none, and says whether it has drawn since.
    """

    def __init__(self) -> None:
        self._known: tuple[bytes, Any] = (b"", None)

    def set_back(self) -> Restore:
        """Return what sets it to where it is now."""
        memory = self._memory()
        if not memory or memory != self._known[0]:
            state = np.random.get_state()
            # Where it keeps the second of two normals it may draw without moving.
            self._known = (b"" if state[3] else memory, state)
        state = self._known[1]

        def restore() -> None:
            if not memory or state[3] or self._memory() != memory:
                np.random.set_state(state)

        return restore

    @staticmethod
    def _memory() -> bytes:
        """Return its 624 words and its place in them, or nothing where it is of another kind."""
        generator = np.random.get_bit_generator()
        if not isinstance(generator, np.random.MT19937):
            return b""
        return ctypes.string_at(generator.ctypes.state_address, 625 * 4)
