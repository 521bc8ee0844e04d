"""Claims are counted by what became of them: one that is open has not failed."""

import pandas as pd
import pytest

from perturb.report.claims import NO, OPEN, YES, counted
from perturb.studies.gradients import table as of_gradients
from perturb.studies.minima import claims as of_minima
from perturb.studies.minima.words import findings


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([OPEN] * 11, "All 11 claims of the log are open: too few seeds."),
        ([OPEN], "The one claim of the log is open: too few seeds."),
        ([YES], "Of 1 claim of the log: 1 comes out."),
        (
            [NO, YES, OPEN, YES, NO],
            "Of 5 claims of the log: 2 come out, 2 do not come out, 1 is open (too few seeds).",
        ),
        ([NO, NO], "Of 2 claims of the log: 2 do not come out."),
        ([YES, "not tested here"], "Of 2 claims of the log: 1 comes out, 1 not tested here."),
    ],
)
def test_each_kind_is_counted(verdicts, said):
    assert counted(verdicts, "the log", "too few seeds") == said


def test_studies_have_the_same_words_for_verdicts():
    assert (of_minima.YES, of_minima.NO, of_minima.OPEN) == (YES, NO, OPEN)
    assert (of_gradients.AGREES, of_gradients.DIFFERS) == (YES, NO)


def test_two_seeds_leave_every_claim_of_minima_open():
    claims = pd.DataFrame({"claim": ["a", "b"], "verdict": [OPEN, OPEN], "ours": ["", ""]})
    assert findings(claims, seeds=2) == [
        "All 2 claims of the thesis log are open: a verdict needs 3 seeds, and there are 2 seeds."
    ]
    claims.loc[0, "verdict"] = NO
    claims.loc[0, "ours"] = "1 against 2"
    assert findings(claims, seeds=3) == [
        "Of 2 claims of the thesis log: 1 does not come out, 1 is open (the runs show neither).",
        "Does not come out: a (1 against 2).",
    ]
