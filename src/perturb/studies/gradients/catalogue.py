"""The figures of a chapter: names, titles and captions. Pure, so that planning stays fast."""

from __future__ import annotations

_STEP = "The step is the estimate at unit norm in each hidden layer."
_HELD_OUT = (
    "Mean over initialisations and held-out batches with one standard deviation; window and "
    "learning rate were chosen on another batch."
)

TOY: dict[str, tuple[str, str]] = {
    "learning_rate_cdg": (
        "Loss decrease along the coordinate gradient",
        "L(W) - L(W - eta g) against the learning rate eta for each eps, by dimension, raw and "
        f"pre-trained: mean over initialisations on the batch that chooses. {_STEP} Curves that "
        "leave the panel raise the loss further.",
    ),
    "learning_rate_nes": (
        "Loss decrease along the NES estimates",
        "L(W) - L(W - eta g) against the learning rate eta for each sigma, by dimension and number "
        f"of evaluations, raw networks, plain and antithetic: mean over initialisations. {_STEP}",
    ),
    "dimension": (
        "Loss decrease against the dimension",
        f"Decrease of the loss by one step of each estimate. {_STEP} {_HELD_OUT} Black is the "
        "coordinate gradient in every panel.",
    ),
    "cosine": (
        "Cosine to the coordinate gradient by layer",
        "Cosine between each estimate and the coordinate gradient of the same batch, both at their "
        "chosen windows, in each layer: mean over initialisations and batches. Dashed black is the "
        "cosine between the coordinate gradients of the batch's halves: a noisy reference keeps "
        "cosines down. The fourth layer is linear.",
    ),
    "cost": (
        "Loss decrease against its cost",
        "Decrease of the loss against evaluations of the loss (upper panels; brute force's for the "
        "coordinate gradient, one for a straight-through gradient) and against floating-point "
        f"operations (lower panels; the factorised coordinate gradient). Raw networks. {_HELD_OUT}",
    ),
    "window": (
        "Loss decrease against the window",
        "Decrease of the loss against eps of the coordinate gradient and sigma of NES, raw (upper "
        "panels) and pre-trained (lower panels), at the best learning rate of each window: mean "
        "over initialisations, on samples that did not choose it.",
    ),
}
LAYERS = (
    "Layers of the XNOR-ResNets",
    "One step in a single layer of a trained thin XNOR-ResNet-18: decrease of the test images' "
    "loss against the learning rate, along the straight-through gradient (black), the coordinate "
    "gradient by eps, and the sign-flip difference of binary weights. The step is at unit norm. "
    "Numbers in the panels are cosines to the straight-through gradient.",
)


def caption(name: str, scale: str) -> str:
    """Return a figure's caption in plain text."""
    text = LAYERS[1] if name == "layers" else TOY[name][1]
    return ("Smoke run, not a result of the study. " if scale == "smoke" else "") + text


def title(name: str) -> str:
    """Return a figure's title."""
    return LAYERS[0] if name == "layers" else TOY[name][0]
