import pytest

from perturb.studies.rts.across import relative


@pytest.mark.parametrize(
    ("name", "epochs", "expected"),
    [
        ("sgd_800", 400, "sgd_200"),
        ("pugdt_80_400", 400, "pugdt_20_100"),
        ("pugdt_20_100", 100, "pugdt_20_100"),
        ("samt_0.05_360_400", 400, "samt_0.05_90_100"),
        ("pugdr_isin2_0.010_400", 400, "pugdr_isin_2_0.01_100"),
        ("sgd_401", 400, "sgd_401"),
    ],
)
def test_methods_are_matched_by_their_share_of_the_epochs(name, epochs, expected):
    assert relative(name, epochs) == expected
