"""What an audit finds wrong with a file: its kinds, and what each means for a comparison."""

from __future__ import annotations

from dataclasses import dataclass

KINDS: dict[str, str] = {
    "unreadable": "Unreadable files",
    "truncated": "Truncated files",
    "non_finite": "Values that are no numbers",
    "values": "Values that are hardly accuracies in the scale they are read in",
    "restart": "Runs that were started again",
    "gaps": "Epochs without an accuracy",
    "other_series": "Faults beside the accuracy, which no verdict uses",
    "spelling": "Columns that are spelled otherwise",
    "name": "Names that do not parse",
    "epochs": "Epochs that are not those of the name",
    "duplicate": "Duplicates",
    "learning_rate": "Learning rates that climb again",
    "contradiction": "Curves that contradict their names",
    "collapse": "Curves that end in collapse",
    "never_learned": "Runs that never learned",
    "never_triggered": "Timing rules that never fired",
    "trigger": "Timing rules that the curves contradict",
    "claimed_best": "Claimed maxima that the curve does not have",
    "surface": "Surfaces that are constant, no numbers, or each other's",
}
# A run with one of these is not the run that its name says, so no difference is the method's.
NOT_THE_METHOD = {
    "truncated",
    "non_finite",
    "epochs",
    "learning_rate",
    "contradiction",
    "never_triggered",
    "trigger",
    "values",
}
# The noise between healthy runs says nothing about these, nor they about it.
NOT_HEALTHY = {
    "truncated",
    "non_finite",
    "epochs",
    "learning_rate",
    "collapse",
    "never_learned",
    "duplicate",
    "values",
}


@dataclass(frozen=True)
class Finding:
    """One thing found in one file: `path` below the folder, a key of KINDS, and the evidence."""

    path: str
    kind: str
    text: str
