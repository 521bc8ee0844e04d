import numpy as np
import pytest
import torch

from perturb.studies.reid import losses

O1, O2 = torch.tensor([[2.0, 0, 0], [0, 1, 0]]), torch.tensor([[0.0, 2, 0], [0, 0, 3]])
Y = torch.tensor([0, 2])


def total(terms) -> float:
    return float(sum(terms.values()).detach())


def test_hand_values_of_ce_self_and_core():
    assert total(losses.cross_entropy(O1, Y)) == pytest.approx(0.895495, abs=1e-6)
    assert losses.refinement(None) == 0
    assert total(losses.refined(O1, Y, 0.0)) == pytest.approx(0.895495, abs=1e-6)
    assert total(losses.refined(O1, Y, 0.25)) == pytest.approx(0.770495, abs=1e-6)
    share = losses.refinement(0.895495)
    assert share == pytest.approx(0.527567, abs=1e-6)
    assert total(losses.refined(O1, Y, share)) == pytest.approx(0.631711, abs=1e-6)
    assert total(losses.collaborative(O1, O2)) == pytest.approx(3.661843, abs=1e-6)
    assert total(losses.collaborative(O2, O1)) == pytest.approx(4.910048, abs=1e-6)


def test_hand_values_of_act():
    l0 = torch.tensor([[3.0, 0, 0], [0, 2, 0], [1, 0, 0], [0, 0, 2]])
    l1 = torch.tensor([[2.0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 3]])
    strong = torch.tensor([[2.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    labels = torch.tensor([0, 1, 1, 2])
    weights = torch.tensor([3.0, 2, 2, 3])
    selected = losses.act_selection(l0, l1, labels, 0.025)
    assert selected.tolist() == [True, False, True, True]
    weights = weights + selected
    assert weights.tolist() == [4, 2, 3, 4]
    average = losses.act_average(torch.nn.functional.one_hot(labels, 3).float(), l0)
    pseudo = losses.act_labels(average, labels, selected)
    assert pseudo.tolist() == [0, 1, 1, 2]
    terms = losses.act_robust(l0, strong, labels, pseudo, selected, weights, 3)
    assert total(terms) == pytest.approx(0.544174, abs=1e-6)
    assert total(losses.cross_entropy(l1, labels)) == pytest.approx(0.609339, abs=1e-6)


def test_act_selects_by_the_plain_network_alone_where_it_is_hardly_better():
    labels = torch.tensor([0, 1, 2, 2])
    robust = torch.eye(3)[[0, 1, 0, 0]]  # two right
    plain = torch.eye(3)[[0, 2, 2, 1]]  # two right, one of them the robust one's
    both = [True, False, False, False]
    assert losses.act_selection(robust, plain, labels, 0.025).tolist() == [True, False, True, False]
    better = torch.eye(3)[[0, 2, 2, 2]]  # three right: above by half, not by less than tau
    assert losses.act_selection(robust, better, labels, 0.025).tolist() == both
    assert losses.act_selection(robust, better, labels, 0.6).tolist() == [True, False, True, True]
    wrong = torch.eye(3)[[2, 2, 0, 0]]  # none right: no share of it can be taken
    assert not losses.act_selection(wrong, plain, labels, 9.0).any()


def test_negative_entropy_and_mixture():
    logits = torch.tensor([[2.0, -1, 0], [0, 1, -3]])
    assert losses.negative_entropy(logits) == pytest.approx(-0.584534, abs=1e-6)
    probable = losses.clean_probabilities(np.array([0.1, 0.12, 0.15, 0.2, 2, 2.2, 2.5]))
    assert (probable >= 0.5).tolist() == [True] * 4 + [False] * 3
    assert losses.clean_probabilities(np.ones(5)).tolist() == [1] * 5


def test_an_empty_selection_is_nothing_and_a_full_one_the_mean():
    nothing = torch.zeros(2, dtype=torch.bool)
    o1 = O1.clone().requires_grad_()
    terms = losses.collaborative(o1, O2, nothing)
    assert total(terms) == 0
    sum(terms.values()).backward()
    assert not o1.grad.any()
    assert total(losses.collaborative(O1, O2, ~nothing)) == total(losses.collaborative(O1, O2))
    spoilt = torch.tensor([1.0, float("nan")])
    assert losses.selected_mean(spoilt, torch.tensor([True, False])) == 1


def test_the_peer_gets_no_gradient_and_nothing_is_clamped():
    o1, o2 = (100 * o for o in (O1, O2))
    o1.requires_grad_(), o2.requires_grad_()
    value = sum(losses.collaborative(o1, o2).values())
    assert value > 100 and value.isfinite()
    value.backward()
    assert o1.grad.any() and o2.grad is None


def loop_triplet(features, labels, reliable, margin):
    """The loss by loops, in float64."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = []
    for a in range(len(labels)):
        near = [b for b in range(len(labels)) if b != a and labels[b] == labels[a] and reliable[b]]
        far = [b for b in range(len(labels)) if labels[b] != labels[a]]
        if reliable[a] and near and far:
            p, n = (np.array([np.linalg.norm(unit[a] - unit[b]) for b in o]) for o in (near, far))
            hard = (p @ np.exp(p) / np.exp(p).sum(), n @ np.exp(-n) / np.exp(-n).sum())
            found.append(max(0.0, margin + hard[0] - hard[1]))
    return np.mean(found) if found else 0.0


def test_the_triplet_is_its_loop():
    rng = np.random.default_rng(0)
    for _ in range(5):
        features, labels = rng.standard_normal((12, 5)), rng.integers(0, 4, 12)
        reliable = rng.random(12) < 0.7
        given = (torch.from_numpy(features), torch.from_numpy(labels), torch.from_numpy(reliable))
        found = losses.triplet(*given, 0.3)
        assert float(found) == pytest.approx(loop_triplet(features, labels, reliable, 0.3))
    none = losses.triplet(given[0].requires_grad_(), given[1], torch.zeros(12, dtype=bool), 0.3)
    none.backward()
    assert none == 0 and not given[0].grad.any()


def test_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    peer = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    chosen = torch.tensor([1, 0, 1, 1, 0, 0], dtype=torch.bool)
    features = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    for way in (
        lambda o, f: losses.refined(o, labels, 0.3),
        lambda o, f: losses.collaborative(o, peer, chosen),
        lambda o, f: losses.act_warm_up(o, labels),
        lambda o, f: losses.probable(o, f, labels, chosen.double(), 0.3),
        lambda o, f: losses.two_stage_first(o, labels),
        lambda o, f: losses.two_stage_second(o, f, peer, labels, chosen, 0.3),
    ):
        assert torch.autograd.gradcheck(
            lambda o, f, w=way: sum(w(o, f).values()), (logits, features)
        )
