"""What a single curve gives away: its end, its turning point, its length, its double."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.ndimage import median_filter

from perturb.audit.findings import Finding
from perturb.audit.reading import ResultFile

LAST_EPOCHS = 10
# Points of accuracy (as a fraction) that a healthy cosine-annealed run does not lose at its end;
# in no healthy file of CV_RTS is the last epoch more than 0.012 below the best.
COLLAPSE = 0.02
# A run at less than this share of its fellows' median accuracy has not learned.
UNLEARNED = 0.5
# A turn counts where the loss at least doubles over at least a tenth of the epochs, and both the
# way up and its likeness to the way down are all but monotone.
CLIMB, TAIL, MONOTONE = 2.0, 0.1, 0.9


@dataclass(frozen=True)
class Ends:
    """Test accuracies of one file, fractions of 1: best of all epochs, last, mean of the last ten.

    `best_epoch` counts from 0. All are NaN where the last epoch is no number.
    """

    best: float
    best_epoch: int
    last: float
    last_ten: float


@dataclass(frozen=True)
class Turn:
    """Where a training loss turns and climbs: `epoch` of the smoothed minimum, `rise` as a factor.

    `trend` is Spearman's correlation of the loss with the epoch after it; `mirror` that of the
    epochs after it with those before, nearest first: a schedule that goes back the way it came.
    `peak` is the epoch at which the climb ends.
    """

    epoch: int
    rise: float
    trend: float
    mirror: float
    peak: int = -1


def ends_of(accuracy: np.ndarray, epochs: np.ndarray | None = None) -> Ends:
    """Return best, last and mean of the last ten of a curve [measured epochs].

    `epochs` [measured epochs] says which these are where not every epoch has an accuracy.
    """
    if not np.isfinite(accuracy).any():
        return Ends(np.nan, -1, np.nan, np.nan)
    epochs = np.arange(len(accuracy)) if epochs is None else epochs
    best = int(np.nanargmax(accuracy))
    tail = accuracy[epochs > epochs[-1] - LAST_EPOCHS]
    return Ends(float(accuracy[best]), int(epochs[best]), float(accuracy[-1]), float(tail.mean()))


def turn_of(loss: np.ndarray | None) -> Turn | None:
    """Return where a training loss [epochs] turns and climbs again, or None where it does not."""
    if loss is None or len(loss) < 20 or not (np.isfinite(loss).all() and (loss > 0).all()):
        return None
    smooth = median_filter(np.log(loss), size=5, mode="nearest")
    # The highest climb above what had been reached before, wherever in the run it ends.
    peak = int((smooth - np.minimum.accumulate(smooth)).argmax())
    if peak >= len(loss) - 1 - TAIL * len(loss) / 2:
        peak = len(loss) - 1  # noise at the end of a climb is part of it
    turn = int(smooth[: peak + 1].argmin())
    after, before = loss[turn + 1 : peak + 1], loss[:turn][::-1]
    shared = min(len(after), len(before))
    if len(after) < TAIL * len(loss) or shared < 5:
        return None
    rise = float(np.exp(smooth[peak] - smooth[turn]))
    if rise < CLIMB or np.ptp(after[:shared]) == 0 or np.ptp(before[:shared]) == 0:
        return None
    trend = stats.spearmanr(np.arange(len(after)), after).statistic
    mirror = stats.spearmanr(after[:shared], before[:shared]).statistic
    if min(trend, mirror) < MONOTONE:
        return None
    return Turn(turn, rise, float(trend), float(mirror), peak)


def check_curves(files: Sequence[ResultFile], heats: Callable[[ResultFile], bool]) -> list[Finding]:
    """Return what single curves give away, file by file.

    `heats(file)` says whether the radius or scale that was run rises towards the end: that raises
    the training loss by itself, so a turn is then no sign of a learning rate.
    """
    medians = _median_best(files)
    findings = []
    for file in files:
        ends = ends_of(file.accuracy, file.accuracy_epochs)
        turn = turn_of(file.values("train_loss"))
        found = [*_epochs(file), *_claimed(file, ends), *_trigger(file)]
        if ends.best < UNLEARNED * medians[file.dataset, file.model]:
            found.append(("never_learned", f"best accuracy {ends.best:.4f} of all epochs"))
        if turn and not heats(file):
            found.append(("learning_rate", _climb(file, ends, turn)))
        elif ends.best - ends.last > COLLAPSE:
            found.append(("collapse", _collapse(ends, heats(file))))
        findings += [Finding(file.path, kind, text) for kind, text in found]
    return findings + duplicates(files)


def _median_best(files: Sequence[ResultFile]) -> dict[tuple[str, str], float]:
    best: dict[tuple[str, str], list[float]] = {}
    for file in files:
        best.setdefault((file.dataset, file.model), []).append(ends_of(file.accuracy).best)
    return {key: float(np.median(np.nan_to_num(values))) for key, values in best.items()}


def _climb(file: ResultFile, ends: Ends, turn: Turn) -> str:
    return (
        f"training loss turns at epoch {turn.epoch} of {len(file.curves)} and climbs by a factor "
        f"of {turn.rise:.3g}, steadily (Spearman {turn.trend:.3f}) and back the way it came "
        f"({turn.mirror:.3f} with the epochs before the turn), as under a cosine of period "
        f"{turn.epoch}; test accuracy falls from {ends.best:.4f} (epoch {ends.best_epoch}) to "
        f"{ends.last:.4f}"
    )


def _collapse(ends: Ends, heating: bool) -> str:
    why = "; its radius or scale grows towards the end" if heating else ""
    return (
        f"test accuracy ends at {ends.last:.4f}, {100 * (ends.best - ends.last):.2f} points below "
        f"its best {ends.best:.4f} at epoch {ends.best_epoch}{why}"
    )


def _epochs(file: ResultFile) -> list[tuple[str, str]]:
    found, named = len(file.curves), file.epochs
    if named is None or found == named:
        return []
    times = f", {found // named} times as many" if named and found % named == 0 else ""
    return [("epochs", f"{found} epochs in the file, {named} in its name{times}")]


def _claimed(file: ResultFile, ends: Ends) -> list[tuple[str, str]]:
    claimed = file.best_accuracy
    if claimed is None or abs(claimed - ends.best) < 5e-5:  # half of the last digit published
        return []
    return [("claimed_best", f"the file claims {claimed:.4f}, its curve's best is {ends.best:.4f}")]


def _trigger(file: ResultFile) -> list[tuple[str, str]]:
    if file.trigger_epoch is None or file.trigger_epoch >= 0:
        return []
    return [("never_triggered", f"trigger epoch {file.trigger_epoch:g}: never perturbed")]


def duplicates(files: Sequence[ResultFile]) -> list[Finding]:
    """Return a finding for every file whose curves are another's, or the beginning of another's.

    One epoch in common is not enough: two runs of one seed share the first.
    """
    findings = []
    kept: list[ResultFile] = []
    for file in sorted(files, key=lambda file: (-len(file.curves), file.path)):
        double = next((other for other in kept if _is_double(file, other)), None)
        if double:
            findings.append(Finding(file.path, "duplicate", _double(file, double)))
        kept.append(file)
    return findings


def _is_double(file: ResultFile, other: ResultFile) -> bool:
    """Return whether the series that both files have are equal, as far as `file` goes."""
    n = len(file.curves)
    shared = [name for name in file.curves if name in other.curves]
    mine, theirs = (f.curves[shared].to_numpy(dtype=np.float64)[:n] for f in (file, other))
    known = np.isfinite(mine).sum()
    return known > len(shared) and np.array_equal(mine, theirs, equal_nan=True)


def _double(file: ResultFile, other: ResultFile) -> str:
    if len(file.curves) < len(other.curves):
        return f"the same as the first {len(file.curves)} epochs of {other.path}"
    if list(file.curves) != list(other.curves):
        return f"the same as {other.path} in all series that both have"
    return f"the same {'bytes' if file.sha256 == other.sha256 else 'curves'} as {other.path}"
