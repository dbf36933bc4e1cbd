"""How one run was started."""

from dataclasses import dataclass, field
from pathlib import Path


class Terminated(SystemExit):
    """SIGTERM: the run is marked KILLED and the process exits with 143."""


@dataclass(frozen=True)
class Job:
    """Where and how one run was started.

    root: the checkout. folder: the run's output folder. overrides: as typed. parent: run id of the sweep, if any.
    resume: id of the run that is gone on with. tags: that the run gets besides its own. cuts: where the stages of the
    run that is done again were cut; None: to be chosen.
    """

    root: Path
    folder: Path
    overrides: list[str] = field(default_factory=list)
    parent_run_id: str | None = None
    resumed_run_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    cuts: tuple[int, ...] | None = None
