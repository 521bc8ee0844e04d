"""Operations of one pass and parameters of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_macs(model: nn.Module, images: Tensor) -> int:
    """Return the multiply-accumulates of one pass in evaluation mode, over the whole batch.

    Convolutions and products of matrices are counted, those of attention among them; additions,
    normalisation and activations are not. One multiply-accumulate is two FLOPs, which is how
    `torch.utils.flop_counter` counts.
    """
    training = model.training
    model.eval()
    # The fused kernel of the CPU is not known to PyTorch's counter; its formula in products is.
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        model(images)
    model.train(training)
    return counter.get_total_flops() // 2


def count_parameters(model: nn.Module) -> int:
    """Return how many trainable numbers a model has."""
    return sum(parameter.numel() for parameter in model.parameters())
