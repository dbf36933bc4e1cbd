"""The end of a sweep: the parent run is closed, the best network registered, the page written, failures told."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thaw import tracking
from thaw.cli import study_page, sweep_parent
from thaw.common.console import display_path, say
from thaw.common.errors import UserError
from thaw.config import command_lines, database_urls
from thaw.sweeps import search
from thaw.sweeps.ledger import JobState, Ledger
from thaw.sweeps.plan import DEFAULT_OBJECTIVES

if TYPE_CHECKING:
    from thaw.tracking.sweep_runs import Sweep


def close_complete(ledger: Ledger, parent: "Sweep", folder: Path, seconds: float, register: str | None) -> None:
    """Close a sweep of which every setting has ended, and say what came of it.

    Args:
        ledger: of the sweep.
        parent: its run in the store.
        folder: of the sweep.
        seconds: that this start of it took.
        register: `tracking.register`: the name under which the best network is registered.

    Raises:
        UserError: jobs failed; the message lists them.
    """
    jobs = ledger.jobs()
    failed = [job for job in jobs if job.state == "failed"]
    reason = "; ".join(_failure_line(job) for job in failed)
    status: Literal["FINISHED", "FAILED"] = "FAILED" if failed else "FINISHED"
    children = sweep_parent.close_sweep(parent, folder, status, reason, **_ranking(ledger, jobs))
    if register is not None:
        try:
            say(tracking.register_best(children, register))
        except UserError as error:
            say(f"tracking.register={register} is not done: {error}")
    for line in _summary(ledger, jobs, seconds):
        say(line)
    say(f"page {display_path(study_page.write_page(ledger, parent.id))}")
    if failed:
        lines = "".join(f"\n  {_failure_line(job)}" for job in failed)
        raise UserError(
            f"{len(failed)} of {len(jobs)} jobs failed:{lines}\nThe same command tries them again, and nothing else"
        )


def close_stopped(ledger: Ledger, parent: "Sweep", folder: Path, error: BaseException) -> None:
    """Close the parent run of a sweep that an error or a signal ended early, and say how it goes on."""
    with suppress(Exception):  # the database may be what is gone
        ledger.stop_launched()
    reason = str(error) or type(error).__name__
    status: Literal["FAILED", "KILLED"] = "FAILED" if isinstance(error, Exception) else "KILLED"
    ranking = _ranking(ledger, ledger.jobs())
    sweep_parent.close_sweep(parent, folder, status, reason, jobs_ended=False, **ranking)
    say(f"page {display_path(study_page.write_page(ledger, parent.id))}")
    done, total = ledger.counts()
    say(f"{done} of {total} settings are done. The same command runs the others; another machine joins with:")
    say(f"  {join_line(ledger)}")


def _ranking(ledger: Ledger, jobs: list[JobState]) -> dict[str, Any]:
    """Return what the runs are compared by: the first objective, and of equal ones the others.

    The default objective of each run is its own metric already.
    """
    (metric, direction), *others = ledger.known_plan().objectives
    found = {str(job.result["run_id"]): job.values for job in jobs if job.values and job.result.get("run_id")}
    ties = {
        run_id: tuple(search.best_first([value], each) for value, (_, each) in zip(values[1:], others, strict=True))
        for run_id, values in found.items()
    }
    if (metric, direction) == DEFAULT_OBJECTIVES[0]:
        return {"ties": ties}
    values = {run_id: each[0] for run_id, each in found.items()}
    return {"objective": metric, "maximize": direction == "maximize", "values": values, "ties": ties}


def join_line(ledger: Ledger) -> str:
    """Return the command with which another machine works for a study; the URL has no password in it."""
    command = [command_lines.script_command("train"), f"sweep.join={ledger.name}", f"sweep.storage={ledger.url}"]
    variable = f"{database_urls.PASSWORD_VARIABLE}=... " if database_urls.is_hidden(ledger.url) else ""
    return variable + " ".join([command[0], *map(shlex.quote, command[1:])])


def _failure_line(job: JobState) -> str:
    """Return a line on a failed job; a heading is no reason, so what stands under it comes along."""
    lines = [line.strip() for line in str(job.result.get("reason", "no reason is known")).splitlines()]
    reason = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return f"job {job.number} ({' '.join(_told(job))}): {reason}"


def _told(job: JobState) -> list[str]:
    return [f"{key.rpartition('.')[2]}={value}" for key, value in job.params.items()]


def _summary(ledger: Ledger, jobs: list[JobState], seconds: float) -> list[str]:
    """Return lines on what was done, and what did not have to be."""
    counts = {state: sum(job.state == state for job in jobs) for state in ("finished", "pruned", "failed")}
    reused = sum(bool(job.result.get("reused")) for job in jobs)
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    if reused:
        parts.append(f"{reused} taken over from earlier runs")
    return [f"study {ledger.name} · {' · '.join(parts)} · {seconds:.0f} s"]
