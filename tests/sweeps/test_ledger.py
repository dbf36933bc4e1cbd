"""The ledger: each setting is worked on once at a time, ends once, and is tried again only as it should be."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from thaw.common.errors import UserError
from thaw.sweeps.ledger import CAN_PASS, PERMANENT, RELEASED, Claim, JobLost, Ledger, Wait, check_plan
from thaw.sweeps.plan import SweepPlan, parse_objectives
from thaw.sweeps.space import parse_space
from thaw.sweeps.worker_id import WorkerId, this_worker

from .conftest import GRID, INTERVALS, PLAN

ME = this_worker()
SOURCE = Path(__file__).parents[2] / "src"


def dead_worker() -> WorkerId:
    """The id of a process that has ended."""
    code = "from thaw.sweeps.worker_id import this_worker; print(this_worker())"
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    said = done.stdout
    return eval(said, {"WorkerId": WorkerId})


def claim(ledger: Ledger, worker: WorkerId = ME) -> Claim:
    claimed = ledger.claim(worker)
    assert isinstance(claimed, Claim)
    return claimed


def states(ledger: Ledger) -> list[str]:
    return [job.state for job in ledger.jobs()]


def finish_all(ledger: Ledger) -> list[Claim]:
    claims = []
    while isinstance(claimed := ledger.claim(ME), Claim):
        ledger.finish(claimed, [0.5])
        claims.append(claimed)
    return claims


def test_a_grid_is_run_through_in_the_order_of_hydras_own_sweeps(make_ledger) -> None:
    ledger = make_ledger(GRID, sampler="grid", trials=99)
    assert [c.overrides for c in finish_all(ledger)] == [
        ["dataset=digits", f"optimizer.learning_rate={rate}", f"finetune.freeze={freeze}"]
        for rate in ("0.001", "0.01") for freeze in ("block3b", "all")
    ]  # fmt: skip
    assert ledger.is_complete()


def test_a_swept_argument_stands_where_it_was_typed(make_ledger) -> None:
    ledger = make_ledger("{seed: [1,2], head.dropout: [0.1]}", sampler="grid", arguments=("seed=1,2", "recipe=scratch"))
    assert claim(ledger).overrides == ["seed=1", "recipe=scratch", "head.dropout=0.1"]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_as_many_settings_are_drawn_as_asked_for_and_the_same_ones_whoever_draws(make_ledger, sampler: str) -> None:
    ledgers = [make_ledger(INTERVALS, name, sampler=sampler, trials=5) for name in ("a", "b")]
    first, second = ([c.params for c in finish_all(ledger)] for ledger in ledgers)
    assert len(first) == 5
    assert first == second
    assert len({tuple(params.items()) for params in first}) == 5
    other = make_ledger(INTERVALS, "c", sampler=sampler, trials=5, seed=1)
    assert [c.params for c in finish_all(other)] != first


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_no_setting_is_drawn_twice_and_a_finite_space_is_run_through(make_ledger, sampler: str) -> None:
    ledger = make_ledger(GRID, sampler=sampler, trials=50)
    drawn = finish_all(ledger)
    assert len({tuple(c.params.items()) for c in drawn}) == len(drawn) == 4
    assert ledger.is_complete()


def test_more_settings_go_on_where_the_study_ended(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=2)
    finish_all(ledger)
    plan = ledger.known_plan()
    ledger.write_plan(plan.started_again(replace(plan, trials=5)))
    assert [c.number for c in finish_all(ledger)] == [2, 3, 4]


def test_while_another_process_works_on_the_last_one_there_is_nothing_to_claim_yet(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    last = claim(ledger)
    assert ledger.claim(ME) == Wait(1)
    ledger.finish(last, [0.5])
    assert ledger.claim(ME) is None


def test_the_job_of_a_dead_process_goes_to_the_next_worker_as_one_attempt_more(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    first = claim(ledger, dead_worker())
    again = claim(ledger)
    assert (again.number, again.attempt, again.params) == (0, 2, first.params)
    ledger.finish(again, [0.7], run_id="abc")
    (job,) = ledger.jobs()
    assert (job.state, job.values, job.attempts, job.result["run_id"]) == ("finished", (0.7,), 2, "abc")


def test_a_worker_of_another_machine_is_not_taken_for_dead_before_its_heartbeat_stops(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    claim(ledger, replace(dead_worker(), kernel="another machine"))
    assert ledger.claim(ME) == Wait(1)
    ledger._backend.grace_period = 0  # as if it had been silent for long
    time.sleep(1.1)  # databases' clocks count seconds
    assert claim(ledger).attempt == 2


def test_a_process_that_was_taken_for_dead_cannot_end_the_job_a_second_time(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    lost = claim(ledger, dead_worker())
    ledger.finish(claim(ledger), [0.7])
    with pytest.raises(JobLost):
        ledger.finish(lost, [0.1])
    assert [job.values for job in ledger.jobs()] == [(0.7,)]


def test_a_claim_whose_process_died_in_the_middle_of_it_leaves_no_trace(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=2)
    ledger._ask(ledger.known_plan())  # killed before it took it
    assert [c.number for c in finish_all(ledger)] == [0, 1]
    assert {t.state for t in ledger.study.get_trials()} == {TrialState.FAIL, TrialState.COMPLETE}


@pytest.mark.parametrize(
    ("kind", "attempts"), [(CAN_PASS, 2), (PERMANENT, 1), (RELEASED, 5)], ids=["passing", "permanent", "released"]
)
def test_only_what_can_pass_is_tried_again_and_a_stop_is_no_attempt(make_ledger, kind: str, attempts: int) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    for _ in range(5):
        if isinstance(claimed := ledger.claim(ME), Claim):
            ledger.fail(claimed, kind, "for this reason")
    (job,) = ledger.jobs()
    tried = [t for t in ledger.study.get_trials() if "job" in t.user_attrs]
    assert len(tried) == attempts
    assert job.state == ("waiting" if kind == RELEASED else "failed")
    assert job.result["reason"] == "for this reason"
    assert ledger.is_complete() is (kind != RELEASED)


def test_a_new_start_tries_again_what_failed_and_nothing_else(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=3)
    for number in range(3):
        if number == 1:
            ledger.fail(claim(ledger), PERMANENT, "no such file")
        else:
            ledger.finish(claim(ledger), [0.5])
    assert states(ledger) == ["finished", "failed", "finished"]
    ledger.write_plan(ledger.known_plan().started_again(ledger.known_plan()))
    assert [c.number for c in finish_all(ledger)] == [1]


def test_a_pruned_job_is_done_and_keeps_its_curve(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    ledger.prune(claim(ledger), reason="fell behind", curve={1: 0.2, 2: 0.25})
    (job,) = ledger.jobs()
    assert (job.state, job.curve, job.values) == ("pruned", {1: 0.2, 2: 0.25}, ())
    assert ledger.is_complete()


def test_a_job_that_was_resumed_has_the_epochs_of_all_its_attempts(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=1)
    ledger.fail(claim(ledger), CAN_PASS, "no memory", curve={1: 0.2, 2: 0.25})
    ledger.finish(claim(ledger), [0.4], curve={2: 0.3, 3: 0.4})
    (job,) = ledger.jobs()
    assert job.curve == {1: 0.2, 2: 0.3, 3: 0.4}


def test_a_job_whose_result_is_gone_is_claimed_again_and_no_other(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=3)
    before = finish_all(ledger)
    ledger.release(ledger.jobs()[1], "its run was deleted")
    assert states(ledger) == ["finished", "waiting", "finished"]
    (again,) = finish_all(ledger)
    assert (again.number, again.params) == (1, before[1].params)
    assert ledger.is_complete()


def test_fewer_settings_than_were_begun_are_not_counted_beyond_the_whole(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=4)
    finish_all(ledger)
    assert ledger.counts() == (4, 4)
    ledger.write_plan(ledger.known_plan().started_again(replace(ledger.known_plan(), trials=2)))
    assert ledger.counts() == (4, 4)
    assert ledger.is_complete()


def test_a_study_is_found_by_its_name_with_its_whole_plan(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, name="mine", arguments=tuple(f"key{i}={'x' * 100}" for i in range(100)))
    found = Ledger.find(ledger.url, "mine")
    assert found is not None
    assert found.plan == ledger.plan
    assert Ledger.find(ledger.url, "other") is None
    assert Ledger.names(ledger.url) == ["mine"]


@pytest.mark.parametrize(
    ("space", "changes", "said"),
    [
        (INTERVALS, {"sampler": "grid"}, "a grid has no steps in an interval"),
        ("{}", {"sampler": "tpe"}, "has nothing to draw"),
        (INTERVALS, {"pruner": "median", "objectives": (("val/loss", "minimize"), ("x", "minimize"))}, "one objective"),
        (INTERVALS, {"pruner": "hyperband", "objectives": (("test/accuracy", "maximize"),)}, "that every epoch has"),
        ("{split.fold: [0,1]}", {"sampler": "tpe"}, "cross-validate with sweep=grid"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_followed_is_refused(space: str, changes: dict, said: str) -> None:
    plan: SweepPlan = replace(PLAN, parameters=tuple(parse_space(space)), **changes)
    with pytest.raises(UserError, match=said):
        check_plan(plan)


def test_objectives_are_metrics_with_a_direction() -> None:
    assert parse_objectives(None) == (("objective", "maximize"),)
    assert parse_objectives({"val/accuracy": "maximize", "time/total": "minimize"}) == (
        ("val/accuracy", "maximize"), ("time/total", "minimize"),
    )  # fmt: skip
    assert parse_objectives({"val/class/a cat/f1": "maximize"}) == (("val/class/a cat/f1", "maximize"),)
    for wrong in ("val/accuracy", {}, {"val/accuracy": "up"}, {"val/class/a": "maximize"}, {"best/": "maximize"}):
        with pytest.raises(UserError, match=r"sweep\.objectives"):
            parse_objectives(wrong)
    with pytest.raises(UserError, match=r"no metric val/acuracy\. Did you mean 'val/accuracy'\?"):
        parse_objectives({"val/acuracy": "maximize"})


@pytest.mark.parametrize("last", range(4))
def test_a_process_that_dies_between_any_two_writes_loses_no_setting_and_repeats_none(make_ledger, last: int) -> None:
    """The n-th write of a claim and its end is the last one that the database sees of the process."""
    ledger = make_ledger(INTERVALS, trials=2)
    dying = Ledger.find(ledger.url, "study")
    assert dying is not None
    dies_at_write(dying, last)
    worker = dead_worker()
    with pytest.raises(Killed):
        dying.finish(claim(dying, worker), [0.25], run_id="first")
    assert set(states(ledger)) <= {"running", "waiting", "finished"}
    rest = finish_all(ledger)
    jobs = ledger.jobs()
    assert [job.state for job in jobs] == ["finished", "finished"]
    assert [job.number for job in jobs] == [0, 1]
    assert len(rest) == 2
    assert ledger.is_complete()


class Killed(BaseException):
    """What kill -9 does to a process: nothing of it runs any more."""


def dies_at_write(ledger: Ledger, last: int) -> None:
    writes = 0
    for name in ("set_trial_param", "set_trial_state_values", "set_trial_user_attr", "record_heartbeat"):
        original = getattr(ledger._backend, name)

        def write(*args, _write=original, **kwargs):
            nonlocal writes
            writes += 1
            if writes > last:
                raise Killed
            return _write(*args, **kwargs)

        setattr(ledger._backend, name, write)


def test_an_objective_that_is_not_a_number_fails_its_job_and_no_other(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, trials=2)
    with pytest.raises(UserError, match="the objective objective is not a number"):
        ledger.finish(claimed := claim(ledger), [float("nan")])
    ledger.fail(claimed, PERMANENT, "not a number")
    finish_all(ledger)
    assert states(ledger) == ["failed", "finished"]


def test_a_process_of_this_machine_that_lives_keeps_its_job_however_old_its_heartbeat_is(make_ledger) -> None:
    """As after a laptop's sleep."""
    ledger = make_ledger(INTERVALS, trials=1)
    mine = claim(ledger)
    ledger._backend.grace_period = 0
    time.sleep(1.1)
    assert ledger.claim(ME) == Wait(1)
    ledger.finish(mine, [0.5])
    assert states(ledger) == ["finished"]


def test_an_interval_of_whole_numbers_is_run_through_and_not_repeated(make_ledger) -> None:
    ledger = make_ledger("{seed: uniform(0,2)}", trials=9)
    assert sorted(c.params["seed"] for c in finish_all(ledger)) == [0, 1, 2]
    assert ledger.is_complete()


def test_a_start_that_is_killed_while_it_writes_its_plan_leaves_the_plan_of_before(make_ledger) -> None:
    ledger = make_ledger(INTERVALS, arguments=tuple(f"key{i}={'x' * 100}" for i in range(100)))
    before = ledger.known_plan()
    parts = before.started_again(replace(before, trials=99)).to_attributes()
    for key, value in list(parts.items())[1:3]:
        ledger.study.set_user_attr(key, value)
    assert ledger.plan == before
