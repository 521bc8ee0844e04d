"""How much of a data set runs used, in words: which of its splits were cut, and to how many."""

from __future__ import annotations

import json
from collections.abc import Mapping

from perturb.data import registry


def data_of(run: Mapping[str, object]) -> str:
    """Return `whole`, or how much of which split a run of `runs.collect` used.

    `partial (200 of 1,437 train images, all 360 test images)`. The size of a user's folder is in no
    record: of it stands `200 train images` where a limit may have cut it. A limit above what there
    is cuts nothing.
    """
    limit = json.loads(str(run["specification"])).get("limit") or {}
    used = json.loads(str(run["images"]))
    official = registry.shape(str(run["dataset"]))
    cut, texts = bool(run["partial_data"]), []
    for split in ("train", "test"):
        number = used.get(split)
        if number is None:
            cut = cut or bool(limit)
            continue
        of = getattr(official, split) if official else None
        noun = f"{split} image{'' if (of or number) == 1 else 's'}"
        limited = split in limit and number >= limit[split] and number != of
        cut = cut or limited
        if limited or (of is not None and number != of) or run["partial_data"]:
            texts.append(f"{number:,} {f'of {of:,} ' if of else ''}{noun}")
        else:
            texts.append(f"all {number:,} {noun}" if number != 1 else f"the only {noun}")
    if not cut:
        return "whole"
    return f"partial ({', '.join(texts)})" if texts else "partial"
