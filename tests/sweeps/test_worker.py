"""A worker runs jobs until none is left, and what goes wrong in one costs that one."""

import errno

import pytest

from thaw.common.errors import UserError
from thaw.config.job import Pruned, Terminated
from thaw.sweeps.worker import JobRunner, Outcome, work

from .conftest import INTERVALS


def entry(epoch: int, accuracy: float, epoch_of_stage: int | None = None) -> dict:
    return {
        "stage": "head", "epoch": epoch, "epoch_of_stage": epoch_of_stage or epoch, "val_accuracy": accuracy,
        "val_loss": 1 - accuracy,
    }  # fmt: skip


def states(ledger) -> list[str]:
    return [job.state for job in ledger.jobs()]


def test_every_setting_is_run_and_its_values_and_curve_are_kept(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=3)

    def run(claim, report) -> Outcome:
        for epoch in (1, 2):
            report(entry(epoch, 0.1 * epoch + claim.number))
        return Outcome((0.5 + claim.number,), {"run_id": f"run {claim.number}"})

    assert work(ledger, JobRunner(run)) == 3
    assert [job.values for job in ledger.jobs()] == [(0.5,), (1.5,), (2.5,)]
    assert ledger.jobs()[1].curve == {1: 1.1, 2: 1.2}
    assert ledger.jobs()[2].result["run_id"] == "run 2"


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (UserError("no such layer"), 1),
        (ValueError("a defect"), 1),
        (MemoryError(), 2),
        (OSError(errno.ENOSPC, "no space left"), 2),
        (OSError(errno.ENOENT, "no such file"), 1),
        (ConnectionResetError("the store"), 2),
    ],
    ids=str,
)
def test_a_job_that_fails_stops_no_other_and_is_tried_again_if_its_reason_can_pass(
    make_ledger, error: Exception, attempts: int
) -> None:
    ledger = make_ledger(INTERVALS, trials=3)
    tried = []

    def run(claim, report) -> Outcome:
        tried.append(claim.number)
        if claim.number == 1:
            raise error
        return Outcome((0.5,))

    work(ledger, JobRunner(run, (ConnectionError,)))
    assert states(ledger) == ["finished", "failed", "finished"]
    assert tried.count(1) == attempts
    reason = ledger.jobs()[1].result["reason"]
    assert str(error) in reason
    assert type(error).__name__ in reason or isinstance(error, UserError)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Terminated(143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_worker_that_is_stopped_gives_its_job_back(make_ledger, stop: BaseException) -> None:
    ledger = make_ledger(INTERVALS, trials=2)

    def stopped(claim, report) -> Outcome:
        raise stop

    with pytest.raises(type(stop)):
        work(ledger, JobRunner(stopped))
    assert states(ledger) == ["waiting"]
    assert work(ledger, JobRunner(lambda claim, report: Outcome((0.5,)))) == 2
    assert [job.attempts for job in ledger.jobs()] == [1, 1]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_what_falls_behind_is_pruned_but_never_in_a_stages_first_epochs(make_ledger, pruner: str) -> None:
    ledger = make_ledger(INTERVALS, trials=30, pruner=pruner, pruner_warmup=2, epochs=9)
    stopped_at = []

    def run(claim, report) -> Outcome:
        accuracy = 0.9 if claim.number % 2 == 0 else 0.1
        for epoch in range(1, 10):  # two stages, of 4 and 5 epochs
            of_stage = epoch if epoch <= 4 else epoch - 4
            try:
                report(entry(epoch, accuracy + epoch / 1000, of_stage))
            except Pruned:
                stopped_at.append((claim.number, of_stage))
                raise
        return Outcome((accuracy,))

    work(ledger, JobRunner(run))
    assert set(states(ledger)) == {"finished", "pruned"}
    assert stopped_at, "half of the jobs are hopeless"
    assert all(epoch > 2 for _, epoch in stopped_at)
    assert sum(number % 2 for number, _ in stopped_at) > len(stopped_at) / 2
    pruned = next(job for job in ledger.jobs() if job.state == "pruned")
    assert "worse than others" in pruned.result["reason"]
    assert pruned.curve


def test_a_loss_is_pruned_when_it_is_larger(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=12, pruner="median", pruner_warmup=0, objectives=(("val/loss", "minimize"),))

    def run(claim, report) -> Outcome:
        loss = 0.1 if claim.number < 6 else 5.0
        for epoch in (1, 2, 3):
            report(entry(epoch, 1 - loss))
        return Outcome((loss,))

    work(ledger, JobRunner(run))
    assert states(ledger) == ["finished"] * 6 + ["pruned"] * 6
