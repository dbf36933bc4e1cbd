"""What the user sees while thaw works: lines, tables and progress bars, on standard output."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Names come out as they are: nothing in them is markup, a colour or, as in plate:100:, the name of an emoji.
# soft_wrap: a piped log keeps one line per message, whatever the width.
_console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


def say(message: str = "") -> None:
    """Print a message; control characters in it, which could steer a terminal, are escaped."""
    _console.print(escaped(message))


def show(renderable: object) -> None:
    """Print a rich table; in a pipe or a file it is as wide as it needs to be."""
    if sys.stdout.isatty():
        _console.print(renderable)
    else:
        Console(width=250, highlight=False, markup=False, emoji=False).print(renderable)


def printable(name: str) -> str:
    """Return a name on one line: bytes that are not UTF-8, newlines and the like are escaped, letters never."""
    return escaped(name, lines=False)


def escaped(text: str, lines: bool = True) -> str:
    """Return a text in which bytes that are not UTF-8 and control characters are escaped, all but line ends."""
    text = text.encode("utf-8", "backslashreplace").decode()
    controls = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]" if lines else r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
    return re.sub(controls, lambda found: repr(found[0])[1:-1], text)


def shown(path: Path) -> Path:
    """A path as it is printed: from the current folder where it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class Steps:
    """A progress bar's handle; `advance(n)` after n more items, `describe(text)` to change its label."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: int = 1) -> None:
        self._progress.advance(self._task, n)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)


@contextmanager
def progress(description: str, total: int) -> Iterator[Steps]:
    """Show a bar with count and time left while the block runs; nothing is drawn when output is not a terminal."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=_console,
        transient=True,
        disable=not sys.stdout.isatty(),
    )
    with bar:
        yield Steps(bar, bar.add_task(description, total=total))
