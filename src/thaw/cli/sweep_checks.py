"""What a sweep cannot vary, and what is left of a job that failed."""

import math
import traceback
from collections.abc import Sequence
from operator import attrgetter

from thaw.common.errors import UserError
from thaw.config import effects
from thaw.config.schema import Config

# Keys of which all jobs of a sweep have one value, and why.
PROCESS_KEYS = {"deterministic": "TensorFlow's threads and determinism are set once, for the life of a process"}
SWEEP_KEYS = {
    "outputs": "a sweep's jobs are looked for under the outputs of its parent run",
    "tracking.uri": "a sweep's jobs are in the store of its parent run",
    "tracking.experiment": "a sweep's jobs are in the experiment of its parent run",
}


def check_sweep_jobs(parent: Config, jobs: Sequence[Config]) -> None:
    """Raise UserError when a key that holds for the whole sweep has several values, or a job contradicts itself.

    parent: the config without the keys that are swept, which is that of the sweep's own run. jobs: configs in which
    every swept value occurs once.
    """
    for job in jobs:
        effects.check_contradictions(job)
    for key, why in PROCESS_KEYS.items():
        values = _values(key, jobs)
        if len(values) > 1:
            raise UserError(
                f"a sweep cannot vary {key} ({', '.join(values)}): {why}. Run them as sweeps of their own: "
                f"{', then '.join(f'{key}={value}' for value in values)}"
            )
    for key, why in SWEEP_KEYS.items():
        values = _values(key, [parent, *jobs])
        if len(values) > 1:
            raise UserError(
                f"a sweep cannot vary {key} ({', '.join(values)}): {why}. Give one for all of it, {key}={values[-1]}, "
                "or run sweeps of their own"
            )


def check_job_dirs(overrides: Sequence[Sequence[str]]) -> None:
    """Raise UserError when a sweep's jobs would all have the same folder. overrides: of each argument its values."""
    jobs = math.prod(len(own) for own in overrides)
    for own in overrides:
        key, _, value = own[0].partition("=")
        if key == "hydra.sweep.subdir" and len(own) == 1 and jobs > 1 and "$" not in value:
            raise UserError(
                f"{own[0]}: all {jobs} jobs would have this folder. Leave it out, or let each have its own: "
                f"'hydra.sweep.subdir={value}-${{hydra.job.num}}'"
            )


def _values(key: str, configs: Sequence[Config]) -> list[str]:
    """The key's values as they are typed, each once."""
    found = map(attrgetter(key), configs)
    return list(dict.fromkeys(str(value).lower() if isinstance(value, bool) else str(value) for value in found))


def drop_traceback_frames(error: BaseException) -> None:
    """Drop a failed job's frames, and with them its network and data: Hydra keeps the error until the sweep ends.

    A defect's traceback becomes a note, which is printed with it. `traceback.clear_frames` would not do: a frame keeps
    its function, and that what it closes over.
    """
    if not isinstance(error, UserError):
        error.add_note("In the job:\n" + "".join(traceback.format_exception(error)))
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]
