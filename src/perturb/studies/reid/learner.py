"""One network or two, trained together by a method, measured by what they find again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.functional import normalize

from perturb import models
from perturb.errors import PerturbError
from perturb.models import described, registry
from perturb.models.reidentification import ReidNetwork
from perturb.random import stream
from perturb.retrieval import evaluate
from perturb.studies.reid import batches, methods
from perturb.studies.reid.batches import Batch, Pixels
from perturb.studies.reid.methods import Method, Stage
from perturb.studies.reid.steps import STEPS, Found, Memory, Passed
from perturb.train.determinism import check_precision, set_precision
from perturb.train.learner import Evaluated, Inputs, Measures, Number, Trained, Weights

if TYPE_CHECKING:
    from perturb.data import PreparedData
    from perturb.studies.reid.settings import ReidSpecification

# A finite loss above this is divergence too: cross-entropy at random is log K, about 7 nats.
LARGEST_LOSS = 1e6
RANKS = (1, 5, 10)
SCORES = ("mAP", "mINP", *(f"rank{rank}" for rank in RANKS))


class Optimizer:
    """SGD with Nesterov's momentum of one network; its head has a larger learning rate.

    The rate falls to a tenth after each share of the epochs in `decay`, and rises linearly from 0
    over the first `warmup` epochs. Gradients longer than `clip` are scaled to it; 0: none is.
    """

    def __init__(
        self,
        network: ReidNetwork,
        rate: float,
        specification: ReidSpecification,
        method: Method,
        steps: int,
    ) -> None:
        head = network.head_parameters()
        in_head = {id(parameter) for parameter in head}
        rest = [p for p in network.parameters() if id(p) not in in_head]
        self.parameters = [*rest, *head]
        self.rates = (rate, rate * specification.head_multiplier)
        self.decay = [round(share * method.epochs) for share in specification.decay]
        self.warmup_steps = method.values["warmup"] * steps
        self.clip, self.steps = method.values["clip"], steps
        self.sgd = torch.optim.SGD(
            [{"params": rest, "lr": self.rates[0]}, {"params": head, "lr": self.rates[1]}],
            momentum=specification.momentum,
            weight_decay=specification.weight_decay,
            nesterov=specification.momentum > 0,
        )

    def rate(self, epoch: int) -> float:
        """Return the backbone's learning rate in an epoch, after the warm-up."""
        return self.rates[0] * 0.1 ** sum(epoch >= end for end in self.decay)

    def step(self, epoch: int, number: int) -> Tensor:
        """Take a step by the gradients that there are; return their norm before clipping."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        done = epoch * self.steps + number + 1
        warm = min(1.0, done / self.warmup_steps) if self.warmup_steps else 1.0
        factor = warm * self.rate(epoch) / self.rates[0] if self.rates[0] else 0.0
        for group, rate in zip(self.sgd.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.sgd.step()
        return norm


@dataclass
class Tally:
    """What an epoch's steps came to for one network, on the device until its end."""

    terms: dict[str, list[Tensor]] = field(default_factory=dict)
    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)
    right: list[Tensor] = field(default_factory=list)
    truly_right: list[Tensor] = field(default_factory=list)
    selected: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    empty: list[Tensor] = field(default_factory=list)

    def numbers(self, name: str) -> np.ndarray:
        """Return one of the lists as float64 [steps]."""
        return torch.stack(getattr(self, name)).double().cpu().numpy()


class ReidLearner:
    """Networks trained together on given labels (a `perturb.train.learner.Learner`).

    Args:
        method: what is trained.
        networks: on their device; the first is what the run is compared by, unless the method
            averages both.
        specification: the rest of the settings.
        data: with sightings; PerturbError where it has none.
    """

    def __init__(
        self,
        method: Method,
        networks: Sequence[ReidNetwork],
        specification: ReidSpecification,
        data: PreparedData,
        device: torch.device,
    ) -> None:
        if data.sightings is None:
            raise PerturbError(
                f"{specification.run}: {specification.dataset} has no cameras, so nothing can be "
                "found again. Choose a data set of identities, such as photo_patches."
            )
        self.method, self.networks, self.specification = method, list(networks), specification
        self.sightings, self.test_labels, self.device = data.sightings, data.test_labels, device
        given = (data.manifest["mean"], data.manifest["std"], specification, device)
        self.train_pixels = Pixels(data.train_images, *given)
        self.test_pixels = Pixels(data.test_images, *given)
        self.given_labels = data.train_labels
        self.labels = torch.from_numpy(data.train_labels).to(device)
        true = data.train_labels if data.train_true_labels is None else data.train_true_labels
        self.true_labels = torch.from_numpy(true).to(device)
        self.clean = self.labels == self.true_labels
        self.noisy = data.train_true_labels is not None
        count, size = len(self.labels), specification.batch_size
        # A last batch of one image has no batch statistics: its image waits for another epoch.
        self.steps = count // size + (count % size > 1)
        self.epochs = method.epochs
        self.optimizers = [
            Optimizer(network, rate, specification, method, self.steps)
            for network, rate in zip(networks, self.rates(), strict=True)
        ]
        self.memory = Memory(method, self.labels, data.manifest["num_classes"], device)
        self.gradient_evaluations = 0
        self.empty = [0] * len(self.networks)

    def rates(self) -> list[float]:
        """Return the backbone's first learning rate of each network."""
        named = [self.method.values[f"lr{at}"] for at in range(len(self.networks))]
        return [rate or self.specification.learning_rate for rate in named]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """`net0`, and `net1` where there are two."""
        return {f"net{at}": network for at, network in enumerate(self.networks)}

    @property
    def series(self) -> tuple[str, ...]:
        """Of each network: losses and gradient norms by step; weights and selection by image."""
        names = ("train_loss", "gradient_norm", "sample_weight", "sample_selected")
        return tuple(f"{name}_net{at}" for at in range(len(self.networks)) for name in names)

    @property
    def measures(self) -> Measures:
        """The mAP chooses the best epoch; the last is what counts."""
        each = [f"test_{score}" for score in SCORES]
        nets = [f"{name}_net{at}" for name in each for at in range(len(self.networks))]
        trained = [
            f"train_{of}accuracy_net{at}"
            for at in range(len(nets) // len(each))
            for of in ("", "true_")
        ]
        return Measures(
            selection="test_mAP",
            larger_is_better=True,
            shown="test_mAP",
            told=("train_loss", "test_mAP"),
            last=("train_loss", *trained, *each, *nets),
            best=(*each, *nets),
        )

    def train(self, epoch: int) -> Trained:
        """Train all networks for an epoch."""
        stage = self.method.stages[self.method.stage_number(epoch)]
        self.memory.begin(stage.step)
        tallies = [Tally() for _ in self.networks]
        traces = self._empty_traces()
        for network in self.networks:
            network.train()
        with torch.random.fork_rng():
            torch.manual_seed(stream(self.specification.seed, epoch, "dropout"))
            for number, batch in enumerate(self._batches(epoch, stage)):
                self._step(stage, batch, epoch, number, tallies, traces)
        series = {}
        for at, tally in enumerate(tallies):
            series[f"train_loss_net{at}"] = tally.numbers("losses")
            series[f"gradient_norm_net{at}"] = tally.numbers("norms")
            series[f"sample_weight_net{at}"] = traces[0][at].cpu().numpy()
            series[f"sample_selected_net{at}"] = traces[1][at].cpu().numpy()
        loss = np.max([series[f"train_loss_net{at}"] for at in range(len(tallies))], axis=0)
        good = np.isfinite(loss) & (loss <= LARGEST_LOSS)
        if not good.all():
            return Trained({}, series, not_finite=int(np.argmin(good)))
        self.gradient_evaluations += self.steps * len(self.networks)
        for at, tally in enumerate(tallies):
            self.empty[at] += int(tally.numbers("empty").sum())
        return Trained(
            row=self._row(epoch, stage, tallies, series),
            series=series,
            totals={"gradient_evaluations": self.gradient_evaluations},
        )

    def _batches(self, epoch: int, stage: Stage) -> Any:
        own = self.specification
        if stage.balanced:
            order = batches.balanced(
                self.given_labels, own.batch_size, own.images_of_identity, own.seed, epoch
            )
        else:
            order = batches.in_turn(len(self.labels), own.seed, epoch)
        order, strong = order[: self.steps * own.batch_size], stage.step == "act"
        return self.train_pixels.batches(self.labels, order, own.batch_size, epoch, strong)

    def _step(
        self,
        stage: Stage,
        batch: Batch,
        epoch: int,
        number: int,
        tallies: Sequence[Tally],
        traces: tuple[list[Tensor], list[Tensor]],
    ) -> None:
        """Take a step of all networks, and note what came of it."""
        selective = self.method.values.get("selective", False)
        buffers = [[b.clone() for b in net.buffers()] for net in self.networks if selective]
        passed = self._pass(batch, epoch)
        found = STEPS[stage.step](passed, self.memory)
        self.memory.note_losses(passed)
        for at, (network, optimizer) in enumerate(zip(self.networks, self.optimizers, strict=True)):
            network.zero_grad()
            loss = torch.stack(list(found.terms[at].values())).sum()
            torch.autograd.backward(loss)
            tally = tallies[at]
            tally.losses.append(loss.detach())
            _note(tally, found, at, passed.logits[at], batch, self)
            _trace(traces, found, at, batch)
            if found.may_be_void and bool(tally.empty[-1]):
                _restore(network, buffers[at])
                tally.norms.append(torch.zeros_like(loss.detach()))
            else:
                tally.norms.append(optimizer.step(epoch, number))

    def _pass(self, batch: Batch, epoch: int) -> Passed:
        """Return what the networks say of a batch."""

        def passed(network: ReidNetwork, inputs: Tensor) -> tuple[Tensor, Tensor]:
            low = self.specification.precision == "bfloat16"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
                logits, features = network.forward_both(inputs)
            return logits.float(), features.float()

        def strong() -> Tensor:
            assert batch.strong is not None
            return passed(self.networks[0], batch.strong)[0]

        both = [passed(network, batch.inputs) for network in self.networks]
        return Passed(batch, [o for o, _ in both], [f for _, f in both], epoch, strong)

    def _empty_traces(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return of each network the weights (NaN) and the selection (-1) of unseen images."""
        count = len(self.labels)
        weights = [torch.full((count,), torch.nan, device=self.device) for _ in self.networks]
        chosen = [torch.full_like(self.labels, -1, dtype=torch.int8) for _ in self.networks]
        return weights, chosen

    def _row(
        self, epoch: int, stage: Stage, tallies: Sequence[Tally], series: Mapping[str, np.ndarray]
    ) -> dict[str, Number]:
        """Return an epoch's columns; None where a stage has no such number."""
        row: dict[str, Number] = {
            "stage": self.method.stage_number(epoch) + 1,
            "train_loss": float(series["train_loss_net0"].mean()),
        }
        for at, (tally, optimizer) in enumerate(zip(tallies, self.optimizers, strict=True)):
            row[f"learning_rate_net{at}"] = optimizer.rate(epoch)
            row[f"train_loss_net{at}"] = float(series[f"train_loss_net{at}"].mean())
            for name in self.method.terms[at]:
                values = tally.terms.get(name)
                mean = torch.stack(values).double().mean().item() if values else None
                row[f"train_{name}_net{at}"] = mean
            weights = torch.from_numpy(series[f"sample_weight_net{at}"])
            counts = self._counts(tally, stage) | _mean_weights(weights, self.clean.cpu())
            row |= {f"{key}_net{at}": value for key, value in counts.items()}
        return row

    def _counts(self, tally: Tally, stage: Stage) -> dict[str, Number]:
        """Return accuracies of training, and what was selected against the true noise."""
        seen = sum(len(part) for part in tally.right)
        found: dict[str, Number] = {
            "train_accuracy": torch.cat(tally.right).sum().item() / seen,
            "train_true_accuracy": torch.cat(tally.truly_right).sum().item() / seen,
        }
        selected = torch.cat([part[0] for part in tally.selected])
        clean = torch.cat([part[1] for part in tally.selected])
        chosen, good = int(selected.sum()), int((selected & clean).sum())
        return found | {
            "selected_fraction": chosen / seen if stage.selection else None,
            "selection_precision": good / chosen if stage.selection and chosen else None,
            "selection_recall": good / int(clean.sum()) if stage.selection else None,
            "empty_batches": int(tally.numbers("empty").sum()) if stage.selection else None,
        }

    @torch.inference_mode()
    def evaluate(self) -> Evaluated:
        """Find the test identities again: by each network, and by what the run is compared by."""
        found = [self._features(network) for network in self.networks]
        row: dict[str, Number] = {}
        average = self.method.definition.average
        outputs = {"": torch.stack(found).sum(0) if average else found[0]}
        outputs |= {f"_net{at}": features for at, features in enumerate(found)}
        for suffix, features in outputs.items():
            row |= {f"test_{k}{suffix}": value for k, value in self._scores(features).items()}
        return Evaluated(row)

    def _features(self, network: ReidNetwork) -> Tensor:
        """Return what the test images are compared by: of image + mirror image, at unit length."""
        network.eval()
        parts = []
        for inputs in self.test_pixels.evaluated():
            parts.append(network.features(inputs) + network.features(inputs.flip(3)))
        return normalize(torch.cat(parts).float(), dim=1)

    def _scores(self, features: Tensor) -> dict[str, float]:
        """Return the scores of features; NaN, which ends the run, where they are spoilt."""
        lengths = features.norm(dim=1)
        if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
            return dict.fromkeys(SCORES, float("nan"))
        is_query, ids = self.sightings.test_is_query, self.test_labels
        cameras, values = self.sightings.test_cameras, features.cpu().numpy()
        with threadpool_limits(limits=self.specification.threads):
            found = evaluate(
                values[is_query],
                values[~is_query],
                ids[is_query],
                ids[~is_query],
                cameras[is_query],
                cameras[~is_query],
                ranks=RANKS,
            )
        of_ranks = {f"rank{rank}": found.cmc[rank] for rank in RANKS}
        return {"mAP": found.mAP, "mINP": found.mINP, **of_ranks}

    def end_epoch(self, row: Mapping[str, Number]) -> None:
        """Take note of the mean losses, by which SELF refines the next epoch."""
        step = self.method.stages[int(row["stage"] or 1) - 1].step
        means = [float(row[f"train_loss_net{at}"] or 0.0) for at in range(len(self.networks))]
        self.memory.end(step, means)

    def network(self) -> nn.Module:
        """Return the first network."""
        return self.networks[0]

    def facts(self) -> dict[str, Any]:
        """Return what the record tells beside the numbers of the epochs."""
        return {
            "images": {"train": len(self.labels), "test": len(self.test_labels)},
            "wrong_labels": int((~self.clean).sum()),
            "networks": len(self.networks),
            "first_epochs": self.method.first_epochs,
            "empty_batches": list(self.empty),
            "approximation": self.method.definition.approximation,
            "gradient_evaluations": self.gradient_evaluations,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' state, what the method remembers, and counts."""
        return {
            "optimizers": [optimizer.sgd.state_dict() for optimizer in self.optimizers],
            "memory": self.memory.state_dict(),
            "gradient_evaluations": self.gradient_evaluations,
            "empty": list(self.empty),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.sgd.load_state_dict(kept)
        self.memory.load_state_dict(state["memory"])
        self.gradient_evaluations = state["gradient_evaluations"]
        self.empty = list(state["empty"])


def _note(
    tally: Tally, found: Found, at: int, logits: Tensor, batch: Batch, learner: ReidLearner
) -> None:
    """Note the terms of a network's loss, its hits, and its selection."""
    for name, value in found.terms[at].items():
        tally.terms.setdefault(name, []).append(value.detach())
    predicted = logits.detach().argmax(1)
    tally.right.append(predicted == batch.labels)
    tally.truly_right.append(predicted == learner.true_labels[batch.places])
    selected = found.selected[at]
    if selected is None:
        selected = torch.ones_like(batch.labels, dtype=torch.bool)
    tally.selected.append((selected, learner.clean[batch.places]))
    tally.empty.append(~selected.any())


def _trace(traces: tuple[list[Tensor], list[Tensor]], found: Found, at: int, batch: Batch) -> None:
    """Keep the weight of each image of a batch, and whether it was selected."""
    weights, selected = found.weights[at], found.selected[at]
    traces[0][at][batch.places] = 1.0 if weights is None else weights.detach().float()
    traces[1][at][batch.places] = 1 if selected is None else selected.to(torch.int8)


def _mean_weights(weights: Tensor, clean: Tensor) -> dict[str, Number]:
    """Return the mean weight of the images seen, by whether their given label is the true one."""
    seen = ~weights.isnan()
    parts = {"clean_weight": weights[seen & clean], "wrong_weight": weights[seen & ~clean]}
    return {
        name: part.double().mean().item() if len(part) else None for name, part in parts.items()
    }


def _restore(network: nn.Module, buffers: Sequence[Tensor]) -> None:
    """Give a network the buffers back that it had before a batch."""
    for buffer, before in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(before)


def learner(specification: ReidSpecification, inputs: Inputs) -> ReidLearner:
    """Return the learner of one run.

    The first network starts from the run's initial weights. The second is drawn anew from the
    seed; a pretrained backbone is the same in both. Raises PerturbError where the data set has no
    cameras, the initial weights do not fit or the device lacks the number format.
    """
    assert inputs.data is not None
    check_precision(specification.precision, inputs.device)
    set_precision(specification.precision)
    method = methods.method(specification.method)
    networks = [_network(specification, inputs, at) for at in range(method.definition.networks)]
    networks = [network.to(inputs.device) for network in networks]
    return ReidLearner(method, networks, specification, inputs.data, inputs.device)


def _network(specification: ReidSpecification, inputs: Inputs, at: int) -> ReidNetwork:
    """Return a network on the CPU with its initial weights."""
    assert inputs.data is not None
    described.check_module({}, specification.model, "reidentification", "study reid")
    manifest = inputs.data.manifest
    shape = (manifest["num_classes"], manifest["image_size"], manifest["channels"])
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        seed = stream(specification.seed, 0, f"network {at} of {specification.model}")
        torch.default_generator.manual_seed(seed)
        network = models.build(specification.model, *shape)
    assert isinstance(network, ReidNetwork)
    if at == 0:
        inputs.load_initial(network)
    elif inputs.initial is not None and registry.get(specification.model).pretrained:
        network.backbone.load_state_dict(_backbone(inputs.initial))
    return network


def _backbone(weights: Weights) -> Weights:
    prefix = "backbone."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
