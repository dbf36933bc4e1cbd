"""The process of one worker of a sweep: `python -m thaw.cli.sweep_worker STORAGE STUDY PARENT CORES`.

The sweep starts it; on another machine `train sweep.join=STUDY` does.
"""

import os
import signal
import sys

from thaw.cli import streams
from thaw.cli.error_handling import exit_with_one_error
from thaw.common.errors import UserError
from thaw.config.job import Terminated
from thaw.config.schema import Config
from thaw.config.yaml_text import keep_yaml_texts


def main(arguments: list[str]) -> None:
    """Work for a study until nothing is left of it.

    Args:
        arguments: URL of the study's database, its name, the process that this one ends with, and the numbers of the
            cores to use, with commas between them; empty for all.
    """
    url, name, parent, cores = arguments
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    with exit_with_one_error(Config):
        from thaw.sweeps import worker

        signal.signal(signal.SIGTERM, _terminate)
        worker.end_with_parent(int(parent))
        from thaw.sweeps.ledger import Ledger

        ledger = Ledger.find(url, name)
        if ledger is None:
            raise UserError(f"there is no study {name} in this sweep.storage")
        from thaw.cli import sweep_jobs

        sweep_jobs.check_code(ledger)
        _prepare()
        plan = ledger.known_plan()
        sweep_jobs.work_from(plan.cwd)
        os.environ["THAW_OUTPUTS"] = plan.outputs
        worker.work(ledger, sweep_jobs.job_runner(plan))


def _prepare() -> None:
    """Do what the training command does before Hydra, and import what every job needs while nothing waits."""
    import faulthandler

    from thaw.common import tensorflow_setup

    streams.open_closed_streams(errors_on_output=True)
    tensorflow_setup.import_keras_without_extras()
    os.environ["HYDRA_FULL_ERROR"] = "1"
    faulthandler.enable()
    keep_yaml_texts()


def _terminate(number: int, frame: object) -> None:
    raise Terminated(128 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
