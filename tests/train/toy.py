"""A learner that no study has: two linear networks that learn from each other, without data."""

import numpy as np
import torch
from torch import nn

from perturb.random import generator
from perturb.train.learner import Evaluated, Measures, Trained
from perturb.train.settings import DrivenSettings

MODULES = {"tests.train.toy": "0"}


class ToySpecification(DrivenSettings, frozen=True, kw_only=True):
    study: str = "toy"
    dataset: str = "none"
    model: str = "linear"
    method: str = "toy_6"
    seed: int = 0
    learning_rate: float = 0.05
    steps: int = 3


class Toy:
    """Each network follows a noisy plane; the second follows the first one's mean, too.

    The mean of the first one's outputs over all steps so far is state beside the weights.
    """

    epochs = 6
    series = ("loss0", "loss1", "toy_loss")
    measures = Measures(
        selection="toy_loss",
        larger_is_better=False,
        shown="toy_loss",
        told=("loss0", "toy_loss"),
        last=("loss0", "loss1", "toy_loss"),
        best=("toy_loss",),
    )

    def __init__(self, specification):
        self.seed, self.steps = specification.seed, specification.steps
        self.nets = []
        for number in range(2):
            net = nn.Linear(4, 1)
            random = generator(self.seed, number, "toy weights")
            with torch.no_grad():
                for tensor in net.parameters():
                    tensor.copy_(torch.randn(tensor.shape, generator=random))
            self.nets.append(net)
        self.optimizers = [
            torch.optim.SGD(net.parameters(), lr=specification.learning_rate, momentum=0.9)
            for net in self.nets
        ]
        self.mean, self.batches = torch.zeros(()), 0
        self.history = {"losses": [], "pair": (0, None)}

    @property
    def modules(self):
        return {f"net{number}": net for number, net in enumerate(self.nets)}

    def train(self, epoch):
        random = generator(self.seed, epoch, "toy batches")
        losses = [[], []]
        for _ in range(self.steps):
            x = torch.randn(16, 4, generator=random)
            y = x.sum(1, keepdim=True)
            for number, (net, optimizer) in enumerate(zip(self.nets, self.optimizers, strict=True)):
                optimizer.zero_grad()
                out = net(x)
                loss = (out - y).square().mean()
                if number:
                    loss = loss + (out.mean() - self.mean).square()
                loss.backward()
                optimizer.step()
                losses[number].append(loss.item())
                if not number:
                    self.batches += 1
                    self.mean = self.mean + (out.detach().mean() - self.mean) / self.batches
        series = {f"loss{number}": np.array(of_one) for number, of_one in enumerate(losses)}
        finite = np.isfinite(series["loss0"])
        return Trained(
            row={name: float(values.mean()) for name, values in series.items()},
            series=series,
            not_finite=None if finite.all() else int(np.argmin(finite)),
            totals={"batches": self.batches},
        )

    @torch.no_grad()
    def evaluate(self):
        x = torch.randn(64, 4, generator=generator(self.seed, 0, "toy test"))
        out = sum(net(x) for net in self.nets) / 2
        losses = (out - x.sum(1, keepdim=True)).square().view(4, 16).mean(1).numpy()
        return Evaluated({"toy_loss": float(losses.mean())}, {"toy_loss": losses})

    def end_epoch(self, row):
        self.history["losses"].append(row["toy_loss"])
        self.history["pair"] = (row["epoch"], row["toy_loss"])

    def network(self):
        return self.nets[1]

    def facts(self):
        return {"batches": self.batches, "history": self.history["losses"]}

    def state_dict(self):
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        own = {"mean": self.mean, "batches": self.batches, "history": self.history}
        return {"optimizers": optimizers, **own}

    def load_state_dict(self, state):
        for optimizer, of_one in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(of_one)
        self.mean, self.batches, self.history = state["mean"], state["batches"], state["history"]
        assert isinstance(self.history["pair"], tuple)


def learner(specification, inputs):
    """What a study's `learner` is: a function of the specification and the inputs."""
    assert inputs.data is None and inputs.initial is None
    return Toy(specification)
