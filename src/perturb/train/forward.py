"""How a net's logits are computed: number format, memory layout, compiled or as it stands."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from perturb.errors import PerturbError

Forward = Callable[[Tensor], Tensor]
# Batches of two sizes in training (the last of an epoch is smaller), each with running statistics
# tracked or not, and as many again in the evaluation of two splits. Each is a graph of its own.
_GRAPHS = 16


def forward_of(
    model: nn.Module,
    *,
    precision: str = "float32",
    channels_last: bool = False,
    compiled: bool = False,
) -> Forward:
    """Return what computes the logits [B, classes] float32 of inputs [B, C, H, W] float32.

    With the defaults it is `model` itself. Its parameters stay float32 whatever the precision is;
    call this before an optimiser makes its first step, and after `model` is on its device.

    Args:
        precision: "bfloat16" passes through the net in autocast; "tf32" is a setting of the process
            (`make_deterministic`), not of the net.
        channels_last: lay out the parameters, in place, and the inputs with channels last.
        compiled: by `torch.compile`, for each size of batch anew, so that what is computed does not
            depend on the sizes that came before. PerturbError, when it is called, where PyTorch
            finds no compiler or cannot compile the net.
    """
    if precision != "bfloat16" and not channels_last and not compiled:
        return model
    device = next(model.parameters()).device.type
    layout = torch.channels_last if channels_last else torch.contiguous_format
    if channels_last:
        model.to(memory_format=layout)
    passed = _compiled(model) if compiled else model

    def forward(inputs: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = passed(inputs.contiguous(memory_format=layout))
        return logits.float()

    return forward


def _compiled(model: nn.Module) -> Forward:
    # The whole net or an error: where the compiler gives up, it would go on without it in silence.
    compiled = torch.compile(model, dynamic=False, fullgraph=True)

    def forward(inputs: Tensor) -> Tensor:
        try:
            # Not as an argument of torch.compile, which PyTorch 2.11 does not have.
            with torch._dynamo.config.patch(recompile_limit=_GRAPHS):
                return compiled(inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise PerturbError(
                f"train: compile is true, but PyTorch cannot compile this net here ({reason}). "
                "Install a C++ compiler (Debian, Ubuntu: apt-get install g++), on a GPU Triton "
                "too, or set `compile: false` in the config."
            ) from error

    return forward
