"""When a stage ends before its last epoch because the time of the run is up."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class StageEnd:
    """Says after each epoch of a stage whether it is the last.

    deadline: of `time.monotonic`; None: there is none. epochs: after which the stage ends; None: all. A run that is
    reproduced ends where the original did, whatever the time is. tracing: seconds that the first epoch takes longer.
    """

    deadline: float | None = None
    epochs: int | None = None
    tracing: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)
    _traced: bool = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count the first epoch from now on: what was done before it does not happen again."""
        self._last, self._traced = self.clock(), False

    def is_now(self, epochs_done: int) -> bool:
        """Return whether the stage ends after this epoch, as another like it would end behind the deadline."""
        now = self.clock()
        seconds = now - self._last - (0.0 if self._traced else self.tracing)
        self._last, self._traced = now, True
        if self.epochs is not None:
            return epochs_done >= self.epochs
        return self.deadline is not None and now + seconds > self.deadline


def stage_epochs(tags: Mapping[str, str]) -> dict[int, int]:
    """Return by a stage's number the epochs after which the time of a run with these tags was up."""
    found = {re.fullmatch(r"thaw\.stage\.(\d+)\.ended_after", name): value for name, value in tags.items()}
    return {int(match[1]): int(value) for match, value in found.items() if match}


def stage_epochs_tag(number: int) -> str:
    """Return the tag of a stage that ended as the time was up; its value is how many epochs it had."""
    return f"thaw.stage.{number}.ended_after"
