"""How much of a data set a run used, in words."""

from perturb.analysis.comparability import data_used


def test_the_official_size_is_the_data_sets_own_and_its_variants():
    assert data_used("cifar10", 200, whole=True) == "whole"
    for name in ("cifar10", "cifar10_noise-0.4", "cifar100_noise-0.2_kind-patterned"):
        assert data_used(name, 200, whole=False) == "partial (200 of 50,000)"
    assert data_used("fashion_mnist", 200, whole=False) == "partial (200 of 60,000)"
    assert data_used("birds_noise-0.4", 1200, whole=False) == "partial (1,200 images)"
    assert data_used("birds", None, whole=False) == "partial"
