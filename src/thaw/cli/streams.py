"""Standard streams that are closed, as under cron and some services, or cannot encode what is said."""

import os
import select
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from thaw.common.console import discard_output

P = ParamSpec("P")

# 128 + SIGPIPE, as a shell has it of programs that end so: a listing that was cut short is no success. Training goes on
# without its output, and ends as it would have.
EXIT_BROKEN_PIPE = 141


def open_closed_streams(errors_on_output: bool = False) -> None:
    """Open what is closed of standard input, output and error, and let no character be one that cannot be printed.

    A closed one's number would be given to the next file that is opened: a database, say, into which the log lines of
    TensorFlow's C++ code would go. errors_on_output: while standard error is closed, errors go to standard output.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = sys.stdout if errors_on_output else open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_quietly_on_broken_pipe(main: Callable[P, None]) -> Callable[P, None]:
    """Have a command end with UNREAD, and no traceback, when whoever read its output is gone: `--help | head -1`.

    An exit code that the command gives itself stays.
    """

    @wraps(main)
    def ended(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
            write_stdout("")
        except BrokenPipeError:
            if not _unread():
                raise  # another pipe or connection
            discard_output()
            sys.exit(EXIT_BROKEN_PIPE)
        except SystemExit:
            if _unread():  # Python's own flush would fail, and change the code
                discard_output()
            raise

    return ended


def write_stdout(text: str) -> None:
    """Print a text, with what waits in the buffer. A disk that is full is one error."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk
        discard_output()
        sys.exit(f"error: standard output: {(error.strerror or str(error)).lower()}")


def _unread() -> bool:
    """Whether the reader of standard output or error is gone."""
    streams = select.poll()
    for number in (1, 2):
        streams.register(number, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in streams.poll(0))
