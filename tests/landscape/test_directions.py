"""Directions: drawn from a seed, and normalised as the papers say."""

import numpy as np
import pytest
import torch

from perturb.errors import PerturbError
from perturb.landscape import directions

from .problems import network


def parameters():
    return {name: p.detach() for name, p in network().named_parameters()}


def drawn(seed=0):
    weights = parameters()
    return directions.draw({name: w.shape for name, w in weights.items()}, seed)


def test_a_seed_draws_the_same_pair_of_standard_normals_again():
    first, second = drawn()
    again, _ = drawn()
    other, _ = drawn(seed=1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert not any(torch.equal(first[name], second[name]) for name in first)
    wide, _ = directions.draw({"w": torch.Size([400, 500])}, 3)
    assert abs(wide["w"].mean().item()) < 0.01
    assert abs(wide["w"].std().item() - 1) < 0.01


def test_a_tensors_direction_does_not_depend_on_the_other_tensors():
    alone, _ = directions.draw({"4.weight": torch.Size([4, 12])}, 0)
    assert torch.equal(alone["4.weight"], drawn()[0]["4.weight"])


def test_filter_normalisation_gives_each_filter_the_norm_of_its_weights():
    weights, (first, _) = parameters(), drawn()
    found = directions.normalise(first, weights, "filter")
    for name in ("0.weight", "4.weight"):
        w, d = weights[name].numpy(), first[name].double().numpy()
        for j in range(len(w)):
            expected = d[j] * np.linalg.norm(w[j]) / (np.linalg.norm(d[j]) + 1e-10)
            np.testing.assert_allclose(found[name][j].numpy(), expected, rtol=1e-13)


def test_layer_and_weight_normalisation_against_their_formulas():
    weights, (first, _) = parameters(), drawn()
    name = "0.weight"
    w, d = weights[name].numpy(), first[name].double().numpy()
    layer = directions.normalise(first, weights, "layer")[name].numpy()
    np.testing.assert_allclose(
        layer, d * np.linalg.norm(w) / (np.linalg.norm(d) + 1e-10), rtol=1e-13
    )
    weight = directions.normalise(first, weights, "weight")[name].numpy()
    np.testing.assert_array_equal(weight, d * w)


def test_biases_and_normalisation_stay_unless_asked_for():
    weights, (first, _) = parameters(), drawn()
    still = directions.normalise(first, weights)
    moved = directions.normalise(first, weights, ignore="nothing")
    for name in ("0.bias", "1.weight", "1.bias", "4.bias"):
        assert not still[name].any()
        # A vector's filters are its entries.
        torch.testing.assert_close(moved[name].abs(), weights[name].abs(), rtol=1e-7, atol=0)
        assert torch.equal(moved[name].sign(), first[name].double().sign())


def test_a_filter_of_zeros_gets_a_direction_of_zeros():
    weights, (first, _) = parameters(), drawn()
    weights["0.weight"][2] = 0
    assert not directions.normalise(first, weights)["0.weight"][2].any()


def test_a_file_has_both_directions_and_their_seed(tmp_path):
    pair = drawn(seed=5)
    path = tmp_path / "directions.safetensors"
    directions.save(path, pair, 5)
    for number in range(5):  # the order in a file must not be one of chance
        directions.save(tmp_path / f"{number}", pair, 5)
        assert (tmp_path / f"{number}").read_bytes() == path.read_bytes()
    (first, second), seed = directions.load(path)
    assert seed == 5
    for found, expected in zip((first, second), pair, strict=True):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


def test_what_is_wrong_is_said(tmp_path):
    weights, (first, _) = parameters(), drawn()
    with pytest.raises(PerturbError, match=r"no tensor '4\.weight' of shape"):
        directions.normalise(first | {"4.weight": torch.zeros(10, 12)}, weights)
    with pytest.raises(PerturbError, match="normalisation 'fitler'"):
        directions.normalise(first, weights, "fitler")
    path = tmp_path / "directions.safetensors"
    directions.save(path, drawn(), 0)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(PerturbError, match=r"directions\.safetensors.*damaged"):
        directions.load(path)
