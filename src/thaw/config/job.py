"""How one run was started."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Terminated(SystemExit):
    """SIGTERM: the run is marked KILLED and the process exits with 143."""


class Pruned(BaseException):
    """A sweep stops the run, which is worse than others at this epoch. No `Exception`: it is no failure."""


@dataclass(frozen=True)
class Job:
    """Where and how one run was started.

    Attributes:
        root: the checkout, None of an installed package.
        folder: the run's output folder.
        overrides: the command line's `key=value` arguments.
        parent_run_id: of the sweep, if any.
        resumed_run_id: of the run that continues, if any.
        tags: that the run gets besides its own.
        name: of the run in the store; empty: made of config and overrides. A resumed run keeps the one that it has.
        cuts: boundaries at which the stages are cut, of a run that is reproduced; None: to be chosen.
        chained_cuts: whether a stage's activations are computed from those at a later stage's cut; not of a run that is
            reproduced and began in a version that computed all from the images.
        started: of `time.monotonic`, from when on a budget counts.
        deadline: of `time.monotonic`: a stage ends after the epoch behind which no other one fits; None: without one.
        tracing_seconds: that a stage's first epoch takes longer, which does not count against the deadline.
        stage_epochs: by a stage's number, the epochs after which it ends, of a run that is reproduced and whose time
            was up then.
        on_epoch: called after each epoch with its entry of the history, which has `stage`, `epoch` (counted over all
            stages), `epoch_of_stage` and `val_accuracy` among others; it may raise `Pruned`.
    """

    root: Path | None
    folder: Path
    overrides: list[str] = field(default_factory=list)
    parent_run_id: str | None = None
    resumed_run_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    name: str = ""
    cuts: tuple[int, ...] | None = None
    chained_cuts: bool = True
    started: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    tracing_seconds: float = 0.0
    stage_epochs: Mapping[int, int] = field(default_factory=dict)
    on_epoch: Callable[[Mapping[str, Any]], None] | None = None
