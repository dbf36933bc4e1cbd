"""What the page of a sweep shows of its ledger."""

import pytest

from thaw.cli import study_page
from thaw.sweeps.ledger import Claim
from thaw.sweeps.worker_id import this_worker


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_the_key_that_makes_the_best_jobs_is_the_most_important(make_ledger, direction: str, sign: float) -> None:
    ledger = make_ledger(
        "{optimizer.learning_rate: uniform(0,1), head.dropout: uniform(0,0.5)}", sampler="random", trials=24,
        objectives=(("objective", direction),),
    )  # fmt: skip
    while isinstance(claim := ledger.claim(this_worker()), Claim):
        # The best quarter has small dropout; the rest is spread by a rate that says nothing of it.
        dropout, rate = claim.params["head.dropout"], claim.params["optimizer.learning_rate"]
        ledger.finish(claim, [sign * ((10.0 if dropout < 0.12 else 0.0) + 0.01 * rate)])
    importances = study_page.figures(ledger, ledger.known_plan(), "id").importances
    assert next(iter(importances)) == "head.dropout"
    assert sum(importances.values()) == pytest.approx(1.0)


def test_of_one_key_and_of_few_jobs_no_importance_is_told(make_ledger) -> None:
    ledger = make_ledger("{optimizer.learning_rate: uniform(0,1)}", sampler="random", trials=6)
    while isinstance(claim := ledger.claim(this_worker()), Claim):
        ledger.finish(claim, [claim.params["optimizer.learning_rate"]])
    assert study_page.figures(ledger, ledger.known_plan(), "id").importances == {}
