"""Properties over the whole grammar of method names, drawn by hypothesis."""

import math

import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import nn

from perturb import names, optim
from perturb.errors import PerturbError
from perturb.models.registry import MODELS

# The same examples each time, none kept on disk.
PLAIN = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def spelled(value):
    """A number as people write it: as Python does, with zeros, as a power of ten, in full."""
    forms = [repr(value), f"{value:g}", f"{value:e}", f"{value:.3f}", f"+{value!r}"]
    return st.sampled_from([*forms, f"{value:.1E}".lower()])


ANY_NUMBER = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 0.5, 0.05, 0.01]),
    st.floats(0, 10),
    st.floats(allow_nan=False, allow_infinity=False),
)
NUMBERS = ANY_NUMBER.flatmap(spelled)
COUNTS = st.integers(0, 30).map(str)
EPOCHS = st.one_of(st.integers(1, 40), st.integers(0, 10**10)).map(str)


@st.composite
def schedules(draw):
    shape = draw(st.sampled_from(names.SHAPES))
    maximum = draw(st.sampled_from(["", "_"])) + draw(NUMBERS)
    return shape + maximum + ("" if shape == "const" else f"_{draw(NUMBERS)}")


@st.composite
def timings(draw):
    epochs, n, m = draw(EPOCHS), draw(NUMBERS), draw(NUMBERS)
    return draw(
        st.sampled_from(
            [
                f"{draw(COUNTS)}_{epochs}",
                f"delta_{epochs}xi{draw(COUNTS)}mu{n}_t{draw(COUNTS)}",
                f"var_{epochs}init_t{draw(COUNTS)}gamma{m}_k{draw(COUNTS)}",
                f"accdrop_{epochs}",
                f"accrate_{epochs}v{n}_k{draw(COUNTS)}",
            ]
        )
    )


@st.composite
def with_rule(draw):
    rule = draw(st.sampled_from(sorted({*names.rules(), *names.ALIASES})))
    own = list(names.rules()[names.ALIASES.get(rule, rule)])
    positional = draw(st.integers(0, len(own)))
    parts = [draw(NUMBERS) for _ in range(positional)]
    for name in own[positional:]:
        if parts and draw(st.booleans()):
            parts[-1] += name + draw(st.one_of(NUMBERS, COUNTS))
    timed = draw(st.booleans())
    end = f"{draw(COUNTS)}_{draw(EPOCHS)}" if timed else draw(EPOCHS)
    return "_".join([rule + "t" * timed, *parts, end])


@st.composite
def method_names(draw):
    """Names of the grammar; most are refused for a number, or for a timing that comes too late."""
    model = draw(st.sampled_from(["", "", "", *(f"{name}_" for name in sorted(MODELS))]))
    kind = draw(st.sampled_from(["rule", "pugd", "pugdr", "pugds", "pugdrs", "pugdt"]))
    if kind == "rule":
        return model + draw(with_rule())
    if kind == "pugdt":
        return f"{model}pugdt_{draw(timings())}"
    parts = [kind, *(draw(schedules()) for _ in kind.removeprefix("pugd")), draw(EPOCHS)]
    return model + "_".join(parts)


def parsed(text):
    """The method, or None where it is refused: in one message, which offers valid names."""
    try:
        return names.parse.__wrapped__(text)
    except PerturbError as error:
        message = str(error)
        assert message.startswith(f"method '{text[:40]}")
        closest = message.rpartition("Closest valid name: '")[2].partition("'")[0]
        if "Closest valid name: '" in message:
            names.parse.__wrapped__(closest)
        return None


@settings(PLAIN, max_examples=500)
@given(method_names())
@example("sam_0.0500000000001_10")
@example("sam_0.30000000000000004_10")
@example("looksam_0.05k123456789012345_10")
@example("pugdt_delta_30xi3mu1.0000000000000002_t2")
def test_what_parses_prints_and_parses_back_to_the_same(text):
    method = parsed(text)
    if method is not None:
        printed = names.format(method)
        assert names.parse(printed) == method
        assert names.format(names.parse(printed)) == printed


@settings(PLAIN, max_examples=150)
@given(st.one_of(st.text(max_size=20), st.from_regex(r"[a-z]{2,8}[t_0-9.e+\-]{0,20}")))
def test_any_text_parses_or_is_one_message(text):
    method = parsed(text)
    assert method is None or names.parse(names.format(method)) == method


@settings(PLAIN, max_examples=150)
@given(method_names())
@example("pugdr_const_1000000_10")
@example("pugds_const_1000000_10")
@example("pugdrs_isin1_0.000001_isin1_0.000001_10")
@example("pugdrs_const0_const0_10")
@example("asam_1000000eta1000000_10")
@example("asam_1eta0_10")
@example("gsam_1000000_1000000alpha1000000_10")
@example("gsam_0_0alpha-1000000_10")
@example("looksam_1000000alpha1000000_10")
@example("aesam_0lambda1-1e38lambda21e38decay0_10")
@example("samx1000000_10")
def test_every_accepted_name_builds_and_makes_a_finite_first_step(text):
    method = parsed(text)
    if method is None:
        return
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = optim.build(text, model.parameters(), lr=0.01)
    inputs, labels = torch.randn(6, 4), torch.arange(6) % 3
    if method.timing:  # the first step that perturbs, besides
        optimizer.trigger_epoch = -1

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    assert math.isfinite(optimizer.step(closure))
    after = list(model.parameters())
    assert all(bool(p.isfinite().all()) for p in after), text
    assert any(not torch.equal(p, q) for p, q in zip(before, after, strict=True)), text
