"""A module's buffers as they were, so that a pass can be made that leaves no trace in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Buffers:
    """The buffers of one module at a moment: which tensors, and what they held.

    Their version counters are no help: batch-norm's kernels move running statistics without them.
    """

    module: nn.Module
    tensors: dict[str, Tensor | None]
    values: dict[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> Buffers:
        """Note the buffers of a module, but not of those inside it."""
        tensors = dict(module._buffers)
        values = {name: t.detach().clone() for name, t in tensors.items() if t is not None}
        return cls(module, tensors, values)

    def rewind(self) -> None:
        """Put back the tensors, and what they held; nothing waits for a GPU."""
        self._put_back()
        for name, value in self.values.items():
            self.tensors[name].detach().copy_(value)

    def rewind_changed(self) -> None:
        """Do so where they hold something else: a graph that has saved the others stays whole."""
        self._put_back()
        for name, value in self.values.items():
            tensor = self.tensors[name].detach()
            if not torch.equal(tensor, value):
                tensor.copy_(value)

    def restore_left(self) -> Callable[[], None]:
        """Return what puts the buffers back to what they are now, after the first pass."""
        now = Buffers.of(self.module)

        def restore() -> None:
            self.rewind()  # tensors that the first pass has replaced are as it found them
            now.rewind()

        return restore

    def _put_back(self) -> None:
        self.module._buffers.clear()
        self.module._buffers.update(self.tensors)
