"""A classifier: terms beside its loss, accuracy on given and on true labels, opened again."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn
from torch.nn.functional import cross_entropy

from perturb import models, optim
from perturb.data import load
from perturb.data.feeding import Feed
from perturb.models.weights import load_weights
from perturb.runs import RunFiles
from perturb.studies.rts.settings import RtsSpecification
from perturb.train import classifier
from perturb.train.classifier import Classifier, Term, evaluate
from perturb.train.determinism import make_deterministic
from perturb.train.driver import train
from perturb.train.learner import Inputs, load_weights_into
from perturb.train.run import run, run_learner
from perturb.train.state import State
from perturb.train.trained import TrainedFiles, TrainedRun

SPECIFICATION = RtsSpecification(
    dataset="digits", model="cnn", method="pugd_2", seed=0, batch_size=200
)
CPU = torch.device("cpu")


class Decay(Term):
    """(strength / 2) norm(w - start)^2, which starts where it first sees the weights."""

    names = ("decay",)

    def __init__(self, strength):
        self.strength, self.start, self.values = strength, None, []

    def add(self, gradient, weights):
        if self.start is None:
            self.start = weights.clone()
        gradient.add_(weights - self.start, alpha=self.strength)
        self.values.append(self.strength / 2 * (weights - self.start).square().sum())

    def series(self):
        values, self.values = self.values, []
        return {"decay": torch.stack(values).numpy()}

    def facts(self):
        return {"decay_strength": self.strength}

    def state_dict(self):
        return {"start": self.start}

    def load_state_dict(self, state):
        self.start = state["start"]


def small_feed(seed=0, **options):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    labels = random.integers(0, 3, 40)
    given = {"batch_size": 16, "mean": [0.5], "std": [0.25], "seed": 1} | options
    return Feed(images, labels, **given)


class InDouble:
    """A feed of float64 inputs."""

    def __init__(self, feed):
        self.feed, self.labels = feed, feed.labels

    def __len__(self):
        return len(self.feed)

    def epoch(self, epoch):
        return ((inputs.double(), labels) for inputs, labels in self.feed.epoch(epoch))

    def true_labels(self, epoch):
        return self.feed.true_labels(epoch)


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.mark.parametrize("method", ["sgd_3", "sam_0.1_3", "pugd_3"])
def test_a_term_is_part_of_the_loss_at_every_point_that_is_looked_at(method):
    """Against the same term inside the closure's loss, differentiated by autograd, in float64."""
    feed = InDouble(small_feed(augment="standard"))
    feeds = dict.fromkeys(("train", "validation", "test"), feed)
    nets = small_net(), small_net()
    ours, plain = (optim.build(method, net.parameters(), lr=0.05) for net in nets)
    learner = Classifier(nets[0], ours, feeds, [Decay(0.3)])
    start = [p.detach().clone() for p in nets[1].parameters()]
    without = small_net()
    bare = Classifier(without, optim.build(method, without.parameters(), lr=0.05), feeds)
    for epoch in range(3):
        learner.train(epoch)
        bare.train(epoch)
        plain.set_epoch(epoch)
        for inputs, labels in feed.epoch(epoch):

            def closure(inputs=inputs, labels=labels):
                nets[1].zero_grad()
                moved = zip(nets[1].parameters(), start, strict=True)
                distance = sum((p - s).square().sum() for p, s in moved)
                loss = cross_entropy(nets[1](inputs), labels) + 0.15 * distance
                loss.backward()
                return loss

            plain.advance(closure)
    pairs = zip(nets[0].parameters(), nets[1].parameters(), without.parameters(), strict=True)
    for one, other, third in pairs:
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
        assert (one - third).abs().max() > 1e-4


def test_a_terms_series_facts_and_state_are_the_learners(tmp_path):
    def make():
        net = small_net()
        feeds = dict.fromkeys(("train", "validation", "test"), InDouble(small_feed()))
        return Classifier(net, optim.build("sgd_4", net.parameters(), lr=0.1), feeds, [Decay(0.3)])

    whole = make()
    outcome = train(whole)
    assert whole.series[:4] == ("train_loss", "gradient_norm", "perturbation_norm", "decay")
    decay = outcome.history.arrays()["decay"]
    assert decay.shape == (4, 3) and decay[0, 0] == 0 and (decay[1:] > 0).all()
    assert whole.facts()["decay_strength"] == 0.3
    half, resumed = make(), make()
    half.epochs = 2
    state = State.of(train(half), half)
    found = State.join(state.tensors(), state.numbers())
    load_weights_into(resumed, found.outcome.last)
    resumed.load_state_dict(found.learner)
    again = train(resumed, before=found.outcome)
    assert again.history.csv() == outcome.history.csv()
    assert all(torch.equal(again.last[name], outcome.last[name]) for name in outcome.last)


def test_accuracy_is_taken_on_given_and_on_true_labels():
    true = np.random.default_rng(5).integers(0, 3, 40)
    feed, clean = small_feed(augment="standard", true_labels=true), small_feed(seed=2)
    net = small_net().float()
    feeds = {"train": feed, "validation": small_feed(true_labels=true), "test": clean}
    # It does not move, so that each batch can be looked at again.
    learner = Classifier(net, optim.build("sgd_1", net.parameters(), lr=0.0), feeds)
    trained, evaluated = learner.train(0), learner.evaluate()
    with torch.no_grad():
        batches = zip(feed.epoch(0), feed.true_labels(0), strict=True)
        hits = [
            [(net(x).argmax(1) == labels).sum().item() for labels in (given, also_true)]
            for (x, given), also_true in batches
        ]
    given, also_true = np.sum(hits, 0) / 40
    assert given != also_true
    assert (trained.row["train_accuracy"], trained.row["train_true_accuracy"]) == (given, also_true)
    held_out = evaluate(net, feeds["validation"])
    assert evaluated.row["validation_true_accuracy"] == held_out.true_accuracy
    assert held_out.true_accuracy != held_out.accuracy
    assert "test_true_accuracy" not in evaluated.row
    last = learner.measures.last
    assert {"train_true_accuracy", "validation_true_accuracy"} < set(last)
    assert set(last) < {*trained.row, *evaluated.row}


def test_without_noise_there_is_no_column_for_true_labels():
    net = small_net().float()
    feeds = dict.fromkeys(("train", "validation", "test"), small_feed())
    learner = Classifier(net, optim.build("sgd_1", net.parameters()), feeds)
    columns = [*learner.train(0).row, *learner.evaluate().row, *learner.measures.last]
    assert not [name for name in columns if "true" in name]


def test_a_base_optimiser_is_asked_for_by_the_settings(inputs, tmp_path):
    for base, rate in (("sgd", 0.1), ("adamw", 1e-3)):
        specification = replace(SPECIFICATION, base=base, learning_rate=rate)
        run(specification, RunFiles(tmp_path / base, **inputs))
    sgd, adamw = (load_weights(tmp_path / base / "last.safetensors") for base in ("sgd", "adamw"))
    assert any(not torch.equal(sgd[name], adamw[name]) for name in sgd)


def test_neutral_settings_are_left_out_of_what_is_compared():
    assert "betas" not in SPECIFICATION.to_json() and "base" not in SPECIFICATION.to_json()
    changed = replace(SPECIFICATION, base="adamw", betas=(0.8, 0.99))
    assert RtsSpecification.from_json(changed.to_json()) == changed
    assert RtsSpecification.from_json(SPECIFICATION.to_json()) == SPECIFICATION
    before = {k: v for k, v in SPECIFICATION.settings().items() if k not in ("base", "betas")}
    record = {"specification": before, "scale": "full"}
    assert SPECIFICATION.differences(record) == []
    assert changed.differences(record) != []


def trained_files(folder, inputs):
    named = {name: inputs[name] for name in ("images", "manifest")}
    return TrainedFiles(**named, record=folder / "record.json", weights=folder / "last.safetensors")


@pytest.mark.parametrize("layout", [{}, {"channels_last": True, "precision": "bfloat16"}])
def test_a_run_is_opened_again_with_its_last_weights(inputs, tmp_path, layout):
    specification = replace(SPECIFICATION, **layout)
    run(specification, RunFiles(tmp_path, **inputs))
    opened = TrainedRun.load(specification, trained_files(tmp_path, inputs))
    found = load_weights(tmp_path / "last.safetensors")
    state = opened.model.state_dict()
    assert set(state) == set(found) == set(opened.weights)
    assert all(torch.equal(state[name], found[name]) for name in found)
    assert all(tensor.is_contiguous() for tensor in state.values())
    images, labels = opened.images("test", "full")
    with torch.no_grad():
        x, y = opened.batch(images, labels)
        opened.model.eval()
        accuracy = (opened.model(x).argmax(1) == y).double().mean().item()
    assert accuracy == pytest.approx(opened.record["last"]["test_accuracy"], abs=0.01)


class Pair(Classifier):
    """A classifier that brings a second network, which is the one to look at."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        torch.manual_seed(3)
        self.second = models.build("cnn", 10, 8, 1)
        self.modules = {"net0": self.model, "net1": self.second}

    def network(self):
        return self.second


def pair(specification, inputs):
    built = classifier.build(specification, inputs)
    return Pair(built.model, built.optimizer, built.feeds)


def test_of_two_networks_the_one_that_the_learner_names_is_opened(inputs, tmp_path):
    run_learner(SPECIFICATION, RunFiles(tmp_path, **inputs), pair, {"pair": "0"})
    opened = TrainedRun.load(SPECIFICATION, trained_files(tmp_path, inputs), pair)
    assert opened.key == "net1"
    make_deterministic(1)
    expected = pair(SPECIFICATION, Inputs(CPU, load(inputs["images"], inputs["manifest"])))
    state = expected.second.state_dict()
    assert set(opened.weights) == set(state)
    assert all(torch.equal(opened.weights[name], tensor) for name, tensor in state.items())
    assert all(torch.equal(opened.model.state_dict()[n], t) for n, t in state.items())
