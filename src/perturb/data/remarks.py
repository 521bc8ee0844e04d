"""What a manifest says of a data set that a reader of its tables must know, as plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perturb.data.duplicates import Leakage

_EXAMPLES = 20


def of_manifest(manifest: Mapping[str, Any]) -> list[str]:
    """Return the sentences, without their full stops: files left out, how it was read, copies."""
    lines = [
        f"{found['count']:,} file{'s' * (found['count'] != 1)} left out, {reason}: "
        f"{_list(found['paths'])}"
        for reason, found in manifest.get("left_out", {}).items()
    ]
    lines += manifest.get("notes", [])
    if _drawn_for_test(manifest.get("source", {})):
        lines.append(
            "the test split is a random fifth of each class, drawn by perturb, for the folder has "
            "none: pictures of one person or one scene may stand on both sides, and then the "
            "accuracy is too high"
        )
    if count := manifest.get("one_colour", 0):
        lines.append(f"{count:,} image{'s are' if count != 1 else ' is'} of one colour only")
    return [*lines, *of_copies(manifest["duplicates"])] if "duplicates" in manifest else lines


def _drawn_for_test(source: Mapping[str, Any]) -> bool:
    """Whether perturb drew the test images: a folder's digests else begin with their split."""
    return source.get("kind") == "folder of images" and all(
        "/" not in name for name in source["files"]
    )


def _list(paths: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(paths) - shown:,} more" if len(paths) > shown else ""
    return ", ".join(paths[:shown]) + more


def described(found: Leakage, counts: tuple[int, int], names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the leakage as plain values: counts, and the pairs that agree most.

    Args:
        found: of the data set.
        counts: its train and test images.
        names: of all its images, train before test; by default their split and index.
    """
    copies = found.copies
    across = (copies.pairs < found.train).sum(axis=1) == 1  # a copy in the other split comes first
    order = np.lexsort((-copies.agreement, ~across))[:_EXAMPLES]

    def name(index: int) -> str:
        if len(names):
            return names[index]
        train = index < found.train
        return f"train {index}" if train else f"test {index - found.train}"

    return {
        "train_images": counts[0],
        "test_images": counts[1],
        "pairs": len(copies.pairs),
        "agreement_needed": copies.threshold,
        "remark": copies.why,
        "test_images_with_a_copy_in_train": {
            "count": len(found.seen),
            "equal": len(found.seen_equal),
        },
        "copies_of_others": {
            "train": len(found.surplus_train),
            "test": len(found.surplus_test),
        },
        "under_two_labels": {
            "train": len(found.disputed_train),
            "test": len(found.disputed_test),
        },
        "examples": [
            {
                "images": [name(int(index)) for index in copies.pairs[pair]],
                "agreement": round(float(copies.agreement[pair]), 3),
            }
            for pair in order
        ],
    }


def of_copies(described: Mapping[str, Any]) -> list[str]:
    """Return what a reader of a table must know of `described`; nothing where there is no copy."""
    tests, found = described["test_images"], []
    seen = described["test_images_with_a_copy_in_train"]
    if seen["count"]:
        found.append(
            f"{seen['count']:,} of {tests:,} test images ({100 * seen['count'] / tests:.3g} %) "
            f"have a copy among the train images, {seen['equal']:,} an equal one: on them a "
            "network need not generalise"
        )
    copied, disputed = described["copies_of_others"], described["under_two_labels"]
    if sum(copied.values()):
        found.append(
            f"{copied['train']:,} train and {copied['test']:,} test images are copies of others of "
            "their split"
        )
    if sum(disputed.values()):
        found.append(
            f"{disputed['train']:,} train and {disputed['test']:,} test images have a copy under "
            "another label"
        )
    return found
