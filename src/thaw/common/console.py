"""Lines, tables and progress bars on standard output, and how names, paths and sizes are written in them."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Protocol

from rich import filesize
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from thaw.common.durations import duration


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Carry on: rich would end the process, and a training with it."""
        discard_output()


class _Table(Console):
    def on_broken_pipe(self) -> None:
        """Let the command that prints the table end by itself: rich would exit with 1, as after a mistake."""
        raise


# Names come out as they are: nothing in them is markup, a colour or, as in plate:100:, the name of an emoji.
# soft_wrap: a piped log keeps one line per message, whatever the width.
_console = _Console(soft_wrap=True, highlight=False, markup=False, emoji=False)

# Seconds until a log without a terminal gets its first line of progress, and the longest wait between two; each wait is
# twice the one before. Short work leaves no line.
FIRST_LINE_SECONDS, MAX_LINE_SECONDS = 30.0, 300.0


class _Shell:
    """How the process was started: in which folder, and whether a program reads its output."""

    folder: Path | None = None
    output_is_data = False


def say(message: str = "") -> None:
    """Print a message, with control characters escaped, as they could steer a terminal.

    A closed terminal or pipe ends no run.
    """
    try:
        _console.print(escape_controls(message))
    except OSError:
        discard_output()


def discard_output() -> None:
    """Send standard output to /dev/null from now on, where writing to it would fail."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def print_table(renderable: object) -> None:
    """Print a rich table; in a pipe or a file it is as wide as it needs to be."""
    if sys.stdout.isatty():
        _console.print(renderable)
    else:
        _Table(width=250, highlight=False, markup=False, emoji=False).print(renderable)


def printable(name: str) -> str:
    """Return a name on one line: bytes that are not UTF-8, newlines and the like are escaped, letters never."""
    return escape_controls(name, lines=False)


def escape_controls(text: str, lines: bool = True) -> str:
    """Return a text in which bytes that are not UTF-8 and control characters are escaped, all but line ends."""
    text = text.encode("utf-8", "backslashreplace").decode()
    controls = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]" if lines else r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
    return re.sub(controls, lambda match: repr(match[0])[1:-1], text)


def print_paths_from(folder: Path) -> None:
    """Print paths relative to this folder, the shell's, though the process works in another one."""
    _Shell.folder = folder


def progress_to_stderr() -> None:
    """Print progress lines on standard error, as a program reads standard output."""
    _Shell.output_is_data = True


def display_path(path: Path) -> Path:
    """Return a path as it is printed: relative to the shell's folder if it lies there."""
    here = _Shell.folder or Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def format_bytes(size: float) -> str:
    """Return a size as people read it: `999 bytes`, `351.2 kB`, `20.0 GB`."""
    return filesize.decimal(int(size))


class ProgressHandle(Protocol):
    """What the caller of `progress` reports to."""

    def advance(self, n: int = 1) -> None:
        """Count n more items."""

    def describe(self, text: str) -> None:
        """Change the label."""


class _Bar:
    def __init__(self, progress: Progress, description: str, total: int, unit: str) -> None:
        self._progress, self._task = progress, progress.add_task(description, total=total, unit=unit)

    def advance(self, n: int = 1) -> None:
        self._progress.advance(self._task, n)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)


class _Rate(ProgressColumn):
    """Items a second, over the last seconds; empty of a task without a unit."""

    def render(self, task: Task) -> Text:
        unit, speed = task.fields.get("unit"), task.finished_speed or task.speed
        return Text(f"{speed:.0f} {unit}/s" if unit and speed else "")


class _Lines:
    """Progress without a terminal: now and then a line `frozen activations 12,288 of 50,000 · 25 % · 4 min left`.

    With a unit it says how many of them are done a second: `... · 25 % · 102 images/s · 4 min left`.
    """

    def __init__(self, description: str, total: int, unit: str) -> None:
        self._description, self._total, self._done, self._unit = description, total, 0, unit
        self._started, self._wait = time.monotonic(), FIRST_LINE_SECONDS
        self._next = self._started + self._wait
        self._lock = Lock()

    def advance(self, n: int = 1) -> None:
        with self._lock:
            self._done += n
            now = time.monotonic()
            if now < self._next or self._done >= self._total:
                return
            self._wait = min(2 * self._wait, MAX_LINE_SECONDS)
            self._next = now + self._wait
        seconds_left = (now - self._started) * (self._total - self._done) / max(self._done, 1)
        rate = f"{self._done / (now - self._started):.0f} {self._unit}/s · " if self._unit else ""
        line = (
            f"{self._description} {self._done:,} of {self._total:,} · {100 * self._done / self._total:.0f} % · {rate}"
            f"{duration(seconds_left)} left"
        )
        if _Shell.output_is_data:
            print(line, file=sys.stderr, flush=True)
        else:
            say(line)

    def describe(self, text: str) -> None:
        self._description = text


@contextmanager
def progress(description: str, total: int, unit: str = "") -> Iterator[ProgressHandle]:
    """Show a bar with the count and the time left while the block runs; without a terminal print lines now and then.

    unit: of what is counted, as in `images`; the rate is shown too then.
    """
    if not sys.stdout.isatty():
        yield _Lines(description, total, unit)
        return
    label, left = TextColumn("{task.description}", markup=False), TextColumn("left")
    columns = (label, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _Rate(), left, TimeRemainingColumn())
    with Progress(*columns, console=_console, transient=True) as bar:
        yield _Bar(bar, description, total, unit)
