"""The figures of a chapter: names, titles and captions. Pure, so that planning stays fast."""

from __future__ import annotations

_BAND = "Mean over seeds, band of one standard deviation."
_SMOOTHED = "Accuracy and gradients: {smoothed}."

FIGURES: dict[str, tuple[str, str]] = {
    "distance": (
        "Does it move on while accuracy stays",
        "Test accuracy and the squared distance D to the stored checkpoint over epochs, with and "
        f"without the kernel. {_BAND} {_SMOOTHED}",
    ),
    "gradients": (
        "Gradients over epochs",
        "Squared norm of the cross-entropy's gradient, of the kernel's and of their sum (means "
        "over an epoch's batches), and the cosine of an epoch's mean gradient to the last epoch's. "
        f"{_BAND} {_SMOOTHED}",
    ),
    "predicted_distances": (
        "The law of the distance",
        "D after the last epoch against the law's prediction (left), and against the strength for "
        "each width (right; filled marks: RBF, hollow: tanh). The line is equality; left are "
        "only runs that have settled.",
    ),
    "learning_rates": (
        "Does the kernel stabilise the learning rate",
        "Test accuracy after the last epoch against the learning rate, by schedule, without the "
        "kernel and with it. Mean over seeds, bars of one standard deviation; a run that diverged "
        "counts as a guess.",
    ),
    "checkpoints": (
        "Distance to each stored checkpoint",
        "D_c(t) of each stored checkpoint over epochs: mean over seeds. One panel per method.",
    ),
    "cycles": (
        "Cycles and restarts",
        "Test accuracy over epochs of methods that store several checkpoints, and of warm "
        f"restarts. {_BAND} {_SMOOTHED}",
    ),
    "ensemble_scores": (
        "Is the ensemble better than its members",
        "Test accuracy and negative log-likelihood of each ensemble, mean of probabilities and of "
        "logits, beside the mean and the best of its members. Mean over seeds, bars of one "
        "standard deviation.",
    ),
    "traces": (
        "The path of each clone",
        "Error on fixed test images, and D, from theta_c on: every few iterations for two epochs, "
        "then every epoch. Mean over seeds. The dashed line is theta_c's error plus the threshold.",
    ),
    "paths": (
        "Between theta_c and the end of each clone",
        "Error along the straight line and along the trained Bezier curve, batch-norm's statistics "
        "taken anew at each place; for the independent network also after its units were matched. "
        "Mean over seeds.",
    ),
}
OF_SECTION: dict[str, tuple[str, ...]] = {
    "baseline": ("distance", "gradients"),
    "parameters": ("predicted_distances",),
    "hyperparameters": ("learning_rates",),
    "several": ("checkpoints",),
    "restarts": ("cycles",),
}
OF_VALLEY = ("traces", "paths")


def caption(name: str, scale: str, window: int) -> str:
    """Return a figure's caption in plain text."""
    smoothed = f"running mean over {window} epochs, the raw curve faint"
    text = FIGURES[name][1].format(smoothed=smoothed if window > 1 else "every epoch")
    return ("Smoke run, not a result of the study. " if scale == "smoke" else "") + text
