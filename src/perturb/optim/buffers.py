"""A module's buffers as they were, so that a pass can be made that leaves no trace in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Buffers:
    """The buffers of one module at a moment: which tensors, and what they held."""

    module: nn.Module
    tensors: dict[str, Tensor | None]
    values: dict[str, Tensor]
    versions: dict[str, int | None]

    @classmethod
    def of(cls, module: nn.Module) -> Buffers:
        """Note the buffers of a module, but not of those inside it."""
        tensors = dict(module._buffers)
        values = {name: t.detach().clone() for name, t in tensors.items() if t is not None}
        return cls(module, tensors, values, {name: _version(t) for name, t in tensors.items()})

    def rewind(self) -> None:
        """Put back the tensors, and what they held where that has changed."""
        _replace(self.module, self.tensors)
        for name, tensor in self.tensors.items():
            if tensor is not None and _version(tensor) != self.versions[name]:
                tensor.detach().copy_(self.values[name])
                self.versions[name] = _version(tensor)

    def restore_left(self) -> Callable[[], None]:
        """Return what puts the buffers back to what they are now, after the first pass."""
        now = dict(self.module._buffers)
        moved = {
            name: tensor.detach().clone()
            for name, tensor in now.items()
            if tensor is not None
            and not (
                tensor is self.tensors.get(name) and _version(tensor) == self.versions.get(name)
            )
        }

        def restore() -> None:
            self.rewind()  # what only the further pass moved
            _replace(self.module, now)
            for name, value in moved.items():
                now[name].detach().copy_(value)

        return restore


def _replace(module: nn.Module, buffers: dict[str, Tensor | None]) -> None:
    module._buffers.clear()
    module._buffers.update(buffers)


def _version(tensor: Tensor | None) -> int | None:
    """Return the count of a tensor's changes in place; an inference tensor has none."""
    return None if tensor is None or tensor.is_inference() else tensor._version
