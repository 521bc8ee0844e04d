import json
import math

import numpy as np
import pytest
import torch

from perturb import models
from perturb.errors import PerturbError
from perturb.studies.reid import methods
from perturb.studies.reid.learner import learner
from perturb.studies.reid.settings import ReidSpecification
from perturb.studies.reid.steps import STEPS
from perturb.train.driver import train
from perturb.train.learner import Inputs, load_weights_into, weights_of
from perturb.train.state import State

EVERY = (
    "ce_3",
    "self_3",
    "core_switch-2_4",
    "core_stage1-roles_selective-true_stages-4_switch-2_6",
    "act_switch-2_4",
    "lcnl_4",
    "tsnt_switch-2_4",
)


def equal(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", EVERY)
def test_it_goes_on_to_the_same_bits_from_every_epoch(make, name):
    """Stage 1, the change of stages, stage 2, the mixture's epochs."""
    states = []
    one = make(name)
    whole = train(one, epoch_ended=lambda outcome: states.append(State.of(outcome, one)))
    assert whole.diverged_at_step is None and len(states) == one.epochs
    for state in states[:-1]:
        kept = State.join(state.tensors(), json.loads(json.dumps(state.numbers())))
        again = make(name)
        load_weights_into(again, kept.outcome.last)
        again.load_state_dict(kept.learner)
        found = train(again, before=kept.outcome.copy())
        assert equal(found.last, whole.last), state.epochs
        assert equal(found.best, whole.best)
        assert found.history.csv() == whole.history.csv()
        for key, array in whole.history.arrays().items():
            np.testing.assert_array_equal(found.history.arrays()[key], array)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_recorded(make, data, name):
    one = make(name)
    outcome = train(one)
    networks = one.method.definition.networks
    prefixes = {key.partition(".")[0] for key in weights_of(one)}
    assert prefixes == {f"net{at}" for at in range(networks)} == set(one.modules)
    for epoch, row in enumerate(outcome.history.rows):
        stage = one.method.stages[one.method.stage_number(epoch)]
        for at in range(networks):
            # The terms of the definition, and none else, are what was trained.
            computed = {t for t in one.method.terms[at] if row[f"train_{t}_net{at}"] is not None}
            assert computed == {term.name for term in stage.losses[at]}
            total = sum(row[f"train_{term}_net{at}"] for term in computed)
            assert total == pytest.approx(row[f"train_loss_net{at}"], abs=1e-5)
            for score in ("mAP", "mINP", "rank1", "rank5", "rank10"):
                assert 0 <= row[f"test_{score}_net{at}"] <= 1
            fraction = row[f"selected_fraction_net{at}"]
            assert (fraction is not None) == bool(stage.selection)
    last = outcome.history.rows[-1]
    assert all(math.isfinite(last[key]) for key in one.measures.last)
    if not one.method.definition.average:
        assert last["test_mAP"] == last["test_mAP_net0"]
    assert last["gradient_evaluations"] == one.epochs * one.steps * networks
    assert one.facts()["wrong_labels"] == (data.train_labels != data.train_true_labels).sum()
    assert one.network() is one.modules["net0"]


def test_every_step_is_a_stage_of_some_method():
    names = ["ce_9", "self_9", "core_9", "core_stage1-roles_9", "act_9", "lcnl_9", "tsnt_9"]
    used = {stage.step for name in names for stage in methods.method(name).stages}
    assert used == set(STEPS)


def test_weights_of_images(make, data):
    """ACT counts one an epoch in its warm-up, then the selections; CORE's are always 1."""
    arrays = train(make("act_switch-2_4")).history.arrays()
    weights, selected = arrays["sample_weight_net0"], arrays["sample_selected_net0"]
    assert (weights[0] == 1).all() and (weights[1] == 2).all() and (selected[:2] == 1).all()
    np.testing.assert_array_equal(weights[3], 2 + selected[2:].sum(axis=0))
    assert 0 < selected[2:].mean() < 1
    for name in ("sample_weight_net0", "sample_weight_net1", "sample_selected_net1"):
        assert (train(make("core_3")).history.arrays()[name] == 1).all()


def test_precision_and_recall_are_against_the_true_noise(make, data):
    outcome = train(make("act_switch-1_3"))
    selected = outcome.history.arrays()["sample_selected_net0"][-1] == 1
    clean, row = data.train_labels == data.train_true_labels, outcome.history.rows[-1]
    assert row["selected_fraction_net0"] == pytest.approx(selected.mean())
    assert row["selection_precision_net0"] == pytest.approx(clean[selected].mean())
    assert row["selection_recall_net0"] == pytest.approx(selected[clean].mean())
    weights = outcome.history.arrays()["sample_weight_net0"][-1]
    assert row["clean_weight_net0"] == pytest.approx(weights[clean].mean())
    assert row["wrong_weight_net0"] == pytest.approx(weights[~clean].mean())


def test_an_empty_selection_changes_nothing_and_is_counted(make):
    one = make("core_selective-true_switch-1_3")
    for network in one.networks:  # both predict a class that no image is given
        network.classifier.weight.data.zero_()
        network.classifier.bias.data.zero_()[0] = 9
    one.labels.fill_(1)
    trained = one.train(1)
    row = trained.row
    assert trained.not_finite is None
    for at in (0, 1):
        assert row[f"empty_batches_net{at}"] == one.steps
        assert row[f"selected_fraction_net{at}"] == 0
        assert row[f"selection_precision_net{at}"] is None
        assert not trained.series[f"gradient_norm_net{at}"].any()
    assert one.facts()["empty_batches"] == [one.steps, one.steps]


def test_nothing_means_weights_buffers_and_momentum(make):
    one = make("core_selective-true_switch-1_3")
    one.train(0)  # there is momentum now
    for network in one.networks:
        network.classifier.weight.data.zero_()
        network.classifier.bias.data.zero_()[0] = 9
    one.labels.fill_(1)
    before, momentum = weights_of(one), str(one.optimizers[0].sgd.state_dict())
    one.train(1)
    assert equal(before, weights_of(one))
    assert str(one.optimizers[0].sgd.state_dict()) == momentum


@pytest.mark.parametrize("name", ["ce_4", "core_stage1-roles_selective-true_switch-2_4"])
def test_divergence_ends_the_run_at_its_step(make, name):
    one = make(name, learning_rate=1e4)
    first = weights_of(one)
    outcome = train(one)
    assert outcome.diverged_at_step is not None
    steps, epochs = outcome.diverged_at_step, len(outcome.history.rows)
    assert epochs * one.steps < steps <= (epochs + 1) * one.steps
    assert all(tensor.isfinite().all() for tensor in outcome.last.values())
    assert epochs or equal(outcome.last, first)


def test_a_huge_finite_loss_is_divergence_and_spoilt_features_are(make):
    one = make("ce_2")
    one.networks[0].classifier.bias.data[0] = 1e8
    assert one.train(0).not_finite == 0
    one = make("ce_2")
    one.networks[0].backbone[0].weight.data.fill_(torch.nan)
    assert math.isnan(one.evaluate().row["test_mAP"])  # which ends the run, as the driver has it
    one = make("ce_2")
    one.networks[0].backbone[-2].weight.data.zero_()
    one.networks[0].backbone[-2].bias.data.fill_(-1)
    assert math.isnan(one.evaluate().row["test_mAP"])  # all features are zero


def test_learning_rates(make):
    one = make("core_lr0-0.01_lr1-0.001_61", head_multiplier=10.0)
    assert [o.rates for o in one.optimizers] == [(0.01, 0.1), (0.001, 0.01)]
    rates = [one.optimizers[0].rate(epoch) for epoch in (0, 19, 20, 49, 50, 60)]
    assert rates == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])
    assert one.rates() == [0.01, 0.001] and make("core_2").rates() == [0.03, 0.03]


def test_warm_up_and_clipping(make):
    one = make("ce_warmup-2_clip-0.001_12")
    optimizer, network = one.optimizers[0], one.networks[0]
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    norm = optimizer.step(0, 0)
    count = sum(p.numel() for p in network.parameters())
    assert float(norm) == pytest.approx(count**0.5, rel=1e-5)
    clipped = torch.cat([p.grad.reshape(-1) for p in network.parameters()]).norm()
    assert float(clipped) == pytest.approx(0.001, rel=1e-3)
    assert optimizer.sgd.param_groups[0]["lr"] == pytest.approx(0.03 / (2 * one.steps))
    optimizer.step(1, one.steps - 1)
    assert optimizer.sgd.param_groups[1]["lr"] == pytest.approx(0.09)


def test_initial_weights(make, data):
    one, other = make("core_2"), make("core_2")
    initial = models.initial_weights("embedding_small", 12, 32, 3, 0)
    assert equal(one.networks[0].state_dict(), initial)
    assert equal(one.networks[1].state_dict(), other.networks[1].state_dict())
    differing = one.networks[1].backbone[0].weight != one.networks[0].backbone[0].weight
    assert differing.all()


def test_a_pretrained_backbone_is_that_of_both(make, data, monkeypatch):
    from dataclasses import replace

    from perturb.models import registry

    wanted, known = make("ce_2").specification, registry.MODELS["embedding_small"]
    monkeypatch.setitem(registry.MODELS, "embedding_small", replace(known, pretrained=True))
    wanted = ReidSpecification.of({**wanted.values(), "method": "core_2"})
    network = models.build("embedding_small", 12, 32, 3)
    inputs = Inputs(torch.device("cpu"), data, network.state_dict())
    first, second = learner(wanted, inputs).networks
    assert equal(first.backbone.state_dict(), second.backbone.state_dict())
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_bfloat16_trains(make):
    outcome = train(make("act_switch-1_2", precision="bfloat16"))
    assert outcome.diverged_at_step is None


def test_what_does_not_fit_is_refused(make, data):
    from dataclasses import replace

    wanted = make("ce_2").specification
    with pytest.raises(PerturbError, match="has no cameras"):
        learner(wanted, Inputs(torch.device("cpu"), replace(data, sightings=None)))
    other = ReidSpecification.of({**wanted.values(), "model": "cnn"})
    with pytest.raises(PerturbError, match=r"cannot train model 'cnn'.*embedding_small"):
        learner(other, Inputs(torch.device("cpu"), data))
