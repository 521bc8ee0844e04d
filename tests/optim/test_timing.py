"""Timing rules on made-up histories, worked out by hand, driven through the public interface."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import perturb.optim
from perturb import optim
from perturb.errors import PerturbError

from . import reference
from .problems import closure_of, problem_of, train


class History:
    """An optimizer on the loss `c w`: the gradient norm of a batch is |c|, whatever w is."""

    def __init__(self, name, **options):
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.optimizer = perturb.optim.build(name, [self.w], lr=1e-3, **options)
        self.perturbing = []

    def epoch(self, gap=0.0, norms=(1.0,), accuracy=0.5):
        """Run one epoch: |L_valid - L_train|, the batches' gradient norms, validation accuracy."""
        self.optimizer.set_epoch(len(self.perturbing))
        self.perturbing.append(self.optimizer.perturbing)
        for norm in norms:
            loss = closure_of(self.optimizer, lambda norm=norm: norm * self.w.sum())
            self.optimizer.step(loss)
        self.optimizer.end_epoch(
            train_loss=1.0, validation_loss=1.0 + gap, validation_accuracy=accuracy
        )

    def check(self, trigger):
        """It triggered at the end of epoch `trigger` and perturbs from the next one on."""
        assert self.optimizer.trigger_epoch == trigger
        last = len(self.perturbing)
        first = last if trigger is None else trigger + 1
        assert self.perturbing == [e >= first for e in range(last)]


def delta(name, gaps):
    history = History(name)
    for gap in gaps:
        history.epoch(gap=gap)
    return history


# --- delta: base 3 * 0.25 = 0.75 over epochs 0..9, looked at where (e+1) % 3 == 0 and e > 10 ------

PUBLISHED_DELTA = "pugdt_delta_100xi10mu3_t3"
CALM = [0.25] * 20


def test_delta_triggers_at_the_end_of_20_as_published():
    """Wide gaps at 18 and 19 fall between the looks at 17 and 20: triggered 20, perturbing 21."""
    gaps = [*CALM[:18], 5.0, 5.0, 0.7500001, *CALM]
    delta(PUBLISHED_DELTA, gaps).check(20)


def test_delta_reads_its_name_with_trailing_zeros():
    gaps = [*CALM[:18], 5.0, 5.0, 0.7500001, *CALM]
    delta("pugdt_delta_100xi10.0mu3_t3", gaps).check(20)


@pytest.mark.parametrize("look", [11, 14, 17])
def test_delta_looks_at_the_epochs_whose_successor_is_a_multiple_of_three(look):
    delta(PUBLISHED_DELTA, [*CALM[:look], 1.0, 0.0, 0.0]).check(look)


@pytest.mark.parametrize("spike", [10, 12, 13, 15, 16, 18, 19])
def test_delta_does_not_see_a_spike_between_two_looks(spike):
    gaps = list(CALM)
    gaps[spike] = 50.0
    delta(PUBLISHED_DELTA, gaps).check(None)


@pytest.mark.parametrize("spike", [2, 5, 8])
def test_delta_does_not_trigger_while_the_base_is_gathered(spike):
    gaps = list(CALM)
    gaps[spike] = 50.0
    delta(PUBLISHED_DELTA, gaps).check(None)


def test_delta_does_not_trigger_on_a_gap_equal_to_the_base():
    delta(PUBLISHED_DELTA, [*CALM[:11], 0.75, 0.75, 0.75, 0.75]).check(None)


def test_delta_takes_the_absolute_gap():
    """Signs cancel in the sum, not in the mean of absolute values: the base stays 0.75."""
    gaps = [0.25, -0.25] * 10
    delta(PUBLISHED_DELTA, [*gaps[:11], 0.7, 0.0, 0.0, -0.8, 0.0]).check(14)


def test_delta_averages_over_the_first_xi_epochs_only():
    """Epoch 10 is not in the base: mean 0.25 over 0..9; with epoch 10 it would be 1.14."""
    gaps = [0.25] * 10 + [10.0]
    delta(PUBLISHED_DELTA, [*gaps, 1.0, 0.0]).check(11)
    # Epoch 9 is: (9 * 0.25 + 2.75) / 10 = 0.5, base 1.5; without it 0.75.
    gaps = [0.25] * 9 + [2.75, 0.25]
    delta(PUBLISHED_DELTA, [*gaps, 1.4, 0.0, 0.0, 1.6, 0.0]).check(14)


def test_delta_waits_until_after_epoch_xi():
    """xi = 11: epoch 11 itself is a multiple of three less one, and still too early."""
    delta("pugdt_delta_60xi11mu3_t3", [*CALM[:11], 9.0, 0.0, 0.0, 9.0, 0.0]).check(14)


def test_delta_stays_triggered_and_keeps_its_first_trigger():
    delta(PUBLISHED_DELTA, [*CALM[:11], 9.0, 0.0, 0.0, 9.0, 0.0, 0.0, 9.0, 0.0]).check(11)


def test_delta_with_other_parameters():
    """xi 4, mu 0.5, t 2: base 0.5 * (1+2+3+2)/4 = 1; looks at 5, 7, 9."""
    gaps = [1.0, 2.0, 3.0, 2.0, 9.0, 1.0, 9.0, 0.9, 9.0, 1.1, 0.0]
    delta("pugdt_delta_40xi4mu0.5_t2", gaps).check(9)


# --- var: population variance of every batch's norm; epochs > max(k, init_t) ----------------------


def variance(name, epochs):
    history = History(name)
    for norms in epochs:
        history.epoch(norms=norms)
    return history


PUBLISHED_VAR = "pugdt_var_100init_t10gamma0.2_k10"
WILD, STILL = [1.0, 3.0] * 3, [2.0, 2.5] * 3  # variances 1 and 0.0625


def test_var_triggers_at_the_end_of_11_as_published():
    """Epochs 0..10 have variance 1: threshold 0.2. The last ten of 11's twelve norms: 0.0625."""
    variance(PUBLISHED_VAR, [WILD] * 11 + [STILL * 2, WILD, WILD]).check(11)


def test_var_looks_at_batches_and_not_at_epochs():
    """At the end of 11 four of the last ten batches are epoch 10's wild ones; at 12 none is."""
    norms = np.array([*WILD[2:], *STILL])
    assert norms.var() > 0.2
    variance(PUBLISHED_VAR, [WILD] * 11 + [STILL, STILL, WILD]).check(12)


def test_var_does_not_trigger_at_the_end_of_init_t_itself():
    """Epoch 10 is still, as are the last ten batches, but the threshold is only being set."""
    epochs = [WILD] * 10 + [STILL * 2, WILD * 2, WILD * 2, WILD * 2]
    variance(PUBLISHED_VAR, epochs).check(None)


def test_var_does_not_trigger_on_wild_norms():
    variance(PUBLISHED_VAR, [WILD] * 16).check(None)


def test_var_does_not_trigger_before_init_t():
    variance(PUBLISHED_VAR, [WILD * 2] * 3 + [STILL * 2] * 3 + [WILD * 2] * 9).check(None)


@pytest.mark.parametrize(("difference", "trigger"), [(1.3, 3), (1.5, None)])
def test_var_is_the_population_variance(difference, trigger):
    """Norms 1,3,1,3,1,3: variance 1 (of a sample 1.2), threshold 0.5.

    The last two norms differ by d: d^2/4 is 0.4225 or 0.5625. With sample variances 0.845 against
    0.6 would not trigger; with the sample's in the threshold only, 0.5625 would.
    """
    history = variance(
        "pugdt_var_50init_t2gamma0.5_k2", [[1.0, 3.0]] * 3 + [[1.0, 1.0 + difference]]
    )
    history.epoch(norms=[1.0, 3.0])
    history.check(trigger)


def test_var_does_not_trigger_on_a_variance_equal_to_the_threshold():
    """0.25 * 1 against norms 2 and 3, whose variance is 0.25, both exact in binary."""
    epochs = [[1.0, 3.0]] * 3 + [[2.0, 3.0], [2.0, 2.9], [1.0, 3.0]]
    variance("pugdt_var_50init_t2gamma0.25_k2", epochs).check(4)


def test_var_counts_all_norms_up_to_and_with_epoch_init_t():
    """Epochs 0, 1 and 2 together: norms 0,4,0,4,2,2: variance 8/3, threshold 1.33.

    Without epoch 2 it would be 2; of epoch 2 alone 0. Epoch 3's norms 1 and 3.5 have 1.5625 (not
    below), epoch 4's 1 and 3.2 have 1.21.
    """
    epochs = [[0.0, 4.0], [0.0, 4.0], [2.0, 2.0], [1.0, 3.5], [1.0, 3.2], [0.0, 4.0]]
    variance("pugdt_var_50init_t2gamma0.5_k2", epochs).check(4)


def test_var_waits_for_an_epoch_beyond_k():
    """k = 5 > init_t = 2: norms are still from epoch 3 on, the first look is at the end of 6."""
    epochs = [[1.0, 3.0]] * 3 + [[2.0] * 5] * 5
    variance("pugdt_var_50init_t2gamma0.5_k5", epochs).check(6)


def test_var_takes_its_last_batches_across_epochs():
    """k = 3, two batches an epoch, threshold 0.2: at the end of 5 it sees 3.2, 2, 2 (0.32)."""
    epochs = [[1.0, 3.0]] * 4 + [[2.0, 3.2], [2.0, 2.0], [2.0, 2.0], [1.0, 3.0]]
    variance("pugdt_var_50init_t3gamma0.2_k3", epochs).check(6)


def test_var_stays_triggered():
    variance(PUBLISHED_VAR, [WILD] * 11 + [STILL * 2] + [WILD] * 4).check(11)


def test_var_reads_its_name_with_trailing_zeros():
    name = "pugdt_var_100init_t10.0gamma0.2_k10"
    variance(name, [WILD] * 11 + [STILL * 2, WILD, WILD]).check(11)


# --- accuracy -------------------------------------------------------------------------------------


def accuracies(name, values):
    history = History(name)
    for value in values:
        history.epoch(accuracy=value)
    return history


def test_accdrop_triggers_on_the_first_fall():
    values = [0.1, 0.3, 0.3, 0.5, 0.499, 0.6, 0.7]
    accuracies("pugdt_accdrop_40", values).check(4)


def test_accdrop_compares_with_the_epoch_before_and_not_with_the_best():
    accuracies("pugdt_accdrop_40", [0.5, 0.5, 0.6, 0.6, 0.7]).check(None)
    accuracies("pugdt_accdrop_40", [0.5, 0.4, 0.45, 0.44]).check(1)


def test_accrate_triggers_when_five_epochs_brought_less_than_a_thousandth():
    """Rising by 0.05 until epoch 10 and then flat: epoch 15 is the first equal to five before."""
    values = [0.1 + 0.05 * min(e, 10) for e in range(20)]
    accuracies("pugdt_accrate_40v0.001_k5", values).check(15)


def test_accrate_is_relative():
    """From 0.5 a rise of 0.0004 is 0.0008 of it (below); of 0.0006 is 0.0012 (not below)."""
    accuracies("pugdt_accrate_40v0.001_k1", [0.5, 0.5006, 0.6, 0.7]).check(None)
    accuracies("pugdt_accrate_40v0.001_k1", [0.4, 0.5, 0.5004, 0.7]).check(2)


def test_accrate_waits_for_k_epochs():
    accuracies("pugdt_accrate_40v0.001_k5", [0.5] * 5).check(None)
    accuracies("pugdt_accrate_40v0.001_k5", [0.5] * 8).check(5)


# --- at a fixed epoch, and what a switch does to the update ---------------------------------------


def test_at_an_epoch():
    history = History("pugdt_8_40")
    for _ in range(12):
        history.epoch()
    assert history.perturbing == [e >= 8 for e in range(12)]
    assert history.optimizer.trigger_epoch == 7


@pytest.mark.parametrize("epoch", [3, 7, 8, 9, 20])
def test_at_an_epoch_whatever_came_before(epoch):
    """A fresh optimizer set to a late epoch, and then back: only the epoch counts."""
    optimizer = History("pugdt_8_40").optimizer
    for e in (20, epoch):
        optimizer.set_epoch(e)
        assert optimizer.perturbing == (e >= 8)
        assert optimizer.trigger_epoch in (7, None)


def test_methods_without_timing_perturb_always_or_never():
    for name, expected in [("pugd_10", True), ("sam_0.05_10", True), ("sgd_10", False)]:
        history = History(name)
        for _ in range(3):
            history.epoch(gap=9.0)
        assert history.perturbing == [expected] * 3, name
        assert history.optimizer.trigger_epoch is None, name


@pytest.mark.parametrize(("name", "trigger"), [("pugdt_accdrop_5", 1), ("pugdt_2_5", None)])
def test_plain_sgd_before_the_switch_and_the_momentum_kept(name, trigger):
    """Both names switch before epoch 2; the reference carries one velocity through."""
    problem = problem_of("digits")
    rule = reference.rule("pugdt_2", 5, problem.is_weight)
    expected = reference.run(problem.weights, rule, problem.gradients, lr=0.05)
    optimizer = perturb.optim.build(name, problem.parameters, lr=0.05)
    accuracy = iter([0.5, 0.4, 0.6, 0.7, 0.8])
    end_epoch = optimizer.end_epoch

    def made_up(**recorded):
        end_epoch(**recorded | {"validation_accuracy": next(accuracy)})

    optimizer.end_epoch = made_up
    found = train(optimizer, problem)
    assert max(np.abs(a - b).max() for a, b in zip(found, expected.weights, strict=True)) < 1e-10
    assert optimizer.gradient_evaluations == expected.evaluations == 4 + 2 * 6
    if trigger is not None:
        assert optimizer.trigger_epoch == trigger


def test_a_timed_method_costs_one_gradient_a_step_until_it_perturbs():
    history = History("pugdt_3_10")
    for _ in range(5):
        history.epoch(norms=[1.0, 2.0])
    assert history.optimizer.gradient_evaluations == 3 * 2 + 2 * 2 * 2


def test_norms_of_the_plain_steps_are_recorded_and_nothing_is_perturbed():
    history = History("pugdt_var_50init_t2gamma0.5_k2")
    history.epoch(norms=[1.0, 3.0])
    assert history.optimizer.gradient_norm.item() == 3.0
    assert history.optimizer.perturbation_norm.item() == 0.0


def test_an_epoch_past_the_last_is_refused_where_a_schedule_would_climb_back():
    weight = torch.nn.Parameter(torch.ones(3))
    for name in ("sgd_3", "pugdr_cos_2_0.5_3"):
        optimizer = optim.build(name, [weight])
        optimizer.set_epoch(2)
        with pytest.raises(PerturbError, match="epoch 3 is none of the 3 that the method's name"):
            optimizer.set_epoch(3)
        assert optimizer.epoch == 2
    optim.build("sgd_3", [weight], learning_rate_schedule="constant").set_epoch(30)


def test_a_timed_method_that_is_told_nothing_says_so():
    weight = torch.nn.Parameter(torch.ones(3))

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    optimizer = optim.build("pugdt_accdrop_9", [weight])
    optimizer.set_epoch(0)
    optimizer.step(closure)
    with pytest.warns(UserWarning, match="timed by 'accdrop' was not told how epoch 0 went"):
        optimizer.set_epoch(1)
    optimizer = optim.build("pugdt_3_9", [weight])
    with pytest.warns(UserWarning, match=r"before set_epoch.*stays its base optimiser alone"):
        optimizer.step(closure)
    optimizer = optim.build("pugdr_isin_2_0.01_9", [weight])
    with pytest.warns(UserWarning, match=r"before set_epoch.*its radius never leaves epoch 0"):
        optimizer.step(closure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim.build("pugdrs_const0.05_const1_9", [weight]).step(closure)
        for name in ("pugdt_accdrop_9", "pugdt_3_9", "pugdr_isin_2_0.01_9", "sgd_9"):
            optimizer = optim.build(name, [weight])
            for epoch in range(9):
                optimizer.set_epoch(epoch)
                optimizer.step(closure)
                kept = optimizer.state_dict()
                optimizer.end_epoch(train_loss=1, validation_loss=1, validation_accuracy=0.5)
            optimizer.load_state_dict(kept)
            optimizer.set_epoch(8)
