"""Configurations with one mistake each, drawn by a seed: every one must be refused at once."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import yaml

VALID = {
    "image_folders": {"faces": "photographs"},
    "chapters": ["faces"],
    "seeds": [0, 1, 2],
    "rts": {
        "datasets": {
            "faces": {
                "model": "cnn",
                "epochs": 5,
                "methods": ["sgd", "pugd", {"method": "sam_0.05", "train": {"lr": 0.1}}],
                "landscape": {"methods": ["sgd"]},
            }
        }
    },
}
_ENTRY = ("rts", "datasets", "faces")
_ROW = (*_ENTRY, "methods", 2)

# Where a value of a type stands, and what does not fit there.
_INTEGERS = (("seeds", 0), (*_ENTRY, "epochs"), ("train", "batch_size"), ("train", "threads"))
_INTEGERS += (("landscape", "points"), ("split_seed",), ("gpu_shares",), ("verify", "retrain"))
_NUMBERS = (("train", "learning_rate"), ("train", "weight_decay"), (*_ROW, "train", "lr"))
_NUMBERS += (("landscape", "span"), ("equivalence_margin",), ("save_seconds",))
_LISTS = (("chapters",), ("seeds",), (*_ENTRY, "methods"), ("landscape", "direction_seeds"))
_MAPPINGS = (("image_folders",), ("rts",), ("rts", "datasets"), _ENTRY, ("train",), ("verify",))
_TEXTS = ((*_ENTRY, "model"), ("data_root",), (*_ENTRY, "reference"), ("title",), ("store",))
_CHOICES = (("train", "protocol"), ("train", "augment"), ("train", "base"), ("scale",))
_CHOICES += (("landscape", "normalisation"), ("train", "device"), ("landscape", "batch_norm"))
_METHODS = ((*_ENTRY, "methods", 1), (*_ROW, "method"), (*_ENTRY, "reference"), (*_ENTRY, "sgd"))
_ANYWHERE = ((), ("train",), ("landscape",), _ENTRY, _ROW, (*_ROW, "train"), ("verify",))


def put(values: dict, path: tuple, value: Any) -> None:
    """Set what stands at a path, making the mappings that lead there."""
    *parents, key = path
    for parent in parents:
        values = values.setdefault(parent, {}) if isinstance(values, dict) else values[parent]
    values[key] = value


def wrong_type(draw: random.Random) -> tuple[tuple, Any]:
    kinds: list[tuple[tuple, tuple]] = [
        (_INTEGERS, ("three", [1], {"a": 1}, None, True, 1.5, "１２", "0x10")),
        (_NUMBERS, ("fast", [0.1], {"a": 1}, None, True, "１.５", "1e-3x")),
        (_LISTS, ("faces", 3, {"a": 1}, None, False)),
        (_MAPPINGS, ("faces", 3, ["a"], None, True)),
        (_TEXTS, (3, ["a"], {"a": 1}, None, False, 1.5)),
    ]
    paths, values = draw.choice(kinds)
    return draw.choice(paths), draw.choice(values)


def out_of_range(draw: random.Random) -> tuple[tuple, Any]:
    kinds = [
        (_INTEGERS[1:4], (0, -1, -(10**9))),
        ((("seeds", 0), ("split_seed",)), (-1, -(10**6))),
        (_NUMBERS[:3], (-0.1, -1e9, float("inf"), float("nan"), "1e400")),
        ((("landscape", "points"),), (0, 2, 4, -3)),
        ((("equivalence_margin",),), (0, -1, 101)),
        ((("train", "threads"),), (0, 1025, 10**6)),
        ((("train", "momentum"),), (1, 1.5, -0.1)),
        (((*_ROW, "published"),), (93.5, -0.5, 1.01)),
        ((("landscape", "checkpoint_every"),), (0, -1)),
        (((*_ENTRY, "landscape", "checkpoint_every"),), (5, 6, 400)),
        (((*_ENTRY, "methods", 1),), ("pugdt_9", "pugd_0", "pugdr_isin_2_0", "sam_-1")),
    ]
    paths, values = draw.choice(kinds)
    return draw.choice(paths), draw.choice(values)


def unknown(draw: random.Random) -> tuple[tuple, Any]:
    kinds: list[tuple[tuple, tuple]] = [
        (_CHOICES, ("standrd", "", "Standard ", "../x")),
        ([(*_ENTRY, "model")], ("cnm", "../x", "resnet", "", "CNN", "cnn/../cnn")),
        (_METHODS, ("pugdd", "sgd_x", "", "adam", "pugd 5", "../sgd", "sam_0.05_5_5_5")),
        ([("chapters", 0)], ("facs", "", "../faces", "rts", "faces_noise-2", "faces_noise-0.40")),
        ([(*_ENTRY, "like")], ("facs", "faces", "")),
        ([("image_folders", "faces")], ("nowhere", "", "photographs/cat", "/etc/passwd")),
        ([(*where, "epoch") for where in _ANYWHERE], (1, "x")),
        ([(*where, "Seeds") for where in _ANYWHERE], ([1],)),
        ([(*_ROW, "section")], ("Base", "", "baselines")),
    ]
    paths, values = draw.choice(kinds)
    return draw.choice(paths), draw.choice(values)


def repeated(draw: random.Random) -> tuple[tuple, Any]:
    return draw.choice(
        [
            (("chapters",), ["faces", "faces", "faces"]),
            (("seeds",), [0, 1, 1]),
            (("seeds",), [0, 1, 1.0]),
            ((*_ENTRY, "methods"), ["sgd", "sgd_5"]),
            ((*_ENTRY, "methods"), ["sgd", "org"]),
            ((*_ENTRY, "methods"), ["sam_0.05", "sam_0.050_5"]),
            ((*_ENTRY, "methods"), ["sam_2", "sgd"]),
            (("landscape", "direction_seeds"), [0, 0]),
        ]
    )


def reserved(draw: random.Random) -> tuple[tuple, Any]:
    names = ("audit_x", "landscape_x", "digits", "cifar10", "x_noise-0.4", "x.provenance", "rts")
    return ("image_folders", draw.choice(names)), "photographs"


def odd_name(draw: random.Random) -> tuple[tuple, Any]:
    odd = (
        "ünï",
        "ｆａｃｅｓ",
        "a b",
        "a/b",
        "..",
        "{x}",
        "a\nb",
        "-x",
        "a\u2028b",
        "\U0001f600",
        "",
    )
    key = draw.choice(odd)
    return draw.choice(
        [
            (("image_folders", key), "photographs"),
            (("rts", "datasets", "faces", "methods", 1), f"pugd{key}x_5"),
            (("rts", "datasets", "faces", "model"), key),
            (("chapters", 0), key),
            (("audits", key), {"folder": "photographs"}),
        ]
    )


def huge(draw: random.Random) -> tuple[tuple, Any]:
    return draw.choice(
        [
            (("seeds", 0), 10**26),
            (("seeds", 0), 2**63),
            ((*_ENTRY, "epochs"), 10**12),
            ((*_ENTRY, "methods", 1), "pugd_" + "9" * 500),
            ((*_ENTRY, "methods", 1), "sam_0." + "0" * 300 + "1"),
            ((*_ENTRY, "methods", 1), "x" * 500),
            (("image_folders", "x" * 300), "photographs"),
            (("chapters", 0), "x" * 5000),
            ((*_ENTRY, "model"), "x" * 5000),
            (("train", "learning_rate"), 1e39),
            (("train", "threads"), 10**20),
            ((*_ENTRY, "methods", 1), "sam_1e39"),
        ]
    )


def refused_once_it_runs(draw: random.Random) -> tuple[tuple, Any]:
    """Mistakes that no single value shows, and that a job or `snakemake plan` would find."""
    return draw.choice(
        [
            (("train", "freeze"), 99),
            ((*_ROW, "train", "freeze"), 3),
            (("pathvars",), {"results": "/proc/x"}),
            (("target",), "nothing"),
            (("target",), "results/tables/nothing.csv"),
            (("budget",), "soon"),
            (("plan",), {"wall_time": "soon"}),
            (("image_folders", "faces"), " "),
            ((*_ENTRY, "epochs"), 1),
        ]
    )


def two_names(draw: random.Random) -> tuple[tuple, Any]:
    where = draw.choice((("train",), (*_ENTRY, "train"), (*_ROW, "train")))
    return where, {"lr": 0.1, "learning_rate": draw.choice((0.1, 0.2))}


def empty_file(draw: random.Random) -> str:
    return draw.choice(("", "\n", "# chapters: [faces]\n", "---\n", "null\n"))


def twice_in_the_file(draw: random.Random) -> str:
    text = yaml.safe_dump(VALID, sort_keys=False)
    key = draw.choice(("chapters", "seeds", "image_folders", "rts"))
    return f"{text}{key}: {draw.choice(('[0]', '{}', 'x'))}\n"


def no_yaml(draw: random.Random) -> str:
    lines = yaml.safe_dump(VALID, sort_keys=False).splitlines()
    place = draw.randrange(len(lines))
    lines[place] += draw.choice((" : : {", ' "open', " [1, 2", "\n\tx: 1", "\n  - {a"))
    return "\n".join(lines) + "\n"


_VALUES: tuple[Callable[[random.Random], tuple[tuple, Any]], ...] = (
    wrong_type,
    out_of_range,
    unknown,
    repeated,
    reserved,
    odd_name,
    huge,
    refused_once_it_runs,
    two_names,
)
KINDS = (*_VALUES, twice_in_the_file, no_yaml, empty_file)


def bad_configuration(seed: int) -> tuple[str, str]:
    """Return the kind of the mistake, and a configuration file with it."""
    kind = KINDS[seed % len(KINDS)]
    draw = random.Random(seed)
    made = kind(draw)
    if isinstance(made, str):
        return kind.__name__, made
    values = copy.deepcopy(VALID)
    put(values, *made)
    return f"{kind.__name__}: {made}", yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
