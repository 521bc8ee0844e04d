"""Every base optimiser against torch.optim's: alone, under the rules, resumed, with wrong options.

SAM and PUGD are written once more around torch's optimisers, as loops over the parameters; the
other rules' directions come from the reference and are given to torch as gradients.
"""

import io
import json
import math
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn
from torch.linalg import vector_norm

import perturb.optim
import perturb.optim.bases
from perturb import bases
from perturb.errors import PerturbError

from . import reference
from .problems import (
    BATCHES,
    EPOCHS,
    closed_form,
    closure_of,
    digits,
    digits_problem,
    flat,
    network,
    train,
)

TORCHS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
# What is asked of the base, and how one of the parameter groups differs.
CASES = {
    "sgd": ("sgd", {"momentum": 0.9}, {"momentum": 0.5}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5}),
    "nesterov of one group": ("sgd", {"momentum": 0.9}, {"nesterov": True}),
    "adam": ("adam", {}, {"betas": (0.8, 0.99), "eps": 1e-6}),
    "adamw": ("adamw", {"betas": (0.85, 0.995)}, {"betas": (0.8, 0.99), "eps": 1e-6}),
}
SETTINGS = {"lr": 0.02, "weight_decay": 0.01}
cases = pytest.mark.parametrize("case", CASES)


def groups_of(parameters, special):
    """Three groups: as it is by default, without decay, and with everything of its own."""
    return [
        {"params": parameters[:2]},
        {"params": parameters[2:4], "weight_decay": 0.0},
        {"params": parameters[4:], "lr": 0.005, "weight_decay": 0.1, **special},
    ]


def ours(method, parameters, case, split=groups_of):
    base, options, special = CASES[case]
    groups = split(parameters, special)
    return perturb.optim.build(f"{method}_{EPOCHS}", groups, base=base, **SETTINGS, **options)


def torchs(parameters, case, split=groups_of):
    """Return torch's optimiser, and its cosine annealing over the epochs."""
    base, options, special = CASES[case]
    optimizer = TORCHS[base](split(parameters, special), **SETTINGS, **options)
    annealing = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
    )
    return optimizer, annealing


@contextmanager
def climbed(model, parameters, ascent):
    """Have the model at w + e in this block; its running statistics and weights stay."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, e in zip(parameters, ascent, strict=True):
            p.add_(e)
    for norm in norms:
        norm.track_running_stats = False
    yield
    for norm in norms:
        norm.track_running_stats = True
    with torch.no_grad():
        for p, old in zip(parameters, before, strict=True):
            p.copy_(old)


def plain_step(method, model, optimizer, loss):
    """Make one step of SGD (or Adam ...), SAM or PUGD the way that papers print it."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def gradients():
        optimizer.zero_grad()
        loss().backward()
        return [p.grad.clone() for p in parameters]

    first = gradients()
    if method != "sgd":
        along = first
        if method == "pugd":
            along = [p.detach().abs() * g for p, g in zip(parameters, first, strict=True)]
        norm = vector_norm(torch.stack([vector_norm(a) for a in along]))
        radius = 1.0 if method == "pugd" else 0.05
        with climbed(model, parameters, [radius * a / (norm + 1e-12) for a in along]):
            second = gradients()
        if method == "pugd":
            second = [a + b for a, b in zip(first, second, strict=True)]
            norm = vector_norm(torch.stack([vector_norm(u) for u in second]))
            second = [u / (norm + 1e-12) for u in second]
        for p, u in zip(parameters, second, strict=True):
            p.grad = u
    optimizer.step()


@cases
@pytest.mark.parametrize("method", ["sgd", "sam_0.05", "pugd"])
def test_ten_steps_are_those_of_torchs_optimiser_and_a_rule_around_it(case, method):
    """With batch-norm, three groups, weight decay and annealing; running statistics too."""
    problem_model, model = network().train(), network().train()
    for each in (problem_model, model):
        # Batch-norm takes this bias away again: its gradient is rounding, no more, and Adam makes
        # whole steps of that. (Every other weight agrees to 1e-14 with it in.)
        each[0].bias.requires_grad_(False)
    problem = digits_problem(problem_model)
    ends = train(ours(method, problem.parameters, case), problem)
    optimizer, annealing = torchs(list(model.parameters()), case)
    steps, start = [], flat(list(model.parameters()))
    for index, (x, y) in enumerate(digits()):
        plain_step(method.split("_")[0], model, optimizer, digits_loss(model, x, y))
        steps.append(flat(list(model.parameters())))
        if index % BATCHES == BATCHES - 1:
            annealing.step()
    assert len(steps) == len(ends) == 10
    for step, end in zip(steps, ends, strict=True):
        assert np.abs(step - end).max() < 1e-12
    for a, b in zip(model.buffers(), problem_model.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    assert np.abs(steps[-1] - start).max() > 0.01


def by_kind(parameters, special):
    """The closed forms have three parameters: a group for each."""
    own = ({}, special, {"lr": 0.01})
    return [{"params": [p], **more} for p, more in zip(parameters, own, strict=True)]


@cases
@pytest.mark.parametrize("method", reference.METHODS)
def test_every_rule_on_every_base_steps_as_torch_does_along_its_direction(case, method):
    problem, other = closed_form("quartic"), closed_form("quartic")
    ends = train(ours(method, problem.parameters, case, by_kind), problem)
    optimizer, annealing = torchs(other.parameters, case, by_kind)
    rule = reference.rule(method, EPOCHS, other.is_weight)
    steps = []
    for epoch, gradients in enumerate(other.gradients):
        for gradient in gradients:
            u = torch.from_numpy(rule(other.weights, gradient, epoch).u)
            parts = u.split([p.numel() for p in other.parameters])
            for p, part in zip(other.parameters, parts, strict=True):
                p.grad = part.reshape(p.shape)
            optimizer.step()
            steps.append(other.weights)
        annealing.step()
    for step, end in zip(steps, ends, strict=True):
        assert np.abs(step - end).max() < 1e-12


def test_no_two_cases_agree_by_accident():
    ends = []
    for case in CASES:
        problem = closed_form("quartic")
        ends.append(train(ours("sam_0.05", problem.parameters, case, by_kind), problem)[-1])
    for i, first in enumerate(ends):
        assert all(np.abs(first - second).max() > 1e-6 for second in ends[i + 1 :])


@pytest.mark.parametrize("case", ["nesterov", "adam", "adamw"])
def test_a_tensor_counts_only_the_steps_in_which_it_has_a_gradient(case):
    """Two heads trained in turn: Adam's correction of a bias goes by each tensor's own steps."""
    problem = [closed_form("quartic").parameters for _ in range(2)]
    mine = ours("sgd", problem[0], case, by_kind)
    optimizer, _ = torchs(problem[1], case, by_kind)
    for used in ((0, 1), (0, 1, 2), (1, 2), (0, 2), (0, 1, 2), (0, 1, 2)):
        for each, parameters in ((mine, problem[0]), (optimizer, problem[1])):
            each.step(
                closure_of(each, lambda p=parameters, u=used: sum((p[i] ** 4).sum() for i in u))
            )
        assert np.abs(flat(problem[0]) - flat(problem[1])).max() < 1e-12
    for a, b in zip(*problem, strict=True):
        assert mine.state[a].get("step") == optimizer.state[b].get("step")


def through_a_file(state):
    """The state as an unfinished run keeps it: JSON, and tensors as safetensors."""
    tensors = {f"{i}.{k}": t.clone() for i, one in state["state"].items() for k, t in one.items()}
    numbers = json.loads(json.dumps({k: v for k, v in state.items() if k != "state"}))
    found = {}
    for key, tensor in safetensors.torch.load(safetensors.torch.save(tensors)).items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = tensor
    return {"state": found, **numbers}


def digits_loss(model, inputs, labels):
    dtype = next(model.parameters()).dtype
    return lambda: F.cross_entropy(model(inputs.to(dtype)), labels)


def go_on(optimizer, model, first, last):
    for index, (x, y) in list(enumerate(digits()))[first:last]:
        if index % BATCHES == 0:
            optimizer.set_epoch(index // BATCHES)
        loss = digits_loss(model, x, y)
        optimizer.step(closure_of(optimizer, loss))


@cases
@pytest.mark.parametrize("stop", [3, 6])
@pytest.mark.parametrize("method", ["sgd", "sam_0.05", "pugd", "looksam_0.05", "pugdt_2"])
def test_a_run_resumed_from_its_state_goes_on_to_the_same_bits(method, stop, case):
    whole, part, rest = (network(torch.float32).train() for _ in range(3))
    uninterrupted = ours(method, list(whole.parameters()), case)
    go_on(uninterrupted, whole, 0, 10)
    first = ours(method, list(part.parameters()), case)
    go_on(first, part, 0, stop)
    state, weights = through_a_file(first.state_dict()), io.BytesIO()
    torch.save(part.state_dict(), weights)
    weights.seek(0)
    rest.load_state_dict(torch.load(weights, weights_only=True))
    second = ours(method, list(rest.parameters()), case)
    second.load_state_dict(state)
    go_on(second, rest, stop, 10)
    for a, b in zip(rest.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    last, expected = second.state_dict()["state"], uninterrupted.state_dict()["state"]
    assert last.keys() == expected.keys()
    for index, of_one in expected.items():
        assert last[index].keys() == of_one.keys()
        assert all(torch.equal(last[index][name], of_one[name]) for name in of_one)


def test_a_state_from_before_an_option_is_taken_and_one_of_another_base_is_not():
    problem = closed_form("quartic")
    optimizer = perturb.optim.build("sgd_5", problem.parameters)
    optimizer.step(closure_of(optimizer, problem.losses[0][0]))
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["nesterov"]
    del state["perturb"]["base"]
    optimizer.load_state_dict(state)
    optimizer.step(closure_of(optimizer, problem.losses[0][1]))
    adam = perturb.optim.build("sgd_5", problem.parameters, base="adam")
    with pytest.raises(PerturbError, match="of the base 'sgd', the optimiser's is 'adam'"):
        adam.load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "adamww"}, "no base 'adamww'. Did you mean 'adamw'"),
        ({"base": "adam", "betas": (0.9, 1.0)}, "betas is .0.9, 1.0.; it must be 2 numbers"),
        ({"base": "adam", "betas": (0.9,)}, "betas is .0.9,.; it must be 2 numbers"),
        ({"base": "adam", "betas": 0.9}, "betas is 0.9; it must be 2 numbers"),
        ({"base": "adamw", "eps": -1e-8}, "eps is -1e-08; it must be finite and not negative"),
        ({"base": "adamw", "lr": math.nan}, "lr is nan; it must be finite and not negative"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov is true and momentum is 0"),
        ({"nesterov": 1}, "nesterov is 1; it must be true or false"),
        ({"base": "adam", "nesterov": True}, "'adam' has no nesterov. .* take the base sgd"),
        ({"base": "adamw", "momentum": 0.8}, "'adamw' has no momentum"),
        ({"betas": (0.8, 0.9)}, "'sgd' has no betas. .* take the base adam or adamw"),
        ({"nestrov": True}, "no option 'nestrov'. Did you mean 'nesterov'"),
    ],
)
def test_a_wrong_option_is_one_error_that_says_what_to_do(options, message):
    with pytest.raises(PerturbError, match=message) as error:
        perturb.optim.build("sam_0.05_5", [nn.Parameter(torch.ones(2))], **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("base", "group", "message"),
    [
        ("sgd", {"lr": -1.0}, "lr is -1.0"),
        ("sgd", {"nesterov": True, "momentum": 0}, "nesterov is true and momentum is 0"),
        ("adam", {"betas": (1.5, 0.9)}, "betas is .1.5, 0.9."),
        ("adam", {"nesterov": True}, "'adam' has no nesterov"),
    ],
)
def test_a_wrong_option_of_a_group_is_found_too(base, group, message):
    tensors = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    with pytest.raises(PerturbError, match=message):
        perturb.optim.build(
            "sgd_5", [{"params": tensors[:1]}, {"params": tensors[1:], **group}], base=base
        )
    optimizer = perturb.optim.build("sgd_5", tensors[:1], base=base)
    with pytest.raises(PerturbError, match=message):
        optimizer.add_param_group({"params": tensors[1:], **group})
    assert len(optimizer.param_groups) == 1


def test_all_options_may_be_given_to_every_base_where_they_say_nothing_of_it():
    """So a caller with one set of settings need not sort them."""
    for base in bases.options():
        given = {"momentum": 0.9, "nesterov": False, "betas": [0.9, 0.999], "eps": 1e-8}
        optimizer = perturb.optim.build("sgd_5", [nn.Parameter(torch.ones(2))], base=base, **given)
        assert optimizer.defaults.keys() == {"lr", "weight_decay", *bases.options()[base]}
        without = perturb.optim.build("sgd_5", [nn.Parameter(torch.ones(2))], 0.1, 0.0, base=base)
        assert without.base == base


def test_the_first_values_of_adam_are_those_of_the_paper():
    """After one step m = (1 - b1) g, v = (1 - b2) g^2, and w moves by lr g / (abs(g) + eps)."""
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = perturb.optim.build(
        "sgd_5", [w], 0.1, weight_decay=0.0, base="adam", betas=(0.7, 0.9), eps=0.5
    )
    optimizer.step(closure_of(optimizer, lambda: (w * torch.tensor([0.5, 2.0])).sum()))
    assert w.tolist() == pytest.approx([1 - 0.1 * 0.5 / 1.0, -2 - 0.1 * 2 / 2.5], abs=1e-15)
    assert optimizer.state[w]["exp_avg"].tolist() == pytest.approx([0.15, 0.6])
    assert optimizer.state[w]["exp_avg_sq"].tolist() == pytest.approx([0.025, 0.4])


def test_the_base_of_the_docs_is_one_file(root, tmp_path, monkeypatch):
    """Lion of docs/base-optimisers.md, put among the bases, against its two lines in NumPy."""
    page = (root / "docs" / "base-optimisers.md").read_text()
    text = next(t for t in re.findall(r"```python\n(.*?)```", page, flags=re.S) if "OPTIONS" in t)
    folder = tmp_path / "bases"
    shutil.copytree(bases.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "lion.py").write_text(text)
    monkeypatch.setattr(bases, "FOLDER", folder)
    monkeypatch.setattr(perturb.optim.bases, "__path__", [str(folder)])
    bases.options.cache_clear()
    try:
        problem = closed_form("quartic")
        w, m = problem.weights, 0.0
        settings = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95)}
        method = f"sam_0.05_{EPOCHS}"
        ends = train(
            perturb.optim.build(method, problem.parameters, base="lion", **settings), problem
        )
    finally:
        monkeypatch.undo()
        bases.options.cache_clear()
    other = closed_form("quartic")
    for epoch, gradients in enumerate(other.gradients):
        lr = reference.cosine(0.01, epoch, EPOCHS)
        for gradient in gradients:
            u = reference.sam(w, gradient, 0.05).u
            w = w - lr * (np.sign(0.8 * m + 0.2 * u) + 0.1 * w)
            m = 0.95 * m + 0.05 * u
            assert np.abs(w - ends.pop(0)).max() < 1e-12
    assert not ends
