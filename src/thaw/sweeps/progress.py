"""What a sweep shows while it runs: a live table in a terminal, else the workers' own lines."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from thaw.common.console import say
from thaw.sweeps import search
from thaw.sweeps.ledger import JobState, Ledger

_EVERY = 1.0  # seconds between two looks at the ledger
_ROWS = 12  # jobs in the table: those that run, then those that ended last


class SweepProgress:
    """Shows a sweep. seconds: since it began to work."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._plan = ledger, ledger.known_plan()
        self._started, self._looked = time.monotonic(), 0.0
        self._logs: list[_Followed] = []
        self._live: Live | None = None
        self._done_before = _ended(ledger.jobs())

    @property
    def seconds(self) -> float:
        """Seconds since this start of the sweep began."""
        return time.monotonic() - self._started

    @contextmanager
    def shown(self, logs: Sequence[Path]) -> Iterator[None]:
        """Show the sweep while the block runs. logs: of the workers, whose new lines are printed without a terminal."""
        console = Console()
        self._logs = [_Followed(log) for log in logs]
        if not console.is_terminal:
            try:
                yield
            finally:
                self._print_lines()
            return
        with Live(self._table([]), console=console, refresh_per_second=2) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def update(self) -> None:
        """Show what is new; call it as often as you like."""
        if self._live is None:
            self._print_lines()
        if time.monotonic() - self._looked < _EVERY:
            return
        self._looked = time.monotonic()
        if self._live is not None:
            self._live.update(self._table(self._ledger.jobs()))

    def _print_lines(self) -> None:
        for index, log in enumerate(self._logs):
            for line in log.new_lines():
                say(line if len(self._logs) == 1 else f"[{index}] {line}")

    def _table(self, jobs: Sequence[JobState]) -> Table:
        total, done = search.total(self._plan), _ended(jobs)
        direction = self._plan.objectives[0][1]
        finished = sorted((j for j in jobs if j.values), key=lambda j: search.best_first(j.values, direction))
        caption = f"{done} of {total} done"
        if finished:
            caption += f" · best {finished[0].values[0]:.4f} (job {finished[0].number})"
        if left := self._time_left(done, total):
            caption += f" · {left} left"
        table = Table(title=f"sweep {self._ledger.name}", caption=caption, title_justify="left", caption_justify="left")
        for column in ("job", "state", "stage", "epoch", self._plan.objectives[0][0], "settings"):
            table.add_column(column, overflow="ellipsis", no_wrap=True)
        running = [job for job in jobs if job.state == "running"]
        ended = sorted((j for j in jobs if j.state != "running"), key=lambda j: j.ended or 0.0, reverse=True)
        for job in [*running, *ended][:_ROWS]:
            table.add_row(*_cells(job))
        return table

    def _time_left(self, done: int, total: int) -> str:
        new = done - self._done_before
        if new < 1 or done >= total:
            return ""
        seconds = self.seconds / new * (total - done)
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _ended(jobs: Sequence[JobState]) -> int:
    return sum(job.has_ended for job in jobs)


def _cells(job: JobState) -> list[str]:
    progress = job.progress if job.state == "running" else {}
    value = job.values[0] if job.values else progress.get("value")
    epochs = f"{progress['epoch']}/{progress['epochs'] or '?'}" if progress else ""
    settings = " ".join(f"{key.rpartition('.')[2]}={_short(each)}" for key, each in job.params.items())
    return [
        str(job.number),
        "reused" if job.result.get("reused") else job.state,
        str(progress.get("stage", "")),
        epochs,
        "" if value is None else f"{value:.4f}",
        settings,
    ]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class _Followed:
    """A log that is read while another process writes it, from its end on."""

    def __init__(self, file: Path) -> None:
        self._file, self._rest = file, b""
        self._position = file.stat().st_size if file.exists() else 0

    def new_lines(self) -> list[str]:
        """Return the whole lines that were written since the last call."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._position)
            new = file.read()
            self._position = file.tell()
        *lines, self._rest = (self._rest + new).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
