"""A small net and its closure, as the tests of other people's loops use them."""

import torch
import torch.nn.functional as F
from torch import nn

from perturb.optim import build

TWICE = ("sam_{}", "asam_{}", "gsam_{}_0", "looksam_{}", "aesam_{}", "samx{}", "pugdr_const_{}")
INPUTS = torch.randn(12, 6, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(12) % 3


def net(*middle):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), *middle, nn.Linear(8, 3))


def closure_of(optimizer, model, inputs=INPUTS, labels=LABELS):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    return closure


def weights_of(model):
    return torch.cat([p.detach().reshape(-1).to(torch.float64) for p in model.parameters()])


def tensors_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained(name, base, parameters, loss, steps=4, **options):
    optimizer = build(f"{name}_5", parameters, lr=0.05, base=base, momentum=0.0, **options)

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    for epoch in range(steps):
        optimizer.set_epoch(epoch)
        optimizer.step(closure)
    return optimizer
