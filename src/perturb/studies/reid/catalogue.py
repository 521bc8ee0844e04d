"""The figures of a chapter: names, titles and captions. Pure, so that planning stays fast."""

from __future__ import annotations

from collections.abc import Sequence

from perturb.analysis.plan import Plan
from perturb.data import variants
from perturb.studies.reid import methods

FIGURES: dict[str, tuple[str, str]] = {
    "mAP": (
        "mAP by method and label noise",
        "Test mAP of the last epoch: {mean}{interval}. A run that diverged has no mark.",
    ),
    "curves": (
        "mAP over the epochs",
        "Test mAP (upper panels), and the share of training images whose given label (middle) and "
        "whose true label (lower) the first network predicts, in training: {mean}.",
    ),
    "selection": (
        "What is selected",
        "Share of the training images that a method selects (upper panels); of the selected ones, "
        "how many have their true label (middle; grey: of all images); and how many of the images "
        "with their true label are selected (lower). First network, {mean}; methods that "
        "select nothing take all images and are not shown.",
    ),
    "weights": (
        "Weights of the images",
        "Mean weight of the training images with their true label (solid) and with a wrong one "
        "(dashed), first network, {mean}. ACT counts how often an image was selected, one "
        "an epoch in its warm-up; LCNL's is the probability of a true label; a method without "
        "weights has 1.",
    ),
    "losses": (
        "Losses by term",
        "Mean of each term of a loss by epoch, first network solid, second dashed{first}. A dotted "
        "line marks a change of stage.",
    ),
    "rates": (
        "A learning rate for each network",
        "Test mAP (%) of the last epoch by the learning rates of both networks, {mean}, "
        "one panel for each kind of method. Where every run diverged the cell says from which step "
        "on, at the earliest.",
    ),
    "diagrams": (
        "The methods",
        "What flows into each term of each network's loss, by stage; drawn from the definitions "
        "that are trained. No gradient flows through an arrow from a peer.",
    ),
}

_ONLY_EQUAL = (
    " Of methods with a learning rate for each network only those whose rates are equal are drawn."
)
# More methods than this make lines that nobody can tell apart.
_MOST = 12

# What data sets are that a reader does not know by their names.
_DATA = {
    "photo_patches": "96 places of two sample photographs that come with scikit-learn, each place "
    "an identity that four made-up cameras see four times each (colour cast, blur, scale); half of "
    "the places train",
    "market1501_split": "the training folder of Market-1501, its people split in halves",
}


def about(datasets: Sequence[str]) -> str:
    """Return a sentence for each data set that its name does not explain, "" where all are known.

    Label noise is in the data set's name, and said beside it.
    """
    names = dict.fromkeys(variants.base_name(dataset) for dataset in datasets)
    return "".join(f"{name} is {_DATA[name]}. " for name in names if name in _DATA)


def titles(plans: Sequence[Plan]) -> dict[str, str]:
    """Return the figures that a chapter has anything for, with their titles, in their order."""
    found = [methods.method(row.method) for row in plans[0].rows]
    noisy = any(variants.parse(plan.dataset).noise for plan in plans)
    left_out = set()
    if not any(method.selects for method in found) or not noisy:
        left_out |= {"selection"}
    if not noisy:
        left_out |= {"weights"}
    rates = {(m.values["lr0"], m.values["lr1"]) for m in found if m.definition.networks == 2}
    if len({pair for pair in rates if all(pair)}) < 2:
        left_out |= {"rates"}
    return {name: title for name, (title, _) in FIGURES.items() if name not in left_out}


def drawn(names: Sequence[str]) -> list[str]:
    """Return the methods that figures draw beside each other: of a few all.

    Of many, of those that have a learning rate for each network, only those whose rates are equal.
    """
    if len(names) <= _MOST:
        return list(names)
    found = {name: methods.method(name).values for name in names}
    return [name for name in names if found[name].get("lr1", 0) in (0, found[name]["lr0"])]


def caption(name: str, plans: Sequence[Plan]) -> str:
    """Return a figure's caption in plain text."""
    several = max(len(row.seeds) for row in plans[0].rows) > 1
    smoke = "Smoke run, not a result of the study. " if plans[0].scale == "smoke" else ""
    chosen = [
        "first seed" if several else "",
        "the data set with most label noise" if len(plans) > 1 else "",
    ]
    first = ", ".join(filter(None, chosen))
    listed = [row.method for row in plans[0].rows]
    more = name not in ("rates", "diagrams") and len(drawn(listed)) < len(listed)
    text = FIGURES[name][1] + (_ONLY_EQUAL if more else "")
    return smoke + text.format(
        mean="mean over seeds" if several else "one seed",
        interval=" with its 95 % t interval, single seeds as small points" if several else "",
        first=f": {first}" if first else "",
    )


def noise_words(dataset: str) -> str:
    """Return a data set's label noise in words: `40 % patterned label noise`."""
    noise = variants.parse(dataset).noise
    return f"{100 * noise.rate:g} % {noise.kind} label noise" if noise else "true labels"
