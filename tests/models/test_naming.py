"""Names that are offered for described models are names that they may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perturb.models.naming import may_be, suggested


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("my_cnn",), "my-cnn"),
        (("MyNet",), "own-mynet"),
        (("cnn", "f_fast"), "cnn-f-fast"),
        (("cnn_2",), "own-cnn2"),
        (("timm-mine",), "own-timm-mine"),
        (("",), "own-model"),
    ],
)
def test_a_name_as_near_as_may_be_is_offered(words, name):
    assert suggested(*words) == name


@given(st.text(max_size=20))
def test_whatever_the_text_the_name_may_be_used(text):
    assert may_be(suggested(text))
