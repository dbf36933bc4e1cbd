"""Makes the faults one after the other, shows the table, and fails when anything did not hold."""

import dataclasses
import json
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thaw.common.console import print_table, progress, say
from thaw.common.errors import UserError
from thaw.common.files import write_atomically
from thaw.config.tool_schemas import FaultsConfig
from thaw_lab import machine
from thaw_lab.faults import (  # fmt: skip
    baseline_run,
    concurrent,
    corrupt_checkpoints,
    disk_full,
    divergence,
    graceful_stops,
    kills,
    offline,
    read_only,
    store_outage,
)
from thaw_lab.faults.trial import Trial, TrialFunction, TrialSkipped, fault_rows, fault_table
from thaw_lab.faults.workspace import Workspace
from thaw_lab.process import ProcessGroup

JSON, LOGS, FAILED = "faults.json", "logs", "failed"

FAULTS: dict[str, Callable[[Workspace], list[TrialFunction]]] = {
    "kills": kills.kill_trials,
    "torn": corrupt_checkpoints.corruption_trials,
    "full": disk_full.full_trials,
    "readonly": read_only.read_only_trials,
    "locked": store_outage.locked_trials,
    "absent": store_outage.away_trials,
    "together": concurrent.concurrent_trials,
    "stops": graceful_stops.stop_trials,
    "diverged": divergence.divergence_trials,
    "offline": offline.offline_trials,
}


def faults(config: FaultsConfig, root: Path) -> None:
    """Make the faults that `config.what` names. root: the checkout.

    Raises UserError when anything did not hold.
    """
    if os.name != "posix":
        raise UserError("faults are made with signals that this system does not have: run it on Linux or macOS")
    # A shell that starts us in the background ignores Ctrl-C for us, and so for all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = Path(config.output).expanduser().absolute()
    here = machine.describe(root)
    say(machine.versions(here))
    started, made = time.monotonic(), list[Trial]()
    try:
        with _workplace(config, root, output) as (yard, pool):
            for trial in _trials(yard, pool):
                made.append(trial)
                say(f"  {trial.line()}")
    finally:  # what was seen before Ctrl-C too
        seconds = time.monotonic() - started
        _write({"machine": here, "settings": config, "trials": made, "seconds": seconds}, output / JSON)
        _tell(made)
        say(f"{here['cpus']} cores of {here['cpu']}, {seconds / 60:.0f} minutes")
    _judge(made, output)
    say(f"written: {output / JSON}")


def _tell(made: list[Trial]) -> None:
    print_table(fault_table(fault_rows(made)))
    killed = [trial for trial in made if trial.fault.startswith(kills.KILL_FAULT)]
    if killed:
        held = sum(trial.held for trial in killed)
        say(f"{held} of {len(killed)} killed runs ended bit for bit as the untouched one")


def _judge(made: list[Trial], output: Path) -> None:
    wrong = [trial for trial in made if trial.wrong]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {sum(not trial.skipped for trial in made)} trials did not hold: {wrong[0].line()}. All "
            f"of them are in {output / JSON}, what they printed in {output / LOGS}, what they left in {output / FAILED}"
        )


def _trials(yard: Workspace, pool: Executor) -> Iterator[Trial]:
    """Make the reference and the faults in turn, the trials of one at the same time; yield each as it ends."""
    what = yard.config.what
    chosen = FAULTS if what == "all" else {what: FAULTS[what]}
    for name, works in {"reference": baseline_run.baseline_trials, **chosen}.items():
        own = works(yard)
        say(f"{name} · {len(own)} {'trial' if len(own) == 1 else 'trials'}")
        with progress(name, len(own)) as bar:
            for future in as_completed([pool.submit(_made, work, name) for work in own]):
                bar.advance()
                yield future.result()
        if not yard.baselines:  # the training does not even run: nothing can be compared
            return


def _made(work: TrialFunction, name: str) -> Trial:
    """A trial that could not be made, or whose remains could not be read, is an outcome too."""
    try:
        return work()
    except TrialSkipped as reason:
        return Trial(name, f"skipped: {reason}", skipped=True)
    except Exception as error:
        return Trial(name, "", [f"{type(error).__name__}: {error}"], notes={"traceback": traceback.format_exc()})


@contextmanager
def _workplace(config: FaultsConfig, root: Path, output: Path) -> Iterator[tuple[Workspace, Executor]]:
    """A folder on the output's disk and threads for the trials; gone at the end, and all processes with them."""
    logs, failed = output / LOGS, output / FAILED
    for old in (logs, failed):
        shutil.rmtree(old, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="work-", dir=output))
    pool = ThreadPoolExecutor(config.jobs)
    try:
        with ProcessGroup().kill_on_exit() as processes:
            yield Workspace(config, root, work, logs, failed, processes), pool
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(work, ignore_errors=True)


def _write(written: dict[str, Any], file: Path) -> None:
    text = json.dumps({"rows": fault_rows(written["trials"]), **written}, indent=1, default=dataclasses.asdict)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text.encode())
