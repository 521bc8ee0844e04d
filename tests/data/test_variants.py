"""Names of data sets with variants: one spelling each, and one message for all others."""

import re

import pytest

from perturb.data import registry
from perturb.data.variants import Noise, Variant, base_name, format, parse
from perturb.errors import PerturbError


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("digits", Variant("digits")),
        ("digits_noise-0.4", Variant("digits", Noise(0.4))),
        ("digits_noise-1", Variant("digits", Noise(1.0))),
        ("digits_noise-1e-3", Variant("digits", Noise(0.001))),
        ("fashion_mnist_noise-0.05", Variant("fashion_mnist", Noise(0.05))),
        ("my-own_2_noise-0.125", Variant("my-own_2", Noise(0.125))),
        ("birds_v-2", Variant("birds_v-2")),
        (
            "fashion_mnist_noise-0.4_kind-patterned",
            Variant("fashion_mnist", Noise(0.4, "patterned")),
        ),
    ],
)
def test_names_are_read_and_printed_back(name, variant):
    assert parse(name) == variant
    assert format(variant) == name
    assert base_name(name) == variant.base


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits_noise-0.40", "is called 'digits_noise-0.4'"),
        ("digits_noise-.4", "is called 'digits_noise-0.4'"),
        ("digits_noise-4e-1", "is called 'digits_noise-0.4'"),
        ("digits_noise-1.0", "is called 'digits_noise-1'"),
        ("digits_noise-0.4_kind-random", "is called 'digits_noise-0.4'"),
        (
            "digits_kind-patterned_noise-0.4",
            "is called 'digits_noise-0.4_kind-patterned'",
        ),
        ("digits_noise-0", "above 0 and at most 1, not '0'. The data set without noise is 'dig"),
        ("digits_noise-1.5", "above 0 and at most 1"),
        ("digits_noise--0.4", "above 0 and at most 1, not '-0.4'"),
        ("digits_noise-nan", "above 0 and at most 1"),
        ("digits_noise-", "above 0 and at most 1, not ''"),
        ("digits_noise-much", "must be a number"),
        ("digits_noise-0.4_kind-symmetric", "no noise of kind 'symmetric'"),
        ("digits_noise-0.4_kind-paterned", "Did you mean 'patterned'"),
        ("digits_noise-0.4_knd-patterned", "'knd-patterned' is no variant. Did you mean 'kind'"),
        ("digits_noise-0.4_more", "'more' is no variant"),
        ("digits_noise-0.4_noise-0.5", "noise stands twice"),
        ("digits_kind-patterned", "a kind of no noise"),
    ],
)
def test_any_other_spelling_is_one_message(name, said):
    with pytest.raises(PerturbError, match=re.escape(said)) as caught:
        parse(name)
    assert name in str(caught.value)


def test_the_registry_knows_every_variant_of_what_it_knows():
    folders = {"birds": "somewhere"}
    for name in ("digits_noise-0.4", "fashion_mnist_noise-0.1_kind-patterned", "birds_noise-0.2"):
        assert registry.check_name(name, folders) == name
    with pytest.raises(PerturbError, match=r"Unknown data set 'digit'. Did you mean 'digits'"):
        registry.check_name("digit_noise-0.4")
    with pytest.raises(PerturbError, match=r"Unknown data set 'digits_nose-0.4'"):
        registry.check_name("digits_nose-0.4")
    with pytest.raises(PerturbError, match="Unknown data set 'birds'"):
        registry.check_name("birds_noise-0.4")
    with pytest.raises(PerturbError, match=r"'a_noise-0.4' ends like a variant"):
        registry.check_name("digits", {"a_noise-0.4": "somewhere"})


def test_the_readers_of_a_variant_are_its_bases_and_the_noise():
    assert registry.readers("digits") == ("perturb.data.digits",)
    folders = ("perturb.data.image_folder", "perturb.data.identity_folder")
    assert registry.readers("birds") == folders
    assert registry.readers("digits_noise-0.4") == ("perturb.data.digits", "perturb.data.noise")
    assert registry.shape("cifar10_noise-0.4") == registry.shape("cifar10") is not None
    assert registry.shape("birds_noise-0.4") is None
