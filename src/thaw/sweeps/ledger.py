"""The ledger of a sweep: which settings it tries, who works on which, and what came of it. It is a study of Optuna.

A setting has a number from 0 on, and one or several attempts, which are trials of the study: a trial cannot run twice.
All claims go through one lock, so that a setting is worked on once, whatever ends whichever process when.
"""

import itertools
import json
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from thaw.common.errors import UserError
from thaw.sweeps import search, worker_id
from thaw.sweeps.plan import SweepPlan
from thaw.sweeps.space import grid_size
from thaw.sweeps.study_storage import ClaimLock, open_storage
from thaw.sweeps.worker_id import WorkerId

DIED, CAN_PASS, PERMANENT, RELEASED = "died", "can pass", "permanent", "released"
# What a pruner can see, as the epochs' history names it.
EPOCH_OBJECTIVES = {"objective": "val_accuracy", "val/accuracy": "val_accuracy", "val/loss": "val_loss"}
_JOB, _RESULT, _PROGRESS = "job", "result", "progress"
_STOPPED = "stopped"
_MAX_LISTED = 100_000  # settings of a finite space, above which they are not listed to find one that is new
_MAX_DRAWS = 30  # settings that a sampler draws again because they were drawn before
_REASON_LENGTH = 800  # characters


@dataclass(frozen=True)
class Claim:
    """An attempt at a setting, which this process is to make.

    Attributes:
        number: of the setting.
        attempt: from 1 on.
        overrides: the job's command line.
        params: value of each key that varies.
        trial: of the study.
    """

    number: int
    attempt: int
    overrides: list[str]
    params: Mapping[str, Any]
    trial: optuna.Trial = field(repr=False)


@dataclass(frozen=True)
class Wait:
    """Nothing to claim now; other workers' jobs may fail and come back."""

    running: int


@dataclass(frozen=True)
class JobState:
    """A setting as the ledger has it.

    Attributes:
        number: from 0 on.
        state: running, finished, pruned, failed, or waiting for another attempt.
        params: value of each key that varies.
        attempts: how many were begun, those that were released not counted.
        values: of each objective; empty without a result.
        curve: reported value by epoch of the whole run, over all attempts.
        job: number, attempt, overrides and worker of the last attempt.
        progress: stage, epoch, epochs and value of the last attempt, as it last said.
        result: what its end left: run_id, seconds, reused, reason, ...
        started, ended: Unix seconds; None when not known.
    """

    number: int
    state: str
    params: Mapping[str, Any]
    attempts: int
    values: tuple[float, ...]
    curve: Mapping[int, float]
    job: Mapping[str, Any]
    progress: Mapping[str, Any]
    result: Mapping[str, Any]
    started: float | None
    ended: float | None

    @property
    def is_done(self) -> bool:
        """Whether it needs no other attempt: finished, or pruned."""
        return self.state in ("finished", "pruned")

    @property
    def has_ended(self) -> bool:
        """Whether this start of the sweep makes no other attempt."""
        return self.is_done or self.state == "failed"


class Ledger:
    """The ledger of one sweep."""

    def __init__(self, study: optuna.Study, url: str) -> None:
        self._study = study
        self._storage = study._storage
        self._backend: Any = getattr(self._storage, "_backend", self._storage)  # below Optuna's cache
        self._lock = ClaimLock(self._backend, url, study.study_name)
        self.url = url

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.study_name

    @property
    def study(self) -> optuna.Study:
        """The study, for what only reads it."""
        return self._study

    @classmethod
    def create(cls, url: str, name: str, plan: SweepPlan) -> "Ledger":
        """Create a study with this plan, or take up that of this name."""
        study = optuna.create_study(
            study_name=name,
            storage=open_storage(url),
            directions=[StudyDirection[direction.upper()] for direction in plan.directions],
            load_if_exists=True,
        )
        ledger = cls(study, url)
        if ledger.plan is None:
            ledger.write_plan(plan)
        return ledger

    @classmethod
    def opening(cls, url: str, name: str) -> AbstractContextManager[None]:
        """Return a lock under which one process at a time looks for a study of this name and creates it."""
        return ClaimLock(open_storage(url), url, name)()

    @classmethod
    def find(cls, url: str, name: str) -> "Ledger | None":
        """Return the ledger of the study of this name; None when there is none, or none with a plan."""
        try:
            ledger = cls(optuna.load_study(study_name=name, storage=open_storage(url)), url)
        except KeyError:
            return None
        return ledger if ledger.plan is not None else None

    @classmethod
    def names(cls, url: str) -> list[str]:
        """Return the names of all studies in a database."""
        return list(optuna.get_all_study_names(open_storage(url)))

    @property
    def plan(self) -> SweepPlan | None:
        """The plan of the sweep, as the study has it now."""
        return SweepPlan.from_attributes(self._study.user_attrs)

    def known_plan(self) -> SweepPlan:
        """Return the plan of a study that has one."""
        plan = self.plan
        assert plan is not None
        return plan

    def write_plan(self, plan: SweepPlan) -> None:
        """Write the plan; the part that says that it is whole comes last."""
        count, *parts = plan.to_attributes().items()
        for key, value in (*parts, count):
            self._study.set_user_attr(key, value)

    def stop_launched(self) -> None:
        """Tell the workers that a launcher started for this start of the sweep to leave; those that joined go on."""
        self._study.set_user_attr(_STOPPED, self.known_plan().start)

    def is_stopped(self, start: int) -> bool:
        """Whether this start of the sweep, or a later one, was stopped."""
        return int(self._study.user_attrs.get(_STOPPED, 0)) >= start

    def claim(self, worker: WorkerId) -> Claim | Wait | None:
        """Return an attempt for this process, `Wait` while others work on what is left, None when nothing is left."""
        with self._lock():
            plan = self.known_plan()
            self._fail_dead()
            jobs = self.jobs()
            again = next((job for job in jobs if job.state == "waiting"), None)
            if again is not None:
                trial = self._begin(plan, again.params, again.number, again.attempts + 1, worker)
            elif len(jobs) < search.total(plan):
                trial = self._begin_new(plan, jobs, worker)
            else:
                running = sum(job.state == "running" for job in jobs)
                return Wait(running) if running else None
            job = trial.user_attrs[_JOB]
            return Claim(job["number"], job["attempt"], job["overrides"], dict(trial.params), trial)

    def heartbeat(self, claim: Claim) -> None:
        """Say that the process that works on a claim is alive."""
        self._backend.record_heartbeat(claim.trial._trial_id)

    def report_progress(self, claim: Claim, progress: Mapping[str, Any]) -> None:
        """Say how far a job is; raises JobLost when another worker has taken it over."""
        with _lost(claim):
            claim.trial.set_user_attr(_PROGRESS, dict(progress))

    def should_prune(self, claim: Claim, epoch: int, value: float) -> bool:
        """Report the value of an epoch, counted over all stages, and return whether the job is to be stopped."""
        with _lost(claim):
            claim.trial.report(value, epoch)
            return claim.trial.should_prune()

    def finish(self, claim: Claim, values: Sequence[float], **result: Any) -> None:
        """End an attempt with the values of its objectives; raises UserError when one is not a number."""
        for (metric, _), value in zip(self.known_plan().objectives, values, strict=True):
            if math.isnan(value):
                raise UserError(f"the objective {metric} is not a number")
        self._end(claim, TrialState.COMPLETE, list(values), result)

    def prune(self, claim: Claim, **result: Any) -> None:
        """End an attempt that was stopped because it fell behind."""
        self._end(claim, TrialState.PRUNED, None, result)

    def fail(self, claim: Claim, kind: str, reason: str, **result: Any) -> None:
        """End an attempt that failed.

        Args:
            claim: the attempt.
            kind: `CAN_PASS` when another attempt may do better, `PERMANENT`, or `RELEASED`: the process was stopped.
            reason: one sentence.
            result: more to keep.
        """
        self._end(claim, TrialState.FAIL, None, {"failure": kind, "reason": reason[:_REASON_LENGTH], **result})

    def release(self, job: JobState, reason: str) -> None:
        """Let a job that has ended be claimed again: its result is gone."""
        trial = optuna.trial.create_trial(
            state=TrialState.FAIL,
            params=dict(job.params),
            distributions={p.key: p.distribution for p in self.known_plan().parameters},
            user_attrs={_JOB: dict(job.job), _RESULT: {"failure": RELEASED, "reason": reason}},
        )
        with self._lock():
            self._storage.create_new_trial(self._study._study_id, trial)

    def note_death(self, pid: int, reason: str) -> None:
        """End the attempt of a process of this machine that died, with the reason that its parent knows."""
        with self._lock():
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                worker = trial.user_attrs.get(_JOB, {}).get("worker", {})
                if worker.get("pid") == pid and worker_id.is_known_dead(worker):
                    self._storage.set_trial_user_attr(trial._trial_id, _RESULT, {"failure": DIED, "reason": reason})
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def jobs(self) -> list[JobState]:
        """Return every setting that has been begun, by number."""
        plan = self.known_plan()
        by_number: dict[int, list[FrozenTrial]] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if _JOB in trial.user_attrs:
                by_number.setdefault(trial.user_attrs[_JOB]["number"], []).append(trial)
        return [_job_state(plan, number, trials) for number, trials in sorted(by_number.items())]

    def is_complete(self) -> bool:
        """Whether every setting has ended, well or not, and none is to be tried again."""
        jobs = self.jobs()
        return len(jobs) >= search.total(self.known_plan()) and all(job.has_ended for job in jobs)

    def counts(self) -> tuple[int, int]:
        """Return how many settings are done, and how many there are in all: not fewer than were begun."""
        jobs = self.jobs()
        return sum(job.is_done for job in jobs), max(search.total(self.known_plan()), len(jobs))

    def _end(self, claim: Claim, state: TrialState, values: list[float] | None, result: Mapping[str, Any]) -> None:
        try:
            claim.trial.set_user_attr(_RESULT, dict(result))
            self._study.tell(claim.trial, values, state=state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
            if not self._storage.get_trial(claim.trial._trial_id).state.is_finished():
                raise
            # Another worker took this process for dead (it was paused, or cut off from the database) and went on.
            raise JobLost(f"job {claim.number} was taken over by another worker") from error

    def _fail_dead(self) -> None:
        """End the attempts of dead processes. The caller holds the lock.

        A process of this machine is dead when it is gone, one of another machine when its heartbeat has stopped. After
        a laptop's sleep all heartbeats are old, and the processes live.
        """
        silent = set(self._backend._get_stale_trial_ids(self._study._study_id))
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get(_JOB, {}).get("worker")
            # Without a worker it is a claim whose process died while it held the lock that this one holds now.
            dead = worker is None or worker_id.is_known_dead(worker)
            if dead or (trial._trial_id in silent and not worker_id.is_known_alive(worker or {})):
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _begin_new(self, plan: SweepPlan, jobs: Sequence[JobState], worker: WorkerId) -> optuna.Trial:
        number = len(jobs)
        if plan.sampler == "grid":
            return self._begin(plan, search.grid_point(plan.parameters, number), number, 1, worker)
        known = {_key(job.params) for job in jobs}
        for draw in range(_MAX_DRAWS):
            self._study.sampler = search.sampler(plan, number, draw)
            self._study.pruner = search.pruner(plan)
            trial = self._ask(plan)
            if _key(trial.params) not in known:
                return self._take(plan, trial, number, 1, worker)
            self._study.tell(trial, state=TrialState.FAIL)  # drawn before: it is no job
        point = _unseen_point(plan, known, number)
        if point is None:  # a space of intervals in which the sampler repeats itself
            point = dict(jobs[-1].params)
        return self._begin(plan, point, number, 1, worker)

    def _begin(
        self, plan: SweepPlan, params: Mapping[str, Any], number: int, attempt: int, worker: WorkerId
    ) -> optuna.Trial:
        """Begin an attempt at a setting of known values in one write; an enqueued trial takes a dozen."""
        self._study.pruner = search.pruner(plan)
        self._study.sampler = search.sampler(plan, number, 0)
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions={p.key: p.distribution for p in plan.parameters},
            user_attrs={_JOB: _job(plan, params, number, attempt, worker)},
        )
        trial_id = self._storage.create_new_trial(self._study._study_id, trial)
        self._backend.record_heartbeat(trial_id)
        return optuna.Trial(self._study, trial_id)

    def _ask(self, plan: SweepPlan) -> optuna.Trial:
        with warnings.catch_warnings():  # of heartbeats, which are this class's own matter
            warnings.simplefilter("ignore", UserWarning)
            return self._study.ask({p.key: p.distribution for p in plan.parameters})

    def _take(self, plan: SweepPlan, trial: optuna.Trial, number: int, attempt: int, worker: WorkerId) -> optuna.Trial:
        self._backend.record_heartbeat(trial._trial_id)
        trial.set_user_attr(_JOB, _job(plan, trial.params, number, attempt, worker))
        return trial


class JobLost(Exception):
    """Another worker has taken over the job of this one."""


@contextmanager
def _lost(claim: Claim) -> Iterator[None]:
    try:
        yield
    except optuna.exceptions.UpdateFinishedTrialError as error:
        raise JobLost(f"job {claim.number} was taken over by another worker") from error


def _job(plan: SweepPlan, params: Mapping[str, Any], number: int, attempt: int, worker: WorkerId) -> dict[str, Any]:
    """Return what a trial says of the attempt that it is."""
    return {
        "number": number,
        "attempt": attempt,
        "start": plan.start,
        "overrides": plan.overrides(params),
        "worker": worker.to_dict(),
    }


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, default=str)


def _unseen_point(plan: SweepPlan, known: set[str], number: int) -> dict[str, Any] | None:
    """Return a combination that no job has, drawn evenly; None when the space is not finite."""
    size = grid_size(plan.parameters)
    if size is None or size > _MAX_LISTED:
        return None
    choices = [p.values() or () for p in plan.parameters]
    keys = [p.key for p in plan.parameters]
    points = [dict(zip(keys, point, strict=True)) for point in itertools.product(*choices)]
    unseen = [point for point in points if _key(point) not in known]
    return random.Random(plan.seed * 1_000_003 + number).choice(unseen) if unseen else None


def _job_state(plan: SweepPlan, number: int, trials: Sequence[FrozenTrial]) -> JobState:
    last = trials[-1]
    result = last.user_attrs.get(_RESULT, {})
    if last.state == TrialState.FAIL and "failure" not in result:  # it died before its end was written whole
        result = {"failure": DIED, "reason": "its process died: out of memory, a crash, or kill -9"}
    counted = [trial for trial in trials if trial.user_attrs.get(_RESULT, {}).get("failure") != RELEASED]
    state = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}.get(last.state, "running")
    if last.state == TrialState.FAIL:
        state = "waiting" if _may_try_again(plan, trials) else "failed"
    return JobState(
        number,
        state,
        dict(last.params),
        len(counted),
        tuple(last.values or ()) if state == "finished" else (),
        _curve(trials),
        last.user_attrs[_JOB],
        last.user_attrs.get(_PROGRESS, {}),
        result,
        last.datetime_start.timestamp() if last.datetime_start else None,
        last.datetime_complete.timestamp() if last.datetime_complete else None,
    )


def _curve(trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """Return a job's curve over its attempts: one that resumes a run reports only the epochs that were missing.

    Of an attempt whose process was killed only a pruner has the epochs.
    """
    curve: dict[int, float] = {}
    for trial in trials:
        reported = trial.user_attrs.get(_RESULT, {}).get("curve") or trial.intermediate_values
        curve |= {int(epoch): value for epoch, value in reported.items()}
    return dict(sorted(curve.items()))


def _may_try_again(plan: SweepPlan, trials: Sequence[FrozenTrial]) -> bool:
    """Whether a setting whose last attempt failed is tried again: always after a stop, else as often as asked.

    A new start of the command tries again whatever failed in an earlier one.
    """
    failures = [trial.user_attrs.get(_RESULT, {}).get("failure", DIED) for trial in trials]
    if failures[-1] == RELEASED:
        return True
    of_this_start = [trial.user_attrs[_JOB]["start"] == plan.start for trial in trials]
    ours = [f for f, now in zip(failures, of_this_start, strict=True) if now and f != RELEASED]
    if not ours:
        return True
    return ours[-1] in (DIED, CAN_PASS) and len(ours) <= plan.retries


def check_plan(plan: SweepPlan) -> None:
    """Raise UserError for a plan that cannot be followed: a grid over an interval, a pruner that has nothing to see."""
    if plan.sampler == "grid":
        for parameter in plan.parameters:
            if not isinstance(parameter.distribution, CategoricalDistribution):
                raise UserError(
                    f"{parameter.key}: a grid has no steps in an interval: list values, or draw from it: sweep=random "
                    "or sweep=tpe"
                )
    elif not plan.parameters:
        raise UserError(
            f"sweep={plan.sampler} has nothing to draw: give keys with intervals or several values, in sweep.space or "
            "on the command line"
        )
    if plan.pruner != "none" and len(plan.objectives) > 1:
        raise UserError(f"sweep.pruner={plan.pruner} compares one objective: with several, set sweep.pruner=none")
    if plan.pruner != "none" and plan.objectives[0][0] not in EPOCH_OBJECTIVES:
        raise UserError(
            f"sweep.pruner={plan.pruner} needs an objective that every epoch has, one of "
            f"{', '.join(EPOCH_OBJECTIVES)}, and {plan.objectives[0][0]} is known at a run's end"
        )
    if plan.sampler != "grid" and any(p.key == "split.fold" for p in plan.parameters):
        raise UserError(
            f"sweep={plan.sampler} takes folds for settings, of which it would seek the best: cross-validate with "
            "sweep=grid"
        )
