"""The methods, each as a definition: names, networks, stages, and what flows into each loss.

What is trained (`learner`, `steps`) and what is drawn (`diagrams`) are made from these. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perturb.errors import PerturbError, did_you_mean
from perturb.slugs import Grammar, Slug

# What a term is computed from, beside its own network's logits.
GIVEN, OWN, PEER, SELECTION = "given label", "own prediction", "peer's prediction", "selection"
MEMORY, STRONG, MIXTURE, FEATURES = "memory", "strong augmentation", "mixture", "features"
SOURCES = (GIVEN, OWN, PEER, SELECTION, MEMORY, STRONG, MIXTURE, FEATURES)


@dataclass(frozen=True)
class Term:
    """A term of a loss: its name in the records, its formula, and what flows into it."""

    name: str
    formula: str
    sources: tuple[str, ...]


Loss = tuple[Term, ...]

CROSS_ENTROPY: Loss = (Term("cross_entropy", "CE(y)", (GIVEN,)),)
REFINED: Loss = (
    Term("cross_entropy", "(1−λ) CE(y)", (GIVEN, MEMORY)),
    Term("own_prediction", "−λ max log p", (OWN, MEMORY)),
)
COLLABORATIVE: Loss = (
    Term("peer_label", "CE(argmax p′)", (PEER,)),
    Term("peer_distribution", "−Σ p′ log p", (PEER,)),
)
SELECTIVE: Loss = tuple(
    Term(term.name, f"{term.formula} over S", (PEER, SELECTION)) for term in COLLABORATIVE
)


@dataclass(frozen=True)
class Stage:
    """What is trained in some epochs.

    Args:
        name: in the records and on the diagram.
        step: the function of `perturb.studies.reid.steps` that computes its losses.
        losses: of each network.
        balanced: whether batches hold a fixed number of images of each of some identities.
        selection: says how samples are selected, "" where none are.
    """

    name: str
    step: str
    losses: tuple[Loss, ...]
    balanced: bool = False
    selection: str = ""


@dataclass(frozen=True)
class Definition:
    """A method.

    Args:
        head: first word of its runs' names.
        title: what it is called, and where it is from.
        networks: 1 or 2.
        keys: settings of its runs' names with their defaults, in order.
        first_share: of the epochs that its first stage takes by default.
        average: whether both networks' features are averaged where images are compared; else
            the first network's are taken.
        approximation: why it is one; "" where the method is as published.
    """

    head: str
    title: str
    networks: int
    keys: Mapping[str, Any] = field(default_factory=dict)
    first_share: float = 0.0
    average: bool = False
    approximation: str = ""

    @property
    def grammar(self) -> Grammar:
        """The names of its runs. A learning rate of 0 is that of the data set's settings."""
        rates = {f"lr{network}": 0.0 for network in range(self.networks)}
        return Grammar(self.head, {**rates, **self.keys, "warmup": 0, "clip": 0.0})


# Where CORE's learning rate falls and its stages change: epoch 20 of 61, and 21 epochs of stage 1.
EPOCHS = 61
_CORE_SHARE = 21 / EPOCHS
DEFINITIONS: dict[str, Definition] = {
    one.head: one
    for one in (
        Definition("ce", "plain cross-entropy", 1),
        Definition("self", "SELF: refined loss of one network", 1),
        Definition(
            "core",
            "CORE (Ye et al. 2022)",
            2,
            {"stage1": "self", "selective": False, "stages": 2, "switch": 0},
            first_share=_CORE_SHARE,
        ),
        Definition(
            "act", "ACT (Sheng et al. 2024)", 2, {"tau": 0.025, "switch": 0}, first_share=1 / 3
        ),
        Definition(
            "lcnl",
            "LCNL (IJCV 2024)",
            2,
            {"margin": 0.3},
            average=True,
            approximation="code for one modality is not released",
        ),
        Definition(
            "tsnt",
            "TSNT (Liu et al. 2024)",
            2,
            {"margin": 0.3, "switch": 0},
            first_share=_CORE_SHARE,
            approximation="no code is released; from its abstract and the diary",
        ),
    )
}
HEADS = tuple(DEFINITIONS)
_FIRST_LOSSES: dict[str, tuple[Loss, Loss]] = {
    "self": (REFINED, REFINED),
    "ce": (CROSS_ENTROPY, CROSS_ENTROPY),
    "roles": (REFINED, CROSS_ENTROPY),
}


@dataclass(frozen=True)
class Method:
    """A method as a run's name gives it: its definition, its settings, its epochs."""

    definition: Definition
    values: Mapping[str, Any]
    epochs: int

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages, in the order in which they first come."""
        return _STAGES[self.definition.head](self.values)

    def stage_number(self, epoch: int) -> int:
        """Return which of `stages` an epoch, counted from 0, belongs to.

        Where stages alternate (`stages` 4: 1-2-1-2), the epochs are cut into equal rounds of both.
        """
        if len(self.stages) == 1:
            return 0
        first = self.first_epochs
        rounds = self.values.get("stages", 2) // 2
        start = max(at for at in range(rounds) if epoch >= at * self.epochs // rounds)
        inside = epoch - start * self.epochs // rounds
        return int(inside >= -(-first // rounds))

    @property
    def first_epochs(self) -> int:
        """How many epochs its first stage has, in all rounds together; 0 where it has one stage."""
        if len(self.stages) == 1:
            return 0
        if self.definition.head == "lcnl":
            return 1
        return self.values["switch"] or max(1, round(self.definition.first_share * self.epochs))

    @property
    def terms(self) -> tuple[tuple[str, ...], ...]:
        """The names of all terms of each network, over its stages."""
        return tuple(
            tuple(dict.fromkeys(t.name for stage in self.stages for t in stage.losses[network]))
            for network in range(self.definition.networks)
        )

    @property
    def selects(self) -> bool:
        """Whether any stage selects samples."""
        return any(stage.selection for stage in self.stages)


def _core(values: Mapping[str, Any]) -> tuple[Stage, ...]:
    second = SELECTIVE if values["selective"] else COLLABORATIVE
    selection = "the peer predicts the given label" if values["selective"] else ""
    first = _FIRST_LOSSES[values["stage1"]]
    step = f"first_{values['stage1']}"
    return (
        Stage("1", step, first),
        Stage("2", "collaborative", (second, second), selection=selection),
    )


def _act(values: Mapping[str, Any]) -> tuple[Stage, ...]:
    warm_up = (*CROSS_ENTROPY, Term("negative_entropy", "Σ p log p", (OWN,)))
    robust = (
        Term("weighted", ".8 CE(y) weight over S", (GIVEN, SELECTION, MEMORY)),
        Term("strong", ".2 CE(pseudo-label)", (STRONG, MEMORY)),
    )
    selection = "both predict the given label, or the plain one alone where it is hardly better"
    return (
        Stage("warm-up", "act_warm_up", (warm_up, CROSS_ENTROPY)),
        Stage("robust", "act", (robust, CROSS_ENTROPY), selection=selection),
    )


def _lcnl(values: Mapping[str, Any]) -> tuple[Stage, ...]:
    weighted = (
        Term("weighted", "p CE(y)", (GIVEN, MIXTURE)),
        Term("triplet", "triplets of anchors p ≥ .5", (FEATURES, MIXTURE)),
    )
    return (
        Stage("warm-up", "first_ce", (CROSS_ENTROPY, CROSS_ENTROPY)),
        Stage(
            "mixture",
            "probable",
            (weighted, weighted),
            balanced=True,
            selection="p(clean) ≥ .5 by the peer's losses",
        ),
    )


def _tsnt(values: Mapping[str, Any]) -> tuple[Stage, ...]:
    first = (
        Term("cross_entropy", ".8 CE(y)", (GIVEN,)),
        Term("own_prediction", ".2 CE(argmax p)", (OWN,)),
        Term("agreement", "−log p(y) where argmax p = y", (GIVEN, OWN)),
    )
    second = (
        Term("peer_divergence", "KL(p′ ‖ p)", (PEER,)),
        Term("cross_entropy", "CE(y) over S", (GIVEN, SELECTION)),
        Term("triplet", "triplets within S", (FEATURES, SELECTION)),
    )
    return (
        Stage("1", "two_stage_first", (first, first)),
        Stage(
            "2",
            "two_stage_second",
            (second, second),
            balanced=True,
            selection="the peer predicts the given label",
        ),
    )


_STAGES = {
    "ce": lambda values: (Stage("1", "first_ce", (CROSS_ENTROPY,)),),
    "self": lambda values: (Stage("1", "first_self", (REFINED,)),),
    "core": _core,
    "act": _act,
    "lcnl": _lcnl,
    "tsnt": _tsnt,
}


def parse(text: str) -> Slug:
    """Return what a run's name says; PerturbError where it does not parse."""
    head = text.partition("_")[0]
    if head not in DEFINITIONS:
        raise PerturbError(
            f"'{text}' does not parse: no method '{head}'.{did_you_mean(head, DEFINITIONS)}"
        )
    slug = DEFINITIONS[head].grammar.parse(text)
    _check(text, slug)
    return slug


def format(slug: Slug) -> str:
    """Return the one spelling of a run's name; `parse` reads it back."""
    return DEFINITIONS[slug.head].grammar.format(slug)


def method(text: str) -> Method:
    """Return the method that a run's name stands for; PerturbError where it does not parse."""
    slug = parse(text)
    if slug.epochs is None:
        raise PerturbError(f"'{text}' does not parse: it ends with the number of epochs.")
    return Method(DEFINITIONS[slug.head], slug.values, slug.epochs)


def _check(text: str, slug: Slug) -> None:
    """Raise PerturbError for values that mean nothing."""
    values, epochs = slug.values, slug.epochs or 0
    if values.get("stage1", "self") not in _FIRST_LOSSES:
        raise PerturbError(
            f"'{text}': stage1 is one of {', '.join(_FIRST_LOSSES)}."
            f"{did_you_mean(values['stage1'], _FIRST_LOSSES)}"
        )
    if values.get("stages", 2) not in (2, 4, 6) or values.get("stages", 2) > epochs + 1:
        raise PerturbError(f"'{text}': stages are 2 (1-2), 4 (1-2-1-2) or 6, within its epochs.")
    if not 0 <= values.get("switch", 0) <= epochs:
        raise PerturbError(f"'{text}': switch is the epochs of the first stage, at most {epochs}.")
    if not 0 <= values["warmup"] <= epochs:
        raise PerturbError(f"'{text}': warmup is a number of epochs, at most {epochs}.")
    for key in ("lr0", "lr1", "clip", "margin", "tau"):
        if values.get(key, 0.0) < 0:
            raise PerturbError(f"'{text}': {key} is not below 0.")
