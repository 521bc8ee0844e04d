"""The largest numbers that fit the types in which runs are computed, and the fewest images."""

LARGEST_FLOAT = (2 - 2**-23) * 2.0**127  # of float32
# Of what a rule multiplies weights or gradients by: far beyond it, their squares leave float32, and
# the first step is no number. The longest radius of a published method is 1,000.
LARGEST_FACTOR = 1e6
LARGEST_INTEGER = 2**63 - 1  # of int64, for seeds and counts
FEW_TEST_IMAGES = 100  # of fewer, one is more than a point of accuracy


def of_few_test_images(test: int) -> list[str]:
    """Return what a test split of so many images must have said of it; nothing of a large one."""
    if test >= FEW_TEST_IMAGES:
        return []
    return [f"a test split of {test} images, of which one is {100 / test:.1f} points of accuracy"]
