from perturb.landscape.words import mark_of, masked_note, words
from tests.landscape.planes import make_plane


def flat(x, y):
    return 0 * x + 0 * y + 1.0


def test_attributes_are_found_at_the_top_or_in_groups():
    plane = make_plane(flat, 3, images=50_000)
    assert words(plane.attributes)["images"] == "50,000"
    nested = {"directions": {"seed": 3, "normalisation": "layer"}, "device": None}
    assert words(nested) == {"direction seed": "3", "normalisation": "layer"}


def test_the_mark_says_smoke_and_partial_data():
    plain = make_plane(flat, 3)
    smoke = make_plane(flat, 3, scale="smoke")
    partial = make_plane(flat, 3, data="partial (1,117 of 50,000)")
    assert mark_of([plain]) == ""
    assert mark_of([plain, smoke]).startswith("Smoke run")
    assert mark_of([partial]) == "data partial (1,117 of 50,000)"


def test_masked_points_are_counted():
    plane = make_plane(flat, 3)
    assert masked_note({"a": plane}) == ""
    plane.loss[0] = float("inf")
    assert "a 3 of 9" in masked_note({"a": plane})
