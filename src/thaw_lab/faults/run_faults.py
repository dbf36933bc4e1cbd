"""Makes the faults one after the other, shows the table, and fails when anything did not hold."""

import dataclasses
import json
import os
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from thaw.common.console import print_table, progress, say
from thaw.common.errors import UserError
from thaw.common.files import write_atomically
from thaw.config.tool_schemas import FaultsConfig
from thaw_lab import machine
from thaw_lab.faults import disk_trials, kill_trials, outage_trials, snapshots, triggers
from thaw_lab.faults.trial import Trial, TrialSkipped, fault_rows, fault_table
from thaw_lab.faults.workspace import BaselineRun, TrialFunction, Workspace
from thaw_lab.process import ProcessGroup

JSON, LOGS, FAILED = "faults.json", "logs", "failed"
BASELINE_FAULT = "none"


def fault_trials(config: FaultsConfig) -> dict[str, list[TrialFunction]]:
    """Return the trials of each fault by its `what=`, in the order in which they are made."""
    training = [triggers.during_stage(triggers.HEAD), triggers.during_stage(triggers.THAW, 2)]
    elsewhere = [
        triggers.seconds_after_start(0.0), triggers.during_scan(), triggers.during_extraction(0.5),
        triggers.during_evaluation(0.5),
    ]  # fmt: skip
    locked = [triggers.during_stage(triggers.THAW, 1), triggers.during_evaluation(0.2)]
    ctrl_c = partial(kill_trials.stop_trial, stop=kill_trials.CTRL_C)
    return {
        "kills": [partial(kill_trials.kill_trial, number=number) for number in range(config.kills)],
        "torn": disk_trials.corruption_trials(config.seed),
        "full": [
            *(partial(disk_trials.full_outputs, store_elsewhere=value) for value in (True, False)),
            disk_trials.full_cache,
        ],
        "readonly": [
            disk_trials.read_only_outputs, disk_trials.read_only_cache, disk_trials.read_only_filled_cache,
            disk_trials.read_only_dataset,
        ],
        "locked": [partial(outage_trials.store_locked, trigger=trigger) for trigger in locked],
        "absent": [outage_trials.store_away],
        "together": [outage_trials.concurrent_starts],
        "stops": [
            *(partial(kill_trials.stop_trial, stop=kill_trials.TERM, trigger=trigger) for trigger in training),
            *(partial(ctrl_c, trigger=trigger) for trigger in (*training, *elsewhere)),
            *(partial(ctrl_c, trigger=trigger, twice=True) for trigger in training),
        ],
        "diverged": [outage_trials.divergence],
        "offline": [partial(outage_trials.offline_download, what=what) for what in outage_trials.DOWNLOADS],
    }  # fmt: skip


def baseline_trial(workspace: Workspace, *, number: int) -> Trial:
    """Train without a fault, and append the run to the workspace's baselines; all must be identical."""
    trial_dir = workspace.new_trial_dir(f"reference-{number}")
    ended = trial_dir.train()
    if ended.exit_code:
        return trial_dir.finish(BASELINE_FAULT, "", [f"exit code {ended.exit_code}: {ended.stderr.strip()}"])
    snapshot = snapshots.read_snapshot(trial_dir.run_dir, trial_dir.outputs)
    phases = [triggers.training_phase(ended.lines[: i + 1]) for i in range(len(ended.lines))]
    seconds = ended.times[-1]
    evaluation_seconds = seconds - ended.times[phases.index(triggers.EVALUATION)]
    workspace.baselines.append(BaselineRun(snapshot, seconds, evaluation_seconds))
    return trial_dir.finish(BASELINE_FAULT, "identical", trial_dir.differences(), seconds=seconds)


BASELINE_TRIALS: list[TrialFunction] = [partial(baseline_trial, number=number) for number in (1, 2)]


def faults(config: FaultsConfig, root: Path) -> None:
    """Make the faults that `config.what` names. root: the checkout.

    Raises:
        UserError: anything did not hold, or the system has no POSIX signals.
    """
    if os.name != "posix":
        raise UserError("faults are made with signals that this system does not have: run it on Linux or macOS")
    # A shell that starts us in the background ignores Ctrl-C for us, and so for all that we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = Path(config.output).expanduser().absolute()
    output.mkdir(parents=True, exist_ok=True)
    for folder in (LOGS, FAILED):
        shutil.rmtree(output / folder, ignore_errors=True)
    hardware = machine.describe_machine(root)
    say(machine.version_line(hardware))
    started, trials = time.monotonic(), list[Trial]()
    try:
        with ExitStack() as stack:
            work_dir = stack.enter_context(TemporaryDirectory(prefix="work-", dir=output, ignore_cleanup_errors=True))
            pool = ThreadPoolExecutor(config.jobs)
            stack.callback(pool.shutdown, cancel_futures=True)
            processes = stack.enter_context(ProcessGroup().kill_on_exit())
            workspace = Workspace(config, root, Path(work_dir), output / LOGS, output / FAILED, processes)
            for trial in _run_trials(workspace, pool):
                trials.append(trial)
                say(f"  {trial.line()}")
    finally:  # also what was seen before Ctrl-C
        seconds = time.monotonic() - started
        rows, killed = fault_rows(trials), [trial for trial in trials if trial.fault.startswith(kill_trials.KILL_FAULT)]
        content = {"rows": rows, "machine": hardware, "settings": config, "trials": trials, "seconds": seconds}
        write_atomically(output / JSON, json.dumps(content, indent=1, default=dataclasses.asdict).encode())
        print_table(fault_table(rows))
        if killed:
            held = sum(trial.held for trial in killed)
            say(f"{held} of {len(killed)} killed runs ended bit for bit as the untouched one")
        say(f"{hardware['cpus']} cores of {hardware['cpu']}, {seconds / 60:.0f} minutes")
    wrong = [trial for trial in trials if trial.wrong]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {sum(not trial.skipped for trial in trials)} trials did not hold: {wrong[0].line()}. All "
            f"of them are in {output / JSON}, what they printed in {output / LOGS}, what they left in {output / FAILED}"
        )
    say(f"written: {output / JSON}")


def _run_trials(workspace: Workspace, pool: Executor) -> Iterator[Trial]:
    """Run the baseline twice, then the faults in turn, the trials of one in parallel; yield each as it ends."""
    what = workspace.config.what
    faults = fault_trials(workspace.config)
    for name, trials in {"reference": BASELINE_TRIALS, **(faults if what == "all" else {what: faults[what]})}.items():
        say(f"{name} · {len(trials)} {'trial' if len(trials) == 1 else 'trials'}")
        with progress(name, len(trials)) as bar:
            for future in as_completed([pool.submit(_run_trial, trial, workspace, name) for trial in trials]):
                bar.advance()
                yield future.result()
        if not workspace.baselines:  # the training does not even run: nothing can be compared
            return


def _run_trial(trial: TrialFunction, workspace: Workspace, name: str) -> Trial:
    """Run a trial; one that could not be made, or whose remains could not be read, is an outcome too."""
    try:
        return trial(workspace)
    except TrialSkipped as reason:
        return Trial(name, f"skipped: {reason}", skipped=True)
    except Exception as error:
        return Trial(name, "", [f"{type(error).__name__}: {error}"], notes={"traceback": traceback.format_exc()})
