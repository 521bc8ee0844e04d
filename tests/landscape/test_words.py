from perturb.landscape.words import mark_of, masked_note, words
from tests.landscape.planes import make_plane


def flat(x, y):
    return 0 * x + 0 * y + 1.0


def test_attributes_become_text():
    plane = make_plane(flat, 3, images=50_000, device=None)
    found = words(plane.attributes)
    assert (found["images"], found["seed"]) == ("50,000", "0")
    assert "device" not in found


def test_the_mark_says_smoke_and_partial_data():
    plain = make_plane(flat, 3)
    smoke = make_plane(flat, 3, scale="smoke")
    partial = make_plane(flat, 3, data="partial (1,117 of 50,000)")
    assert mark_of([plain]) == ""
    assert mark_of([plain, smoke]).startswith("Smoke run")
    assert mark_of([plain], "smoke").startswith("Smoke run") and mark_of([plain], "full") == ""
    assert mark_of([partial]) == "data partial (1,117 of 50,000)"


def test_masked_points_are_counted():
    plane = make_plane(flat, 3)
    assert masked_note({"a": plane}) == ""
    plane.loss[0] = float("inf")
    assert "a 3 of 9" in masked_note({"a": plane})
