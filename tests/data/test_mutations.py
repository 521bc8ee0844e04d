"""Folders changed at random; 500 of them: `python -m tests.data.mutations 500`."""

import pytest

from . import mutations


@pytest.mark.parametrize("seed", range(2 * len(mutations.CHANGES)))
def test_a_changed_folder_is_read_told_of_or_refused(tmp_path, seed):
    mutations.check(seed, tmp_path)
